import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.runtime.plan.timing import TRANSFER_NS, TimedEdge, TimedNode, compute_timing
from wangraph.runtime.units import MS, UnitClock

CLOCK = UnitClock()
T = 160 * MS


def timing(nodes, edges, latency_ms=240):
    return compute_timing(nodes, edges, CLOCK, latency_ms * MS)


def n(name, cost_ms=0, **more):
    return TimedNode(name, int(cost_ms * MS), **more)


def test_dues_run_backwards_from_the_paced_node():
    t = timing(
        [n("src"), n("a", 10), n("b", 20), n("play", paced=True), n("file")],
        [TimedEdge("src", "a"), TimedEdge("a", "b", crosses=True), TimedEdge("b", "play"), TimedEdge("play", "file")],
    )
    dues = {"src": 209 * MS, "a": 219 * MS, "b": 240 * MS, "play": 240 * MS, "file": None}
    assert t.due_ns == dues
    assert t.enforced == {"src", "a", "b", "play"} and not t.infeasible
    assert t.earliest_ns == {"src": 0, "a": 0, "b": 11 * MS, "play": 240 * MS, "file": 240 * MS}


def test_a_paced_nodes_own_budget_does_not_pull_its_inputs_forward():
    t = timing([n("src"), n("play", 50, paced=True)], [TimedEdge("src", "play")])
    assert t.due_ns["src"] == 240 * MS


def test_the_tightest_reader_sets_the_due():
    t = timing(
        [n("src"), n("slow", 100), n("play", paced=True)],
        [TimedEdge("src", "slow"), TimedEdge("slow", "play"), TimedEdge("src", "play")],
    )
    assert t.due_ns["src"] == 140 * MS


def test_a_delay_gives_time_and_look_ahead_takes_it():
    nodes = [n("src"), n("a", 10), n("play", paced=True)]
    base = timing(nodes, [TimedEdge("src", "a"), TimedEdge("a", "play")]).due_ns["src"]
    later = timing(nodes, [TimedEdge("src", "a", delay=1), TimedEdge("a", "play")]).due_ns["src"]
    ahead = timing(nodes, [TimedEdge("src", "a", look_ahead=1), TimedEdge("a", "play")]).due_ns["src"]
    assert (later - base, ahead - base) == (T, -T)


def test_without_a_paced_node_sinks_are_due_at_the_latency_and_nothing_is_enforced():
    t = timing([n("src"), n("a", 10), n("sink", 5)], [TimedEdge("src", "a"), TimedEdge("a", "sink")])
    assert t.due_ns == {"src": 225 * MS, "a": 235 * MS, "sink": 240 * MS} and not t.enforced


def test_a_sink_beside_the_paced_path_is_counted_and_does_not_press_on_it():
    t = timing(
        [n("src"), n("play", paced=True), n("log", 30), n("print", 100)],
        [TimedEdge("src", "play"), TimedEdge("src", "log"), TimedEdge("log", "print")],
    )
    assert t.due_ns == {"src": 240 * MS, "play": 240 * MS, "log": 140 * MS, "print": 240 * MS}
    assert t.enforced == {"src", "play"}


def loop(cost_ms, delay=1):
    return (
        [n("think", cost_ms), n("perform", cost_ms, lane="p/loop"), n("play", paced=True)],
        [
            TimedEdge("think", "perform", crosses=True),
            TimedEdge("perform", "think", delay=delay, crosses=True),
            TimedEdge("perform", "play", crosses=True),
        ],
    )


def test_a_loop_whose_delays_pay_for_it_has_dues_and_a_ratio():
    t = timing(*loop(45))
    assert t.due_ns["perform"] == 239 * MS and t.due_ns["think"] == 193 * MS
    assert t.loops[0].nodes == ("think", "perform") and t.loops[0].ratio == pytest.approx(92 / 160)
    assert not t.infeasible


def test_a_loop_that_costs_more_than_its_delays_is_named_with_its_sums():
    t = timing(*loop(80), latency_ms=400)
    assert t.infeasible == (
        "infeasible: because the loop think -> perform -> think takes 162 ms (expected 160 or less, its delays), "
        "lower the budgets or raise a delay",
    )
    assert not timing(*loop(80, delay=2), latency_ms=400).infeasible


def test_a_path_longer_than_the_latency_is_named_with_its_sums():
    t = timing(
        [n("src", 5), n("a", 60), n("b", 50, lane="p/loop"), n("play", paced=True)],
        [TimedEdge("src", "a"), TimedEdge("a", "b", crosses=True, look_ahead=1), TimedEdge("b", "play", crosses=True)],
    )
    assert t.infeasible == (
        "infeasible: because src -> a -> b -> play takes 277 ms after release (src 5, a 60, b 50, 2 between processes, "
        "160 of look-ahead; expected latency_ms 240 or less), raise latency_ms or lower the budgets",
    )


def test_without_a_paced_node_a_long_path_is_only_a_warning():
    t = timing([n("src", 100), n("sink", 50)], [TimedEdge("src", "sink")], latency_ms=100)
    assert not t.infeasible and t.warnings[0].startswith("infeasible: because src -> sink takes 150 ms after release")


def test_a_source_that_works_ahead_needs_no_time_after_release():
    edges = [TimedEdge("src", "play")]
    late = timing([n("src", 100), n("play", paced=True)], edges, latency_ms=80)
    ahead = timing([n("src", 100, ahead=True), n("play", paced=True)], edges, latency_ms=80)
    assert late.infeasible and not ahead.infeasible


def test_a_lane_busier_than_the_unit_is_named_with_its_nodes():
    t = timing([n("a", 100), n("b", 90), n("c", 10, lane="main/io")], [])
    assert t.loads == {"main/loop": 190 / 160, "main/io": 10 / 160}
    assert t.infeasible == (
        "infeasible: because lane main/loop is busy 190 ms of every unit (a 100, b 90; expected 160 or less), "
        "move a node to another lane or process",
    )


def test_feedback_from_what_was_played_may_come_too_late():
    loose = timing(
        [n("think", 45), n("play", paced=True)], [TimedEdge("think", "play"), TimedEdge("play", "think", delay=1)]
    )
    assert loose.infeasible == ()
    tight = timing(
        [n("think", 45), n("slow", 130, lane="main/slow"), n("play", paced=True)],
        [TimedEdge("think", "slow"), TimedEdge("slow", "play"), TimedEdge("play", "think", delay=1)],
    )
    assert tight.infeasible == (
        "infeasible: because 'think' needs what 'play' does 240 ms after release no later than 225 ms, "
        "over a delay of 1; raise the delay or lower latency_ms",
    )


names = [f"n{i}" for i in range(6)]


@st.composite
def graphs(draw):
    nodes = [n(name, draw(st.integers(0, 60)), lane=f"main/{name}") for name in names] + [n("play", paced=True)]
    edges = [TimedEdge(draw(st.sampled_from(names)), "play")]
    for _ in range(draw(st.integers(0, 10))):
        a, b = draw(st.integers(0, 5)), draw(st.integers(0, 5))
        delay = draw(st.integers(0 if a < b else 1, 2))
        edges.append(TimedEdge(names[a], names[b], delay, crosses=draw(st.booleans())))
    return nodes, edges


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_feasible_dues_leave_every_reader_its_time(graph):
    nodes, edges = graph
    t = timing(nodes, edges, latency_ms=600)
    if t.infeasible:
        return
    cost = {node.name: 0 if node.paced else node.cost_ns for node in nodes}
    for edge in edges:
        if edge.consumer in t.enforced:
            room = t.due_ns[edge.consumer] - cost[edge.consumer] + edge.delay * T - edge.crosses * TRANSFER_NS
            assert t.due_ns[edge.producer] <= room
