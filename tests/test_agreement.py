"""What a profile and a simulation say of any ordinary graph is what happens to it: on a machine that is simulated, too."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.runtime.forecast import measure
from wangraph.runtime.forecast.body_shares import Share
from wangraph.runtime.forecast.measure import measured
from wangraph.runtime.forecast.profile import Delay, Lateness, Machine, NodeCost, Profile
from wangraph.runtime.forecast.simulate import simulate
from wangraph.runtime.observe.distribution import quantiles
from wangraph.runtime.observe.outcome import real_latencies_ns
from wangraph.runtime.observe.run_view import outcomes_of
from wangraph.tools.bench import agreement
from wangraph.tools.bench.any_graph import Case, any_case, cost_ms

UNITS = 64
CORES = 4


def machine(case: Case, seed: int) -> Profile:
    """A machine on which bodies take what they say, a bit more or less, with bursts, hops and a clock that is late."""
    chance = random.Random(seed)
    nodes = {"source": NodeCost(0.4, "made up"), "play": NodeCost(0.2, "made up")}
    for name, body in case.bodies.items():
        cost, compute = cost_ms(body), body.get("compute_ms", 0.0)
        hold, threads = body.get("hold_ms", 0.0), body.get("threads", 1)
        nodes[name] = NodeCost(cost, "made up", cost * 1.05, hold_ms=hold, cpu_ms=compute + hold, threads=threads)
    columns = tuple(case.bodies)
    rows = tuple(tuple(_took(chance, case.bodies[name], unit) for name in columns) for unit in range(64))
    hops = {f"{a}->{b}": Delay(15.0, "made up", 18.0) for a in ("p0", "p1", "p2") for b in ("p0", "p1", "p2")}
    where = {"virtual": Machine(tuple(case.plan.processes), CORES, "made up")}
    return Profile("machine", "made up", nodes, hops, Lateness(0.1, "made up"), where, columns, rows)


def _took(chance: random.Random, body, unit: int) -> float:
    bursts = unit % body.get("burst_every", 8) == body.get("burst_every", 8) - 1
    return cost_ms(body) * chance.uniform(0.98, 1.05) + body.get("burst_ms", 0.0) * bursts


def ran(case: Case, truth: Profile, seed: int):
    """The records of a run on that machine, and what it was like."""
    run = simulate(case.plan, truth, UNITS, seed)
    latencies = real_latencies_ns(outcomes_of(case.plan, run.records))
    found = {"misses": run.summary["misses"] / UNITS, "latency_ms": quantiles(latencies, with_max=False)}
    return run.records, found


def assert_predicted(seed: int) -> None:
    """A profile of one run says what another run is like."""
    case = any_case(seed, CORES)
    truth = machine(case, seed)
    shares = {name: Share(c.hold_ms / c.cost_ms, c.load_ms / c.cost_ms, c.threads) for name, c in truth.nodes.items()}
    records, _ = ran(case, truth, 1)
    profile = measured(case.plan, records, "simulated", cores=CORES, shares=shares)
    _, real = ran(case, truth, 2)
    found = agreement.compare(seed, case, agreement.predicted(case, profile, UNITS, 2), real, "")
    assert not found["disagree"], found
    assert found["error"] is None or found["error"] <= agreement.FAR, found
    assert abs(found["misses"]["predicted"] - found["misses"]["real"]) < 0.15, found


def is_measurable(seed: int) -> bool:
    """Whether every node answers in time to be measured."""
    case = any_case(seed, CORES)
    try:
        measured(case.plan, ran(case, machine(case, seed), 1)[0], "simulated")
    except measure.RunError:
        return False
    return True


SEEDS = st.integers(0, 2**32).filter(is_measurable)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_profile_of_one_run_predicts_another_run_of_any_graph(seed):
    assert_predicted(seed)


def test_the_law_catches_a_profile_that_leaves_out_how_long_packets_travel(monkeypatch):
    monkeypatch.setattr(measure, "_transfers", lambda log: {})
    with pytest.raises(AssertionError):
        for seed in filter(is_measurable, range(20)):
            assert_predicted(seed)


def test_the_law_catches_a_profile_that_takes_the_best_time_for_the_typical_one(monkeypatch):
    monkeypatch.setattr(measure, "_rows", lambda columns: ((), ()))
    monkeypatch.setattr(measure, "_median", lambda column: 0.5 * min(column.values()))
    with pytest.raises(AssertionError):
        for seed in filter(is_measurable, range(20)):
            assert_predicted(seed)


def test_the_generator_draws_every_shape_that_is_promised():
    cases = [any_case(seed) for seed in range(60)]
    shapes = " | ".join(case.shape for case in cases)
    for word in ("chain", "diamond", "loop", "1 process", "2 processes", "3 processes", "one lane", "tight", "loose"):
        assert word in shapes, word
    apart = [c for c in cases if c.plan.nodes["source"].process != c.plan.nodes["play"].process]
    assert apart, "a source may live in any process"
    kinds = {key for case in cases for body in case.bodies.values() for key, value in body.items() if value}
    assert kinds == {"sleep_ms", "compute_ms", "hold_ms", "threads", "burst_ms", "burst_every"}
    assert [case.plan for case in cases[:5]] == [any_case(seed).plan for seed in range(5)]


def test_a_round_counts_what_disagrees_what_is_near_and_what_is_far():
    case = any_case(0)

    def graph(predicted_misses, real_misses, predicted_ms, real_ms):
        said, was = ({"misses": m, "latency_ms": {"p50": ms, "p95": ms}} for m, ms in
                     ((predicted_misses, predicted_ms), (real_misses, real_ms)))  # fmt: skip
        return agreement.compare(0, case, said, was, "feasible")

    graphs = [graph(0, 0.03, 100, 108), graph(0, 0.4, 100, 120), graph(1, 1, 130, 100), graph(0, 0, 1, 2.9)]
    silent = agreement.compare(0, case, {"misses": 1, "latency_ms": {}}, {"misses": 1, "latency_ms": {}}, "infeasible")
    found = agreement.summed([*graphs, silent])
    assert [g["disagree"] for g in graphs] == [False, True, False, False]
    assert (found["n_disagree"], found["n_compared"], found["n_near"], found["n_far"]) == (1, 4, 2, 1)
    assert silent["error"] is None
