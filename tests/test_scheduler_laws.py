"""Laws of the scheduler, which hold for any graph and any costs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_toys import (
    Log,
    Outcome,
    Stateful,
    any_graph,
    chain,
    simulate,
)

from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.plan.plan import Plan
from wangraph.runtime.schedule.events import Settlement
from wangraph.runtime.schedule.replay import ReplayScheduler
from wangraph.runtime.schedule.rules import Rules
from wangraph.runtime.schedule.scheduler import Result, Scheduler

SEEDS = st.integers(0, 2**32)


def assert_laws(plan: Plan, units: int, run: Outcome) -> None:
    assert run.scheduler.done
    for name in plan.streams:
        outcomes = [e.unit for e in run.log if isinstance(e, Settlement) and e.stream == name]
        assert sorted(outcomes) == list(range(units + 1)), name  # every unit once, then the end
    for name, node in plan.nodes.items():
        fires = run.bodies[name].fires
        seen = [u for f in fires for u in f.units]
        if node.stateful:
            assert seen == list(range(units)), name  # sees every unit exactly once, in order
        else:
            assert seen == sorted(set(seen)), name
        for firing in run.firings(name):
            if firing.mode == "step" and node.latest_start_ns is not None and not node.paced:
                latest = plan.release_ns(firing.first) + node.latest_start_ns
                assert firing.started_ns <= latest, name  # never a burst over what is too late
    for name, stream in plan.streams.items():
        if stream.is_log:  # its writer writes whatever it is told of: nothing of it may get lost on the way
            assert list(run.outcomes(name).values()) == [Validity.REAL] * units + [Validity.END], name


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_any_graph_with_any_costs_keeps_the_laws(case):
    plan, units, costs = any_graph(case)
    assert_laws(plan, units, simulate(plan, units, costs))


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_two_simulations_decide_the_same(case):
    plan, units, costs = any_graph(case)
    assert simulate(plan, units, costs).log == simulate(plan, units, costs).log


@settings(max_examples=80, deadline=None)
@given(SEEDS, SEEDS)
def test_a_replay_decides_as_the_run_did_whatever_things_cost_this_time(case, seed):
    plan, units, costs = any_graph(case)
    run = simulate(plan, units, costs)
    chance = random.Random(seed)
    other = {key: chance.choice([0, 50, 400]) for key in costs}
    packets: list[Packet] = []
    again = simulate(plan, units, other, ReplayScheduler(plan, log=run.log, tap=packets.append))
    for name in plan.nodes:
        assert again.fires(name) == run.fires(name)
        for mine, theirs in zip(again.bodies[name].fires, run.bodies[name].fires, strict=True):
            assert mine.level == theirs.level
            assert [_identity(i) for i in mine.inputs] == [_identity(i) for i in theirs.inputs]
    for name in plan.streams:
        assert again.outcomes(name) == run.outcomes(name)


def _identity(inputs: Mapping[str, Any]) -> dict[str, Any]:
    def one(packet: Any) -> Any:
        return None if packet is None else (packet.stream, packet.unit, packet.validity)

    return {port: tuple(map(one, g)) if isinstance(g, tuple) else one(g) for port, g in inputs.items()}


def test_the_laws_catch_a_scheduler_that_steps_what_is_too_late(monkeypatch):
    monkeypatch.setattr(Rules, "is_behind", lambda self, node, unit, now: False)
    plan = chain(("work", Stateful, 100))
    run = simulate(plan, 9, {("work", 3): 500})
    with pytest.raises(AssertionError, match="work"):
        assert_laws(plan, 9, run)


def test_the_laws_catch_a_scheduler_that_loses_what_a_log_writes_too_late():
    class Loses(Scheduler):
        def finish(self, fire, result, now):
            super().finish(fire, result if fire.mode == "step" else Result({}), now)

    plan = chain(("log", Log, 60))
    with pytest.raises(AssertionError, match=r"log\.context"):
        assert_laws(plan, 9, simulate(plan, 9, {("log", 2): 600}, Loses(plan, limit=9)))


def test_the_laws_catch_a_scheduler_that_skips_units_of_a_stateful_node(monkeypatch):
    def skips(self, state, now):
        state.cursor += 1
        return self._fire(state, "absorb", state.cursor, state.cursor, now)

    monkeypatch.setattr(Rules, "_catch_up", skips)
    plan = chain(("work", Stateful, 100))
    with pytest.raises(AssertionError):
        assert_laws(plan, 9, simulate(plan, 9, {("work", 3): 500}))
