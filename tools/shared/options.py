"""Arguments that verbs share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
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


def refuse_unused(context: click.Context, modes: Mapping[str, Set[str]]) -> None:
    """Pass if at most one mode of a verb is asked for, and nothing that it would not use.

    Args:
        context: of the verb as it was called.
        modes: by the option that asks for a mode, the others that it uses; by "", those of the mode that none asks for.

    Raises:
        UserError: otherwise.
    """
    verb, options = context.command.name, {o.name: o.opts[0] for o in context.command.params if o.name}
    given = [n for n in options if context.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE]
    asked = [mode for mode in modes if mode in given]
    if len(asked) > 1:
        known = " and ".join(", ".join(options[mode] for mode in modes if mode).rsplit(", ", 1))
        raise UserError(f"{verb}: expected at most one of {known}, run it twice")
    mode = asked[0] if asked else ""
    unused = [name for name in given if name != mode and name not in modes[mode]]
    if unused:
        used = ", ".join(options[name] for name in options if name in modes[mode]) or "nothing else"
        user = mode or next(other for other in modes if unused[0] in modes[other])
        where = f"{'with' if mode else 'without'} {options[user]}"
        raise UserError(f"{verb}: found {options[unused[0]]} {where} (expected {used}), leave it out")


def load_plan(graph: str, sets: Sequence[str] = (), seed: int = 0) -> Plan:
    """A graph by path or shipped name, checked."""
    from ...runtime.plan.check import load, make_plan

    return make_plan(load(graph, parse_sets(sets)), seed=seed)
