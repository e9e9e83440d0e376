"""Slow readers off the paced path: what waits for them is bounded, and what they lose is told to them."""

from __future__ import annotations

from typing import Any

import pytest
from schedule_toys import Log, Outcome, Paced, Reader, Sink, Source, Stateful, Stateless, modes, simulate

from wangraph import Edge, Graph
from wangraph.runtime.engine.stalls import StallWatch
from wangraph.runtime.errors import GraphError
from wangraph.runtime.plan.plan import Plan
from wangraph.runtime.plan.spec import BACKLOG
from wangraph.runtime.schedule.scheduler import Scheduler

UNITS = 24
SLOW = {("slow", unit): 400 for unit in range(UNITS)}
"""Two and a half units for each."""


def plan(kind: type = Stateful, **edge: Any) -> Plan:
    """source -> paced, and beside it a reader in a lane of its own."""
    graph = Graph("aside", latency_ms=100)
    graph.process("main", lanes=["io", "play", "slow"])
    source = graph.add("source", Source, lane="io")
    graph.add("slow", kind, inputs={"a": Edge(source["out"], **edge)}, lane="slow")
    graph.add("paced", Paced, inputs={"a": source["out"]}, lane="play")
    return graph.plan()


def seen(run: Outcome) -> list[tuple[str, int, int]]:
    return run.fires("slow")


def test_a_reader_that_wants_the_newest_runs_on_it():
    run = simulate(planned := plan(Stateless, backlog=1), UNITS, SLOW)
    steps = [f for f in run.firings("slow") if f.mode == "step" and f.verdict != "end"]
    assert 4 < len(steps) < UNITS // 2
    for firing in steps:
        assert planned.release_ns(firing.first + 1) >= firing.started_ns or firing.first == UNITS - 1, firing


@pytest.mark.parametrize("backlog", [1, 4])
def test_a_reader_that_keeps_something_is_told_once_of_every_unit(backlog):
    fires = seen(simulate(plan(backlog=backlog), UNITS, SLOW))
    assert [unit for _, first, last in fires for unit in range(first, last + 1)] == list(range(UNITS))
    assert {mode for mode, _, _ in fires} == {"step", "gap"}


def test_a_backlog_keeps_so_many_units_and_loses_the_oldest():
    run = simulate(planned := plan(Stateless, backlog=4), UNITS, SLOW)
    steps = [f for f in run.firings("slow") if f.mode == "step" and f.verdict != "end" and f.ready_ns]
    behind = [sum(planned.release_ns(u) < f.started_ns for u in range(f.first, UNITS)) for f in steps]
    assert max(behind) == 4


def test_a_reader_that_wants_all_loses_nothing():
    assert seen(simulate(plan(Sink, backlog=None), UNITS, SLOW)) == modes(UNITS)
    assert plan(Sink).nodes["slow"].backlog == BACKLOG


def test_the_other_readers_of_the_stream_get_what_a_slow_one_loses():
    run = simulate(plan(backlog=1), UNITS, SLOW)
    assert [mode for mode, _, _ in run.fires("paced")] == ["step"] * UNITS
    assert set(run.outcomes("source.out").values()) == {0, 5}, "real, then the end"


def test_a_reader_that_falls_behind_is_reported_with_how_many_units_wait_for_it():
    graph = plan(Sink, backlog=None)
    scheduler = Scheduler(graph, limit=UNITS)
    now, period = 0, graph.clock.period_ns
    watch, told = StallWatch(graph, scheduler), []
    for unit in range(12):
        now = graph.release_ns(unit)
        scheduler.advance(now)
        for fire in scheduler.choose_all(["main/io", "main/slow"], now) if unit else ():
            if fire.node == "source":
                scheduler.finish(fire, _source(unit), now)
        told += [stall.text for stall in watch.poll(now + period // 2)]
    assert any(text.startswith("node 'slow': computing unit 0 since ") for text in told), told
    assert " units wait for it; " in told[-1]


def _source(unit: int):
    from wangraph.runtime.packet import Packet, Validity
    from wangraph.runtime.schedule.scheduler import Result

    return Result({("out", unit): Packet("source.out", unit, 0, 0, 0, Validity.REAL)})


def test_nothing_is_kept_for_a_reader_that_has_ended():
    class Ends(Scheduler):
        def finish(self, fire, result, now):
            super().finish(fire, result, now)
            if fire.node == "slow" and fire.first == 2:
                self._end(self.nodes["slow"], 3, now)

    graph = Graph("aside")
    graph.process("main", lanes=["io", "slow"])
    source = graph.add("source", Source, lane="io")
    graph.add("slow", Sink, inputs={"a": source["out"]}, lane="slow")
    run = simulate(planned := graph.plan(), UNITS, scheduler=Ends(planned, limit=UNITS))
    assert seen(run) == modes(3)
    assert len(run.scheduler.windows["source.out"]) == 0


@pytest.mark.parametrize(
    ("on", "backlog", "text"),
    [
        ("paced", 1, "node 'paced': input 'a': found backlog: newest on the paced path (expected a reader off it: here "
                     "nothing waits, it is given up), remove it"),
        ("reader", 5, "node 'reader': input 'a': found backlog: 5 for a log (expected all: nothing of a log is lost), "
                      "remove it"),
    ],
)  # fmt: skip
def test_a_backlog_is_refused_where_nothing_waits_or_nothing_may_be_lost(on, backlog, text):
    graph = Graph("aside", latency_ms=100)
    graph.process("main", lanes=["io", "play"])
    source = graph.add("source", Source, lane="io")
    log = graph.add("log", Log, inputs={"a": source["out"]}, lane="io")
    more = {"backlog": backlog}
    graph.add("reader", Reader, inputs={"a": Edge(log["context"], **(more if on == "reader" else {}))}, lane="io")
    graph.add("paced", Paced, inputs={"a": Edge(source["out"], **(more if on == "paced" else {}))}, lane="play")
    with pytest.raises(GraphError) as error:
        graph.plan()
    assert str(error.value).partition(": ")[2] == text
