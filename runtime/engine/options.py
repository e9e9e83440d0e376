"""Options of a run: everything that may be chosen before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, Unpack, get_args

from ..channel.transport import LinkName
from ..errors import UserError, did_you_mean, listing
from ..schedule.events import Event
from .faults import Fault, parse_fault

ClockName = Literal["system", "virtual"]


@dataclass(frozen=True)
class Options:
    """Options of one run.

    Attributes:
        units: sources end after so many units; None: when they have no more.
        clock: ``system`` (real time) or ``virtual`` (as fast as it goes, costs from the graph's budgets).
        serial: one thread, one process, one body at a time.
        trace: write every record here.
        trace_window_s: keep only so many seconds of records in the trace.
        taps: streams whose packets to keep, from the first one on, for the result and for `Run.packets`.
        log: decisions to follow instead of a clock.
        faults: what to inject.
        flight_recorder_s: keep so many seconds of records, and write them on the first miss.
        record: write packets and decisions to this file.
        record_edges: which packets: ``node.port``, ``node`` or ``all``; what enters and leaves the graph by default.
        metrics_port: serve figures for Prometheus on this port of the loopback interface; 0 takes a free one.
        otel: send spans to the OpenTelemetry collector at this URL.
        keep_log: keep the decision log for the result; a run that lasts for days does without.
        paused: open and warm every node, then wait for `Run.begin`.
        link: what carries packets' headers between processes: ``direct``, or ``zeromq`` with its threads in between.
    """

    units: int | None = None
    clock: ClockName = "system"
    serial: bool = False
    trace: Path | None = None
    trace_window_s: float | None = None
    taps: tuple[str, ...] = ()
    log: tuple[Event, ...] | None = None
    faults: tuple[Fault, ...] = ()
    flight_recorder_s: float | None = None
    record: Path | None = None
    record_edges: tuple[str, ...] = ()
    metrics_port: int | None = None
    otel: str | None = None
    keep_log: bool = True
    paused: bool = False
    link: LinkName = "direct"

    @property
    def in_processes(self) -> bool:
        """True if the run has processes of its own; one that follows decisions, which no clock holds, has none."""
        return not self.serial and self.clock == "system" and self.log is None


class RunArguments(TypedDict, total=False):
    """Arguments for running a graph from Python; all may be left out.

    Attributes:
        units: sources end after so many units.
        clock: ``system`` (real time) or ``virtual`` (as fast as it goes; costs are the graph's budgets).
        serial: one thread, one process, one body at a time.
        trace: write every record of the run to this file.
        trace_window: keep only the last so many seconds of records in it.
        taps: streams (``node.port``) whose packets to keep, from the first one on.
        log: the decision log of another run of the same graph: follow it instead of a clock, in this process.
        keep_log: keep this run's decision log for the result; a run that lasts for days does without.
        inject: faults, each ``"NODE: stall=300ms at=UNIT"``; all kinds are in `faults`.
        flight_recorder: keep so many seconds of records, and write them to a trace on the first miss.
        record: write packets and decisions to this MCAP file.
        record_edges: which packets: ``node.port``, ``node`` or ``all``; what enters and leaves the graph by default.
        metrics: serve figures for Prometheus on this port of the loopback interface.
        otel: send a trace per unit to the OpenTelemetry collector at this URL.
        paused: open and warm every node, then wait for `Run.begin`: what comes then starts within a tenth of a second.
        link: what carries packets' headers between processes: ``direct``, or ``zeromq`` to compare with.
    """

    units: int | None
    clock: ClockName
    serial: bool
    trace: str | Path | None
    trace_window: float | None
    taps: Sequence[str]
    log: Sequence[Event] | None
    keep_log: bool
    inject: Sequence[str]
    flight_recorder: float | None
    record: str | Path | None
    record_edges: Sequence[str]
    metrics: int | None
    otel: str | None
    paused: bool
    link: LinkName


def make_options(**arguments: Unpack[RunArguments]) -> Options:
    """Options out of what a Python user writes.

    Raises:
        UserError: no such argument, or a fault that cannot be read.
    """
    known = RunArguments.__annotations__
    for name in arguments:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(f"run: no argument '{name}' (it has: {listing([*known, 'seed'])}){hint}")
    trace, record, log = arguments.get("trace"), arguments.get("record"), arguments.get("log")
    return Options(
        units=arguments.get("units"),
        clock=arguments.get("clock", "system"),
        serial=arguments.get("serial", False),
        trace=Path(trace) if trace else None,
        trace_window_s=arguments.get("trace_window"),
        taps=tuple(arguments.get("taps", ())),
        log=None if log is None else tuple(log),
        keep_log=arguments.get("keep_log", True),
        faults=tuple(map(parse_fault, arguments.get("inject", ()))),
        flight_recorder_s=arguments.get("flight_recorder"),
        record=Path(record) if record else None,
        record_edges=tuple(arguments.get("record_edges", ())),
        metrics_port=arguments.get("metrics"),
        otel=arguments.get("otel"),
        paused=arguments.get("paused", False),
        link=_link(arguments.get("link", "direct")),
    )


def _link(name: LinkName) -> LinkName:
    if name not in get_args(LinkName):
        raise UserError(f"run: link: found {name!r} (expected one of: {listing(get_args(LinkName))})")
    return name
