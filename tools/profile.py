"""``wangraph profile``: run a graph, and write down what its nodes cost on this machine."""

from __future__ import annotations

import datetime
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..runtime.errors import UserError
from .options import graph_argument, load_plan, seed_option, set_option
from .tables import console, table
from .targets import PROFILE, Target, check_targets

if TYPE_CHECKING:
    from ..runtime.plan.plan import Plan
    from ..runtime.plan.profile import Profile

UNITS = 200
HOLD_UNITS = 24
"""Units for the interpreter's share: run once more, one body at a time."""


@click.command()
@graph_argument
@set_option
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE",
              help="Profile to write.")  # fmt: skip
@click.option("--units", type=click.IntRange(min=10), default=UNITS, show_default=True, metavar="N",
              help="Units to run; a source may end before.")  # fmt: skip
@click.option("--hold/--no-hold", default=True, show_default=True,
              help="Run a few units more to see how much of it holds the interpreter.")  # fmt: skip
@seed_option
def command(graph: str, sets: tuple[str, ...], output: Path, units: int, hold: bool, seed: int) -> None:
    """Profile GRAPH: run it on its clock, and write what every node cost and how long packets travelled.

    \b
    wangraph profile duplex -o duplex.profile.yaml
    wangraph profile duplex -o long.profile.yaml --set user.loop=true --units 1000
    wangraph simulate duplex --profile duplex.profile.yaml
    """
    from ..runtime.plan.profile_file import write_profile

    plan = load_plan(graph, sets, seed)
    if not os.access(output.resolve().parent, os.W_OK) or (output.exists() and not os.access(output, os.W_OK)):
        raise UserError(f"{output}: cannot write there (expected a writable file), give another with -o")
    check_targets(plan, [Target("-o", output, PROFILE)])
    holds = shares_of(plan) if hold else {}
    profile, summary = measure(plan, units, holds)
    machine = summary["machine"]
    heading = (
        f"What '{plan.name}' cost: {len(profile.rows)} of {summary['units']} units, {summary['misses']} misses, "
        f"{profile.source}\n{machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, load {machine['load_1m']}"
    )
    output.write_text(write_profile(profile, heading))
    _print(plan, profile)
    click.echo(f"wrote {output}")


def measure(plan: Plan, units: int, holds: dict[str, float] | None = None) -> tuple[Profile, dict[str, Any]]:
    """Run a graph on its clock; its profile, and the run's summary.

    Raises:
        WangraphError: the run failed, or was too short.
    """
    from ..runtime.engine.measure import measured
    from ..runtime.engine.records import read_trace
    from ..runtime.engine.run import Options, Run

    with tempfile.TemporaryDirectory(prefix="wangraph-") as folder:
        trace = Path(folder) / "profile.trace"
        run = Run(plan, Options(units=units, trace=trace))
        run.go()
        records = list(read_trace(trace))
    source = f"measured {datetime.date.today().isoformat()}"
    return measured(plan, records, source, cores=run.summary["machine"]["cores"], holds=holds), run.summary


def shares_of(plan: Plan) -> dict[str, float]:
    """How much of each node's cost holds the interpreter; nothing where a live device cannot be opened twice."""
    from ..runtime.engine.hold import hold_shares
    from ..runtime.plan.catalogue import resolve

    if any(resolve(node.target).is_live for node in plan.nodes.values()):
        return {}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(max(p.threads for p in plan.processes.values())))
    return hold_shares(plan, HOLD_UNITS)


def _print(plan: Plan, profile: Profile) -> None:
    numbers = ("cost ms", "p95", "grows per unit", "holds interpreter")
    rows = table("node", *numbers, "levels ms", right=numbers)
    for name, cost in profile.nodes.items():
        p95 = "" if cost.p95_ms is None else f"{cost.p95_ms:.3f}"
        figures = (f"{cost.cost_ms:.3f}", p95, f"{cost.per_unit_ms:.5f}" if cost.per_unit_ms else "")
        rows.add_row(name, *figures, f"{cost.hold_ms:.3f}", " ".join(f"{ms:.2f}" for ms in cost.level_ms))
    for name, delay in profile.transfers.items():
        rows.add_row(name, f"{delay.ms:.3f}", f"{delay.p95_ms:.3f}")
    late = profile.clock
    rows.add_row("clock late", f"{late.late_ms:.3f}", "" if late.p95_ms is None else f"{late.p95_ms:.3f}")
    console().print(rows)
