"""NaN and infinite numbers: found where they are made, told by the node's name, and lost for all readers alike."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

import wangraph
from wangraph import Edge, Graph, Input, Node, NodeError, Output, Param, Validity
from wangraph.nodes.sync import Playout
from wangraph.runtime.engine.guards import OutputGuard
from wangraph.runtime.errors import GraphError
from wangraph.runtime.schedule.events import Settlement


class Sounds(Node):
    """A tone, with what a broken model may put into it."""

    audio = Output("audio", "S", "float32", rate_hz=16000)
    numbers = Output("tokens", "2", "int64")
    spoilt: list = Param([])
    by: float = Param(float("nan"))

    def step(self, unit):
        tone = np.full(2560, 0.25, np.float32)
        if unit.index in self.spoilt:
            tone[7:10] = self.by
        return {"audio": tone, "numbers": np.array([unit.index, 0])}


class Listen(Node):
    """A reader that stands for any other."""

    audio = Input("audio", "N", "float32", late="empty")
    peak = Output("tokens", "1", "int64")

    def step(self, unit, audio=None):
        return {"peak": np.array([-1 if audio is None else int(np.isfinite(audio).all())])}


def graph(guard=None, other=None, **params):
    """sounds -> sync, listen."""
    g = Graph("guarded", latency_ms=400)
    g.process("main", lanes=["loop", "play"])
    g.add("sounds", Sounds, **params)
    g.add("listen", Listen, inputs={"audio": Edge("sounds.audio", guard=other)})
    g.add("sync", "sync.playout", lane="play", inputs={"audio": Edge("sounds.audio", guard=guard)})
    return g


def run(g, taps=("sync.audio", "listen.peak"), **how):
    return wangraph.run(g, units=8, clock="virtual", taps=list(taps), **how)


def outcomes(result, stream):
    return {s.unit: s.validity for s in result.log if isinstance(s, Settlement) and s.stream == stream}


@pytest.mark.parametrize("by", [np.nan, np.inf, -np.inf])
def test_a_spoilt_unit_on_its_way_to_a_playout_is_lost_for_all_and_told_by_its_makers_name(by):
    result = run(graph(spoilt=[3], by=by))
    settled = outcomes(result, "sounds.audio")
    assert [unit for unit, validity in settled.items() if validity == Validity.MISSING] == [3]
    assert all(np.isfinite(p.array).all() for p in result.packets["sync.audio"] if p.tensors)
    assert [int(p.array[0]) for p in result.packets["listen.peak"] if p.tensors] == [1, 1, 1, -1, 1, 1, 1, 1]
    assert result.summary["misses"] == 1
    notes = [note["text"] for note in result.summary["notes"] if note["kind"] == "guard"]
    assert notes == [
        "node 'sounds', output 'audio', unit 3: found 3 of 2560 numbers that are NaN or infinite (expected finite), "
        "lost instead"
    ]
    assert ("sounds", "guard", "node 'sounds', output 'audio': 1 units with NaN or infinite numbers, lost instead") in (
        result.reports
    )


def test_a_graph_may_ask_for_the_end_instead():
    with pytest.raises(
        NodeError,
        match=re.escape(
            "node 'sounds', unit 3, output 'audio': found 3 of 2560 numbers that are NaN or infinite (expected finite), "
            "mend the node, or write guard: conceal"
        ),
    ):
        run(graph(guard="fail", spoilt=[3]))


def test_what_is_only_counted_arrives():
    result = run(graph(guard="count", spoilt=[3]))
    assert [int(p.array[0]) for p in result.packets["listen.peak"] if p.tensors] == [1, 1, 1, 0, 1, 1, 1, 1]
    assert "1 units with NaN or infinite numbers" in next(text for _, key, text in result.reports if key == "guard")


def test_nothing_is_said_where_nobody_wants_to_know():
    result = run(graph(guard="off", other="off", spoilt=[3]))
    assert [report for report in result.reports if report[1] == "guard"] == []


def test_the_strictest_of_a_streams_readers_counts():
    streams = graph(guard="off", other="fail").plan().streams
    assert streams["sounds.audio"].guard == "fail"
    assert graph().plan().streams["sounds.audio"].guard == "conceal"
    assert graph(guard="off").plan().streams["sounds.audio"].guard == "count"


def test_a_log_loses_nothing_whatever_its_readers_want():
    plan = Graph.load("duplex").plan()
    assert plan.streams["think.context"].guard == "count"
    assert plan.streams["speak.samples"].guard == "conceal"


def test_many_spoilt_units_are_told_now_and_then():
    told = []
    stream = graph().plan().streams["sounds.audio"]
    guard = OutputGuard(stream, lambda kind, text: told.append(text))
    for unit in range(100):
        guard.strike(unit, "3 of 9 numbers that are NaN or infinite")
    assert [int(re.search(r"unit (\d+)", text)[1]) for text in told] == [0, 1, 3, 7, 15, 31, 63]
    assert told[-1].endswith(", lost instead, 64 units so far")


def test_sound_beyond_full_scale_is_counted_and_played():
    result = run(graph(spoilt=[2, 5], by=1.5))
    assert result.summary["misses"] == 0
    assert ("sounds", "guard", "node 'sounds', output 'audio': 2 units beyond full scale") in result.reports


def test_an_unknown_word_is_refused_with_the_known_ones():
    with pytest.raises(GraphError, match=re.escape("(expected one of: conceal, count, fail, off)")):
        Input("audio", guard="scream")
    with pytest.raises(GraphError, match="guard"):
        graph(guard="scream")


def test_looking_costs_little_beside_what_it_guards():
    guard = OutputGuard(graph().plan().streams["sounds.audio"], lambda kind, text: None)
    sound = {"": np.zeros(2560, np.float32)}
    began = time.process_time()
    for _ in range(1000):
        guard.fault_in(sound)
    assert time.process_time() - began < 1, "a second for 1,000 units of 160 ms: a generous 0.6 %"
    assert Playout.inputs["audio"].guard == "conceal"
