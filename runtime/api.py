"""Running graphs from Python, as ``wangraph run`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .engine import process
from .engine.faults import parse_fault
from .engine.options import ClockName, Options
from .engine.run import Run, RunResult
from .errors import UserError
from .plan.graph import Graph
from .plan.plan import Plan
from .schedule.events import Event


def load(reference: str | Path, set: Mapping[str, Any] | None = None) -> Graph:
    """A graph by path or shipped name; ``set`` as ``--set`` on the command line.

    Raises:
        GraphError: everything that is wrong with the file as text.
    """
    return Graph.load(reference, set)


def run(
    graph: Graph | Plan | str | Path,
    *,
    units: int | None = None,
    clock: ClockName = "system",
    serial: bool = False,
    trace: str | Path | None = None,
    taps: Sequence[str] = (),
    log: Sequence[Event] | None = None,
    keep_log: bool = True,
    seed: int = 0,
    inject: Sequence[str] = (),
    flight_recorder: float | None = None,
    record: str | Path | None = None,
    record_edges: Sequence[str] = (),
    metrics: int | None = None,
    otel: str | None = None,
) -> RunResult:
    """Run a graph to its end.

    Args:
        graph: built, loaded, planned, or a path or shipped name.
        units: sources end after so many units.
        clock: ``system`` (real time) or ``virtual`` (as fast as it goes; costs are the graph's budgets).
        serial: one thread, one process, one body at a time.
        trace: write every record of the run to this file.
        taps: streams (``node.port``) whose packets to keep; needs ``serial`` or the virtual clock.
        log: the decision log of another run of the same graph: follow it instead of a clock, in this process.
        keep_log: keep this run's decision log for the result; a run that lasts for days does without.
        seed: of all that is drawn by chance, when the graph is not planned yet.
        inject: faults, each ``"NODE: stall=300ms at=UNIT"`` (also slow, drop, raise, kill).
        flight_recorder: keep so many seconds of records, and write them to a trace on the first miss.
        record: write packets and decisions to this MCAP file.
        record_edges: which packets: ``node.port``, ``node`` or ``all``; what enters and leaves the graph by default.
        metrics: serve figures for Prometheus on this port of the loopback interface.
        otel: send a trace per unit to the OpenTelemetry collector at this URL.

    Raises:
        UserError: the graph, or how it is to be run, cannot be.
        RunError: the run failed; files are closed by then.
    """
    if process.loading:
        raise UserError(
            f"run: called while process '{process.loading}' loads a file of nodes (expected to be called once), "
            "put the call under: if __name__ == '__main__':"
        )
    if taps and not serial and clock == "system":
        raise UserError("taps: found a run in processes of its own (expected serial=True or clock='virtual')")
    plan = graph if isinstance(graph, Plan) else (graph if isinstance(graph, Graph) else load(graph)).plan(seed)
    options = Options(
        units=units,
        clock=clock,
        serial=serial,
        trace=Path(trace) if trace else None,
        taps=tuple(taps),
        log=None if log is None else tuple(log),
        keep_log=keep_log,
        faults=tuple(map(parse_fault, inject)),
        flight_recorder_s=flight_recorder,
        record=Path(record) if record else None,
        record_edges=tuple(record_edges),
        metrics_port=metrics,
        otel=otel,
    )
    return Run(plan, options).go()
