"""Arguments that verbs share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ...runtime.errors import UserError

if TYPE_CHECKING:
    from ...runtime.plan.plan import Plan

TRAINING_SEEDS = click.IntRange(0, 48)
"""Of trainings: each has a million dialogues of its own; those of seed 49 would be the ones that evaluations hold."""


class FiniteRange(click.FloatRange):
    """A range of numbers without NaN, which no bound keeps out, and infinity."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that was typed; click's error of a wrong value if it is not in the range."""
        number = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return float(super().convert(value, param, ctx))


graph_argument = click.argument("graph")
set_option = click.option("--set", "sets", multiple=True, metavar="KEY=VALUE",
                          help="Set a parameter (source=me.mp4) or a key by path (think.budget_ms=50).")  # fmt: skip
seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of all that is drawn by chance."
)


def parse_sets(sets: Sequence[str]) -> dict[str, str]:
    """``("a=1", "b.c=2")`` -> ``{"a": "1", "b.c": "2"}``.

    Raises:
        UserError: one without ``=``.
    """
    parsed = {}
    for text in sets:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UserError(f"--set: found '{text}' (expected KEY=VALUE, for example source=me.mp4)")
        parsed[key.strip()] = value
    return parsed


def load_plan(graph: str, sets: Sequence[str] = (), seed: int = 0) -> Plan:
    """A graph by path or shipped name, checked."""
    from ...runtime.plan.check import load, make_plan

    return make_plan(load(graph, parse_sets(sets)), seed=seed)
