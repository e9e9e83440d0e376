"""Simulation: the real scheduler in an event queue, by a profile; equal for equal seeds, and true to its figures."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import timing_toys as toys
from command_line import call
from hypothesis import example, given, settings
from hypothesis import strategies as st
from schedule_toys import FakeBody, any_graph

from wangraph.runtime.engine.drivers import SerialExecutor, run_virtual
from wangraph.runtime.engine.faults import parse_fault
from wangraph.runtime.errors import UserError
from wangraph.runtime.forecast.profile import Delay, Lateness, Machine, NodeCost
from wangraph.runtime.forecast.profile_file import load_profile
from wangraph.runtime.forecast.resources import budgets
from wangraph.runtime.forecast.sampling import BLOCK, Draws
from wangraph.runtime.forecast.simulate import simulate
from wangraph.runtime.observe.history import read_history
from wangraph.runtime.observe.records import Transfer
from wangraph.runtime.packet import Validity
from wangraph.runtime.schedule.decide import Fire
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.runtime.schedule.scheduler import Scheduler
from wangraph.tools.shared.options import load_plan
from wangraph.tools.shared.sweep import parse_sweep, plot
from wangraph.tools.timeline.facts import misses, read_run

ROOT = Path(__file__).parents[1]
MS = 1_000_000


def decisions(records) -> list[tuple]:
    return sorted((r.node, r.first, r.last, r.mode, r.level, r.started_ns, r.finished_ns, r.verdict)
                  for r in records if isinstance(r, Firing))  # fmt: skip


# The same scheduler


@settings(max_examples=60, deadline=None)
@example(1_207_040_120)
@given(st.integers(0, 2**32))
def test_in_one_process_a_simulation_decides_as_virtual_time_does(case):
    plan, units, _ = any_graph(case)
    scheduler = Scheduler(plan, limit=units)
    bodies = {name: FakeBody(plan, name) for name in plan.nodes}
    costs = Draws(budgets(plan), 0).cost_ns  # of an absorb and a gap, too, which a budget says nothing of
    run_virtual(plan, bodies, scheduler, SerialExecutor(), cost=costs)  # type: ignore[arg-type]
    assert decisions(simulate(plan, budgets(plan), units).records) == decisions(scheduler.take_events())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(1.0, 4.0), st.floats(0.0, 60.0))
def test_every_unit_settles_once_whatever_things_cost(seed, spread, transfer_ms):
    plan = toys.agent()
    run = simulate(plan, toys.profile(spread=spread, transfer_ms=transfer_ms), 30, seed)
    for name in plan.streams:
        outcomes = [r.unit for r in run.records if isinstance(r, Settlement) and r.stream == name]
        assert sorted(outcomes) == list(range(31)), name
    for name, node in plan.nodes.items():
        seen = [u for r in run.records if isinstance(r, Firing) and r.node == name and r.verdict != "end"
                for u in range(r.first, r.last + 1)]  # fmt: skip
        assert not node.stateful or seen == list(range(30)), name


# Chance


def test_equal_seeds_give_equal_runs_and_others_do_not():
    plan, profile = toys.agent(), toys.profile(spread=1.5)
    assert simulate(plan, profile, 40, 7).records == simulate(plan, profile, 40, 7).records
    assert simulate(plan, profile, 40, 7).records != simulate(plan, profile, 40, 8).records


def assert_an_extra_node_changes_no_draw():
    profile = toys.profile(spread=2.0)
    without = simulate(toys.agent(latency_ms=500), profile, 40)
    beside = simulate(toys.agent(latency_ms=500, extra=True), profile, 40)

    def costs(run):
        return {(r.node, r.first): r.finished_ns - r.started_ns for r in run.records if isinstance(r, Firing)}

    assert costs(without).items() <= costs(beside).items()


def test_adding_a_node_changes_nobody_elses_costs():
    assert_an_extra_node_changes_no_draw()


def test_the_law_catches_draws_from_one_stream_for_all(monkeypatch):
    shared = random.Random(0)
    monkeypatch.setattr(Draws, "_uniform", lambda self, what, unit: shared.random())
    with pytest.raises(AssertionError):
        assert_an_extra_node_changes_no_draw()


def test_costs_spread_as_the_profile_says():
    draws, node = Draws(toys.profile(spread=1.5), 0), toys.agent().nodes["think"]
    costs = sorted(draws.cost_ns(node, Fire("think", "step", u, u, ())) / MS for u in range(4000))
    assert costs[2000] == pytest.approx(40, rel=0.03)
    assert costs[3800] == pytest.approx(60, rel=0.03)


def test_rows_are_drawn_together_and_in_blocks():
    rows = tuple((float(i), 100.0 + i) for i in range(50))
    draws = Draws(replace(toys.profile(), columns=("see", "think"), rows=rows), 3)
    nodes = toys.agent().nodes

    def cost(name, unit):
        typical = {"see": 24.5 / 10, "think": 124.5 / 40}[name]
        return round(draws.cost_ns(nodes[name], Fire(name, "step", unit, unit, ())) / MS * typical)

    pairs = [(cost("see", u), cost("think", u)) for u in range(64)]
    assert all(think - see == 100 for see, think in pairs)
    for begin in range(0, 64, BLOCK):
        block = [see for see, _ in pairs[begin : begin + BLOCK]]
        assert [(see - block[0]) % 50 for see in block] == list(range(BLOCK))


def test_a_cost_grows_with_its_history_as_far_as_the_profile_knows():
    profile = toys.profile()
    growing = replace(profile, nodes={**profile.nodes, "think": NodeCost(10, "x", per_unit_ms=1)}, history_units=20)
    draws, node = Draws(growing, 0), toys.agent().nodes["think"]
    assert [draws.cost_ns(node, Fire("think", "step", u, u, ())) // MS for u in (0, 10, 20, 30)] == [10, 20, 30, 30]


def test_levels_and_absorbed_units_cost_what_the_profile_says():
    profile = toys.profile()
    nodes = {**profile.nodes, "think": NodeCost(80, "x", level_ms=(80, 20), absorb_ms=5)}
    draws, node = Draws(replace(profile, nodes=nodes), 0), toys.agent().nodes["think"]
    assert draws.cost_ns(node, Fire("think", "step", 0, 0, (), level=1)) == 20 * MS
    assert draws.cost_ns(node, Fire("think", "absorb", 3, 5, ())) == 15 * MS
    assert draws.cost_ns(node, Fire("think", "gap", 3, 5, ())) == 0


# Hardware one does not have


def test_packets_take_as_long_as_the_profile_says_and_never_overtake():
    profile = replace(toys.profile(), transfers={"main->far": Delay(50, "x", 120), "act.out": Delay(3, "x")})
    run = simulate(toys.agent(latency_ms=600), profile, 100)
    there = [r for r in run.records if isinstance(r, Transfer) and r.stream == "think.out"]
    back = [r for r in run.records if isinstance(r, Transfer) and r.stream == "act.out"]
    assert [r.unit for r in there] == list(range(100))
    assert all(a.arrived_ns <= b.arrived_ns for a, b in itertools.pairwise(there))
    assert len({r.arrived_ns - r.sent_ns for r in there}) > 50
    assert {r.arrived_ns - r.sent_ns for r in back} == {3 * MS}


def test_a_late_clock_makes_every_unit_late_by_as_much():
    plan, profile = toys.agent(), toys.profile()
    on_time = simulate(plan, profile, 10).summary["model_latency_ms"]["p50"]
    late = simulate(plan, replace(profile, clock=Lateness(4, "x")), 10).summary["model_latency_ms"]["p50"]
    assert late - on_time == pytest.approx(4)


def sides(**changes):
    """See and think ready at once, in two lanes of one process; when each ended."""
    plan = toys.agent(far=False, latency_ms=900, extra=True)
    profile = replace(toys.profile(see=50, aside=30), **changes)
    run = simulate(plan, profile, 1)
    return {
        r.node: r.finished_ns - plan.release_ns(0) - MS for r in run.records if isinstance(r, Firing) and r.first == 0
    }


def test_bodies_of_one_process_share_its_interpreter():
    assert (sides()["see"], sides()["aside"]) == (50 * MS, 30 * MS)
    nodes = {**toys.profile(see=50, aside=30).nodes}
    nodes |= {"see": NodeCost(50, "x", hold_ms=50), "aside": NodeCost(30, "x", hold_ms=30)}
    assert sorted([(ends := sides(nodes=nodes))["see"], ends["aside"]])[-1] == 80 * MS


def test_a_machine_runs_no_more_bodies_than_it_has_cores():
    one, two = (sides(machines={"m": Machine(("main",), n, "x")}) for n in (1, 2))
    assert max(one["see"], one["aside"]) == 80 * MS
    assert (two["see"], two["aside"]) == (50 * MS, 30 * MS)


def test_bodies_that_sleep_share_a_core_and_one_of_two_threads_takes_two():
    asleep = {n: NodeCost(ms, "x", cpu_ms=1) for n, ms in (("see", 50), ("aside", 30))}
    wide = {"see": NodeCost(50, "x", cpu_ms=100, threads=2), "aside": NodeCost(30, "x", cpu_ms=30)}
    ends = sides(nodes={**toys.profile().nodes, **asleep}, machines={"m": Machine(("main",), 1, "x")})
    assert (ends["see"], ends["aside"]) == (50 * MS, 30 * MS)
    ends = sides(nodes={**toys.profile().nodes, **wide}, machines={"m": Machine(("main",), 2, "x")})
    assert max(ends["see"], ends["aside"]) == 80 * MS


def test_nodes_on_one_device_take_turns():
    plan = toys.agent(far=False, latency_ms=900, extra=True)
    nodes = {n: replace(node, device="cuda:0") if n in ("see", "aside") else node for n, node in plan.nodes.items()}
    run = simulate(replace(plan, nodes=nodes), toys.profile(see=50, aside=30), 1)
    ends = {
        r.node: r.finished_ns - plan.release_ns(0) - MS for r in run.records if isinstance(r, Firing) and r.first == 0
    }
    assert max(ends["see"], ends["aside"]) == 80 * MS


# The paper on paper


def test_wan_streamer_keeps_its_condition_and_adds_up_to_what_was_published():
    run = simulate(load_plan("wan_streamer"), load_profile("wan-streamer"), 375)
    total = run.summary["model_latency_ms"]["p50"]
    assert run.holds
    assert total == pytest.approx(550, abs=20)
    assert total - 2 * 175 == pytest.approx(200, abs=20)


def test_wan_streamer_with_a_slower_solver_breaks_its_loop():
    run = simulate(load_plan("wan_streamer"), load_profile("wan-streamer-infeasible"), 375)
    assert not run.holds and run.summary["misses"] > 300


def test_a_cascade_of_published_stages_takes_several_times_as_long():
    run = simulate(load_plan("cascade_published"), load_profile("cascade-published"), 375)
    assert run.holds
    assert run.summary["model_latency_ms"]["p50"] > 3 * 550


def test_a_published_stage_cannot_be_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        call("run", "cascade_published", "--clock", "virtual", "--units", "1", "--quiet")
    assert str(caught.value) == (
        "node 'vad': found a published stage, which has figures and no body (expected a node that runs), "
        "simulate the graph instead: wangraph simulate GRAPH --profile FILE"
    )


# Faults


def test_a_stall_is_simulated_and_noted():
    run = simulate(toys.agent(), toys.profile(), 20, faults=[parse_fault("act: stall=300ms at=9")])
    lost = {
        r.unit
        for r in run.records
        if isinstance(r, Settlement) and r.stream == "show.out" and r.validity == Validity.MISSING
    }
    assert 9 in lost and not run.holds
    assert [n["text"] for n in run.summary["notes"]] == ["node 'act', unit 9: stall=300ms"]


def test_what_needs_a_body_cannot_be_injected():
    with pytest.raises(UserError) as caught:
        simulate(toys.agent(), toys.profile(), 20, faults=[parse_fault("act: kill at=9")])
    assert str(caught.value) == (
        "--inject 'act: kill at=9': found kill in a simulation, which has no bodies (expected stall or slow), "
        "inject it into a run"
    )


# Sweeps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("perform.cost_ms=1:2:1",
         "--sweep: found 'perform.cost_ms=1:2:1' (expected profile.NODE.FIGURE=FROM:TO:STEP), "
         "for example profile.perform.cost_ms=20:200:10"),
        ("profile.act.cost_ms=5:1:1",
         "--sweep: found the range '5:1:1' (expected FROM:TO:STEP, 0 <= FROM <= TO, STEP more than 0), for example 20:200:10"),
        ("profile.act.cost_ms=1:2",
         "--sweep: found the range '1:2' (expected FROM:TO:STEP, 0 <= FROM <= TO, STEP more than 0), for example 20:200:10"),
        ("profile.act.cost_ms=nan:2:1",
         "--sweep: found the range 'nan:2:1' (expected FROM:TO:STEP, 0 <= FROM <= TO, STEP more than 0), for example 20:200:10"),
        ("profile.act.cost_ms=0:1:0.0001", "--sweep: found 10001 values (expected 1000 or less), make the step larger"),
    ],
)  # fmt: skip
def test_a_sweep_that_is_none_says_how_one_is_written(text, message):
    with pytest.raises(UserError) as caught:
        parse_sweep(text)
    assert str(caught.value) == message


def test_a_sweep_reaches_its_end_exactly():
    assert parse_sweep("profile.a.cost_ms=0:0.3:0.1").values == (0.0, 0.1, 0.2, 0.3)
    assert parse_sweep("profile.main->far.ms=1:1:5").key == "main->far.ms"


def test_a_sweep_over_an_unknown_key_names_those_that_are_there():
    with pytest.raises(UserError, match=r"^profile\.performer\.cost_ms: no node or transfer 'performer' in .*wan-streamer\.yaml "
                                        r"\(it has: .*\); did you mean 'perform'\?$"):  # fmt: skip
        call("simulate", "wan_streamer", "--profile", "wan-streamer", "--sweep", "profile.performer.cost_ms=1:2:1")


def test_a_sweep_prints_a_row_and_a_bar_per_value():
    words = ("simulate", "wan_streamer", "--profile", "wan-streamer", "--units", "30")
    told = json.loads(call(*words, "--sweep", "profile.perform.cost_ms=20:140:60", "--json"))
    assert [p["value"] for p in told["points"]] == [20, 80, 140]
    assert [p["verdict"] for p in told["points"]] == ["feasible", "feasible", "does not hold"]
    latencies = [p["model_latency_ms"]["p50"] for p in told["points"]]
    assert latencies == sorted(latencies)
    lines = call(*words, "--sweep", "profile.perform.cost_ms=20:140:60").splitlines()
    assert len(lines) == 4 and all("|" in line and "##" in line for line in lines[1:])


def test_a_bar_shows_p50_p95_and_where_it_is_due():
    rows = [{"model_latency_ms": {"p50": 100.0, "p95": 150.0}}, {"model_latency_ms": {}}]
    bars = plot(rows, 200)
    assert bars == ["#" * 20 + "+" * 10 + " " * 10 + "|", " " * 40 + "|"]


# The command


def test_the_trace_of_a_simulation_is_read_like_that_of_a_run(tmp_path):
    for name in ("a.trace", "b.trace"):
        call("simulate", "wan_streamer", "--profile", "wan-streamer", "--units", "20", "--trace", str(tmp_path / name))
    assert (tmp_path / "a.trace").read_bytes() == (tmp_path / "b.trace").read_bytes()
    run = read_run(tmp_path / "a.trace")
    assert (run.n_units, misses(run), run.is_whole) == (20, {}, True)
    assert read_history(tmp_path / "a.trace").n_units == 20


def test_the_summary_is_that_of_a_run_with_what_was_simulated():
    told = json.loads(
        call("simulate", "wan_streamer", "--profile", "wan-streamer", "--units", "12", "--seed", "3", "--json")
    )
    assert (told["verdict"], told["units"], told["misses"], told["seed"]) == ("feasible", 12, 0, 3)
    assert told["profile"]["source"] == "assumed"
    assert set(told["model_latency_ms"]) == {"p50", "p95", "p99", "max"}


def test_a_profile_of_another_graph_is_warned_of_by_both_names(tmp_path):
    file = tmp_path / "other.profile.yaml"
    text = (ROOT / "graphs" / "profiles" / "wan-streamer.yaml").read_text()
    file.write_text(text.replace("graph: wan_streamer", "graph: mine"))
    warning = (
        f"{file}: found a profile of graph 'mine' (expected 'wan_streamer'), its costs may be those of other nodes, "
        "measure them: wangraph profile GRAPH -o FILE"
    )
    words = ("simulate", "wan_streamer", "--units", "8", "--profile")
    assert call(*words, str(file)).splitlines()[0] == f"warning: {warning}"
    assert json.loads(call(*words, str(file), "--json"))["warnings"] == [warning]
    assert json.loads(call(*words, "wan-streamer", "--json"))["warnings"] == []
    sweep = ("--sweep", "profile.see.cost_ms=1:2:1")
    assert call(*words, str(file), *sweep).splitlines()[0] == f"warning: {warning}"
    assert json.loads(call(*words, str(file), *sweep, "--json"))["warnings"] == [warning]
    check = ("check", "wan_streamer", "--timing", "--profile", str(file))
    assert f"warning: {warning}" in call(*check).splitlines()
    assert json.loads(call(*check, "--json"))["timing"]["warnings"] == [warning]


def test_a_sweep_has_no_trace():
    with pytest.raises(UserError, match=r"^--sweep and --trace: found both \(expected one of them\), leave one out$"):
        call(
            "simulate",
            "wan_streamer",
            "--profile",
            "wan-streamer",
            "--sweep",
            "profile.see.cost_ms=1:2:1",
            "--trace",
            "x",
        )
