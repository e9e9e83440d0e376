"""Profiles as files, as sums, and as what a run leaves behind."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import timing_toys as toys
from click.testing import CliRunner
from command_line import call
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_toys import Early, Paced

from wangraph import Graph
from wangraph.runtime.engine.faults import parse_fault
from wangraph.runtime.errors import RunError, UserError
from wangraph.runtime.forecast import profiling
from wangraph.runtime.forecast.body_shares import Share, _Meter
from wangraph.runtime.forecast.measure import SKIPPED, measured
from wangraph.runtime.forecast.profile import CLOCK, Delay, Lateness, Machine, NodeCost, Profile
from wangraph.runtime.forecast.profile_file import load_profile, write_profile
from wangraph.runtime.forecast.resources import budgets, forecast
from wangraph.runtime.forecast.simulate import simulate
from wangraph.runtime.forecast.verdict import judge
from wangraph.runtime.observe.records import Transfer
from wangraph.runtime.plan.catalogue import shipped_profiles
from wangraph.runtime.schedule.events import Firing
from wangraph.runtime.schedule.scheduler import Result, Scheduler
from wangraph.tools.cli import cli
from wangraph.tools.shared.options import load_plan

ROOT = Path(__file__).parents[1]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return path


def mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        load_profile(written(tmp_path, text).relative_to(tmp_path))
    return str(caught.value)


# Files

NAMES = st.text("abcdefgh_", min_size=1, max_size=6)
TIMES = st.floats(0, 1000).map(lambda x: round(x, 3))


@st.composite
def profiles(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True).filter(lambda names: CLOCK not in names))
    nodes = {
        n: NodeCost(draw(TIMES), draw(NAMES), None, draw(TIMES), draw(TIMES), tuple(draw(st.lists(TIMES, max_size=3))))
        for n in names
    }
    transfers = {f"{names[0]}.out": Delay(draw(TIMES), "assumed"), "a->b": Delay(1.0, "x", 2.0)}
    columns = (names[0], CLOCK) if draw(st.booleans()) else ()
    rows = tuple((draw(TIMES), draw(TIMES)) for _ in range(3)) if columns else ()
    machines = {"big": Machine(("main", "far"), draw(st.sampled_from([None, 8])), "assumed")}
    history = draw(st.sampled_from([None, 200]))
    return Profile("p", "assumed", nodes, transfers, Lateness(0.5, "x", 1.0), machines, columns, rows, "g", history)


@settings(max_examples=40, deadline=None)
@given(profiles())
def test_a_profile_written_and_read_is_the_same(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("profile") / "p.yaml"
    path.write_text(write_profile(made, "two\nlines"))
    assert replace(load_profile(path), where=made.where) == made


@pytest.mark.parametrize("name", sorted(shipped_profiles()))
def test_a_shipped_profile_has_a_source_for_each_figure_and_fits_its_graph(name):
    profile = load_profile(name)
    profile.check(load_plan(profile.graph))
    text = shipped_profiles()[name].read_text()
    figures = [line for line in text.splitlines() if "_ms:" in line or " {ms:" in line]
    assert figures and all("source:" in line for line in figures)


def test_unknown_keys_names_and_values_are_told_with_their_place(tmp_path, monkeypatch):
    text = "nodes:\n  a: {cost: 3, source: assumed}\n  b: {cost_ms: -1, source: assumed}\nrow: 1\nsource: x\n"
    assert mistake(tmp_path, monkeypatch, text).splitlines() == [
        "p.yaml:4:1: profile: unknown key 'row' (expected: clock, graph, history_units, machines, "
        "name, nodes, rows, source, transfers, version); did you mean 'rows'?",
        "p.yaml:2:7: node 'a': unknown key 'cost' (expected: absorb_ms, cost_ms, cpu_ms, hold_ms, level_ms, "
        "p95_ms, per_unit_ms, source, threads); did you mean 'cost_ms'?",
        "p.yaml:2:6: node 'a': found no cost_ms (expected milliseconds), add cost_ms: 5",
        "p.yaml:3:16: node 'b': cost_ms: found -1 (expected 0 or more, milliseconds)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.yaml: found an empty file (expected a profile with 'nodes'), make one with: wangraph profile GRAPH -o FILE"),
        ("a: 1", "p.yaml: found no nodes (expected a profile with 'nodes'), make one with: wangraph profile GRAPH -o FILE"),
        ("- 1", "p.yaml: found a list (expected a profile with 'nodes'), make one with: wangraph profile GRAPH -o FILE"),
        ("nodes: {a: {cost_ms: 1}}",
         "p.yaml:1:12: node 'a': found no source (expected where the figures come from), add source: assumed, or a reference"),
        ("source: x\nnodes: {a: {cost_ms: 5, p95_ms: 4}}",
         "p.yaml:2:33: node 'a': p95_ms: found 4 (expected 5 or more, the typical value)"),
        ("source: x\nnodes: {a: {cost_ms: 5}}\nrows: {columns: [b], ms: [[1]]}",
         "p.yaml:3:17: rows: columns: found 'b' (expected one of: a, clock)"),
        ("source: x\nnodes: {a: {cost_ms: 5}}\nrows: {columns: [a], ms: [[1], [1, 2]]}",
         "p.yaml:3:26: rows: ms: row 2: found [1, 2] (expected 1 numbers, one per column)"),
        ("version: 2\nsource: x\nnodes: {a: {cost_ms: 5}}", "p.yaml:1:10: version: found 2 (expected 1), measure it again"),
    ],
)  # fmt: skip
def test_a_broken_profile_says_what_is_wrong(tmp_path, monkeypatch, text, message):
    assert mistake(tmp_path, monkeypatch, text) == message


def test_a_profile_that_is_nowhere_lists_the_shipped_ones():
    with pytest.raises(UserError) as caught:
        load_profile("wan-steamer")
    assert str(caught.value) == (
        "wan-steamer: no such profile (expected a file, or one of: cascade-published, wan-streamer, "
        "wan-streamer-infeasible), make one with: wangraph profile GRAPH -o FILE; did you mean 'wan-streamer'?"
    )


def test_a_profile_that_lacks_a_node_names_it_and_says_what_to_add():
    lacking = replace(
        toys.profile(), nodes={"user": NodeCost(1, "assumed"), "see": NodeCost(1, "assumed")}, where="p.yaml"
    )
    with pytest.raises(UserError) as caught:
        simulate(toys.agent(), lacking, 3)
    assert str(caught.value) == (
        "p.yaml: nodes: found no figures for think, act, show, play of graph 'agent' (it has: see, user), "
        "add think: {cost_ms: 5, source: assumed}, or measure them: wangraph profile GRAPH -o FILE"
    )


# One figure changed


def test_a_changed_cost_keeps_its_spread():
    changed = toys.profile(spread=1.5).having("think.cost_ms", 80)
    assert (changed.nodes["think"].cost_ms, changed.nodes["think"].p95_ms) == (80, 120)


def test_transfers_and_the_clock_can_be_changed_too():
    changed = toys.profile().having("main->far.ms", 7).having("clock.late_ms", 3)
    assert (changed.transfers["main->far"].ms, changed.clock.late_ms) == (7, 3)


def test_an_unknown_figure_is_told_with_those_that_are_there():
    with pytest.raises(UserError) as caught:
        toys.profile().having("thinks.cost_ms", 1)
    assert str(caught.value) == (
        "profile.thinks.cost_ms: no node or transfer 'thinks' in profile (it has: act, aside, clock, far->main, "
        "main->far, play, see, show, think, user); did you mean 'think'?"
    )
    with pytest.raises(UserError) as caught:
        toys.profile().having("think.cost", 1)
    assert str(caught.value) == (
        "profile.think.cost: no figure 'cost' (available: absorb_ms, cost_ms, cpu_ms, hold_ms, p95_ms, per_unit_ms, "
        "threads); did you mean 'cost_ms'?"
    )


# Sums


def test_the_critical_path_adds_up_to_the_latency_it_predicts():
    found = forecast(toys.agent(), toys.profile())
    (path,) = found.paths
    assert [s.what for s in path.steps] == ["user", "see", "think", "think -> act", "act", "act -> show", "show"]
    assert path.latency_ms == pytest.approx(1 + 10 + 40 + 2 + 30 + 2 + 20)
    for before, after in itertools.pairwise(path.steps):
        assert after.from_ms == pytest.approx(before.to_ms)


def test_a_late_clock_stands_at_the_beginning_of_the_critical_path():
    on_time, late = toys.profile(), replace(toys.profile(), clock=Lateness(3.0, "assumed"))
    (before,), (path,) = forecast(toys.agent(), on_time).paths, forecast(toys.agent(), late).paths
    assert path.latency_ms == pytest.approx(before.latency_ms + 3)
    assert (path.steps[0].what, path.steps[0].from_ms, path.steps[0].to_ms) == ("clock late", 0, 3)
    assert [(s.what, s.to_ms - s.from_ms) for s in path.steps[1:]] == [
        (s.what, pytest.approx(s.to_ms - s.from_ms)) for s in before.steps
    ]


def test_a_sink_beside_the_playout_has_a_path_of_its_own():
    graph = Graph("two_ends", latency_ms=200)
    user = graph.add("user", toys.Source)
    see = graph.add("see", toys.Work, inputs={"a": user["out"]})
    play = graph.add("play", toys.Play, inputs={"a": see["out"]})
    graph.add("seen", toys.Sink, inputs={"a": see["out"]})
    graph.add("shown", toys.Sink, inputs={"a": play["out"]})
    costs = {"user": 1.0, "see": 10.0, "play": 1.0, "seen": 5.0, "shown": 5.0}
    profile = Profile("p", "assumed", {name: NodeCost(ms, "assumed") for name, ms in costs.items()})
    assert {p.end: p.latency_ms for p in forecast(graph.plan(), profile).paths} == {"play": 11, "seen": 16}


def test_a_loop_that_takes_longer_than_its_delays_is_infeasible_and_named():
    found = forecast(toys.agent(), toys.profile(think=100, act=70))
    assert found.infeasible[0] == (
        "infeasible: because the loop think -> act -> think takes 174 ms (expected 160 or less, its delays), "
        "lower the budgets or raise a delay"
    )


def test_an_interpreter_a_device_and_a_machine_can_be_too_busy():
    plan, profile = toys.agent(), toys.profile()
    holding = {n: replace(c, hold_ms=c.cost_ms * 2) for n, c in profile.nodes.items()}
    machines = {"small": Machine(("main", "far"), 1, "assumed")}
    reasons = forecast(plan, replace(profile, nodes={**holding, "see": NodeCost(70, "x", hold_ms=70)})).infeasible
    assert reasons == (
        "infeasible: because interpreter of main is busy 194 ms of every unit (user 2, see 70, think 80, show 40, "
        "play 2; expected 160 or less), move a node to another process",
    )
    crowded = forecast(plan, replace(toys.profile(see=70), machines=machines)).infeasible
    assert crowded == (
        "infeasible: because machine small is busy 162 ms of every unit (user 1, see 70, think 40, act 30, show 20, "
        "play 1; expected 160 or less), move a process to another machine",
    )


def test_a_machine_is_loaded_by_what_computes_and_not_by_what_waits():
    plan, small = toys.agent(), {"small": Machine(("main", "far"), 1, "assumed")}
    profile = replace(toys.profile(see=70), machines=small)
    waits = replace(profile, nodes={**profile.nodes, "see": NodeCost(70, "x", cpu_ms=1)})
    assert waits.nodes["see"].wait_ms == 69
    assert forecast(plan, waits).infeasible == ()
    assert [load.busy_ms for load in forecast(plan, waits).loads if load.kind == "machine"] == [93]
    wide = replace(profile, nodes={**profile.nodes, "see": NodeCost(40, "x", cpu_ms=80, threads=2)})
    assert wide.nodes["see"].wait_ms == 0
    assert [load.busy_ms for load in forecast(plan, wide).loads if load.kind == "machine"] == [172]


def test_what_a_body_did_alone_and_beside_a_counting_thread_gives_its_shares():
    meter = _Meter()
    meter._free = [(1.0, 0.5)]
    meter._beside = {"asleep": [(0.1, 0.05)], "torch": [(0.1, 0.05)], "python": [(0.2, 0.05)]}
    meter._alone = {"asleep": [(0.1, 0.001, 0.001)], "torch": [(0.1, 0.19, 0.1)], "python": [(0.1, 0.1, 0.1)]}
    shares = meter.shares()
    meter.close()
    assert shares["asleep"] == Share(hold=0.0, cpu=pytest.approx(0.01), threads=1.0)
    assert shares["torch"] == Share(hold=0.0, cpu=pytest.approx(1.9), threads=pytest.approx(1.9))
    assert shares["python"] == Share(hold=pytest.approx(1.0), cpu=pytest.approx(1.0), threads=1.0)


def test_a_cheaper_level_saves_what_the_best_one_cannot():
    graph = toys.agent()
    laddered = replace(graph.nodes["act"], ladder=({"steps": 4}, {"steps": 1}))
    plan = replace(graph, nodes={**graph.nodes, "act": laddered})
    nodes = {**toys.profile().nodes, "act": NodeCost(130, "assumed", level_ms=(130, 30))}
    found = forecast(plan, replace(toys.profile(), nodes=nodes))
    assert found.infeasible == ()
    assert found.strained[0].startswith("infeasible: because the loop think -> act -> think takes 174 ms")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=4, max_size=4), st.sampled_from(["see", "think", "act", "show"]))
def test_a_node_may_grow_to_its_largest_cost_and_not_beyond(costs, name):
    profile = toys.profile(**dict(zip(["see", "think", "act", "show"], map(float, costs), strict=True)))
    plan = toys.agent(latency_ms=400, budgets=False)
    largest = forecast(plan, profile).nodes[name].max_cost_ms
    assert largest is not None
    assert not forecast(plan, profile.having(f"{name}.cost_ms", largest - 0.01)).infeasible
    assert forecast(plan, profile.having(f"{name}.cost_ms", largest + 0.01)).infeasible


# Verdicts


def test_feasible_needs_a_profile_and_a_simulation_in_which_every_due_held():
    plan = toys.agent()
    assert judge(plan, toys.profile(), 20).reasons == (
        "feasible: every due held in 20 simulated units with the profile 'toy'",
    )
    assert judge(plan, None, 20).reasons == (
        "unproven: every due holds with the declared budgets, but nothing was measured, and play, user without a budget "
        "cost 0 here; prove it: wangraph profile GRAPH -o FILE, then wangraph check GRAPH --timing --profile FILE",
    )
    late = judge(plan, toys.profile(spread=3.0), 200)
    assert late.word == "does not hold" and "late in 200 simulated units, first: node '" in late.reasons[0]
    assert judge(plan, toys.profile(think=100, act=70), 5).word == "infeasible"


def test_without_a_budget_nothing_is_said_to_hold():
    assert judge(toys.agent(budgets=False), None, 20).reasons == (
        "unproven: no node has a budget, so that all of them cost 0 here; prove it: wangraph profile GRAPH -o FILE, then "
        "wangraph check GRAPH --timing --profile FILE",
    )


def test_a_playout_held_up_by_its_lane_does_not_hold_and_one_by_the_clock_is_told():
    plan, stall = toys.agent(extra=True, play_lane="io"), parse_fault("aside: stall=120ms at=9")
    held_up = judge(plan, toys.profile(), 20, faults=[stall])
    assert (held_up.word, held_up.reasons) == (
        "does not hold",
        (
            "does not hold: 0 misses and 1 late in 20 simulated units, first: node 'play' began unit 8, "
            "82.0 ms after its due, with what was injected",
        ),
    )
    assert judge(plan, toys.profile().having("clock.late_ms", 8), 20).reasons == (
        "feasible: every due held in 20 simulated units with the profile 'toy'; "
        "20 presentations began late with the profile's clock",
    )


def test_misses_that_a_check_simulated_itself_are_not_left_unproven(tmp_path):
    slower = written(tmp_path, write_profile(load_profile("wan-streamer").having("perform.cost_ms", 140)))
    words = ["check", "wan_streamer", "--timing", "--profile", str(slower)]
    failed = CliRunner().invoke(cli, words, standalone_mode=False)
    assert failed.return_value == 1
    assert re.fullmatch(
        r"does not hold: \d{3} misses and 0 late in 375 simulated units, first: node 'sync' got no video of unit \d+",
        failed.output.splitlines()[-1],
    )


def test_budgets_are_a_profile_of_their_own():
    plan = toys.agent()
    assert {n: c.cost_ms for n, c in budgets(plan).nodes.items()} == {**toys.COSTS, "user": 0, "play": 0}


def test_check_tells_timing_and_fails_on_what_cannot_be():
    good = json.loads(call("check", "wan_streamer", "--timing", "--profile", "wan-streamer", "--json"))["timing"]
    assert good["verdict"] == "feasible"
    assert good["paths"][0]["model_latency_ms"] == pytest.approx(good["simulated"]["model_latency_ms"]["p50"], rel=0.02)
    failed = CliRunner().invoke(
        cli, ["check", "wan_streamer", "--timing", "--profile", "wan-streamer-infeasible"], standalone_mode=False
    )
    assert failed.return_value == 1
    assert failed.output.splitlines()[-1] == (
        "infeasible: because the loop think -> perform -> think takes 179 ms (expected 160 or less, its delays), "
        "lower the budgets or raise a delay"
    )


def test_a_profile_without_timing_is_a_mistake():
    with pytest.raises(UserError, match=r"^--profile: found it without --timing \(expected both\), add --timing$"):
        call("check", "hello", "--profile", "wan-streamer")


# Measuring


def test_what_was_simulated_measures_as_it_was_profiled():
    profile = replace(toys.profile(), clock=Lateness(0.25, "assumed"))
    plan = toys.agent()
    again = measured(plan, simulate(plan, profile, 60).records, "simulated")
    for name in plan.nodes:
        assert again.nodes[name].cost_ms == pytest.approx(profile.nodes[name].cost_ms)
        assert again.nodes[name].per_unit_ms == 0
    assert {key: d.ms for key, d in again.transfers.items()} == {
        "think.out->far": 2, "act.out->main": 2,
    }  # fmt: skip
    assert again.clock.late_ms == pytest.approx(0.25)


def test_what_a_source_made_ahead_travels_from_its_release_on():
    graph = Graph("apart", latency_ms=80)
    graph.process("other")
    graph.process("main")
    source = graph.add("source", Early, process="other")
    graph.add("paced", Paced, inputs={"a": source["out"]}, process="main")
    plan, records = graph.plan(), []
    scheduler = Scheduler(plan, "other", limit=20)
    for unit in range(20):
        early, late = plan.release_ns(unit - 2), plan.release_ns(unit) + 300_000  # the clock is 0.3 ms late
        scheduler.advance(early)
        (fire,) = scheduler.choose_all(list(scheduler.lanes), early)
        scheduler.finish(fire, Result(), early + 1_000_000)
        assert scheduler.take_outgoing() == []
        scheduler.advance(late)
        (packet,) = scheduler.take_outgoing()
        assert packet.produced_ns == late
        arrived = late + 2_000_000
        way = ("other", "main", packet.produced_ns, arrived, 8, "shared")
        records += [*scheduler.take_events(), Transfer("source.out", unit, *way)]
        records += [Firing("paced", unit, unit, "step", 0, arrived, plan.release_ns(unit) + 80_000_000,
                           plan.release_ns(unit) + 80_100_000, None, "real")]  # fmt: skip
    found = measured(plan, records, "made up")
    assert found.transfers["source.out->main"].ms == pytest.approx(2)
    assert found.clock.late_ms == pytest.approx(0.3)
    assert judge(plan, found, 50).word == "feasible"


def test_costs_that_grow_with_history_are_measured_as_such():
    profile = toys.profile(spread=1.1)
    growing = replace(profile, nodes={**profile.nodes, "act": NodeCost(20, "assumed", per_unit_ms=0.1)})
    again = measured(toys.agent(), simulate(toys.agent(), growing, 200).records, "simulated")
    assert again.nodes["act"].per_unit_ms == pytest.approx(0.1, rel=0.05)
    assert again.nodes["act"].cost_ms == pytest.approx(20, rel=0.05)
    assert again.nodes["think"].per_unit_ms == 0
    assert again.history_units == 199


def test_what_struck_together_stays_in_one_row():
    chance = random.Random(0)
    values = [(10 + stall, 40 + stall) for stall in (0 if chance.random() < 0.7 else 25 for _ in range(40))]
    stalled = replace(toys.profile(), columns=("see", "think"), rows=tuple(values))
    again = measured(toys.agent(), simulate(toys.agent(), stalled, 80).records, "simulated")
    see, think = again.columns.index("see"), again.columns.index("think")
    assert {(round(row[see]), round(row[think])) for row in again.rows} == {(10, 40), (35, 65)}


def test_a_graph_that_misses_every_deadline_is_measured_with_later_ones(monkeypatch):
    plan, truth = toys.agent(budgets=False, latency_ms=60), toys.profile()
    records = simulate(plan, truth, 40).records
    with pytest.raises(RunError, match="node 'show' never answered"):
        measured(plan, records, "simulated")
    machine = {"machine": {"cores": 2}}
    monkeypatch.setattr(profiling, "_recorded", lambda plan, units: (machine, simulate(plan, truth, units).records))
    found, _ = profiling.profile_run(plan, 40)
    assert {name: round(cost.cost_ms, 6) for name, cost in found.nodes.items()} == {
        name: truth.nodes[name].cost_ms for name in plan.nodes
    }
    assert judge(plan, found, 40).word in ("infeasible", "does not hold")


def test_a_run_that_is_too_short_to_measure_says_so():
    with pytest.raises(RunError) as caught:
        measured(toys.agent(), simulate(toys.agent(), toys.profile(), SKIPPED).records, "simulated")
    assert str(caught.value) == (
        "profile: node 'user' never answered a unit after the first 3 (expected some), "
        "run more units, or on a machine that keeps up"
    )


GRAPH = f"""\
name: numbers
clock: {{fps: 100, unit_frames: 4}}
latency_ms: 400
processes: {{main: {{lanes: [loop, io], threads: 1}}}}
params: {{output: out.txt}}
nodes:
  numbers: {{type: "{ROOT}/tests/engine_toys.py:Numbers", lane: io}}
  blend:   {{type: "{ROOT}/tests/engine_toys.py:Blend", inputs: {{video: numbers.video}}}}
  play:    {{type: "{ROOT}/tests/engine_toys.py:Play", inputs: {{video: blend.mixed}}}}
  digest:  {{type: "{ROOT}/tests/engine_toys.py:Digest", lane: io, inputs: {{video: play.shown}}, params: {{path: $output}}}}
"""


def test_a_profiled_graph_can_be_simulated_by_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("g.yaml").write_text(GRAPH)
    assert call("profile", "g.yaml", "-o", "mine.yaml", "--units", "30").endswith("wrote mine.yaml\n")
    assert len(Path("out.txt").read_text().splitlines()) == 30  # by the run, not by the measuring beside it
    profile = load_profile("mine.yaml")
    assert set(profile.nodes) == {"numbers", "blend", "play", "digest"}
    assert profile.source.startswith("measured ") and len(profile.rows) == 30 - SKIPPED
    assert all(0 <= cost.hold_ms <= cost.cost_ms for cost in profile.nodes.values())
    assert json.loads(call("simulate", "g.yaml", "--profile", "mine.yaml", "--units", "30", "--json"))["units"] == 30


def test_a_profile_that_cannot_be_written_is_known_before_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("g.yaml").write_text(GRAPH)
    with pytest.raises(UserError) as caught:
        call("profile", "g.yaml", "-o", "nowhere/mine.yaml")
    assert str(caught.value) == "nowhere/mine.yaml: cannot write there (expected a writable file), give another with -o"
    assert not Path("out.txt").exists()
