"""A run as OpenTelemetry spans, taken in by a collector on the loopback interface."""

from __future__ import annotations

import gzip
import socket
import sys
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import engine_toys as toys
import pytest

from wangraph import Edge, Graph, run
from wangraph.runtime.errors import UserError
from wangraph.runtime.observe.records import Transfer, read_trace
from wangraph.runtime.schedule.events import Firing

proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
ERROR = 2


class Collector:
    """Takes OTLP over HTTP; ``spans`` are what came, ``resources`` who sent them."""

    def __init__(self, answer=200):
        self.spans, self.resources, self.paths = [], [], set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(self.path, proto.ExportTraceServiceRequest.FromString(body))
                self.send_response(answer)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def take(self, path, request):
        self.paths.add(path)
        for sender in request.resource_spans:
            self.resources.append({a.key: a.value.string_value for a in sender.resource.attributes})
            self.spans += [span for scope in sender.scope_spans for span in scope.spans]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def looped(out, source="main"):
    graph = Graph("looped", latency_ms=200)
    for process in sorted({"main", source}):
        graph.process(process)
    numbers = graph.add("numbers", toys.Numbers, process=source)
    mix = graph.add("mix", toys.Heavy, budget_ms=5,
                    inputs={"video": numbers["video"], "back": Edge("mix.mixed", delay=1, init="zeros")})  # fmt: skip
    play = graph.add("play", toys.Play, inputs={"video": mix["mixed"]})
    graph.add("digest", toys.Digest, inputs={"video": play["shown"]}, path=str(out))
    return graph


def value(span, key):
    (found,) = [a.value for a in span.attributes if a.key == f"wangraph.{key}"]
    return getattr(found, found.WhichOneof("value"))


def by_name(spans):
    named = defaultdict(list)
    for span in spans:
        named[span.name].append(span)
    return named


def test_a_unit_is_a_trace_with_a_span_for_every_call_of_a_body(tmp_path, collector):
    run(looped(tmp_path / "out"), units=6, clock="virtual", otel=collector.url, trace=tmp_path / "t")
    calls = [r for r in read_trace(tmp_path / "t") if isinstance(r, Firing) and r.verdict != "end"]
    spans = by_name(collector.spans)
    units = {value(root, "unit"): root for root in spans.pop("looped unit")}
    assert sorted(units) == list(range(6))
    assert Counter({name: len(own) for name, own in spans.items()}) == Counter(call.node for call in calls)
    for call in calls:
        (span,) = [s for s in spans[call.node] if value(s, "unit") == call.last]
        root = units[call.last]
        assert (span.trace_id, span.parent_span_id) == (root.trace_id, root.span_id)
        assert span.end_time_unix_nano - span.start_time_unix_nano == call.finished_ns - call.started_ns
        assert value(span, "mode") == call.mode
        assert span.end_time_unix_nano <= root.end_time_unix_nano
    assert len({root.trace_id for root in units.values()}) == 6
    assert collector.paths == {"/v1/traces"}
    assert collector.resources[0]["service.name"] == "wangraph"
    assert collector.resources[0]["wangraph.graph"] == "looped"


def test_packets_between_processes_have_spans_too_and_times_are_those_of_the_day(tmp_path, collector):
    began = time.time_ns()
    run(looped(tmp_path / "out", source="far"), units=6, otel=collector.url, trace=tmp_path / "t")
    ways = [r for r in read_trace(tmp_path / "t") if isinstance(r, Transfer)]
    spans = by_name(collector.spans)
    assert [value(span, "unit") for span in spans["numbers.video"]] == [way.unit for way in ways] == list(range(6))
    assert {(value(s, "sender"), value(s, "reader")) for s in spans["numbers.video"]} == {("far", "main")}
    assert all(began < span.start_time_unix_nano < span.end_time_unix_nano < time.time_ns() for span in spans["mix"])


def test_a_missed_unit_is_an_error_that_says_what_was_missing_and_holds_the_fault(tmp_path, collector):
    run(looped(tmp_path / "out"), units=8, clock="virtual", otel=collector.url, inject=["mix: drop at=4"])
    units = {value(root, "unit"): root for root in by_name(collector.spans)["looped unit"]}
    assert {unit for unit, root in units.items() if root.status.code == ERROR} == {4}
    assert units[4].status.message == "play got no video from mix.mixed"
    events = [(event.name, event.attributes[1].value.string_value) for root in units.values() for event in root.events]
    assert events == [("injected", "node 'mix', unit 4: drop")]


def test_a_body_that_finishes_after_its_due_or_plays_out_well_after_it_is_an_error(tmp_path, collector):
    run(looped(tmp_path / "out"), units=8, clock="virtual", otel=collector.url, inject=["mix: stall=500ms at=4"])
    late = {(s.name, value(s, "unit")): s.status.message for s in collector.spans if s.status.code == ERROR}
    assert late["mix", 4] == "finished 305.0 ms after its due"
    assert late["play", 4] == "began 310.0 ms after its due"  # in the same lane, after mix of unit 5
    assert late["mix", 5] == "absorb, not answered"


def test_a_run_without_a_collector_goes_on_and_says_what_got_lost(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    made = run(looped(tmp_path / "out"), units=3, clock="virtual", otel=url)
    assert [note["text"] for note in made.summary["notes"]] == [
        f"--otel: {url}/v1/traces: Connection refused (expected a collector), start one, or spans get lost",
        f"--otel: {url}/v1/traces: 15 of 15 spans did not arrive (expected a collector that takes OTLP over HTTP), "
        "look at its log",
    ]
    assert len((tmp_path / "out").read_text().splitlines()) == 3


def test_a_collector_that_refuses_is_told_of_at_the_end(tmp_path):
    refusing = Collector(answer=400)
    made = run(looped(tmp_path / "out"), units=3, clock="virtual", otel=refusing.url)
    refusing.close()
    (note,) = made.summary["notes"]
    assert "15 of 15 spans did not arrive" in note["text"]


@pytest.mark.parametrize("url", ["localhost:4318", "ftp://x", "http://", "http://x:y", "4318"])
def test_what_is_no_url_of_a_collector_is_said_before_anything_starts(tmp_path, url):
    with pytest.raises(UserError) as caught:
        run(looped(tmp_path / "out"), units=2, otel=url)
    assert str(caught.value) == (
        f"--otel: found '{url}' (expected the URL of a collector that takes OTLP over HTTP), "
        "for example http://127.0.0.1:4318"
    )
    assert not (tmp_path / "out").exists()


def test_without_the_extra_its_name_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(
        UserError,
        match=r"^--otel: found no package 'opentelemetry-sdk' with its OTLP exporter \(expected the extra 'otel'\), "
        r"install it: pip install 'wangraph\[otel\]'$",
    ):
        run(looped(tmp_path / "out"), units=2, otel="http://127.0.0.1:4318")


def test_no_thread_is_left_after_the_run(tmp_path, collector):
    before = {thread.name for thread in threading.enumerate()}
    run(looped(tmp_path / "out"), units=2, clock="virtual", otel=collector.url)
    assert {t.name for t in threading.enumerate() if "Otel" in t.name} <= before
