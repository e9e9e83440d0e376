"""Results of a run while it goes on: records, packets and reports, and where they go."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import WangraphError
from ..observe.machine import machine
from ..observe.records import Note, Record, make_header
from ..observe.statistics import Statistics
from ..observe.status import snapshot
from ..observe.totals import UNTIMED
from ..observe.views import Views
from ..packet import Packet
from ..plan.plan import Plan
from ..schedule.events import Event, Updated
from .commands import Fence
from .engine import Engine, NodeReport, Usage
from .options import Options
from .record_sinks import RecordSinks
from .subscription import Bell, Subscription

Listener = tuple[frozenset[str], Callable[[Packet], None]]
"""Streams, and what takes their packets as they settle; in a run with processes, called in a thread of its own."""


ALARMING = ("stall", "warning")
"""Kinds of notes that somebody may have to act on."""

_logger = logging.getLogger("wangraph.run")


class Watcher(Protocol):
    """Looks at a run while it goes on."""

    def poll(self, statistics: Statistics, usage: Usage) -> None:
        """Called several times a second, in a thread of the run."""
        ...


@dataclass
class RunResult:
    """Result of a run that has ended.

    Attributes:
        summary: as ``wangraph run --json`` prints it.
        reports: of the nodes: (node, key, text), for example files written.
        packets: by stream, what the taps got.
        log: the decision log, to run the same again (with ``Options.keep_log``).
    """

    summary: dict[str, Any]
    reports: list[NodeReport] = field(default_factory=list)
    packets: dict[str, list[Packet]] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)


class Collector:
    """The `Observer` of a run's engine: keeps figures, writes files, serves views, hands packets out.

    Make it, `open` it, set `engine`, run the engine, then `finish`.

    Attributes:
        engine: what runs the plan, once it is known.
        header: what a trace of the run begins with.
        watcher: looks at the run a few times a second.
        listener: takes packets.
    """

    def __init__(self, plan: Plan, options: Options) -> None:
        self.plan = plan
        self.options = options
        self.engine: Engine | None = None
        self.watcher: Watcher | None = None
        self.listener: Listener | None = None
        self.statistics = Statistics(plan)
        self.result = RunResult({})
        self._began = time.monotonic()
        self.header = make_header(plan, options.clock, "serial" if options.serial else "parallel")
        self._sinks: RecordSinks | None = None
        self._lock = threading.Lock()
        self._streams: dict[str, list[Subscription[Packet]]] = {}
        self._fences: list[Subscription[Fence]] = []
        self._records: list[Subscription[Record]] = []
        self._bell = Bell()
        self._epoch: int | None = None
        self._views: Views | None = None

    def open(self) -> None:
        """Open the files and the ports that the options name.

        Raises:
            UserError: one of them cannot be had; none is open then.
        """
        self._sinks = RecordSinks(self.plan, self.options, self.header)
        try:
            self._views = Views(self.plan, self.header, self.options.metrics_port)
        except WangraphError:
            self._sinks.close({}, is_whole=False)
            raise
        faults = [Note(0, "supervisor", "inject", str(fault)) for fault in self.options.faults]
        self.take([*faults, *self._views.notes, *self._sinks.notes])

    # In the engine's thread

    def take(self, records: Sequence[Record]) -> None:
        """Count records, keep the decision log, and pass everything on to the files."""
        noted = [r for record in records if isinstance(record, Updated) for r in (record, _note_of(record))]
        records = [*records, *(r for r in noted if isinstance(r, Note))] if noted else records
        with self._lock:
            self.statistics.add(records)
            for subscription in self._records:
                subscription.put_all(records)
        self._log(records)
        if self.options.keep_log:
            self.result.log += [r for r in records if isinstance(r, Event)]
        if self._sinks is not None:
            self._count(self._sinks.take(records, self.statistics.misses, self._epoch_ns()))

    def fenced(self, fence: Fence) -> None:
        """Say it to those who wait for fences."""
        with self._lock:
            for subscription in self._fences:
                subscription.put(fence)

    def poll(self) -> None:
        """Serve those who watch the run."""
        assert self.engine is not None
        if self._views is not None:
            self._views.serve(self.statistics, self.engine)
            self._take_news(self._views.news())
        if self.watcher is not None:
            self.watcher.poll(self.statistics, self.engine.usage)
        self._bell.ring()

    def fail(self, error: BaseException) -> None:
        """Note what ended the run before its time."""
        self.take([Note(self._now_ns(), "supervisor", "failed", str(error))])

    def finish(self, *, is_whole: bool) -> Exception | None:
        """The run is over: end what follows it, write what waits, make the summary.

        Args:
            is_whole: everything that was under way flowed out.

        Returns:
            Why a file could not be written whole.
        """
        if self.engine is not None:
            self.result.reports = self.engine.reports
        # before the files: who iterates ends with the run, and not with the disk
        for subscription in self._subscriptions():
            subscription.close()
        failure = None
        if self._views is not None:
            self._take_news(self._views.news(is_end=True))
        if self._sinks is not None:
            self._count(self._sinks.finish())
        # between the two: with what the files' writers had to say, and in time to be the files' last line
        self.result.summary = self._summarise()
        if self._sinks is not None:
            failure = self._sinks.close(self.result.summary, is_whole=is_whole)
        if self._views is not None:
            self._views.close()
        self._bell.ring()
        return failure

    def _take_news(self, text: str) -> None:
        if text:
            self.take([Note(self._now_ns(), "supervisor", "warning", text)])

    def _count(self, notes: Sequence[Note]) -> None:
        with self._lock:
            self.statistics.add(notes)
        self._log(notes)

    def _log(self, records: Sequence[Record]) -> None:
        """Log what is wrong when it happens, not only in the summary."""
        for record in records:
            if isinstance(record, Note) and record.kind in ALARMING:
                unit = max(0, self.plan.clock.unit_at(record.at_ns))
                _logger.warning("%.3f s, unit %d: %s: %s", record.at_ns / 1e9, unit, record.kind, record.text)

    def _epoch_ns(self) -> int | None:
        """The beginning of unit 0 in nanoseconds since 1970; None while there is none."""
        if self._epoch is None and self.engine is not None and self.engine.origin_ns:
            self._epoch = time.time_ns() - time.monotonic_ns() + self.engine.origin_ns
        return self._epoch

    def _now_ns(self) -> int:
        """Nanoseconds after the origin; 0 while there is none."""
        epoch = self._epoch_ns()
        return 0 if epoch is None else time.time_ns() - epoch

    def _summarise(self) -> dict[str, Any]:
        wall_s = time.monotonic() - self._began
        summary = self.statistics.summary()
        media_s = summary["units"] * float(self.plan.clock.period)
        reports, sinks = self.result.reports, self._sinks
        recording = None if sinks is None else sinks.recording
        return {
            **(summary if self.options.log is None else {**summary, **UNTIMED}),
            "origin_ns": self.engine.origin_ns or None if self.engine and self.options.in_processes else None,
            "wall_s": round(wall_s, 3),
            "realtime_factor": round(media_s / wall_s, 3) if wall_s else 0.0,
            "clock": self.options.clock if self.options.log is None else "recorded",
            "engine": "serial" if self.options.serial else "parallel",
            "processes": {} if self.engine is None else self.engine.usage,
            "weights": {f"{node}": text for node, key, text in reports if key == "weights"},
            "wrote": [text for _, key, text in reports if key == "wrote"] + ([] if sinks is None else sinks.wrote),
            "machine": machine(),
            **({} if recording is None else {"recording": recording}),
        }

    # From any thread

    def tap(self, packet: Packet) -> None:
        """Record a packet, keep it for the result, hand it out."""
        assert self._sinks is not None
        self._sinks.tap(packet)
        if self.listener is not None and packet.stream in self.listener[0]:
            self.listener[1](packet)
        with self._lock:
            streams = self._streams.get(packet.stream, [])
            if not streams and packet.stream not in self.options.taps:
                return
            packet = packet.keep()  # it may lie in a slot that its producer will use again
            if packet.stream in self.options.taps:
                self.result.packets.setdefault(packet.stream, []).append(packet)
            for stream in streams:
                stream.put(packet)

    @property
    def tapped(self) -> list[str]:
        """Streams whose packets are wanted from the first one on."""
        recorded = frozenset[str]() if self._sinks is None else self._sinks.taps
        listened = self.listener[0] if self.listener else frozenset[str]()
        return sorted(recorded | listened | set(self.options.taps) | set(self._streams))

    def hand_out(self, name: str, backlog: int | None) -> Subscription[Packet]:
        """Packets of a stream from now on; of one of the run's taps, from its first packet on."""
        stream = Subscription[Packet](name, backlog, self._bell)
        with self._lock:
            for packet in self.result.packets.get(name, []):
                stream.put(packet)
            self._streams.setdefault(name, []).append(stream)
        return stream

    def snapshot(self) -> dict[str, Any]:
        """The run now, as ``wangraph top`` shows it."""
        with self._lock:
            return {} if self.engine is None else snapshot(self.statistics, self.engine)

    def wait_for_statuses(self, timeout_s: float) -> None:
        """Until every node has reported where it is, or so long."""
        engine = self.engine
        if engine is not None:
            self._bell.wait_for(lambda: len(engine.statuses) == len(self.plan.nodes), timeout_s)

    def hand_out_fences(self, backlog: int | None) -> Subscription[Fence]:
        """Fences from now on."""
        subscription = Subscription[Fence]("fences", backlog, self._bell)
        with self._lock:
            self._fences.append(subscription)
        return subscription

    def hand_out_records(self, backlog: int | None) -> Subscription[Record]:
        """Records from now on."""
        subscription = Subscription[Record]("records", backlog, self._bell)
        with self._lock:
            self._records.append(subscription)
        return subscription

    def wake_waiters(self) -> None:
        """Wake whoever waits for something about the run."""
        self._bell.ring()

    def wait_for(self, is_true: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait in a thread for something about the engine; whether it became true in time."""
        return self._bell.wait_for(is_true, timeout_s)

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait in a task for something about the engine."""
        await self._bell.until(is_true)

    def _subscriptions(self) -> list[Subscription[Any]]:
        with self._lock:
            packets = [stream for streams in self._streams.values() for stream in streams]
            return [*packets, *self._fences, *self._records]


def _note_of(change: Updated) -> Note:
    values = ", ".join(f"{name} = {value!r}" for name, value in change.values.items())
    text = f"node '{change.node}': {values} from unit {change.first_unit} on"
    return Note(change.at_ns, "supervisor", "set", text)
