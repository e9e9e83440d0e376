"""The one reader of a run: what became of each unit, whatever the graph, the faults and the order of arrival."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observe_toys import MS, Looks, Player, any_run, expected, in_batches, recorded, sent_to
from schedule_toys import Sink, Source, Stateful

from wangraph import Edge, Graph
from wangraph.runtime.observe import distribution, run_view
from wangraph.runtime.observe.outcome import MissingInput
from wangraph.runtime.observe.run_view import RunView, outcomes_of
from wangraph.runtime.observe.statistics import Statistics
from wangraph.runtime.packet import Validity
from wangraph.runtime.plan.plan import Plan
from wangraph.runtime.schedule.events import Firing, Settlement

SEEDS = st.integers(0, 2**32)


def played(*, work: bool = True, delay: int = 0, latency_ms: float = 200) -> Plan:
    """source -> work -> player, which also takes the source, so much delayed."""
    graph = Graph("played", latency_ms=latency_ms)
    graph.process("main", lanes=["loop", "end"])
    stream = source = graph.add("source", Source)["out"]
    if work:
        stream = graph.add("work", Stateful, inputs={"a": stream}, budget_ms=10)["out"]
    inputs = {"a": stream, **({"b": Edge(source, delay=delay, init="empty")} if delay else {})}
    graph.add("end", Player, inputs=inputs, lane="end")
    return graph.plan()


def presented(plan: Plan, unit: int, *, ready_ms: float = 20, at_ms: float = 200, mode: str = "step") -> Firing:
    release = plan.release_ns(unit)
    ready, at = release + round(ready_ms * MS), release + round(at_ms * MS)
    return Firing("end", unit, unit, mode, 0, ready, at, at + MS, release + plan.latency_ns, "real")


def given_up(plan: Plan, stream: str, unit: int, after_ms: float = 180) -> Settlement:
    return Settlement(stream, unit, Validity.MISSING, plan.release_ns(unit) + round(after_ms * MS), 0)


def late_answer(plan: Plan, unit: int, after_ms: float) -> Firing:
    at, due = plan.release_ns(unit) + round(after_ms * MS), plan.release_ns(unit) + 190 * MS
    return Firing("work", unit, unit, "step", 0, plan.release_ns(unit), plan.release_ns(unit), at, due, "late")


# Laws


def assert_as_a_search_says(seed: int) -> None:
    plan, records = any_run(seed)
    found = {o.unit: o for o in outcomes_of(plan, records)}
    slow = expected(plan, records)
    assert {unit: o.status for unit, o in found.items()} == {unit: e.status for unit, e in slow.items()}
    for unit, outcome in found.items():
        if outcome.is_real:
            assert outcome.model_latency_ns == slow[unit].model_latency_ns
            assert outcome.slack_ns == plan.latency_ns - outcome.model_latency_ns


def assert_the_same_in_any_order(seed: int) -> None:
    plan, records = any_run(seed)
    assert outcomes_of(plan, in_batches(plan, records, seed)) == outcomes_of(plan, records)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_any_unit_of_any_run_became_what_a_search_of_all_its_records_says(seed):
    assert_as_a_search_says(seed)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_records_that_arrive_out_of_order_change_no_outcome(seed):
    assert_the_same_in_any_order(seed)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_outcomes_that_are_closed_are_what_they_were_when_open_and_come_in_order(seed):
    plan, records = any_run(seed)
    view, closed = RunView(plan), []
    for record in in_batches(plan, records, seed):
        before = {o.unit: o for o in view.open()}
        for outcome in view.add([record]):
            assert outcome.unit in before or plan.nodes[record.node].paced
            assert outcome == before.get(outcome.unit, outcome)
            closed.append(outcome.unit)
    assert closed == sorted(set(closed))
    assert view.n_presented == len(closed) + len(view.open())
    assert view.n_overtaken == 0


class Forgets(RunView):
    """Planted: reads a delayed inlet as if it were not."""

    def _add_lost(self, node, inlet, settled):
        super()._add_lost(node, Undelayed(inlet), settled)


class Undelayed:
    """An inlet without its delay."""

    def __init__(self, inlet):
        self.port, self.stream, self.delay = inlet.port, inlet.stream, 0


class Hasty(RunView):
    """Planted: closes a unit as soon as the next one is presented."""

    def __init__(self, plan):
        super().__init__(plan)
        self._horizon = 1


@pytest.mark.parametrize(
    ("planted", "holds"), [(Forgets, assert_as_a_search_says), (Hasty, assert_the_same_in_any_order)]
)
def test_the_laws_catch_a_reader_that_is_wrong(monkeypatch, planted, holds):
    monkeypatch.setattr(run_view, "RunView", planted)
    with pytest.raises(AssertionError):
        for seed in range(200):
            holds(seed)


# One unit


def test_a_delayed_inlet_misses_the_unit_in_which_it_is_presented():
    plan = played(work=False, delay=2)
    records = recorded(plan, 6, faults={("source", 3): Validity.MISSING})
    missed = {o.unit: o.missing for o in outcomes_of(plan, records) if o.is_missed}
    assert missed == {
        3: (MissingInput("end", "a", "source.out", 3),),
        5: (MissingInput("end", "b", "source.out", 3),),
    }


def test_what_is_looked_ahead_at_is_waited_for_and_no_part_of_the_unit():
    graph = Graph("looks", latency_ms=200)
    graph.add("end", Looks, inputs={"a": graph.add("source", Source)["out"]})
    plan = graph.plan()
    records = recorded(plan, 6, faults={("source", 3): Validity.MISSING})
    outcomes = outcomes_of(plan, records)
    assert [o.unit for o in outcomes if o.is_missed] == [3]
    assert outcomes[2].model_latency_ns == 160 * MS


def test_a_unit_that_a_node_made_up_is_concealed_and_no_miss():
    plan = played()
    faults = {("work", 2): Validity.CONCEALED, ("work", 4): Validity.REPEATED, ("work", 5): Validity.EMPTY}
    outcomes = outcomes_of(plan, recorded(plan, 7, faults=faults))
    assert [o.status for o in outcomes] == ["real", "real", "concealed", "real", "concealed", "real", "real"]
    assert outcomes[2].concealed == ("work.out",)
    assert outcomes[2].model_latency_ns == 10 * MS and not outcomes[2].kept_its_deadline


def test_a_missed_unit_is_missed_whatever_the_playout_puts_in_its_place():
    plan = played()
    shown = [
        Settlement("end.picture", 0, Validity.REPEATED, 0, 0),
        Settlement("end.sound", 0, Validity.CONCEALED, 0, 0),
    ]
    (outcome,) = outcomes_of(plan, [given_up(plan, "work.out", 0), presented(plan, 0), *shown])
    assert (outcome.status, outcome.concealed) == ("missed", ("end.picture", "end.sound"))


def test_a_missed_unit_took_until_its_answer_came_after_all_or_has_no_latency():
    plan = played()
    records = [given_up(plan, "work.out", 0), presented(plan, 0, ready_ms=180)]
    (never,) = outcomes_of(plan, records)
    assert (never.model_latency_ns, never.slack_ns, never.latency_ns) == (None, None, 200 * MS)
    (computed,) = outcomes_of(plan, [*records, late_answer(plan, 0, 310)])
    assert (computed.model_latency_ns, computed.slack_ns) == (310 * MS, -110 * MS)
    (travelled,) = outcomes_of(plan, [sent_to(plan, "work.out", 0, 260), *records])
    assert travelled.model_latency_ns == 260 * MS
    (lost,) = outcomes_of(plan, [sent_to(plan, "work.out", 0, 60), *records])
    assert lost.model_latency_ns is None


def test_a_presenter_that_was_not_run_has_missed_its_unit():
    plan = played()
    (outcome,) = outcomes_of(plan, [presented(plan, 0, mode="skip")])
    assert (outcome.status, outcome.not_run, outcome.presented_ns) == ("missed", (("end", "skip"),), None)
    assert outcome.reason == "end did not run (skip)"
    assert outcome.lacking == {"end"}


def test_a_unit_counts_as_missed_from_when_it_is_presented():
    plan = played()
    view = RunView(plan)
    view.add([given_up(plan, "work.out", 0)])
    assert (view.n_presented, view.n_missed, view.open()) == (0, 0, [])
    view.add([presented(plan, 0)])
    assert (view.n_presented, view.n_missed) == (1, 1)
    assert view.open()[0].reason == "end got no a from work.out"
    view.add([presented(plan, 1)])
    assert view.n_missed == 1
    view.add([given_up(plan, "work.out", 1)])
    assert view.n_missed == 2


def test_the_last_of_several_presenters_counts():
    graph = Graph("two", latency_ms=200)
    source = graph.add("source", Source)["out"]
    for name in ("one", "two"):
        graph.add(name, Sink, inputs={"a": source})
    plan = graph.plan()
    release = plan.release_ns(0)
    done = {"one": release + 30 * MS, "two": release + 250 * MS}
    due = release + 200 * MS
    firings = [Firing(n, 0, 0, "step", 0, release, release, at, due, "late" if at > due else "real")
               for n, at in done.items()]  # fmt: skip
    (outcome,) = outcomes_of(plan, firings)
    assert (outcome.presenters, outcome.latency_ns, outcome.late_ns) == (("one", "two"), 250 * MS, 50 * MS)
    assert outcome.is_real and not outcome.kept_its_deadline


# Bounds


def test_a_record_that_comes_for_a_closed_unit_changes_nothing_and_is_counted():
    plan = played()
    view, last = RunView(plan), 40
    closed = view.add([presented(plan, unit) for unit in range(last + 1)])
    assert [o.unit for o in closed] == list(range(last + 1 - 13))  # 2 s are 13 units
    assert view.first_open == closed[-1].unit + 1
    view.add([given_up(plan, "work.out", 3), given_up(plan, "work.out", last)])
    assert (view.n_overtaken, view.n_missed) == (1, 1)
    statistics = Statistics(plan)
    statistics.add([presented(plan, unit) for unit in range(last + 1)])
    assert statistics.summary()["notes"] == []
    statistics.add([given_up(plan, "work.out", 3)])
    assert [n["text"] for n in statistics.summary()["notes"]] == [
        "1 records came more than 2 s after their units, which do not show them"
    ]


def test_a_presenter_that_falls_far_behind_another_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(run_view, "SPREAD", 20)
    graph = Graph("two", latency_ms=200)
    source = graph.add("source", Source)["out"]
    for name in ("fast", "slow"):
        graph.add(name, Sink, inputs={"a": source})
    plan = graph.plan()
    view = RunView(plan)
    closed = view.add([Firing("fast", u, u, "step", 0, 0, 0, plan.release_ns(u), None, "real") for u in range(100)])
    assert [o.unit for o in closed] == list(range(80))
    assert {o.presenters for o in closed} == {("fast",)}


def test_a_sink_that_falls_far_behind_still_finds_its_own_misses(monkeypatch):
    monkeypatch.setattr(run_view, "AHEAD", 10)
    graph = Graph("behind", latency_ms=200)
    graph.add("end", Sink, inputs={"a": graph.add("source", Source)["out"]})
    plan = graph.plan()
    lost = [Settlement("source.out", u, Validity.MISSING, 0, 0) for u in range(50)]
    fired = [Firing("end", u, u, "gap", 0, 0, 0, plan.release_ns(u), None, "real") for u in range(50)]
    view = RunView(plan)
    view.add(lost)
    assert size(view) < size(RunView(plan)) + 10 * 100
    closed = view.add(fired)
    assert view.n_missed == 50 and all(o.is_missed for o in closed)


def size(thing: object, seen: set[int] | None = None) -> int:
    """How many values an object holds, all that it refers to counted in."""
    seen = set() if seen is None else seen
    if thing is None or isinstance(thing, int | float | str):
        return 1
    if id(thing) in seen or isinstance(thing, type | Plan):
        return 0
    seen.add(id(thing))
    if isinstance(thing, array):
        return len(thing)
    if isinstance(thing, Mapping):
        return sum(size(k, seen) + size(v, seen) for k, v in thing.items())
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return sum(size(each, seen) for each in thing) + 1
    if hasattr(type(thing), "__struct_fields__"):
        return sum(size(getattr(thing, name), seen) for name in type(thing).__struct_fields__)
    names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
    return 1 + sum(size(getattr(thing, name), seen) for name in names)


def media(statistics: Statistics, plan: Plan, units: range) -> None:
    """Units of a run that goes badly: one in five is missed, its answer comes late, all times differ."""
    for unit in units:
        costs = unit * 7919 % 1000 / 10
        statistics.add([
            sent_to(plan, "work.out", unit, 20),
            *([given_up(plan, "work.out", unit), late_answer(plan, unit, 300)] if unit % 5 == 0 else []),
            Settlement("end.picture", unit, Validity.REAL, 0, 700),
            Settlement("end.sound", unit, Validity.REAL, 0, 100),
            presented(plan, unit, ready_ms=20 + costs, at_ms=200 + costs / 20),
        ])  # fmt: skip


def grows(make, monkeypatch) -> bool:
    """Whether what figures keep is more after twice as many units."""
    monkeypatch.setattr(distribution, "EXACT", 100)
    plan = played()
    statistics = make(plan)
    statistics.recent = deque(maxlen=50)
    media(statistics, plan, range(2000))
    before = size(statistics)
    media(statistics, plan, range(2000, 6000))
    return size(statistics) > before


def test_figures_of_a_long_run_take_no_more_memory_than_those_of_a_short_one(monkeypatch):
    assert not grows(Statistics, monkeypatch)


def test_the_law_catches_figures_that_keep_every_unit(monkeypatch):
    class Keeps(Statistics):
        def __init__(self, plan):
            super().__init__(plan)
            self.all = []

        def add(self, records):
            super().add(records)
            self.all += [r.last for r in records if isinstance(r, Firing)]

    assert grows(Keeps, monkeypatch)
