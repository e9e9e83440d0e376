"""Runs a plan to its end, in whichever engine, and tells what it was like."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import UserError, WangraphError, listing
from ..node import Node
from ..observe.machine import machine as machine
from ..observe.records import Note, Record, make_header
from ..observe.statistics import Statistics
from ..observe.status import Watched
from ..observe.views import Views
from ..packet import Packet
from ..plan.catalogue import resolve
from ..plan.plan import Plan
from ..schedule.events import Event
from .commands import Asked
from .faults import check_faults
from .local import InsideEngine
from .options import Options
from .record_sinks import Keeper, recorded_streams
from .supervisor import Report, Supervisor

Listener = tuple[frozenset[str], Callable[[Packet], None]]
"""Streams, and who is told their packets as they settle; in a run with processes, from a thread of its own."""


UNTIMED: dict[str, Any] = {"fps": 0.0, "latency_ms": {}, "model_latency_ms": {}, "slack_ms": {}}
"""What the summary of a run that follows decisions does not know: no clock holds it."""


class Watcher(Protocol):
    """Looks at a run while it goes on."""

    def look(self, statistics: Statistics, usage: dict[str, dict[str, float | int]]) -> None:
        """Called several times a second."""
        ...


@dataclass
class RunResult:
    """What a run was like.

    Attributes:
        summary: as ``wangraph run --json`` prints it.
        reports: what nodes told: (node, key, text), for example files written.
        packets: by stream, what the taps saw.
        log: the decision log, to run the same again (with ``Options.keep_log``).
    """

    summary: dict[str, Any]
    reports: list[Report] = field(default_factory=list)
    packets: dict[str, list[Packet]] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)


class Run:
    """One run of a plan. `go` runs it; `stop` may be called from another thread or a signal handler.

    Attributes:
        watcher: looks at the run a few times a second.
        listener: who is told packets.
    """

    def __init__(self, plan: Plan, options: Options, watcher: Watcher | None = None) -> None:
        self.plan = plan
        self.options = options
        self.statistics = Statistics(plan)
        self.summary: dict[str, Any] = {}
        self.reports: list[Report] = []
        self.watcher = watcher
        self.listener: Listener | None = None
        self._asked = Asked()
        self._usage: dict[str, dict[str, float | int]] = {}
        self._engine: Supervisor | InsideEngine | None = None
        self._epoch: int | None = None
        self._result = RunResult({})
        self._header = make_header(plan, options.clock, "serial" if options.serial else "parallel")
        self._check()

    def go(self) -> RunResult:
        """Run to the end.

        Raises:
            WangraphError: the run failed; `summary` and the trace hold what came before, files are closed.
        """
        with Views(self.plan, self._header, self.options.metrics_port) as self._views:
            return self._go_watched()

    def _go_watched(self) -> RunResult:
        began = time.monotonic()
        self._keeper = Keeper(self.plan, self.options, self._header)
        inject = [Note(0, "supervisor", "inject", str(fault)) for fault in self.options.faults]
        self._take([*inject, *self._views.notes, *self._keeper.notes])
        is_whole = False
        try:
            with _signals(self.stop):
                self._go_in_engine()
            is_whole = self._asked.stops < 2 and not (isinstance(self._engine, Supervisor) and self._engine.gave_up)
        except WangraphError as error:
            self._take([Note(self._now_ns(), "supervisor", "failed", str(error))])
            raise
        finally:
            self._asked.close()
            self.statistics.add(self._keeper.finish())
            self.summary = self._summarise(time.monotonic() - began)
            self._result.summary = self.summary
            self._result.reports = self.reports
            failure = self._keeper.close(self.summary, is_whole=is_whole)
        if failure is not None:
            raise failure
        return self._result

    def stop(self) -> None:
        """End in order; asked twice, at once. From any thread, or a signal handler."""
        self._asked.stop()

    def fence(self, streams: Sequence[str], first_unit: int | None = None) -> None:
        """Interrupt: what these streams carry for ``first_unit`` (None: the unit going on) and later, and was begun
        before the fence, is dropped. What has settled stays settled; states live on. From any thread.

        Raises:
            UserError: no such stream.
        """
        for stream in streams:
            if stream not in self.plan.streams:
                raise UserError(f"fence: no stream '{stream}' (it has: {listing(self.plan.streams)})")
        self._asked.fence(streams, first_unit)

    @property
    def log(self) -> list[Event]:
        """What was decided so far."""
        return self._result.log

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was asked for."""
        return self._asked.stops > 0

    # Engines

    def _go_in_engine(self) -> None:
        if not self.options.in_processes:
            self._go_inside()
        else:
            self._go_in_processes()

    def _go_in_processes(self) -> None:
        supervisor = Supervisor(
            self.plan,
            limit=self.options.units,
            on_records=lambda records: self._take(records, supervisor),
            asked=self._asked,
            faults=self.options.faults,
            taps=sorted(self._keeper.taps | (self.listener[0] if self.listener else frozenset())),
            on_packet=self._tap,
        )
        self._engine = supervisor
        try:
            supervisor.run()
        finally:
            self.reports = supervisor.reports
            self._usage = supervisor.usage

    def _go_inside(self) -> None:
        engine = InsideEngine(
            self.plan,
            self.options,
            tap=self._tap,
            take=self._take,
            look=lambda: self._look(engine),
            asked=self._asked,
        )
        self._engine = engine
        try:
            engine.run()
        finally:
            self.reports = engine.reports
            self._usage = engine.usage

    # Records

    def _tap(self, packet: Packet) -> None:
        self._keeper.tap(packet)
        if self.listener is not None and packet.stream in self.listener[0]:
            self.listener[1](packet)
        if packet.stream in self.options.taps:
            self._result.packets.setdefault(packet.stream, []).append(packet.keep())

    def _take(self, records: Sequence[Record], engine: Watched | None = None) -> None:
        self.statistics.add(records)
        if self.options.keep_log:
            self._result.log += [r for r in records if isinstance(r, Event)]
        self.statistics.add(self._keeper.take(records, self.statistics.misses, self._epoch_ns()))
        if engine is not None:
            self._look(engine)

    def _now_ns(self) -> int:
        """Nanoseconds after the origin; 0 before the run."""
        epoch = self._epoch_ns()
        return 0 if epoch is None else time.time_ns() - epoch

    def _epoch_ns(self) -> int | None:
        """When unit 0 began, in nanoseconds since 1970; None while it has not."""
        if self._epoch is None and self._engine is not None and self._engine.origin_ns:
            self._epoch = time.time_ns() - time.monotonic_ns() + self._engine.origin_ns
        return self._epoch

    def _look(self, engine: Watched) -> None:
        self._usage = engine.usage
        self._views.serve(self.statistics, engine)
        if self.watcher is not None:
            self.watcher.look(self.statistics, self._usage)

    def _summarise(self, wall_s: float) -> dict[str, Any]:
        summary = self.statistics.summary()
        media_s = summary["units"] * float(self.plan.clock.period)
        weights = {f"{node}": text for node, key, text in self.reports if key == "weights"}
        return {
            **(summary if self.options.log is None else {**summary, **UNTIMED}),
            "origin_ns": self._engine.origin_ns or None if isinstance(self._engine, Supervisor) else None,
            "wall_s": round(wall_s, 3),
            "realtime_factor": round(media_s / wall_s, 3) if wall_s else 0.0,
            "clock": self.options.clock if self.options.log is None else "recorded",
            "engine": "serial" if self.options.serial else "parallel",
            "processes": self._usage,
            "weights": weights,
            "wrote": [text for _, key, text in self.reports if key == "wrote"] + self._keeper.wrote,
            "machine": machine(),
            **({} if (recording := self._keeper.recording) is None else {"recording": recording}),
        }

    def _check(self) -> None:
        for name in self.options.taps:
            if name not in self.plan.streams:
                raise UserError(f"taps: no stream '{name}' (it has: {', '.join(sorted(self.plan.streams))})")
        check_faults(self.options.faults, self.plan, in_processes=self.options.in_processes)
        if self.options.record:
            recorded_streams(self.plan, self.options.record_edges)
        if self.options.clock == "virtual":
            live = [n.name for n in self.plan.nodes.values() if resolve(n.target).is_live]
            if live:
                raise UserError(
                    f"--clock virtual: node '{live[0]}' reads a live device (expected sources that can wait), "
                    "run on the system clock"
                )


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run in order; the second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stop())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_node(plan: Plan, name: str) -> Node:
    """The instance of a node, as its process would make it."""
    node = plan.nodes[name]
    return resolve(node.target)(**node.params)
