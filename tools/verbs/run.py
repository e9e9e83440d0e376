"""``wangraph run``: a graph on its clock, with a live view on a terminal and a summary at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ...runtime.engine.faults import HELP as FAULTS
from ...runtime.engine.faults import parse_fault
from ..shared.options import (
    FiniteRange,
    force_option,
    graph_argument,
    load_plan,
    no_code_option,
    seed_option,
    set_option,
)
from ..shared.running import (
    duration_option,
    exit_code_of,
    json_option,
    max_misses_option,
    quiet_option,
    run_and_tell,
    units_of,
    units_option,
)
from ..shared.slo import HELP as GOALS
from ..shared.slo import parse_goals, slo_option

if TYPE_CHECKING:
    from ...runtime.channel.transport import LinkName


@click.command(epilog=f"\b\n{FAULTS}\n\n\b\n{GOALS}")
@graph_argument
@set_option
@no_code_option
@units_option
@duration_option
@click.option("--clock", type=click.Choice(["system", "virtual"]), default="system", show_default=True,
              help="Real time, or as fast as it goes, costs taken from the graph's budgets.")  # fmt: skip
@click.option("--serial", is_flag=True, help="One thread, one process, one body at a time.")
@click.option("--trace", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write every record of the run; look at it with wangraph timeline.")  # fmt: skip
@click.option("--trace-window", "trace_window_s", type=FiniteRange(0, 1e9, min_open=True), metavar="SECONDS",
              help="Keep only the last records in the trace, of a run that lasts for days.")  # fmt: skip
@click.option("--flight-recorder", "flight_recorder_s", type=FiniteRange(0, 1e9, min_open=True), metavar="SECONDS",
              help="Keep the last records and write them as GRAPH.flight.trace on the first miss.")  # fmt: skip
@click.option("--link", type=click.Choice(["direct", "zeromq"]), default="direct", show_default=True,
              help="What carries packets' headers between processes: their own threads, or ZeroMQ's.")  # fmt: skip
@click.option("--inject", "faults", multiple=True, metavar="FAULT",
              help="Do harm on purpose, see below; may be given several times.")  # fmt: skip
@click.option("--metrics", "metrics_port", type=click.IntRange(0, 65535), metavar="PORT",
              help="Serve figures for Prometheus on this loopback port (0: any), at the address that is told; "
                   "WANGRAPH_TOKEN sets its token.")  # fmt: skip
@click.option("--otel", metavar="URL",
              help="Send a trace per unit to an OpenTelemetry collector: http://127.0.0.1:4318.")  # fmt: skip
@click.option("--progress/--no-progress", default=None,
              help="A line every 10 s on standard error; by default where there is no terminal.")  # fmt: skip
@max_misses_option
@slo_option
@force_option
@json_option
@quiet_option
@seed_option
def command(
    graph: str,
    sets: tuple[str, ...],
    no_code: bool,
    units: int | None,
    duration: float | None,
    clock: Literal["system", "virtual"],
    serial: bool,
    trace: Path | None,
    trace_window_s: float | None,
    flight_recorder_s: float | None,
    link: LinkName,
    faults: tuple[str, ...],
    metrics_port: int | None,
    otel: str | None,
    progress: bool | None,
    max_misses: int | None,
    slo: str | None,
    json_to: str | None,
    quiet: bool,
    seed: int,
) -> int:
    """Run GRAPH: a file, or the name of a shipped one.

    \b
    wangraph run hello
    wangraph run graphs/duplex.yaml --set source=me.mp4 --trace run.trace
    wangraph run duplex --clock virtual --units 200 --json -
    wangraph run duplex --inject 'perform: stall=300ms at=40' --trace run.trace
    wangraph run duplex --slo 'misses<1%, recover<3s, skew<20ms, latency_p95<300ms'
    """
    from ...runtime.engine.options import Options

    goals = parse_goals(slo) if slo is not None else []
    plan = load_plan(graph, sets, seed, no_code=no_code)
    options = Options(
        units=units_of(plan, units, duration),
        clock=clock,
        serial=serial,
        trace=trace,
        trace_window_s=trace_window_s,
        faults=tuple(map(parse_fault, faults)),
        flight_recorder_s=flight_recorder_s,
        link=link,
        metrics_port=metrics_port,
        otel=otel,
        keep_log=False,
    )
    return exit_code_of(*run_and_tell(plan, options, json_to, quiet, progress=progress, goals=goals), max_misses)
