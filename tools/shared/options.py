"""Arguments that verbs share."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ...runtime.errors import UserError
from ...runtime.output_file import FORCE_VARIABLE, is_forced

if TYPE_CHECKING:
    from ...runtime.plan.plan import Plan
    from ...runtime.plan.spec import GraphSpec, NodeSpec

FUNCTION_NODE = "flow.python"
"""The shipped type of which every node is code that its graph names."""

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


def _force(ctx: click.Context, _: click.Parameter, is_given: bool) -> None:
    """In the environment, so that a run's processes know it as well, until the command is over."""
    if is_given and not is_forced():
        os.environ[FORCE_VARIABLE] = "1"
        ctx.call_on_close(lambda: os.environ.pop(FORCE_VARIABLE, None))


force_option = click.option(
    "--force",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_force,
    help="Replace files of other kinds, too, and links themselves.",
)

no_code_option = click.option(
    "--no-code", is_flag=True, help="Refuse a graph that names Python code of its own, which would be run."
)


def load_plan(graph: str, sets: Sequence[str] = (), seed: int = 0, *, no_code: bool = False) -> Plan:
    """A graph by path or shipped name, checked; see `load_spec`."""
    from ...runtime.plan.check import make_plan

    return make_plan(load_spec(graph, sets, no_code=no_code), seed=seed)


def load_spec(graph: str, sets: Sequence[str] = (), *, no_code: bool = False) -> GraphSpec:
    """A graph by path or shipped name, as written: nothing that it names was run yet.

    Raises:
        UserError: with ``no_code``, it names code.
    """
    from ...runtime.plan.check import load

    spec = load(graph, parse_sets(sets))
    if no_code and (found := code_of(spec)):
        raise UserError(
            f"--no-code: found {', '.join(found)} (expected node types that are installed alone), leave --no-code out "
            "if you trust who wrote it"
        )
    return spec


def code_of(spec: GraphSpec) -> list[str]:
    """Code that a graph names and that is run with it, in the order of its nodes: files, modules and functions."""
    return list(dict.fromkeys(name for node in spec.nodes.values() if (name := _code_of(node))))


def _code_of(node: NodeSpec) -> str:
    if node.type == FUNCTION_NODE:
        named = [node.params[key].value for key in ("file", "function") if key in node.params]
        return next((str(value) for value in named if value), node.type)
    return node.type if ":" in node.type else ""
