"""Parts of verbs that run a graph: a live view, the summary, the exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...runtime.errors import RunError, UserError, WangraphError
from .json_file import STANDARD_OUTPUT, check_json, output_kept_for_json, write_json
from .options import FiniteRange
from .slo import Goal, exit_code_of_goals, held_against, print_goals
from .targets import JSON, RECORDING, TRACE, Target, check_targets
from .watchdog import watchdog

if TYPE_CHECKING:
    from ...runtime.engine.collector import Listener
    from ...runtime.engine.options import Options
    from ...runtime.engine.run import Run
    from ...runtime.plan.plan import Plan

units_option = click.option("--units", type=click.IntRange(min=1), metavar="N", help="End after N units.")
duration_option = click.option(
    "--duration", type=FiniteRange(0, 1e9, min_open=True), metavar="S", help="End after S seconds of media."
)
json_option = click.option(
    "--json", "json_to", metavar="FILE", help="Write the summary as JSON; - for standard output."
)
max_misses_option = click.option(
    "--max-misses",
    type=click.IntRange(min=0),
    metavar="N",
    help="Exit with 1 if more units than N are missed; half of them if not given.",
)
quiet_option = click.option("--quiet", is_flag=True, help="No live view and no summary.")


def units_of(plan: Plan, units: int | None, duration: float | None) -> int | None:
    """Number of units to run, from ``--units`` or ``--duration``.

    Raises:
        UserError: both are given.
    """
    if units is not None and duration is not None:
        raise UserError("--units and --duration: found both (expected one of them), leave one out")
    return units if duration is None else plan.clock.units_for(duration)


def run_and_tell(
    plan: Plan,
    options: Options,
    json_to: str | None,
    quiet: bool,
    listener: Listener | None = None,
    also_read: Mapping[str, Path] | None = None,
    progress: bool | None = None,
    goals: Sequence[Goal] = (),
) -> tuple[Run, int]:
    """Run, with a live view on a terminal, and print what it was like; the run, and the exit code.

    Args:
        plan: the graph.
        options: how to run it.
        json_to: where the summary goes as JSON, too.
        quiet: print nothing.
        listener: streams, and who is told their packets.
        also_read: files that must not be written, as `check_targets` takes them.
        progress: a line every few seconds on standard error instead of the live view; None: off a terminal.
        goals: what to hold the summary against; `exit_code_of` takes it from there.

    Raises:
        WangraphError: the run could not start, or failed; the summary is printed before.
    """
    from ...runtime.engine.launcher import limit_threads
    from ...runtime.engine.run import Run

    _check_files(plan, options, json_to, also_read)
    if not options.in_processes:
        limit_threads(max(p.threads for p in plan.processes.values()))
    run = Run(plan, options)
    run.collector.listener = listener
    error: WangraphError | None = None
    if progress if progress is not None else not (quiet or sys.stdout.isatty()):
        from .progress import ProgressLines

        run.collector.watcher = ProgressLines(lambda text: click.echo(f"{plan.name}: {text}", err=True))
    view = _view(run, quiet or json_to == STANDARD_OUTPUT or bool(progress))
    with view, output_kept_for_json(json_to), nullcontext() if options.in_processes else watchdog(run):
        try:
            run.start().wait()
        except WangraphError as failure:
            error = failure
    untold = _tell(run, json_to, quiet, goals) if run.summary else None
    error = error or untold  # what ended the run is worth more than that nobody can read of it
    if error is not None:
        raise error
    return run, run.exit_code


def _check_files(plan: Plan, options: Options, json_to: str | None, also_read: Mapping[str, Path] | None) -> None:
    """Raise `UserError` if a file that the command is to write cannot be, or would replace something else."""
    from ...runtime.observe.trace_window import older_path

    check_json(json_to)
    summary = None if json_to in (None, STANDARD_OUTPUT) else Path(str(json_to))
    older = older_path(options.trace) if options.trace and options.trace_window_s is not None else None
    targets = [
        Target("--trace", options.trace, TRACE),
        Target("--trace-window", older, TRACE),
        Target("-o", options.record, RECORDING),
    ]
    check_targets(plan, [*targets, Target("--json", summary, JSON)], also_read)


def _tell(run: Run, json_to: str | None, quiet: bool, goals: Sequence[Goal]) -> WangraphError | None:
    """Print the summary, and write it as JSON; gives why one of them could not be done."""
    error: WangraphError | None = None
    if goals:
        run.summary["slo"] = held_against(goals, run.summary)
    if not quiet and json_to != STANDARD_OUTPUT:
        from .summary import print_summary

        try:
            print_summary(run)
            if goals:
                print_goals(run.summary["slo"])
            sys.stdout.flush()
        except OSError as failure:
            error = RunError(f"standard output: {failure.strerror} (expected room for the summary)")
    if json_to is not None:
        try:
            write_json(run.summary, json_to)
        except WangraphError as failure:
            error = error or failure
    return error


def exit_code_of(run: Run, code: int, max_misses: int | None) -> int:
    """The exit code by goals and misses; more than half of the units are too many where neither speaks of them."""
    misses, units, slo = run.summary["misses"], run.summary["units"], run.summary.get("slo")
    has_goal = slo is not None and any(row["goal"].startswith("misses") for row in slo["goals"])
    allowed = max_misses if max_misses is not None else units if has_goal else units // 2
    code = code or exit_code_of_goals(slo)
    if code or misses <= allowed:
        return code
    if max_misses is None:
        text = (
            f"run: found {misses} misses of {units} units (expected half of them at most), allow more with --max-misses"
        )
        click.echo(text, err=True)
    else:
        click.echo(f"--max-misses: found {misses} misses (expected {max_misses} at most)", err=True)
    return 1


def _view(run: Run, silent: bool) -> AbstractContextManager[Any]:
    if silent or not sys.stdout.isatty():
        return nullcontext()
    from .live import LiveView

    return LiveView(run)
