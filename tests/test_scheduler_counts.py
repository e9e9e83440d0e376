"""Counting what is open decides as looking at everything does, and costs the same however large the graph is."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_scheduler import ScanScheduler
from schedule_toys import MS, Ahead, FakeBody, Paced, Sink, Source, Stateful, any_graph, chain, simulate

from wangraph import Graph
from wangraph.runtime.engine.drivers import SerialExecutor, run_virtual
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.plan.plan import Plan
from wangraph.runtime.schedule.scheduler import Result, Scheduler
from wangraph.runtime.schedule.timers import Timers

SEEDS = st.integers(0, 2**32)


def assert_same(
    plan: Plan, units: int, costs: Any, kind: type[Scheduler] = Scheduler, stop_ns: int | None = None
) -> None:
    counted = simulate(plan, units, costs, kind(plan, limit=units), stop_ns)
    scanned = simulate(plan, units, costs, ScanScheduler(plan, limit=units), stop_ns)
    assert counted.log == scanned.log
    for name in plan.nodes:
        assert counted.bodies[name].fires == scanned.bodies[name].fires


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_counting_decides_as_looking_at_everything_does(case):
    assert_same(*any_graph(case))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(0, 24 * 160))
def test_counting_stops_as_looking_at_everything_does(case, stop_ms):
    assert_same(*any_graph(case), stop_ns=stop_ms * MS)


def looking_ahead() -> Plan:
    return chain(("ahead", Ahead, 10), ("work", Stateful, 10), latency_ms=400)


def test_the_law_catches_a_count_that_leaves_out_what_lies_ahead():
    class Short(Scheduler):
        def _count_down(self, packet, now):
            for state, inlet in self._readers.get(packet.stream, ()):
                if packet.unit == state.cursor - inlet.delay:
                    super()._count_down(packet, now)

    assert_same(looking_ahead(), 8, {})
    with pytest.raises(AssertionError, match="ahead: unit 0 waits for"):
        assert_same(looking_ahead(), 8, {}, Short)


class EndsByItself(FakeBody):
    """A source that has three units: whoever reads it waits for the fourth when the end comes."""

    def run(self, fire):
        return super().run(fire) if fire.first < 3 else Result(ended=True)


def test_an_end_counts_and_the_law_catches_a_count_that_it_does_not_change():
    class Deaf(Scheduler):
        def _count_anew(self, stream, now):
            for state, _ in self._readers.get(stream, ()):
                state.ends_at = self._inlets.ends_at(state.plan)

    plan = chain(("work", Stateful, 10))

    def run(scheduler: Scheduler) -> None:
        bodies: dict[str, Any] = {name: FakeBody(plan, name) for name in plan.nodes}
        run_virtual(plan, {**bodies, "source": EndsByItself(plan, "source")}, scheduler, SerialExecutor())

    run(Scheduler(plan))
    with pytest.raises(AssertionError, match="work: unit 3 waits for"):
        run(Deaf(plan))


def test_the_law_catches_an_alarm_that_is_not_set_anew():
    class Once(Timers[Any]):
        def set(self, owner, at):
            if owner.alarm_ns is None:
                super().set(owner, at)

    def sleepy(plan: Plan, limit: int) -> Scheduler:
        scheduler = Scheduler(plan, limit=limit)
        scheduler._streams._timeouts.__class__ = Once
        return scheduler

    with pytest.raises(AssertionError):
        assert_same(chain(("work", Stateful, 20)), 6, {("work", 2): 230}, sleepy)  # type: ignore[arg-type]


class Checked(Scheduler):
    """Sees after every decision that nobody is forgotten."""

    def choose_all(self, idle, now):
        chosen = super().choose_all(idle, now)
        self.assert_invariants()
        return chosen

    def finish(self, fire, result, now):
        super().finish(fire, result, now)
        self.assert_invariants()

    def assert_invariants(self) -> None:
        for name, state in self.nodes.items():
            if state.ended:
                assert not state.is_queued and state.alarm_ns is None, name
                continue
            assert state.pending == self._inlets.n_open(state.plan, state.cursor), name
            assert state.plan.is_source or state.ends_at == self._inlets.ends_at(state.plan), name
            if state.running is not None:
                assert not state.is_queued and not state.pending, name
            else:
                assert state.is_queued or state.alarm_ns is not None or state.pending, name
            queued = [s for _, s in self._queues[state.lane].ordered if s is state]
            assert len(queued) == state.is_queued, name


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_a_node_is_queued_or_has_an_alarm_or_waits_for_a_packet(case):
    plan, units, costs = any_graph(case)
    simulate(plan, units, costs, Checked(plan, limit=units))


def test_the_invariants_catch_a_node_that_nobody_wakes():
    class Asleep(Checked):
        def finish(self, fire, result, now):
            super().finish(fire, result, now)
            self._alarms.set(self.nodes[fire.node], None)
            self.assert_invariants()

    plan = chain(("work", Stateful, 20))
    with pytest.raises(AssertionError, match="source"):
        simulate(plan, 4, {}, Asleep(plan, limit=4))


# What it costs


class Answers:
    """Runs no body; counts the calls."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.n_calls = plan, 0

    def begin(self, body, lane, fire):
        self.n_calls += 1
        unit, ports = fire.last, self.plan.nodes[fire.node].outputs
        times = (unit * 160 * MS, 160 * MS)
        return Result({(p, unit): Packet(f"{fire.node}.{p}", unit, 0, *times, Validity.REAL) for p in ports})

    def end(self, begun):
        return begun

    def close(self):
        return None


def row_of(n_nodes: int) -> Plan:
    graph = Graph("row", latency_ms=400)
    names = [f"work{i}" for i in range(n_nodes - 3)]
    graph.process("main", lanes=["loop", "play", *names])
    before = graph.add("source", Source)["out"]
    for name in names:
        before = graph.add(name, Stateful, inputs={"a": before}, lane=name, budget_ms=1)["out"]
    played = graph.add("paced", Paced, inputs={"a": before}, lane="play")["out"]
    graph.add("sink", Sink, inputs={"a": played})
    return graph.plan()


def calls_per_firing(n_nodes: int, kind: type[Scheduler]) -> float:
    plan, n_calls = row_of(n_nodes), 0

    def count(frame, event, arg):
        nonlocal n_calls
        n_calls += event == "call"

    answers, scheduler, before = Answers(plan), kind(plan, limit=20), sys.getprofile()
    sys.setprofile(count)
    try:
        run_virtual(plan, dict.fromkeys(plan.nodes), scheduler, answers)  # type: ignore[arg-type]
    finally:
        sys.setprofile(before)
    return n_calls / answers.n_calls


def test_a_firing_costs_as_many_calls_in_a_large_graph_as_in_a_small_one():
    assert calls_per_firing(66, Scheduler) < 1.05 * calls_per_firing(6, Scheduler)


def test_the_measure_catches_a_scheduler_that_looks_at_everything():
    assert calls_per_firing(66, ScanScheduler) > 2 * calls_per_firing(6, ScanScheduler)


# Alarms


class Sleeper:
    alarm_ns: int | None = None


def test_the_nearest_alarm_is_next_and_one_that_was_set_anew_is_void():
    timers, early, late = Timers[Sleeper](), Sleeper(), Sleeper()
    timers.set(late, 30)
    timers.set(early, 10)
    assert timers.next_ns == 10
    timers.set(early, 40)
    assert timers.next_ns == 30
    timers.set(late, None)
    assert timers.next_ns == 40
    assert timers.due(39) == []
    assert timers.due(40) == [early]
    assert (early.alarm_ns, timers.next_ns) == (None, None)


def test_alarms_that_are_due_ring_in_the_order_in_which_they_were_set():
    timers, sleepers = Timers[Sleeper](), [Sleeper() for _ in range(3)]
    for sleeper, at in zip(sleepers, (30, 10, 20), strict=True):
        timers.set(sleeper, at)
    assert timers.due(25) == sleepers[1:]
    assert timers.due(30) == sleepers[:1]


def test_an_alarm_that_comes_back_to_its_instant_rings_once():
    timers, sleeper = Timers[Sleeper](), Sleeper()
    for at in (10, 20, 10):
        timers.set(sleeper, at)
    assert timers.due(10) == [sleeper]
    assert timers.due(99) == []
