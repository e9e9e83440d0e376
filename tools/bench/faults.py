"""Harm done to runs, and what becomes of them: each kind of fault at random moments, by the command that users run."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .fault_found import Found, found
from .fault_kinds import Kind, chosen
from .fault_trial import harmed
from .report import OnRound, Report, Round, Table, ignored, report

AIM = (
    "every culprit named and none wrongly, within two units after its due; no unit without account, nothing left over, "
    "every file plays to its last unit; the end within 3 s"
)
ROUNDS = 5
SECONDS = 8.0

PERIOD_S = 0.16
FIRST_UNIT, UNITS_AFTER = 8, 26
"""Where a fault may strike: after so many units, and so many before the run's end, or a pause would outlast it."""

DUPLEX_EVERY = 2
"""Of so many rounds, one has the faults of duplex: each takes a model's time to start."""

OnTrial = Callable[[str, Found], None]
"""Told every trial when it is over."""


def run(
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    on_round: OnRound = ignored,
    only: str | None = None,
    on_trial: OnTrial | None = None,
) -> Report:
    """Harm runs, one after the other.

    Args:
        only: kinds of fault, with commas between them; all if None.
        on_trial: called with a kind's name and what was found.

    Returns:
        Per round, ``kinds``: by name, what `found` says of it.

    Raises:
        UserError: no such kind.
    """
    kinds = chosen(only)
    units = max(FIRST_UNIT + UNITS_AFTER + 1, round(seconds / PERIOD_S))
    parameters = {"units": units, "unit_ms": PERIOD_S * 1000, "kinds": len(kinds)}
    numbers = iter(range(rounds))

    def measure() -> Round:
        return {"kinds": _round(next(numbers), kinds, units, on_trial)}

    return report("faults", AIM, parameters, rounds, measure, rank, on_round)


def rank(measured: Round) -> int:
    """The best round broke the fewest promises."""
    return sum(bool(each["broken"]) for each in measured["kinds"].values())


def table(report: Report) -> Table:
    """A row per kind of fault, of all rounds together, and one for all; the worst of times."""
    by_kind: dict[str, list[Found]] = {}
    for measured in report["rounds"]:
        for name, each in measured["kinds"].items():
            by_kind.setdefault(name, []).append(each)
    rows = [_row(name, trials) for name, trials in by_kind.items()]
    everything = [each for trials in by_kind.values() for each in trials]
    rows.append((*_row(f"all {len(by_kind)} kinds", everything)[:-1], ""))
    columns = ("fault", "kept", "exit", "end s", "named", "named s", "without account", "left over", "plays", "short",
               "recover s", "broken")  # fmt: skip
    return Table(columns, rows)


def _round(number: int, kinds: Sequence[Kind], units: int, on_trial: OnTrial | None) -> dict[str, Found]:
    made = {}
    for kind in kinds:
        if kind.graph == "duplex" and number % DUPLEX_EVERY:
            continue
        # by round and kind: a kind strikes in the same units whichever others are measured with it
        unit = random.Random(f"{number} {kind.name}").randrange(FIRST_UNIT, units - UNITS_AFTER)
        with tempfile.TemporaryDirectory(prefix="wangraph-bench-", ignore_cleanup_errors=True) as folder:
            made[kind.name] = found(kind, harmed(kind, Path(folder), units, unit, PERIOD_S))
        if on_trial is not None:
            on_trial(kind.name, made[kind.name])
    return made


def _row(name: str, trials: Sequence[Found]) -> tuple[Any, ...]:
    kept = sum(not each["broken"] for each in trials)
    exits = Counter("never" if each["exit"] is None else str(each["exit"]) for each in trials)
    named = Counter(each["named"] for each in trials if each["named"])
    broken = Counter(text for each in trials for text in each["broken"])
    return (
        name,
        f"{kept} of {len(trials)}",
        " ".join(exits),
        _worst(trials, "end_s"),
        ", ".join(f"{n} {word}" for word, n in named.items()),
        _worst(trials, "named_s"),
        sum(each["unaccounted"] for each in trials),
        sum(len(each["left"]) for each in trials),
        f"{sum(each['plays'] for each in trials)} of {len(trials)}",
        _worst(trials, "short"),
        _worst(trials, "recover_s"),
        "; ".join(f"{n} x {text}" for text, n in broken.items()),
    )


def _worst(trials: Sequence[Found], key: str) -> str:
    """p50 and the largest, where some trial had the figure."""
    values = sorted(each[key] for each in trials if each[key] is not None)
    if not values:
        return ""
    p50 = values[len(values) // 2]
    return f"{values[-1]:g}" if len(values) == 1 else f"{p50:.3g} / {values[-1]:.3g}"
