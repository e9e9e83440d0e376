"""What is computed from records: latencies, misses, skew, rates."""

from __future__ import annotations

import pytest

from wangraph import Graph, Validity
from wangraph.runtime.observe.records import Note, Transfer
from wangraph.runtime.observe.statistics import FIRST_NOTES, LAST_NOTES, Statistics
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.runtime.units import MS


@pytest.fixture
def statistics():
    graph = Graph("hello", latency_ms=80)
    pattern = graph.add("pattern", "capture.pattern")
    sync = graph.add("sync", "sync.playout", inputs={"video": pattern["video"], "audio": pattern["audio"]})
    graph.add("end", "sink.null", inputs={"value": sync["video"]})
    return Statistics(graph.plan())


def presented(unit: int, *, ready_ms: float = 20, at_ms: float = 80, video: Validity = Validity.REAL):
    release = (unit + 1) * 160 * MS
    at = int(release + at_ms * MS)
    return [
        Firing("sync", unit, unit, "step", 0, int(release + ready_ms * MS), at, at + MS, release + 80 * MS, "real"),
        Settlement("sync.video", unit, int(video), at + MS, 100),
        Settlement("sync.audio", unit, int(Validity.REAL), at + MS, 10),
    ]


def test_latency_is_release_to_presentation_and_model_latency_release_to_settled(statistics):
    for unit in range(4):
        statistics.add(presented(unit, ready_ms=10 * (unit + 1)))
    summary = statistics.summary()
    assert summary["latency_ms"] == {"p50": 80.0, "p95": 80.0, "p99": 80.0, "max": 80.0}
    assert summary["model_latency_ms"]["max"] == 40.0
    assert summary["slack_ms"]["min"] == 40.0
    assert (summary["units"], summary["fps"]) == (4, 25.0)


def test_a_unit_that_was_not_there_is_one_miss_however_many_streams_lacked(statistics):
    statistics.add([
        *(record for unit in range(3) for record in presented(unit)),
        Settlement("pattern.video", 1, int(Validity.MISSING), 0, 0),
        Settlement("pattern.audio", 1, int(Validity.MISSING), 0, 0),
        Settlement("pattern.video", 2, int(Validity.EMPTY), 0, 0),
    ])  # fmt: skip
    assert statistics.misses == 1
    assert [m.port for m in statistics.newest_missed.missing] == ["video", "audio"]
    summary = statistics.summary()
    assert (summary["units"], summary["real"], summary["misses"], summary["concealed"]) == (3, 2, 1, 0)


def test_skew_grows_while_the_picture_stands_and_the_sound_goes_on(statistics):
    for unit, video in enumerate([Validity.REAL, Validity.REPEATED, Validity.REPEATED, Validity.REAL]):
        statistics.add(presented(unit, video=video))
    assert list(statistics.totals().skew.recent) == [0, 160 * MS, 320 * MS, 0]
    assert statistics.summary()["concealed"] == 2
    assert statistics.summary()["av_skew_ms"] == {"p50": 80.0, "p95": 296.0, "max": 320.0}


def test_a_frozen_loop_has_no_latency_to_boast_of(statistics):
    """What stands in for a missed unit is there at once."""
    for unit in range(8):
        lost = [Settlement(f"pattern.{port}", unit, int(Validity.MISSING), 0, 0) for port in ("video", "audio")]
        statistics.add([*(lost if unit else []), *presented(unit, ready_ms=0.1 if unit else 50)])
    summary = statistics.summary()
    assert (summary["real"], summary["misses"], summary["underruns"]) == (1, 7, 1)
    assert summary["model_latency_ms"] == {"p50": 50.0, "p95": 50.0, "p99": 50.0, "max": 50.0}
    assert summary["slack_ms"] == {"p50": 30.0, "p5": 30.0, "p1": 30.0, "min": 30.0}
    assert summary["deadline_attainment"] == 0.125
    assert summary["time_to_first_unit_ms"] == 240.0


def test_misses_in_a_row_are_one_underrun_and_a_late_unit_misses_its_deadline(statistics):
    for unit in range(10):
        lost = [Settlement("pattern.video", unit, int(Validity.MISSING), 0, 0)] if unit in (2, 3, 6) else []
        statistics.add([*lost, *presented(unit, at_ms=95 if unit == 8 else 80)])
    summary = statistics.summary()
    assert (summary["misses"], summary["underruns"], summary["late"]) == (3, 2, 1)
    assert summary["recover_ms"] == 320.0, "the longest row of units that were not real"
    assert summary["deadline_attainment"] == 0.6


def test_without_units_there_are_no_figures_rather_than_zeros(statistics):
    summary = statistics.summary()
    assert (summary["units"], summary["misses"], summary["latency_ms"], summary["slack_ms"]) == (0, 0, {}, {})
    assert (summary["deadline_attainment"], summary["time_to_first_unit_ms"]) == (None, None)
    assert summary["recover_ms"] == 0.0


def test_late_counts_steps_that_finished_after_their_due(statistics):
    statistics.add([
        Firing("pattern", 0, 0, "step", 0, 0, 0, 9, 5, "late"),
        Firing("pattern", 1, 3, "gap", 0, 0, 0, 9, 5, "late"),
        Firing("pattern", 4, 4, "step", 0, 0, 0, 9, 5, "end"),
    ])  # fmt: skip
    node = statistics.summary()["nodes"]["pattern"]
    assert (node["late"], node["gap"], node["fired"]) == (1, 3, 1)


def test_a_presentation_is_late_that_began_well_after_its_due_however_soon_it_finished(statistics):
    for unit, at_ms in enumerate([80, 84.9, 85, 85.1, 303.8]):
        statistics.add(presented(unit, at_ms=at_ms))
    summary = statistics.summary()
    assert (summary["nodes"]["sync"]["late"], summary["late"], summary["misses"]) == (2, 2, 0)


def test_nodes_without_a_budget_are_named(statistics):
    assert statistics.summary()["unbudgeted"] == ["pattern", "sync", "end"]


def test_edges_tell_carrier_bytes_and_transfer_times(statistics):
    statistics.add([Settlement("pattern.video", 0, 0, 0, 700), Settlement("pattern.video", 1, 0, 0, 700)])
    assert statistics.summary()["edges"]["pattern.video->sync.video"] == {"carrier": "reference", "bytes": 1400}
    statistics.add([Transfer("pattern.video", 0, "main", "far", 1 * MS, 3 * MS, 700, "shared")])
    assert list(statistics.transfers["pattern.video"].recent) == [2 * MS]


def test_of_very_many_notes_the_first_and_the_last_are_kept(statistics):
    statistics.add([Note(k, "main", "stall", str(k)) for k in range(FIRST_NOTES + LAST_NOTES)])
    assert [note.text for note in statistics.notes] == [str(k) for k in range(FIRST_NOTES + LAST_NOTES)]
    statistics.add([Note(5000, "main", "stall", "one more"), Note(5001, "main", "stall", "the last")])
    texts = [note.text for note in statistics.notes]
    assert texts[FIRST_NOTES - 1 : FIRST_NOTES + 2] == [
        str(FIRST_NOTES - 1), "2 notes are left out here, a trace has them all", str(FIRST_NOTES + 2),
    ]  # fmt: skip
    assert (texts[-1], len(texts)) == ("the last", FIRST_NOTES + LAST_NOTES + 1)
