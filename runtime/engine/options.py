"""How a run is made: everything that may be chosen before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..schedule.events import Event
from .faults import Fault

ClockName = Literal["system", "virtual"]


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes:
        units: sources end after so many units; None: when they have no more.
        clock: ``system`` (real time) or ``virtual`` (as fast as it goes, costs from the graph's budgets).
        serial: one thread, one process, one body at a time.
        trace: write every record here.
        taps: streams whose packets to keep and give back (in-process engines: ``virtual`` or ``serial``).
        log: decisions to follow instead of a clock.
        faults: what to inject.
        flight_recorder_s: keep so many seconds of records, and write them on the first miss.
        record: write packets and decisions to this file.
        record_edges: which packets: ``node.port``, ``node`` or ``all``; what enters and leaves the graph by default.
        metrics_port: serve figures for Prometheus on this port of the loopback interface; 0 takes a free one.
        otel: send spans to the OpenTelemetry collector at this URL.
        keep_log: keep the decision log for the result; a run that lasts for days does without.
    """

    units: int | None = None
    clock: ClockName = "system"
    serial: bool = False
    trace: Path | None = None
    taps: tuple[str, ...] = ()
    log: tuple[Event, ...] | None = None
    faults: tuple[Fault, ...] = ()
    flight_recorder_s: float | None = None
    record: Path | None = None
    record_edges: tuple[str, ...] = ()
    metrics_port: int | None = None
    otel: str | None = None
    keep_log: bool = True

    @property
    def in_processes(self) -> bool:
        """Whether the run has processes of its own; one that follows decisions, which no clock holds, has none."""
        return not self.serial and self.clock == "system" and self.log is None
