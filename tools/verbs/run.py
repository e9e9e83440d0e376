"""``wangraph run``: a graph on its clock, with a live view on a terminal and a summary at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from ..shared.options import FiniteRange, graph_argument, load_plan, no_code_option, seed_option, set_option
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
from ..shared.slo import parse_goals, slo_option


@click.command()
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

    \b
    A fault is NODE: KIND at=UNITS, where UNITS is 40, 40..60 or 40.. and KIND is
      stall=300ms     the call takes so much longer (us, ms or s)
      slow=2.5        the call takes so many times as long
      hang            the call never returns
      raise           the node raises
      drop            the node computes, its outputs are lost
      nan             its floating-point outputs become NaN
      garbage         its outputs become random values of the same shape
      corrupt         bytes of its outputs are overwritten, about one of 256
      repeat          it gives once more what it gave for the unit before
      duplicate       what it sends to other processes arrives twice
      reorder         what it sends to other processes arrives after the next unit
      kill            its process is killed (SIGKILL)
      exit0           its process ends, with exit code 0
      stop, stop=2s   its process is frozen (SIGSTOP), for ever or for so long
      freeze-gil=2s   the interpreter of its process is held for so long, in C
      cpu-hog=2s      every core is kept busy for so long
      disk-full       files of its process cannot grow, from then on
    Add p=.1 to strike one of ten of these units, the same ones whenever the seed is the same. Under the virtual clock
    stall and slow are virtual time. The trace records every fault. An underrun is a row of missed units.

    \b
    A goal of --slo is FIGURE<LIMIT (also <=, > and >=), where FIGURE is
      units, real, misses, concealed, late, underruns           a number, or a share of the units: misses<1%
      deadline_attainment                                       a share: deadline_attainment>99%
      recover                                                   longest time without a real unit
      first, skew                                               until the first real unit; the largest
      latency_p50, _p95, _p99, _max, model_latency_p50 ...      of the real units
      slack_p50, _p5, _p1, _min, fps
    """
    from ...runtime.engine.faults import parse_fault
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
        metrics_port=metrics_port,
        otel=otel,
        keep_log=False,
    )
    return exit_code_of(*run_and_tell(plan, options, json_to, quiet, progress=progress, goals=goals), max_misses)
