"""What is computed from records: latencies, misses, skew, rates."""

from __future__ import annotations

import pytest

from wangraph import Graph, Validity
from wangraph.runtime.observe.records import Transfer
from wangraph.runtime.observe.statistics import Statistics, quantiles
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


def test_a_unit_that_was_not_real_when_presented_is_one_miss_however_many_streams_lacked(statistics):
    statistics.add([
        Settlement("pattern.video", 1, int(Validity.MISSING), 0, 0),
        Settlement("pattern.audio", 1, int(Validity.MISSING), 0, 0),
        Settlement("pattern.video", 2, int(Validity.EMPTY), 0, 0),
    ])  # fmt: skip
    assert statistics.misses == 1


def test_skew_grows_while_the_picture_stands_and_the_sound_goes_on(statistics):
    for unit, video in enumerate([Validity.REAL, Validity.REPEATED, Validity.REPEATED, Validity.REAL]):
        statistics.add(presented(unit, video=video))
    assert list(statistics.skews_ms) == [0.0, 160.0, 320.0, 0.0]
    assert statistics.summary()["concealed"] == 2


def test_a_unit_that_nobody_hears_has_no_skew_whichever_side_settles_first(statistics):
    for unit, validity in enumerate([Validity.REAL, Validity.EMPTY, Validity.REAL]):
        statistics.add([Settlement("sync.audio", unit, int(validity), 0, 10)])
    for unit in range(3):
        assert list(statistics.skews_ms) == [160.0, 0.0, 480.0][:unit]
        statistics.add([Settlement("sync.video", unit, int(Validity.REPEATED), 0, 10)])
    assert list(statistics.skews_ms) == [160.0, 0.0, 480.0]


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
    assert list(statistics.transfer_ns["pattern.video"]) == [2 * MS]


def test_quantiles_are_interpolated_and_empty_without_values():
    assert quantiles([]) == {}
    assert quantiles([v * MS for v in (1, 2, 3, 4, 5)]) == {"p50": 3.0, "p95": 4.8, "p99": 4.96, "max": 5.0}
    assert quantiles([5 * MS], low=True) == {"p50": 5.0, "p5": 5.0, "p1": 5.0, "min": 5.0}
