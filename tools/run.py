"""``wangraph run``: a graph on its clock, with a live view on a terminal and a summary at the end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from ..runtime.errors import UserError, WangraphError
from .options import graph_argument, load_plan, seed_option, set_option


@click.command()
@graph_argument
@set_option
@click.option("--units", type=click.IntRange(min=1), metavar="N", help="End after N units.")
@click.option(
    "--duration", type=click.FloatRange(min=0, min_open=True), metavar="S", help="End after S seconds of media."
)
@click.option("--clock", type=click.Choice(["system", "virtual"]), default="system", show_default=True,
              help="Real time, or as fast as it goes, costs taken from the graph's budgets.")  # fmt: skip
@click.option("--serial", is_flag=True, help="One thread, one process, one body at a time.")
@click.option("--trace", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write every record of the run; look at it with wangraph timeline.")  # fmt: skip
@click.option("--json", "json_to", metavar="FILE", help="Write the summary as JSON; - for standard output.")
@click.option("--quiet", is_flag=True, help="No live view and no summary.")
@seed_option
def command(
    graph: str,
    sets: tuple[str, ...],
    units: int | None,
    duration: float | None,
    clock: str,
    serial: bool,
    trace: Path | None,
    json_to: str | None,
    quiet: bool,
    seed: int,
) -> int:
    """Run GRAPH: a file, or the name of a shipped one.

    \b
    wangraph run hello
    wangraph run graphs/duplex.yaml --set source=me.mp4 --trace run.trace
    wangraph run duplex --clock virtual --units 200 --json -
    """
    plan = load_plan(graph, sets, seed)
    if units is not None and duration is not None:
        raise UserError("--units and --duration: found both (expected one of them), leave one out")
    if duration is not None:
        units = plan.clock.units_for(duration)
    _check_json(json_to)
    if serial or clock == "virtual":
        _limit_threads(max(p.threads for p in plan.processes.values()))
    from ..runtime.engine.run import Options, Run

    run = Run(plan, Options(units, clock, serial, trace))  # type: ignore[arg-type]
    error: WangraphError | None = None
    with _view(run, quiet or json_to == "-"):
        try:
            run.go()
        except WangraphError as failure:
            error = failure
    if json_to is not None:
        _write_json(run.summary, json_to)
    if not quiet and json_to != "-":
        from .summary import print_summary

        print_summary(run)
    if error is not None:
        raise error
    return 130 if run.is_stopped else 0


def _view(run: Any, silent: bool) -> Any:
    from contextlib import nullcontext

    if silent or not sys.stdout.isatty():
        return nullcontext()
    from .live import LiveView

    return LiveView(run)


def _limit_threads(threads: int) -> None:
    """In-process engines: the numeric libraries read these when they load, which is later."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))


def _check_json(target: str | None) -> None:
    if target in (None, "-"):
        return
    assert target is not None
    folder = Path(target).resolve().parent
    if not os.access(folder, os.W_OK):
        raise UserError(f"--json: {target}: cannot write into {folder} (expected a writable folder), name another file")


def _write_json(summary: dict[str, Any], target: str) -> None:
    text = json.dumps(summary, indent=2)
    if target == "-":
        click.echo(text)
    else:
        Path(target).write_text(text + "\n")
