"""The flight recorder: it keeps little, and writes what led to a miss, and what followed."""

from __future__ import annotations

import engine_toys as toys
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wangraph import Edge, Graph, run
from wangraph.runtime.errors import UserError
from wangraph.runtime.observe.flight_recorder import AFTER_NS, FlightRecorder, at_ns
from wangraph.runtime.observe.records import TRACE_VERSION, Header, Note, read_trace
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.runtime.units import MS, NS

HEADER = Header(TRACE_VERSION, "0", "now", {}, {}, "virtual", "serial")


def settled(at_ns):
    return Settlement("a.b", at_ns // MS, 0, at_ns, 0)


def graph(out):
    made = Graph("looped", latency_ms=150)
    numbers = made.add("numbers", toys.Numbers)
    mix = made.add("mix", toys.Heavy, budget_ms=5,
                   inputs={"video": numbers["video"], "back": Edge("mix.mixed", delay=1, init="zeros")})  # fmt: skip
    play = made.add("play", toys.Play, inputs={"video": mix["mixed"]})
    made.add("digest", toys.Digest, inputs={"video": play["shown"]}, path=str(out))
    return made


@given(st.lists(st.integers(0, 200), min_size=1, max_size=100), st.integers(1, 5))
def test_what_is_kept_is_no_older_than_asked(tmp_path_factory, steps, seconds):
    recorder = FlightRecorder(seconds, HEADER, tmp_path_factory.mktemp("f") / "f.trace")
    now = 0
    for step in steps:
        now += step * MS * 10
        assert recorder.take([settled(now)], misses=0) is None
    note = recorder.take([settled(now)], misses=1) or recorder.finish()
    assert note is not None and note.kind == "flight"
    _, *kept = read_trace(recorder.path)
    assert min(map(at_ns, kept)) >= now - seconds * NS
    assert kept.count(settled(now)) >= 2


def test_a_run_without_a_miss_writes_nothing(tmp_path):
    recorder = FlightRecorder(2, HEADER, tmp_path / "f.trace")
    recorder.take([settled(k * MS) for k in range(10_000)], misses=0)
    assert recorder.finish() is None
    assert not recorder.wrote and not recorder.path.exists()


def test_what_follows_the_miss_is_written_too_because_its_culprit_may_still_be_computing(tmp_path):
    recorder = FlightRecorder(2, HEADER, tmp_path / "f.trace")
    assert recorder.take([settled(0)], misses=1) is None
    culprit = Firing("slow", 0, 0, "step", 0, 0, 0, AFTER_NS // 2, 1, "late")
    assert recorder.take([culprit], misses=1) is None
    assert recorder.take([settled(AFTER_NS)], misses=3) == Note(
        AFTER_NS, "supervisor", "flight", f"a unit was missed, its trace is {recorder.path}"
    )
    assert culprit in list(read_trace(recorder.path))
    assert recorder.take([settled(9 * NS)], misses=4) is None


def test_a_disk_that_refuses_is_told_and_the_run_goes_on(tmp_path):
    recorder = FlightRecorder(2, HEADER, tmp_path / "f.trace")
    recorder.path.mkdir()
    recorder.take([settled(0)], misses=1)
    text = f"--flight-recorder: {recorder.path}: Is a directory (expected room for it), the miss was not written"
    assert recorder.finish() == Note(0, "supervisor", "warning", text)
    assert str(recorder.failure) == text, "what ends the run with 1"
    assert not recorder.wrote


def test_a_folder_that_cannot_be_written_into_is_said_before_the_run(tmp_path):
    with pytest.raises(
        UserError,
        match=r"^--flight-recorder: cannot write into /proc/nowhere \(expected a writable folder\), run in another one$",
    ):
        FlightRecorder(2, HEADER, tmp_path / "/proc/nowhere/f.trace")


def test_a_stall_leaves_a_trace_of_the_seconds_around_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(
        graph(tmp_path / "out"), units=100, clock="virtual", inject=["mix: stall=400ms at=60"], flight_recorder=1.0
    )
    assert result.summary["misses"] > 0
    assert result.summary["wrote"] == ["looped.flight.trace"]
    assert [n["text"] for n in result.summary["notes"] if n["kind"] == "flight"] == [
        "a unit was missed, its trace is looped.flight.trace"
    ]
    header, *records = read_trace(tmp_path / "looped.flight.trace")
    assert header.plan["name"] == "looped"
    stalled = [r for r in records if isinstance(r, Firing) and r.node == "mix" and r.first == 60]
    assert stalled[0].finished_ns - stalled[0].started_ns == 405 * MS
    span = max(map(at_ns, records)) - min(at_ns(r) for r in records if not isinstance(r, Note))
    assert span <= NS + AFTER_NS + 400 * MS
    assert len(records) < len(result.log) / 2
