"""Base of every bench: rounds, the best of them, and how figures are printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .machine import load_1m, machine

Round = dict[str, Any]
"""Figures of one round, as plain data."""

Report = dict[str, Any]
"""``{"bench", "aim", "machine", "parameters", "rounds": [Round, ...], "best": number of the best round}``."""

OnRound = Callable[[Round], None]
"""Told every round when it is over."""


@dataclass(frozen=True)
class Table:
    """Figures of one round, as people read them: names of columns, and rows; numbers stand to the right."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


class Benchmark(Protocol):
    """A module of this package that measures something.

    Attributes:
        AIM: what is wanted, in words; empty where nothing is.
        ROUNDS: how many there are when nobody says.
        SECONDS: length of a measured run when nobody says.
    """

    AIM: str
    ROUNDS: int
    SECONDS: float

    def run(self, rounds: int = ..., seconds: float = ..., on_round: OnRound = ...) -> Report:
        """Measure."""
        ...

    def table(self, report: Report) -> Table:
        """All rounds of a report; the first column is the round's number."""
        ...


def ignored(_: Round) -> None:
    """Nobody listens."""


def report(
    bench: str,
    aim: str,
    parameters: dict[str, Any],
    rounds: int,
    measure: Callable[[], Round],
    rank: Callable[[Round], Any],
    on_round: OnRound = ignored,
) -> Report:
    """Call ``measure`` so many times.

    Args:
        rank: the best round is the one with the smallest; the first of equals.
    """
    before = machine()
    measured: list[Round] = []
    for number in range(1, rounds + 1):
        load = load_1m()
        measured.append({"round": number, "load_1m": load, **measure()})
        on_round(measured[-1])
    best = min(measured, key=rank)["round"]
    return {
        "bench": bench,
        "aim": aim,
        "machine": before,
        "parameters": parameters,
        "rounds": measured,
        "best": best,
    }


def quantiles(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """p50, p95, p99 and max. There is at least one value."""
    found = dict(zip(("p50", "p95", "p99", "max"), np.percentile(values, (50, 95, 99, 100)), strict=True))
    return {name: round(float(value), digits) for name, value in found.items()}
