"""A run as OpenTelemetry spans: a trace per unit, in it a span per call of a node and per packet between processes.

    GRAPH unit             from its release until it was presented; an error when something was missing then
      NODE                 around the body; how long it waited, its mode, level and due are attributes
      STREAM               from one process to another
      injected, stall ...  notes of the run, as events of the unit that was the newest one then

Made from the records that come to the supervisor, and sent by a thread of the library: no unit waits for it. What the
library reads from the environment counts here too: headers, certificates, a sampler.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..._version import __version__
from ..errors import MissingExtra, UserError
from ..plan.plan import Plan
from ..schedule.events import Firing
from .lateness import is_late, past_due_ns
from .outcome import Outcome
from .records import Note, Record, Transfer
from .run_view import RunView

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span

TRACES = "/v1/traces"
"""Where a collector takes spans, unless the URL says otherwise."""

OPEN_UNITS = 256
"""Units whose spans are open at once, at most: where nothing is presented, no outcome ends them."""

QUEUE = 16384
"""Spans that may wait for the collector: half a minute or more of them; the oldest are lost then."""

EVERY_MS = 1000
TIMEOUT_S = 2.0
CLOSE_S = 5.0

_EXPORTER_LOG = "opentelemetry.exporter.otlp.proto.http"


@dataclass
class _Open:
    """A unit whose span has not ended yet."""

    span: Span
    context: Any
    end_ns: int


class SpanSender:
    """Sends records as spans.

    Args:
        url: of a collector that takes OTLP over HTTP; without a path, ``/v1/traces`` of it.
        run: what tells this run from others.

    Raises:
        MissingExtra: the packages are not installed.
        UserError: that is no such URL.
    """

    def __init__(self, url: str, plan: Plan, run: str) -> None:
        self.url = _endpoint(url)
        self._plan = plan
        self._units: dict[int, _Open] = {}
        self._view = RunView(plan)
        self._newest = self._ended_up_to = -1
        self._epoch_ns: int | None = None
        self._n_spans = 0
        logging.getLogger(_EXPORTER_LOG).setLevel(logging.CRITICAL)  # `close` tells it once, in a note
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise MissingExtra(
                "--otel: found no package 'opentelemetry-sdk' with its OTLP exporter (expected the extra 'otel'), "
                "install it: pip install 'wangraph[otel]'"
            ) from error
        self._tally = _Tally()
        exporter = _counted(OTLPSpanExporter(endpoint=self.url, timeout=TIMEOUT_S), self._tally)
        resource = Resource.create(
            {"service.name": "wangraph", "service.version": __version__, "service.instance.id": run,
             "wangraph.graph": plan.name, "wangraph.unit_ms": float(plan.clock.period * 1000)}
        )  # fmt: skip
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=QUEUE, schedule_delay_millis=EVERY_MS)
        )
        self._tracer = self._provider.get_tracer("wangraph", __version__)

    def poll(self) -> str:
        """In words, why no collector can be reached now; empty when one can. Waits for a second at most."""
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=1).close()
        except OSError as error:
            return f"--otel: {self.url}: {error.strerror or error} (expected a collector), start one, or spans get lost"
        return ""

    def take(self, records: Sequence[Record], epoch_ns: int) -> None:
        """Make spans of these.

        Args:
            epoch_ns: when unit 0 began, in nanoseconds since 1970.
        """
        self._epoch_ns = epoch_ns
        for record in records:
            if isinstance(record, Firing):
                self._add_firing(record)
            elif isinstance(record, Transfer):
                self._add_transfer(record)
            elif isinstance(record, Note):
                self._add_note(record)
        for outcome in self._view.add(records):
            self._end(outcome.unit, outcome)

    def close(self) -> str:
        """Send what waits, for some seconds at most. In words, what did not arrive; empty when everything did."""
        for outcome in self._view.open():
            self._end(outcome.unit, outcome)
        for unit in sorted(self._units):
            self._end(unit, None)
        self._tally.until = time.monotonic() + CLOSE_S
        self._provider.shutdown()  # sends what waits before
        lost = self._n_spans - self._tally.n_arrived
        if not lost:
            return ""
        return (
            f"--otel: {self.url}: {lost} of {self._n_spans} spans did not arrive (expected a collector that takes "
            "OTLP over HTTP), look at its log"
        )

    def _add_firing(self, firing: Firing) -> None:
        if firing.verdict == "end":
            return
        node = self._plan.nodes[firing.node]
        attributes: dict[str, Any] = {
            "wangraph.unit": firing.last,
            "wangraph.first_unit": firing.first,
            "wangraph.process": node.process,
            "wangraph.lane": node.lane,
            "wangraph.mode": firing.mode,
            "wangraph.verdict": firing.verdict,
            "wangraph.wait_ms": max(0, firing.started_ns - firing.ready_ns) / 1e6,
        }
        if node.ladder:
            attributes["wangraph.level"] = firing.level
        if firing.due_ns is not None:
            attributes["wangraph.slack_ms"] = (firing.due_ns - firing.finished_ns) / 1e6
        problem = ""
        if firing.mode != "step":
            problem = f"{firing.mode}, not answered"
        elif is_late(node, firing):
            problem = f"{'began' if node.paced else 'finished'} {past_due_ns(node, firing) / 1e6:.1f} ms after its due"
        self._add(firing.node, firing.last, firing.started_ns, firing.finished_ns, attributes, problem)

    def _add_transfer(self, transfer: Transfer) -> None:
        attributes: dict[str, Any] = {
            "wangraph.unit": transfer.unit,
            "wangraph.sender": transfer.sender,
            "wangraph.reader": transfer.reader,
            "wangraph.bytes": transfer.n_bytes,
            "wangraph.carrier": transfer.carrier,
        }
        self._add(transfer.stream, transfer.unit, transfer.sent_ns, transfer.arrived_ns, attributes)

    def _add_note(self, note: Note) -> None:
        if self._newest in self._units:
            event = {"wangraph.process": note.process, "wangraph.text": note.text}
            self._units[self._newest].span.add_event(note.kind, event, self._wall(note.at_ns))

    def _add(
        self, name: str, unit: int, from_ns: int, to_ns: int, attributes: dict[str, Any], problem: str = ""
    ) -> None:
        whole = self._opened(unit)
        if whole is None:
            return
        span = self._tracer.start_span(name, whole.context, attributes=attributes, start_time=self._wall(from_ns))
        self._finish(span, to_ns, problem)
        whole.end_ns = max(whole.end_ns, to_ns)

    def _opened(self, unit: int) -> _Open | None:
        """The span that everything of a unit belongs to; None when it has ended."""
        from opentelemetry.trace import set_span_in_context

        if unit <= self._ended_up_to:
            return None
        if unit not in self._units:
            release = self._plan.release_ns(unit)
            span = self._tracer.start_span(
                f"{self._plan.name} unit", attributes={"wangraph.unit": unit}, start_time=self._wall(release)
            )
            self._units[unit] = _Open(span, set_span_in_context(span), release)
            self._newest = max(self._newest, unit)
            for old in [u for u in self._units if u < self._newest - OPEN_UNITS]:
                self._end(old, None)
        return self._units.get(unit)

    def _end(self, unit: int, outcome: Outcome | None) -> None:
        """End the span of a unit, with what became of it; None: it was not presented by now."""
        self._ended_up_to = max(self._ended_up_to, unit)
        whole = self._units.pop(unit, None)
        if whole is None:
            return
        if outcome is not None:
            whole.span.set_attribute("wangraph.status", outcome.status)
            for key, ns in (("latency", outcome.latency_ns), ("model_latency", outcome.model_latency_ns)):
                if ns is not None:
                    whole.span.set_attribute(f"wangraph.{key}_ms", ns / 1e6)
        self._finish(whole.span, whole.end_ns, "" if outcome is None else outcome.reason)

    def _finish(self, span: Span, to_ns: int, problem: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        if problem:
            span.set_status(Status(StatusCode.ERROR, problem))
        self._n_spans += span.is_recording()
        span.end(self._wall(to_ns))

    def _wall(self, at_ns: int) -> int:
        assert self._epoch_ns is not None
        return self._epoch_ns + at_ns


class _Tally:
    """Count of what arrived. ``until``: when nothing more is sent, because the run is over."""

    def __init__(self) -> None:
        self.n_arrived = 0
        self.until = float("inf")


def _counted(exporter: SpanExporter, tally: _Tally) -> SpanExporter:
    """The library's exporter, with what arrives counted."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Counted(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = exporter.export(spans) if time.monotonic() < tally.until else SpanExportResult.FAILURE
            if result is SpanExportResult.SUCCESS:
                tally.n_arrived += len(spans)
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    return Counted()


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    try:
        is_fit = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        is_fit = False
    if not is_fit:
        raise UserError(
            f"--otel: found '{url}' (expected the URL of a collector that takes OTLP over HTTP), "
            "for example http://127.0.0.1:4318"
        )
    return parts._replace(path=TRACES).geturl() if parts.path in ("", "/") else url
