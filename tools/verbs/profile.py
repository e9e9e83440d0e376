"""``wangraph profile``: run a graph, and write down what its nodes cost on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...runtime.errors import UserError
from ...runtime.output_file import claim
from ..shared.options import force_option, graph_argument, load_plan, seed_option, set_option
from ..shared.tables import console, table
from ..shared.targets import PROFILE, Target, check_targets

if TYPE_CHECKING:
    from ...runtime.forecast.profile import Profile
    from ...runtime.plan.plan import Plan

UNITS = 200
SHARE_UNITS = 24
"""Units for what bodies do with their time: run once more, one body at a time."""


@click.command()
@graph_argument
@set_option
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Profile to write.")  # fmt: skip
@click.option("--write-budgets", "budgets", is_flag=True,
              help="Write a budget_ms into the graph file for every node that has none.")  # fmt: skip
@click.option("--units", type=click.IntRange(min=10), default=UNITS, show_default=True, metavar="N",
              help="Units to run; a source may end before.")  # fmt: skip
@click.option("--shares/--no-shares", default=True, show_default=True,
              help="Run a few units more to see what computes, waits, and holds the interpreter.")  # fmt: skip
@force_option
@seed_option
def command(
    graph: str, sets: tuple[str, ...], output: Path | None, budgets: bool, units: int, shares: bool, seed: int
) -> None:
    """Profile GRAPH: run it on its clock, and write what every node cost and how long packets travelled.

    \b
    wangraph profile duplex -o duplex.profile.yaml
    wangraph profile --write-budgets my.yaml
    wangraph profile duplex -o long.profile.yaml --set user.loop=true --units 1000
    wangraph simulate duplex --profile duplex.profile.yaml
    """
    from ...runtime.forecast.profile_file import write_profile
    from ...runtime.forecast.profiling import profile_run, shares_of

    if output is None and not budgets:
        raise UserError("profile: found no file to write (expected -o FILE or --write-budgets), give one of them")
    plan = load_plan(graph, sets, seed)
    if budgets and (sets or not Path(graph).is_file()):
        found = "--set" if sets else f"the shipped graph '{graph}'"
        raise UserError(f"--write-budgets: found {found} (expected a graph file as it is), write to a file of your own")
    if output is not None:
        _check_writable(output)
        check_targets(plan, [Target("-o", output, PROFILE)])
    profile, summary = profile_run(plan, units, shares_of(plan, SHARE_UNITS) if shares else {})
    machine = summary["machine"]
    heading = (
        f"What '{plan.name}' cost: {len(profile.rows)} of {summary['units']} units, {summary['misses']} misses, "
        f"{profile.source}\n{machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, load {machine['load_1m']}"
    )
    _print(plan, profile)
    if output is not None:
        claim(output)
        output.write_text(write_profile(profile, heading))
        click.echo(f"wrote {output}")
    if budgets:
        from ..shared.budgets import write_budgets

        written = ", ".join(f"{name} {ms:g}" for name, ms in write_budgets(Path(graph), plan, profile).items())
        click.echo(f"wrote budgets into {graph}: {written or 'every node has one'}")


def _check_writable(output: Path) -> None:
    if not os.access(output.resolve().parent, os.W_OK) or (output.exists() and not os.access(output, os.W_OK)):
        raise UserError(f"{output}: cannot write there (expected a writable file), give another with -o")


def _print(plan: Plan, profile: Profile) -> None:
    numbers = ("cost ms", "p95", "grows per unit", "processor", "threads", "waits", "holds interpreter")
    rows = table("node", *numbers, "levels ms", right=numbers)
    for name, cost in profile.nodes.items():
        p95 = "" if cost.p95_ms is None else f"{cost.p95_ms:.3f}"
        figures = (f"{cost.cost_ms:.3f}", p95, f"{cost.per_unit_ms:.5f}" if cost.per_unit_ms else "")
        used = ("", "", "", "")
        if cost.cpu_ms is not None:
            used = (f"{cost.cpu_ms:.3f}", f"{cost.threads:.1f}", f"{cost.wait_ms:.3f}", f"{cost.hold_ms:.3f}")
        rows.add_row(name, *figures, *used, " ".join(f"{ms:.2f}" for ms in cost.level_ms))
    for name, delay in profile.transfers.items():
        rows.add_row(name, f"{delay.ms:.3f}", f"{delay.p95_ms:.3f}")
    late = profile.clock
    rows.add_row("clock late", f"{late.late_ms:.3f}", "" if late.p95_ms is None else f"{late.p95_ms:.3f}")
    console().print(rows)
