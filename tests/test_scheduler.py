"""The scheduler's table of situations, case by case."""

from __future__ import annotations

from typing import Any

from schedule_toys import (
    MS,
    Ahead,
    Early,
    FakeBody,
    Held,
    Join,
    Log,
    Paced,
    Reader,
    Sink,
    Source,
    Stateful,
    Stateless,
    chain,
    modes,
    simulate,
)

from wangraph import Edge, Graph
from wangraph.runtime.engine.drivers import SerialExecutor, run_virtual
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.schedule.decide import Fire, LevelChooser
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.runtime.schedule.replay import ReplayScheduler
from wangraph.runtime.schedule.scheduler import Result, Scheduler
from wangraph.runtime.schedule.window import StreamWindow

# The table of situations


def test_all_inputs_settled_before_the_latest_start_is_a_step():
    run = simulate(chain(("work", Stateful, 20)), 5)
    assert run.fires("work") == modes(5)
    assert set(run.outcomes("work.out").values()) == {Validity.REAL, Validity.END}


def test_a_paced_node_fires_at_the_deadline_and_not_before():
    plan = chain(("work", Stateful, 20))
    run = simulate(plan, 4)
    assert [f.started_ns for f in run.firings("paced")] == [plan.release_ns(u) + 200 * MS for u in range(4)]
    assert [f.ready_ns for f in run.firings("paced")] == [plan.release_ns(u) + 20 * MS for u in range(4)]


def test_a_late_input_is_missing_for_everyone_and_its_packet_changes_nothing():
    run = simulate(chain(("work", Stateful, 20)), 6, {("work", 2): 230})
    assert run.outcomes("work.out")[2] is Validity.MISSING
    assert run.firings("work")[2].verdict == "late"
    assert run.scheduler.windows["work.out"].late == 1
    assert run.fires("paced") == modes(6)


def test_a_late_answer_is_discarded_but_the_state_is_kept():
    run = simulate(chain(("work", Stateful, 20)), 6, {("work", 2): 230})
    seen = [u for mode, first, last in run.fires("work") for u in range(first, last + 1)]
    assert seen == list(range(6))


def test_hold_shows_the_last_real_unit():
    plan = chain(("work", Stateful, 20), ("held", Held, 10))
    run = simulate(plan, 6, {("work", 2): 230})
    given_ = run.bodies["held"].fires[2].inputs[0]["a"]
    assert isinstance(given_, Packet)
    assert (given_.unit, given_.validity) == (1, Validity.REPEATED)


def test_a_required_input_that_is_missing_is_a_gap_for_a_stateful_node():
    run = simulate(chain(("work", Stateful, 20), ("after", Stateful, 10)), 6, {("work", 2): 230})
    assert run.fires("after")[2] == ("gap", 2, 2)
    assert run.outcomes("after.out")[2] is Validity.MISSING


def test_a_required_input_that_is_missing_skips_a_stateless_node():
    run = simulate(chain(("work", Stateful, 20), ("after", Stateless, 10)), 6, {("work", 2): 230})
    assert run.fires("after") == [("step", u, u) for u in (0, 1, 3, 4, 5)]
    assert run.outcomes("after.out")[2] is Validity.MISSING


def test_units_behind_are_absorbed_in_one_call_and_the_newest_in_time_is_stepped():
    run = simulate(chain(("work", Stateful, 100)), 9, {("work", 3): 500})
    assert run.fires("work") == [
        *modes(4), ("absorb", 4, 5), ("absorb", 6, 6), ("step", 7, 7), ("step", 8, 8),
    ]  # fmt: skip
    assert [u for u, v in run.outcomes("work.out").items() if v is Validity.MISSING] == [3, 4, 5, 6]


def test_a_stateless_node_that_is_behind_is_not_run_for_what_is_too_late():
    run = simulate(chain(("work", Stateless, 100)), 9, {("work", 3): 500})
    assert run.fires("work") == [("step", u, u) for u in (0, 1, 2, 3, 6, 7, 8)]


def test_a_log_is_lossless_when_its_writer_is_behind():
    graph = Graph("log", latency_ms=200)
    graph.process("main", lanes=["a", "b", "c"])
    source = graph.add("source", Source, lane="c")
    log = graph.add("log", Log, inputs={"a": source["out"]}, lane="a", budget_ms=60)
    reader = graph.add("reader", Reader, inputs={"a": log["context"]}, lane="b", budget_ms=60)
    graph.add("paced", Paced, inputs={"a": reader["out"]}, lane="c")
    run = simulate(graph.plan(), 9, {("log", 2): 600})
    assert set(run.outcomes("log.context").values()) == {Validity.REAL, Validity.END}
    late = [("absorb", 2, 2), ("absorb", 3, 5)]
    assert run.fires("reader") == [("step", 0, 0), ("step", 1, 1), *late, *(("step", u, u) for u in (6, 7, 8))]


def test_look_ahead_waits_for_the_following_unit():
    graph = Graph("ahead", latency_ms=400)
    source = graph.add("source", Source)
    ahead = graph.add("ahead", Ahead, inputs={"a": source["out"]}, budget_ms=10)
    graph.add("paced", Paced, inputs={"a": ahead["out"]})
    plan = graph.plan()
    run = simulate(plan, 4)
    assert [f.started_ns for f in run.firings("ahead")][:3] == [plan.release_ns(u + 1) for u in range(3)]
    pair = run.bodies["ahead"].fires[1].inputs[0]["a"]
    assert isinstance(pair, tuple)
    assert [p.unit for p in pair] == [1, 2]


def test_feedback_takes_the_unit_before_and_nothing_before_unit_0():
    graph = Graph("loop", latency_ms=200)
    source = graph.add("source", Source)
    graph.add("think", Join, inputs={"a": source["out"], "b": Edge("act.out", delay=1, init="empty")}, budget_ms=20)
    graph.add("act", Stateful, inputs={"a": "think.out"}, budget_ms=20)
    graph.add("paced", Paced, inputs={"a": "act.out"})
    run = simulate(graph.plan(), 4)
    fed = [fire.inputs[0]["b"] for fire in run.bodies["think"].fires]
    assert [(p.unit, p.validity) for p in fed if isinstance(p, Packet)] == [
        (-1, Validity.EMPTY), (0, Validity.REAL), (1, Validity.REAL), (2, Validity.REAL),
    ]  # fmt: skip


def test_a_missing_answer_comes_back_as_missing_and_not_as_a_repeat():
    graph = Graph("loop", latency_ms=200)
    graph.process("main", lanes=["loop", "act"])
    source = graph.add("source", Source)
    graph.add("think", Join, inputs={"a": source["out"], "b": Edge("act.out", delay=1, init="empty")}, budget_ms=20)
    graph.add("act", Stateful, inputs={"a": "think.out"}, budget_ms=20, lane="act")
    graph.add("paced", Paced, inputs={"a": "act.out"})
    run = simulate(graph.plan(), 8, {("act", 3): 300})
    fed = {f.first: f.inputs[0]["b"] for f in run.bodies["think"].fires if f.mode == "step"}
    assert fed[4].validity is Validity.MISSING  # type: ignore[union-attr]
    assert run.outcomes("act.out")[3] is Validity.MISSING


def test_nodes_on_a_loop_go_first_in_a_lane():
    graph = Graph("order", latency_ms=200)
    source = graph.add("source", Source)
    graph.add("aside", Stateful, inputs={"a": source["out"]}, budget_ms=10)
    graph.add("think", Join, inputs={"a": source["out"], "b": Edge("think.out", delay=1, init="empty")}, budget_ms=10)
    graph.add("paced", Paced, inputs={"a": "aside.out", "b": "think.out"})
    run = simulate(graph.plan(), 3)
    order = [e.node for e in run.log if isinstance(e, Firing) and e.node in ("aside", "think")]
    assert order == ["think", "aside"] * 3


def test_a_fence_discards_what_was_computed_before_it_and_lets_the_state_live():
    plan = chain(("work", Stateful, 20))
    scheduler = Scheduler(plan, limit=4)
    clock = plan.release_ns(0)
    scheduler.advance(clock)
    source = scheduler.choose("main/source", clock)
    assert source is not None
    scheduler.finish(source, FakeBody(plan, "source").run(source), clock)
    work = scheduler.choose("main/work", clock)
    assert work is not None
    scheduler.fence(["work.out"], generation=1, first_unit=0, now=clock)
    scheduler.finish(work, FakeBody(plan, "work").run(work), clock + 20 * MS)
    settled = scheduler.windows["work.out"].get(0)
    assert settled is not None
    assert settled.packet.validity is Validity.MISSING
    assert scheduler.nodes["work"].cursor == 1


def test_after_a_fence_new_packets_pass_again():
    plan = chain(("work", Stateful, 20))
    scheduler = Scheduler(plan, limit=3)
    scheduler.fence(["work.out"], generation=1, first_unit=0, now=0)
    run = simulate(plan, 3, scheduler=scheduler)
    assert set(run.outcomes("work.out").values()) == {Validity.REAL, Validity.END}


def test_a_later_fence_from_a_later_unit_lets_nothing_pass_that_an_earlier_one_drops():
    plan = chain(("work", Stateful, 20))
    window = StreamWindow(plan.streams["work.out"], holds=False)

    def is_stale(unit, generation):
        return window.is_stale(Packet("work.out", unit, generation, 0, 0, Validity.REAL))

    window.raise_fence(1, 10)
    window.raise_fence(2, 20)
    assert [is_stale(unit, 0) for unit in (9, 10, 19, 20)] == [False, True, True, True]
    assert [is_stale(unit, 1) for unit in (9, 10, 19, 20)] == [False, False, False, True]
    assert not window.is_stale(Packet("work.out", 20, 0, 0, 0, Validity.END)), "an end is nothing to take back"
    window.raise_fence(3, 5)
    assert [is_stale(unit, 2) for unit in (4, 5, 20)] == [False, True, True]
    assert not is_stale(20, 3)


def test_what_settles_ahead_of_its_turn_settles_once():
    graph = Graph("ahead", latency_ms=200)
    for process in ("main", "one", "two"):
        graph.process(process)
    source = graph.add("source", Early, process="main")["out"]
    for name in ("one", "two"):
        paced = graph.add(f"paced_{name}", Paced, inputs={"a": source}, process=name)["out"]
        graph.add(f"sink_{name}", Sink, inputs={"a": paced}, process=name)
    plan, limit = graph.plan(), 30
    scheduler = Scheduler(plan, "main", limit=limit)
    slow, body = 8, FakeBody(plan, "source")
    for unit in range(limit):
        now = plan.release_ns(unit - 2)
        scheduler.advance(now)
        fire = scheduler.choose("main/loop", now)
        assert fire is not None and fire.first == unit
        if unit == slow:  # the process stands still until unit 8 is due as well: it is settled before unit 7
            now = plan.release_ns(unit) + MS
        scheduler.finish(fire, body.run(fire), now)
        scheduler.advance(now)
        if unit > slow:
            scheduler.advance(plan.release_ns(unit))
    scheduler.advance(plan.release_ns(limit + 9))
    outcomes = [(e.unit, e.validity) for e in scheduler.take_events() if isinstance(e, Settlement)]
    assert sorted(outcomes) == [(unit, Validity.REAL) for unit in range(limit)]
    assert outcomes.index((slow, Validity.REAL)) < outcomes.index((slow - 1, Validity.REAL))


def test_an_end_that_comes_late_ends_the_stream_where_it_is_open_and_a_replay_does_so_too():
    graph = Graph("late end", latency_ms=200)
    source = graph.add("source", Source)
    graph.add("paced", Paced, inputs={"a": source["out"]})
    graph.add("watch", Sink, inputs={"a": "paced.out"})
    plan = graph.plan()

    class EndsAfterThree(FakeBody):
        def run(self, fire: Fire) -> Result:
            return super().run(fire) if fire.first < 3 else Result(ended=True)

    def outcomes(scheduler: Scheduler, end_takes_ms: float) -> dict[str, list[tuple[int, int]]]:
        bodies: dict[str, Any] = {name: FakeBody(plan, name) for name in plan.nodes}
        bodies["source"] = EndsAfterThree(plan, "source")
        run_virtual(
            plan, bodies, scheduler, SerialExecutor(),
            cost=lambda node, fire: end_takes_ms * MS if (node.name, fire.first) == ("source", 3) else 0,
        )  # fmt: skip
        logs.append(scheduler.take_events())
        settled = [e for e in logs[-1] if isinstance(e, Settlement)]
        return {name: sorted((e.unit, e.validity) for e in settled if e.stream == name) for name in plan.streams}

    logs: list[list[Any]] = []
    first = outcomes(Scheduler(plan, limit=20), 700)
    units = [unit for unit, _ in first["source.out"]]
    assert units == list(range(len(units))), "each unit once"
    kinds = [validity for _, validity in first["source.out"]]
    lost = len(kinds) - 4
    assert lost > 2 and kinds == [Validity.REAL] * 3 + [Validity.MISSING] * lost + [Validity.END]
    assert outcomes(ReplayScheduler(plan, log=logs[0]), 0) == first


def test_a_node_ends_with_its_direct_inputs_and_feedback_keeps_nothing_alive():
    graph = Graph("loop", latency_ms=200)
    source = graph.add("source", Source)
    graph.add("think", Join, inputs={"a": source["out"], "b": Edge("think.out", delay=1, init="empty")}, budget_ms=20)
    graph.add("paced", Paced, inputs={"a": "think.out"})
    run = simulate(graph.plan(), 3)
    assert run.scheduler.done
    assert run.outcomes("think.out")[3] is Validity.END


def test_an_ended_input_is_empty_for_a_join_whose_other_input_goes_on():
    graph = Graph("join", latency_ms=200)
    long = graph.add("long", Source)
    short = graph.add("short", Source)
    graph.add("join", Join, inputs={"a": long["out"], "b": short["out"]}, budget_ms=10)
    graph.add("paced", Paced, inputs={"a": "join.out"})
    plan = graph.plan()
    bodies: dict[str, Any] = {name: FakeBody(plan, name) for name in plan.nodes}

    class EndsAfterTwo(FakeBody):
        def run(self, fire: Fire) -> Result:
            return super().run(fire) if fire.first < 2 else Result(ended=True)

    bodies["short"] = EndsAfterTwo(plan, "short")
    run_virtual(plan, bodies, Scheduler(plan, limit=5), SerialExecutor())
    assert [(f.mode, f.first) for f in bodies["join"].fires] == [("step", u) for u in range(5)]
    assert [f.inputs[0]["b"].validity for f in bodies["join"].fires] == [Validity.REAL] * 2 + [Validity.END] * 3


def test_what_a_source_makes_ahead_is_held_until_release():
    graph = Graph("early", latency_ms=200)
    graph.add("source", Early)
    plan = graph.plan()
    run = simulate(plan, 3)
    settled = [e for e in run.log if isinstance(e, Settlement) and e.validity == Validity.REAL]
    assert [e.at_ns for e in settled] == [plan.release_ns(u) for u in range(3)]
    assert [f.started_ns for f in run.firings("source")] == [plan.release_ns(u - 2) for u in range(3)]


# Stopping


def test_what_is_late_is_missing_after_a_stop_too_that_made_the_end_seem_earlier():
    plan = chain(("work", Stateful, 20))
    scheduler, stopped = Scheduler(plan), False
    bodies: dict[str, Any] = {name: FakeBody(plan, name) for name in plan.nodes}
    costs = {("source", 5): 700, ("work", 3): 430, ("work", 4): 700}

    def tick(now: int) -> None:
        nonlocal stopped
        if not stopped and now > plan.release_ns(5):  # the source is busy with unit 5, work.out late with unit 4
            stopped = True
            scheduler.stop_at(0)

    run_virtual(
        plan, bodies, scheduler, SerialExecutor(), tick=tick,
        cost=lambda node, fire: costs.get((node.name, fire.first), 0) * MS,
    )  # fmt: skip
    settled = [e for e in scheduler.take_events() if isinstance(e, Settlement) and e.stream == "work.out"]
    assert [e.unit for e in settled] == list(range(7))
    assert (settled[4].validity, settled[4].at_ns // MS) == (Validity.MISSING, plan.release_ns(5) // MS + 700)


# Levels


def test_the_level_goes_down_at_once_and_up_only_after_patience():
    chooser = LevelChooser(2)
    chooser.observe(0, 100 * MS)
    assert chooser.pick(50 * MS) == 1
    chooser.observe(1, 20 * MS)
    picks = []
    for _ in range(60):
        picks.append(chooser.pick(150 * MS))
        chooser.observe(picks[-1], 20 * MS)
    assert picks[0] == 1
    assert picks[-1] == 0
    assert picks.index(0) >= LevelChooser.patience - 1


def test_one_stall_is_not_held_against_the_best_level_for_ever():
    chooser = LevelChooser(2)
    chooser.observe(0, 40 * MS)
    chooser.observe(0, 2000 * MS)
    assert chooser.pick(100 * MS) == 1
    for _ in range(400):
        chooser.observe(chooser.pick(100 * MS), 20 * MS)
    assert chooser.level == 0
