"""Session, first unit and incarnation: a scheduler is one session's, in one life of its process, from one unit on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from schedule_toys import MS, Join, Paced, Source, Stateful, T, any_graph, chain, simulate

from wangraph import Edge, Graph
from wangraph.runtime.forecast.incidents import Session
from wangraph.runtime.forecast.resources import budgets
from wangraph.runtime.forecast.simulate import simulate as forecast
from wangraph.runtime.observe.records import Transfer
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.plan.plan import Plan
from wangraph.runtime.schedule.events import Event, Fenced, Firing, Settlement
from wangraph.runtime.schedule.replay import ReplayScheduler
from wangraph.runtime.schedule.scheduler import Scheduler
from wangraph.runtime.schedule.window import StreamWindow

SEEDS = st.integers(0, 2**32)
FIRST_UNITS = st.integers(1, 10_000)


# First unit


def shifted(event: Event, units: int) -> Event:
    """The same decision so many units later."""
    if isinstance(event, Settlement):
        return replace(event, unit=event.unit + units, at_ns=event.at_ns + units * T)
    assert isinstance(event, Firing)
    times = {name: getattr(event, name) + units * T for name in ("ready_ns", "started_ns", "finished_ns")}
    due_ns = None if event.due_ns is None else event.due_ns + units * T
    return replace(event, first=event.first + units, last=event.last + units, due_ns=due_ns, **times)


def assert_begins_anywhere(plan: Plan, units: int, costs: Any, first_unit: int) -> None:
    whole = simulate(plan, units, costs)
    later = {(node, unit + first_unit): ms for (node, unit), ms in costs.items()}
    scheduler = Scheduler(plan, limit=first_unit + units, first_unit=first_unit)
    begun = simulate(plan, units, later, scheduler)
    assert begun.log == [shifted(event, first_unit) for event in whole.log]
    for name in plan.nodes:
        assert begun.fires(name) == [(mode, a + first_unit, b + first_unit) for mode, a, b in whole.fires(name)]


@settings(max_examples=60, deadline=None)
@given(SEEDS, FIRST_UNITS)
def test_a_run_that_begins_at_a_later_unit_decides_as_one_that_begins_at_0(case, first_unit):
    assert_begins_anywhere(*any_graph(case), first_unit)


@pytest.mark.parametrize("planted", ["windows", "before"])
def test_the_law_catches_a_stream_that_begins_elsewhere(monkeypatch, planted):
    made = StreamWindow.__init__

    def elsewhere(self, plan, holds, first_unit=0, *others):
        made(self, plan, holds, 0 if planted == "windows" else max(0, first_unit - 1), *others)

    monkeypatch.setattr(StreamWindow, "__init__", elsewhere)
    with pytest.raises(AssertionError):
        assert_begins_anywhere(chain(("work", Stateful, 20)), 6, {("work", 2): 230}, 50)


def looped() -> Plan:
    graph = Graph("loop", latency_ms=200)
    source = graph.add("source", Source)
    graph.add("think", Join, inputs={"a": source["out"], "b": Edge("act.out", delay=2, init="empty")}, budget_ms=20)
    graph.add("act", Stateful, inputs={"a": "think.out"}, budget_ms=20)
    graph.add("paced", Paced, inputs={"a": "act.out"})
    return graph.plan()


def test_a_delayed_inlet_gets_its_initial_packets_before_the_first_unit():
    plan = looped()
    run = simulate(plan, 4, scheduler=Scheduler(plan, limit=14, first_unit=10))
    fed = [fire.inputs[0]["b"] for fire in run.bodies["think"].fires]
    assert [(p.unit, p.validity) for p in fed if isinstance(p, Packet)] == [
        (8, Validity.EMPTY), (9, Validity.EMPTY), (10, Validity.REAL), (11, Validity.REAL),
    ]  # fmt: skip


def test_what_lies_before_the_first_unit_is_late():
    plan = chain(("work", Stateful, 20))
    window = StreamWindow(plan.streams["work.out"], holds=False, first_unit=10)
    assert not window.settle(Packet("work.out", 9, 0, 0, 0, Validity.REAL), 0)
    assert window.settle(Packet("work.out", 10, 0, 0, 0, Validity.REAL), 0)
    assert (window.head, window.late) == (11, 1)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 3), st.integers(0, 300))
def test_a_simulation_may_begin_at_any_unit(case, processes, first_unit):
    plan, units, _ = any_graph(case, processes)
    run = forecast(plan, budgets(plan), 0, sessions=[Session(0, first_unit, units)])
    for name in plan.streams:
        outcomes = [r.unit for r in run.records if isinstance(r, Settlement) and r.stream == name]
        assert sorted(outcomes) == list(range(first_unit, first_unit + units + 1)), name
    assert min(r.started_ns for r in run.records if isinstance(r, Firing)) >= (first_unit - 2) * T


@settings(max_examples=20, deadline=None)
@given(SEEDS, FIRST_UNITS)
def test_a_replay_begins_where_the_run_did(case, first_unit):
    plan, units, costs = any_graph(case)
    later = {(node, unit + first_unit): ms for (node, unit), ms in costs.items()}
    run = simulate(plan, units, later, Scheduler(plan, limit=first_unit + units, first_unit=first_unit))
    again = simulate(plan, units, {}, ReplayScheduler(plan, log=run.log, first_unit=first_unit))
    for name in plan.nodes:
        assert again.fires(name) == run.fires(name)
    for name in plan.streams:
        assert again.outcomes(name) == run.outcomes(name)


# Session and incarnation


def test_what_a_scheduler_makes_and_records_is_of_its_session_and_its_life():
    plan = chain(("work", Stateful, 20))
    made: list[Packet] = []
    scheduler = Scheduler(plan, limit=5, tap=made.append, session=3, incarnation=2)
    scheduler.fence(["work.out"], generation=1, first_unit=0, now=0)
    run = simulate(plan, 5, {("work", 2): 230}, scheduler)
    assert {(p.session, p.incarnation) for p in made} == {(3, 2)}
    assert {Validity.REAL, Validity.MISSING, Validity.END} == {p.validity for p in made}
    assert {type(e) for e in run.log} == {Firing, Settlement, Fenced}
    assert {(e.session, e.incarnation) for e in run.log} == {(3, 2)}
    assert {fire.session for body in run.bodies.values() for fire in body.fires} == {3}


def test_a_replay_follows_the_decisions_of_its_session():
    plan = chain(("work", Stateful, 20))
    logs = {s: simulate(plan, 6, {("work", s): 230}, Scheduler(plan, limit=6, session=s)).log for s in (1, 4)}
    both = [event for pair in zip(*logs.values(), strict=True) for event in pair]
    for session in logs:
        again = simulate(plan, 6, {}, ReplayScheduler(plan, log=both, session=session))
        missing = [unit for unit, validity in again.outcomes("work.out").items() if validity is Validity.MISSING]
        assert missing == [session]


def far_chain() -> Plan:
    graph = Graph("far", latency_ms=300)
    for process in ("main", "far"):
        graph.process(process)
    source = graph.add("source", Source, process="far")
    work = graph.add("work", Stateful, inputs={"a": source["out"]}, process="main", budget_ms=20)
    graph.add("paced", Paced, inputs={"a": work["out"]}, process="main")
    return graph.plan()


def arriving(unit: int, incarnation: int) -> Packet:
    return Packet("source.out", unit, 0, unit * T, T, Validity.REAL, incarnation=incarnation)


def test_of_a_life_that_is_over_nothing_is_taken_in_and_its_rest_is_missing_in_the_next():
    plan = far_chain()
    scheduler = Scheduler(plan, "main", lives={"far": 2})
    scheduler.arrive(arriving(0, 1), 0)
    assert scheduler.windows["source.out"].get(0) is None
    assert scheduler.windows["source.out"].late == 1
    scheduler.arrive(arriving(0, 2), 0)
    scheduler.advance(plan.release_ns(1) + 400 * MS)
    settled = [scheduler.windows["source.out"].get(unit) for unit in (0, 1)]
    assert [(s.packet.validity, s.packet.incarnation) for s in settled if s] == [
        (Validity.REAL, 2), (Validity.MISSING, 2),
    ]  # fmt: skip


def test_a_record_of_the_first_life_of_the_only_session_spells_neither_out():
    plain = msgspec.json.encode(Settlement("a.b", 0, 0, 3, 10))
    assert b"session" not in plain and b"incarnation" not in plain
    for record in (Settlement("a.b", 0, 0, 3, 10, 1, 2), Transfer("a.b", 0, "x", "y", 0, 1, 5, "shared", 1, 2)):
        assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record


def test_a_transfer_is_of_the_session_and_the_life_of_its_packet():
    plan = far_chain()
    transfers = [r for r in forecast(plan, budgets(plan), 4).records if isinstance(r, Transfer)]
    assert {(t.session, t.incarnation) for t in transfers} == {(0, 0)}
    assert len(transfers) == 4
