"""A lost unit does not silence a feedback loop: refused before the run where it would, and a law of random graphs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observe_toys import recorded
from schedule_toys import Paced, Sink, Source, T

from wangraph import Edge, Graph, Input, Node, Output
from wangraph.runtime.engine.faults import parse_fault
from wangraph.runtime.errors import GraphError
from wangraph.runtime.forecast.resources import budgets
from wangraph.runtime.forecast.simulate import simulate
from wangraph.runtime.observe.records import Record
from wangraph.runtime.observe.run_view import outcomes_of
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.plan import check as checking
from wangraph.runtime.plan.plan import Plan
from wangraph.runtime.plan.timing import GIVE_UP_NS
from wangraph.runtime.plan.wiring import BoundEdge
from wangraph.runtime.schedule.scheduler import Result, Scheduler

UNITS = 40
MS = 1_000_000


class Apply(Node):
    """Two inlets whose units may both be gaps; keeps nothing."""

    a = Input("tokens", "1", "int64")
    b = Input("tokens", "1", "int64", optional=True)
    out = Output("tokens", "1", "int64")


class Remember(Apply):
    """The same with something to keep."""

    def new_state(self):
        return []

    def gap(self, state, units):
        return None


class Tokens(Source):
    """A source whose shape is known."""

    out = Output("tokens", "1", "int64")


def loop(**late: Any) -> Plan:
    """source -> apply -> meter, what was measured fed back to apply."""
    graph = Graph("own", latency_ms=200)
    graph.process("main", lanes=["loop", "io", "play"])
    source = graph.add("source", Tokens, lane="io")
    back = Edge("meter.out", delay=1, init=late.pop("init", "empty"), **late)
    apply = graph.add("apply", Apply, inputs={"a": source["out"], "b": back}, budget_ms=5)
    graph.add("meter", Apply, inputs={"a": apply["out"]}, budget_ms=5)
    paced = graph.add("play", Paced, inputs={"a": apply["out"]}, lane="play")
    graph.add("sink", Sink, inputs={"a": paced["out"]}, lane="io")
    return graph.plan()


def any_loops(seed: int) -> Plan:
    """Any graph with feedback over any distance, in one process or two, of nodes that take gaps everywhere."""
    chance = random.Random(seed)
    while True:
        try:
            return _any_loops(chance)
        except GraphError:
            continue  # it costs more than it may, or would settle in two places: draw again


def _any_loops(chance: random.Random) -> Plan:
    graph = Graph("loops", latency_ms=chance.choice([200, 340, 500]))
    processes = [f"p{i}" for i in range(chance.randint(1, 2))]
    names = [f"work{i}" for i in range(chance.randint(1, 4))]
    for process in processes:
        graph.process(process, lanes=[*names, "io", "play"])
    streams = [graph.add("source", Tokens, process=processes[0], lane="io")["out"]]
    for i, name in enumerate(names):
        inputs: dict[str, Any] = {"a": chance.choice(streams[-2:])}
        if chance.random() < 0.7:
            of = names[chance.randrange(i, len(names))]
            inputs["b"] = Edge(f"{of}.out", delay=chance.randint(1, 3), init=chance.choice(["empty", "zeros"]))
        place = {"process": chance.choice(processes), "lane": name}
        kind = chance.choice([Apply, Remember])
        streams.append(graph.add(name, kind, inputs=inputs, budget_ms=chance.choice([1, 5, 20]), **place)["out"])
    paced = graph.add("paced", Paced, inputs={"a": streams[-1]}, process=processes[0], lane="play")
    graph.add("sink", Sink, inputs={"a": paced["out"]}, process=processes[0], lane="io")
    return graph.plan()


def assert_heals(plan: Plan, records: list[Record]) -> None:
    """Beyond the trouble in the first units, every one is real."""
    last = outcomes_of(plan, records)[-10:]
    assert [outcome.unit for outcome in last if not outcome.is_real] == []


def assert_any_trouble_is_over_soon(seed: int) -> None:
    plan, chance = any_loops(seed), random.Random(seed)
    work = [name for name in plan.nodes if name.startswith("work")]
    lost = {(chance.choice(work), chance.randint(2, 8)): Validity.MISSING}
    assert_heals(plan, recorded(plan, UNITS, {}, lost))
    stall = parse_fault(f"{chance.choice(work)}: stall={chance.choice([100, 400, 900])}ms at={chance.randint(2, 8)}")
    assert_heals(plan, simulate(plan, budgets(plan), UNITS, faults=[stall]).records)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32))
def test_no_lost_unit_and_no_stall_silences_any_loop(seed):
    assert_any_trouble_is_over_soon(seed)


def test_the_law_catches_delayed_edges_that_take_gaps(monkeypatch):
    monkeypatch.setattr(BoundEdge, "late", property(lambda edge: edge.spec.late or edge.input.late))
    monkeypatch.setattr(checking, "check_loops_heal", lambda edges, paced, problems: None)
    with pytest.raises(AssertionError):
        for seed in range(20):
            assert_any_trouble_is_over_soon(seed)


@pytest.mark.parametrize("trouble", ["apply: stall=900ms at=8", "meter: stall=900ms at=8"])
def test_a_loop_of_ones_own_is_in_time_again_after_a_stall(trouble):
    plan = loop()
    run = simulate(plan, budgets(plan), UNITS, faults=[parse_fault(trouble)])
    assert 0 < run.summary["misses"] < 8
    assert_heals(plan, run.records)


def test_one_dropped_unit_costs_a_loop_one_unit():
    plan = loop()
    run = outcomes_of(plan, recorded(plan, UNITS, {}, {("apply", 8): Validity.MISSING}))
    assert [outcome.unit for outcome in run if outcome.is_missed] == [8]


@pytest.mark.parametrize(("init", "word"), [("empty", "empty"), ("zeros", "hold")])
def test_a_loop_of_gaps_is_refused_with_the_edge_and_the_word_to_write(init, word):
    with pytest.raises(GraphError) as error:
        loop(late="gap", init=init)
    assert str(error.value).partition(": ")[2] == (
        "node 'apply': input 'b': found late: gap on the loop apply.out -> meter.out -> apply.out, which one lost unit "
        f"would silence for ever (expected hold or empty on one of its edges), write late: {word}"
    )


def test_what_stands_before_unit_0_stands_in_until_there_is_something_to_hold():
    plan = loop(init="zeros")
    start = Packet("meter.out", -1, 0, 0, T, Validity.REAL)
    scheduler = Scheduler(plan, initial={("meter.out", "zeros"): start}, limit=4)
    scheduler.advance(T)
    given = []
    for _ in range(4):
        for fire in scheduler.choose_all(list(scheduler.lanes), T):
            if fire.node == "apply":
                given.append(fire.inputs[0]["b"])
            real = fire.node in ("source", "apply")
            made = Packet(f"{fire.node}.out", fire.first, 0, 0, T, Validity.REAL if real else Validity.MISSING)
            scheduler.finish(fire, Result({("out", fire.first): made} if fire.node != "sink" else {}), T)
    scheduler.advance(2 * T)
    fire = next(f for f in scheduler.choose_all(list(scheduler.lanes), 2 * T) if f.node in ("source", "apply"))
    while fire.node != "apply":
        scheduler.finish(fire, Result({("out", 1): Packet("source.out", 1, 0, 0, T, Validity.REAL)}), 2 * T)
        fire = next(f for f in scheduler.choose_all(list(scheduler.lanes), 2 * T) if f.node in ("source", "apply"))
    assert (given[0], fire.inputs[0]["b"]) == (start, start.marked(Validity.REPEATED))


def test_an_input_is_given_up_while_there_is_still_time_to_be_woken():
    graph = Graph("late", latency_ms=200)
    graph.process("main", lanes=["a", "b", "play"])
    source = graph.add("source", Tokens, lane="play")
    slow = graph.add("slow", Apply, inputs={"a": source["out"]}, lane="a", budget_ms=50)
    held = Edge(slow["out"], late="hold")
    show = graph.add("show", Apply, inputs={"a": source["out"], "b": held}, lane="b", budget_ms=40)
    graph.add("play", Paced, inputs={"a": show["out"]}, lane="play")
    plan = graph.plan()
    latest = plan.nodes["show"].latest_start_ns
    assert latest == 160 * MS
    assert plan.streams["slow.out"].settle_ns == latest - GIVE_UP_NS == plan.nodes["slow"].due_ns
