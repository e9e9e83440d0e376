"""Files and feeds of a run while it goes on: its trace, the flight recorder's, a recording, spans for a collector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import RunError, UserError, did_you_mean, listing
from ..observe.flight_recorder import FlightRecorder
from ..observe.outcome import presenters
from ..observe.records import Footer, Header, Note, Record, TraceWriter, at_ns
from ..observe.run_file import plain
from ..observe.spans import SpanSender
from ..observe.trace_window import TraceWindow
from ..packet import Packet
from ..plan.plan import Plan
from ..recording.recorder import Recorder
from ..schedule.events import Event
from .options import Options


class RecordSinks:
    """Opens the files that ``options`` name, takes records and packets, closes the files.

    Attributes:
        notes: what there is to tell before the run.

    Raises:
        UserError: a file cannot be written, or ``--otel`` names no collector.
    """

    def __init__(self, plan: Plan, options: Options, header: Header) -> None:
        self.taps = frozenset(recorded_streams(plan, options.record_edges)) if options.record else frozenset()
        self._spans = SpanSender(options.otel, plan, f"{header.started} {os.getpid()}") if options.otel else None
        if options.trace_window_s is not None and options.trace is None:
            raise UserError("--trace-window: found no --trace (expected the file that it is for), add: --trace FILE")
        self._trace = _Trace(options.trace, options.trace_window_s) if options.trace else None
        self._flight = (
            FlightRecorder(options.flight_recorder_s, header, Path(f"{plain(plan.name)}.flight.trace"))
            if options.flight_recorder_s is not None
            else None
        )
        self._recorder = (
            # without a clock to keep, a slow disk is waited for: dropped packets would make a recording that cannot be
            # replayed
            Recorder(options.record, plan, header, waits=options.serial or options.clock == "virtual")
            if options.record
            else None
        )
        unreached = self._spans.poll() if self._spans is not None else ""
        self.notes = [Note(0, "supervisor", "warning", unreached)] if unreached else []
        if self._trace is not None:
            self.notes += self._trace.take([header])

    def take(self, records: Sequence[Record], misses: int, epoch_ns: int | None = None) -> list[Note]:
        """Keep these; returns what there is to tell about it.

        Args:
            epoch_ns: when unit 0 began, in nanoseconds since 1970; None before the run.
        """
        notes = []
        if self._flight is not None and (note := self._flight.take(records, misses)) is not None:
            notes.append(note)
        if self._trace is not None and (records or notes):
            notes += self._trace.take([*records, *notes])
        if self._recorder is not None:
            self._recorder.log(r for r in records if isinstance(r, Event))
        if self._spans is not None and epoch_ns is not None:
            self._spans.take(records, epoch_ns)
        return notes

    def tap(self, packet: Packet) -> None:
        """Record a packet, if its stream is recorded. From any thread."""
        if self._recorder is not None and packet.stream in self.taps:
            self._recorder.put(packet)

    def finish(self) -> list[Note]:
        """The run is over: write what waits. Returns what there is to tell about it."""
        notes = []
        if self._flight is not None and (note := self._flight.finish()) is not None:
            notes.append(note)
        if self._recorder is not None:
            failure = self._recorder.settle()
            lost = sum(self._recorder.lost.values())
            if failure is not None or lost:
                text = str(failure or f"recording: {lost} packets were lost, the disk did not take them in time")
                notes.append(Note(0, "supervisor", "warning", text))
        if self._spans is not None and (unsent := self._spans.close()):
            notes.append(Note(0, "supervisor", "warning", unsent))
        # last, so that it has what the others had to say
        if self._trace is not None and notes:
            notes += self._trace.take(notes)
        return notes

    @property
    def wrote(self) -> list[str]:
        """Files written."""
        flight = self._flight.path if self._flight is not None and self._flight.wrote else None
        paths = [self._trace and self._trace.path, flight, self._recorder and self._recorder.path]
        return [str(path) for path in paths if path]

    @property
    def recording(self) -> dict[str, Any] | None:
        """Totals of what was recorded, for the summary; None when nothing is."""
        if self._recorder is None:
            return None
        recorder = self._recorder
        return {
            "path": str(recorder.path),
            "edges": sorted(self.taps),
            "packets": recorder.n_packets,
            "bytes": recorder.n_bytes,
            "lost": dict(recorder.lost),
        }

    def close(self, summary: dict[str, Any], *, is_whole: bool) -> RunError | None:
        """Finish the files of a run that ended in order, or not. Returns why one of them could not be written."""
        failures: list[RunError | None] = []
        if self._flight is not None:
            failures.append(self._flight.failure)
        if self._recorder is not None:
            failures.append(self._recorder.close(summary, is_whole=is_whole))
        if self._trace is not None:
            failures.append(self._trace.close(summary))
        return next((failure for failure in failures if failure is not None), None)


class _Trace:
    """A trace that is written until the disk takes no more: the run goes on without it, and says so at its end."""

    def __init__(self, path: Path, window_s: float | None) -> None:
        self.path = path
        self._failure: RunError | None = None
        self._count = 0
        try:
            self._writer = TraceWriter(path) if window_s is None else TraceWindow(path, window_s)
        except OSError as error:
            raise UserError(f"--trace: {path}: {error.strerror} (expected a writable file)") from error

    def take(self, records: Sequence[Record]) -> list[Note]:
        """Write these; returns what there is to tell about it, once."""
        if self._failure is not None:
            return []
        try:
            self._writer.write(list(records))
        except OSError as error:
            self._failure = RunError(
                f"--trace: {self.path}: {error.strerror} after {self._count} records (expected room for the trace), "
                "what was written before can be read"
            )
            return [Note(max(map(at_ns, records)), "supervisor", "warning", str(self._failure))]
        self._count += len(records)
        return []

    def close(self, summary: dict[str, Any]) -> RunError | None:
        """Write the last line. Returns why not all could be written."""
        self.take([Footer(summary)])
        try:
            self._writer.close()
        except RunError as error:
            return self._failure or error
        except OSError as error:  # what had waited to be written is lost, too
            return self._failure or RunError(f"--trace: {self.path}: {error.strerror}, its end is lost, make room")
        return self._failure


def recorded_streams(plan: Plan, edges: Sequence[str]) -> list[str]:
    """The streams to record: what enters and leaves the graph, unless ``edges`` names others.

    Args:
        edges: ``node.port``, ``node`` for all outputs of a node, or ``all``.

    Raises:
        UserError: no such stream.
    """
    if not edges:
        sources = [s.name for s in plan.streams.values() if plan.nodes[s.node].is_source]
        ends = presenters(plan)
        played = [f"{node.name}.{port}" for node in ends for port in node.outputs]
        return list(dict.fromkeys([*sources, *(played or [i.stream for node in ends for i in node.inputs])]))
    chosen: list[str] = []
    for edge in edges:
        found = [s.name for s in plan.streams.values() if edge in ("all", s.name, s.node)]
        if not found:
            known = [*plan.streams, *{s.node for s in plan.streams.values()}]
            raise UserError(f"--edges: no stream '{edge}' (it has: {listing(plan.streams)}){did_you_mean(edge, known)}")
        chosen += found
    return list(dict.fromkeys(chosen))
