"""``wangraph timeline``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Literal

import click

from ...runtime.errors import UserError
from ..shared.options import force_option
from ..shared.targets import JSON, PAGE, Target, check_kind
from ..timeline.columns import view_of
from ..timeline.facts import Run, misses, read_run
from ..timeline.html import page_of, save
from ..timeline.perfetto import chrome_trace
from ..timeline.story import story

Format = Literal["html", "perfetto"]
SUFFIX: dict[Format, str] = {"html": ".html", "perfetto": ".perfetto.json"}


@click.command("timeline")
@click.argument("traces", nargs=-1, metavar="TRACE [TRACE]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: beside TRACE]")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(SUFFIX)),
    default="html",
    show_default=True,
    help="A page of its own, or JSON for ui.perfetto.dev and chrome://tracing.",
)
@force_option
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
@click.option("--live", is_flag=True, help="Follow a run that goes on: RUN, as wangraph top knows it, or the only one.")
@click.option("--port", type=click.IntRange(0, 65535), help="With --live, of the loopback interface.  [default: free]")
def command(
    traces: tuple[str, ...], output: Path | None, form: Format, show: bool, live: bool, port: int | None
) -> None:
    """Make a page with every unit of a run on it: who waited, computed and sent, and which unit was late and why.

    \b
    wangraph run duplex --trace run.trace
    wangraph timeline run.trace                      writes run.html
    wangraph timeline run.trace -o page.html --open
    wangraph timeline before.trace after.trace       two runs, unit by unit; writes before-after.html
    wangraph timeline run.trace --format perfetto    writes run.perfetto.json
    wangraph timeline --live [RUN] --open            follows a run; with -o, keeps the page when it has ended
    """
    if show and form != "html":
        raise UserError("--open: found --format perfetto (expected html), open the file at https://ui.perfetto.dev")
    if live:
        if form != "html":
            raise UserError("--live: found --format perfetto (expected html), run with --trace and make it afterwards")
        from ..timeline.following import follow

        check_kind(Target("-o", output, PAGE))
        follow(_only_one(traces), port or 0, output, show)
        return
    if port is not None:
        raise UserError("--port: found no --live (expected both: a page in a file needs no port), leave it out")
    target = _write([Path(trace) for trace in traces], output, form)
    click.echo(target)
    if show:
        webbrowser.open(target.resolve().as_uri())


def _only_one(runs: tuple[str, ...]) -> str | None:
    if len(runs) > 1:
        raise UserError(f"--live: found {len(runs)} runs (expected one at most), name one: see wangraph top")
    return runs[0] if runs else None


def _write(traces: list[Path], output: Path | None, form: Format) -> Path:
    """Make the file; where it is."""
    if not 1 <= len(traces) <= (2 if form == "html" else 1):
        expected = "one, or two to compare" if form == "html" else "one for Perfetto"
        found = f"timeline: found {len(traces)} traces (expected {expected})"
        raise UserError(f"{found}, make one with: wangraph run GRAPH --trace FILE")
    stem = "-".join(Path(trace.name.removesuffix(".gz")).stem for trace in traces)
    target = output if output is not None else traces[0].with_name(stem + SUFFIX[form])
    if target.resolve() in [trace.resolve() for trace in traces]:
        raise UserError(f"{target}: found the trace itself (expected another file to write), give -o FILE")
    check_kind(Target("-o", target, PAGE if form == "html" else JSON))
    runs = [read_run(trace) for trace in traces]
    _check_alike(traces, runs)
    if form == "perfetto":
        text = chrome_trace(runs[0])
    else:
        named = zip(traces, runs, strict=True)
        text = page_of(*(view_of(run, name=trace.name, blamed=story(run, misses(run))) for trace, run in named))
    save(text, target)
    return target


def _check_alike(traces: list[Path], runs: list[Run]) -> None:
    """Two runs lie beside each other unit by unit: their units must be equally long."""
    lengths = [run.plan.clock.period for run in runs]
    if len(set(lengths)) > 1:
        periods = [f"{float(length) * 1000:g} ms" for length in lengths]
        raise UserError(
            f"{traces[1]}: found units of {periods[1]} (expected {periods[0]}, as in {traces[0]}), "
            "compare runs of one clock, or make a page of each"
        )
