"""Laws of sessions and lives: whatever dies, comes back, joins and leaves, at any instant, in any graph."""

from __future__ import annotations

import dataclasses
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scan_scheduler import ScanScheduler
from schedule_toys import MS, Paced, Sink, Source, Stateful, T
from takeover_toys import Case, Lived, Seen, any_case, live

from wangraph import Edge, Graph
from wangraph.runtime.errors import RunError
from wangraph.runtime.forecast import sampling
from wangraph.runtime.forecast.incidents import Dies, Fences, Returns, Session
from wangraph.runtime.forecast.profile import Delay, NodeCost
from wangraph.runtime.forecast.resources import budgets
from wangraph.runtime.forecast.sampling import Draws
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.plan.plan import Plan
from wangraph.runtime.schedule import streams, takeover
from wangraph.runtime.schedule.duty import Begin, Died, Go, Known, Order, Report, Withdraw
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.runtime.schedule.ledger import Ledger
from wangraph.runtime.schedule.scheduler import Scheduler
from wangraph.runtime.schedule.streams import Streams
from wangraph.runtime.schedule.takeover import Answers, Takeover, reach_units
from wangraph.runtime.schedule.window import FOREVER, Settled, Span, StreamWindow

SEEDS = st.integers(0, 2**32)

# The laws


def assert_settles_once(lived: Lived) -> None:
    """Every (session, stream, unit) has one record, without a gap from the session's first unit to its end."""
    for session in {seen.scheduler.session for seen in lived.seen if seen.fires}:
        begun = set()
        for stream in lived.case.plan.streams:
            settled = lived.settlements(session, stream)
            units = [r.unit for r in settled if r.validity != Validity.END]
            ends = {r.unit for r in settled if r.validity == Validity.END}
            assert len(units) == len(set(units)), f"{session} {stream}: twice"
            assert len(ends) == 1, f"{session} {stream}: ends at {ends}"
            begun.add(min([*units, *ends]))
            assert set(range(min([*units, *ends]), max(ends))) <= set(units), f"{session} {stream}: gap"
        assert len(begun) == 1, session
        assert all(seen.scheduler.first_unit >= min(begun) for seen in lived.of(session) if seen.fires), session


def assert_agreement(lived: Lived) -> None:
    """Whoever took a unit in took in the same, the dead included, but for what nobody else had of them.

    What a fence overtook on its way is missing where it was overtaken.
    """
    for session in {seen.scheduler.session for seen in lived.seen}:
        kinds: dict[tuple[str, int], set[Validity]] = {}
        for seen in lived.of(session):
            for key, packet in seen.outcomes.items():
                if seen.stands(key) and not is_fenced(seen, packet):
                    kinds.setdefault(key, set()).add(packet.validity)
        for key, found in kinds.items():
            assert len(found) == 1, f"{session} {key}: they took in {found}"


def is_fenced(seen: Seen, packet: Packet) -> bool:
    fences = [first for stream, _, first in seen.fences if stream == packet.stream]
    return packet.validity is Validity.MISSING and any(packet.unit >= first for first in fences)


def assert_fences(lived: Lived) -> None:
    """What is older than a fence settles as missing wherever the fence has been raised; an end is no content."""
    for seen in lived.seen:
        stale = [p for p in seen.stale if p.validity not in (Validity.MISSING, Validity.END)]
        assert not stale, f"older than a fence: {stale}"


def assert_every_unit_seen(lived: Lived) -> None:
    """A stateful node sees every unit once in each life of its process, in order, from that life's first unit on."""
    for seen in lived.seen:
        for name, state in seen.scheduler.nodes.items():
            units = [u for fire in seen.fires if fire.node == name for u in fire.units]
            if state.plan.stateful:
                first = seen.scheduler.first_unit
                assert units == list(range(first, first + len(units))), f"{name}: sees {units}"
            else:
                assert units == sorted(set(units)), f"{name}: sees {units}"


def assert_laws(lived: Lived) -> None:
    for law in (assert_settles_once, assert_agreement, assert_fences, assert_every_unit_seen):
        law(lived)


@settings(max_examples=120, deadline=None)
@given(SEEDS)
@example(5986)  # a reader comes back before the unit from which on the maker does: nobody decided those between
def test_whatever_dies_comes_back_joins_and_leaves_the_laws_hold_and_the_run_ends(case):
    assert_laws(live(any_case(case)))


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_many_deaths_one_after_the_other_change_nothing_about_that(case):
    assert_laws(live(any_case(case, deaths=9, sessions=1)))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(200, 800))
def test_messages_that_take_units_change_nothing_about_that(case, message_ms):
    with mock.patch.object(sampling, "MESSAGE_MS", message_ms):
        assert_laws(live(any_case(case)))


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_counting_decides_as_looking_at_everything_does_through_deaths_and_returns(case):
    drawn = any_case(case)
    assert live(drawn).records == live(drawn, ScanScheduler).records


# Planted bugs


def shared_stream() -> Plan:
    """A source whose process two others read: the first plays, the second keeps what it gets."""
    graph = Graph("shared", latency_ms=400)
    for process in ("maker", "player", "keeper"):
        graph.process(process)
    source = graph.add("source", Source, process="maker")
    work = graph.add("work", Stateful, inputs={"a": source["out"]}, process="maker", budget_ms=5)
    graph.add("paced", Paced, inputs={"a": work["out"]}, process="player")
    graph.add("sink", Sink, inputs={"a": work["out"]}, process="keeper")
    return graph.plan()


def mortal(*incidents, plan: Plan | None = None, ways: dict[str, float] | None = None, units: int = 30) -> Case:
    """The shared stream, with times on the way (ms) and what happens."""
    plan = plan or shared_stream()
    transfers = {way: Delay(ms, "assumed") for way, ms in (ways or {}).items()}
    profile = dataclasses.replace(budgets(plan), transfers=transfers)
    return Case(plan, profile, [Session(0, 0, units)], list(incidents))


DEATH = Dies("maker", 10 * T + 100 * MS)
"""After unit 9 was sent, and before that was recorded."""

BACK = Returns("maker", 14 * T)


def test_the_laws_catch_an_heir_that_does_not_stop_when_the_newcomer_begins(monkeypatch):
    assert_laws(live(mortal(DEATH, BACK)))
    whole = Takeover._change

    def reports_alone(self, ledger, process, made_from, own):
        return {p: messages[:1] for p, messages in whole(self, ledger, process, made_from, own).items()}

    monkeypatch.setattr(Takeover, "_change", reports_alone)
    with pytest.raises(AssertionError, match="twice"):
        assert_laws(live(mortal(DEATH, BACK)))


def test_the_laws_catch_a_watcher_that_records_nothing_of_what_nobody_reads(monkeypatch):
    monkeypatch.setattr(Ledger, "orphans", lambda self, now: ())
    with pytest.raises(AssertionError, match=r"source\.out: ends at set\(\)"):
        assert_laws(live(mortal(DEATH)))


def test_the_laws_catch_survivors_that_keep_what_they_know_to_themselves(monkeypatch):
    """The keeper is near the dead and had its last unit; the player is far, and the packet dies on its way."""
    case = mortal(DEATH, ways={"maker->keeper": 0, "maker->player": 300})
    assert_laws(live(case))
    hand_over = takeover._order
    monkeypatch.setattr(takeover, "_order", lambda ledger, stream, process, *_: hand_over(ledger, stream, process))
    with pytest.raises(AssertionError, match="they took in"):
        assert_agreement(live(case))


def test_the_laws_catch_survivors_that_take_in_what_a_dead_process_sent(monkeypatch):
    """It arrives after they have said what they know: at one of them before the other gives it up, and there after."""
    case = mortal(DEATH, ways={"maker->keeper": 200, "maker->player": 420})
    assert_laws(live(case))
    monkeypatch.setattr(Streams, "cut_off", lambda self, process, incarnation: None)
    with pytest.raises(AssertionError, match="they took in"):
        assert_agreement(live(case))


def test_the_laws_catch_a_window_that_knows_no_fence(monkeypatch):
    case = mortal(Fences(0, 10 * T + 2 * MS, ("work.out",), 8), ways={"maker->keeper": 100, "maker->player": 100})
    assert_laws(live(case))
    monkeypatch.setattr(StreamWindow, "is_stale", lambda self, packet: False)
    with pytest.raises(AssertionError, match="older than a fence"):
        assert_laws(live(case))


def test_the_laws_catch_a_newcomer_that_leaves_out_a_unit():
    class Hasty(Scheduler):
        def _move(self, state, unit):
            super()._move(state, unit + (self.incarnation > 0 and state.plan.name == "work" and unit == 20))

    with pytest.raises(AssertionError, match=r"work: sees|gap"):
        assert_laws(live(mortal(DEATH, BACK), Hasty))


def test_the_laws_catch_a_newcomer_that_goes_before_all_have_agreed(monkeypatch):
    """Who decides in its place hears of it too late."""
    monkeypatch.setattr(sampling, "MESSAGE_MS", 700)
    assert_laws(live(mortal(DEATH, BACK, units=40)))
    monkeypatch.setattr(Takeover, "_is_future", lambda self, first, now: True)
    with pytest.raises(AssertionError, match="twice"):
        assert_laws(live(mortal(DEATH, BACK, units=40)))


def test_a_process_that_waits_for_ever_for_a_dead_one_is_caught_as_a_standstill(monkeypatch):
    graph = Graph("waits", latency_ms=400)
    for process in ("maker", "keeper"):
        graph.process(process)
    source = graph.add("source", Source, process="maker")
    graph.add("sink", Sink, inputs={"a": source["out"]}, process="keeper")
    case = mortal(DEATH, plan=graph.plan())
    assert_laws(live(case))
    monkeypatch.setattr(streams, "given_up_ns", lambda plan, stream: stream.settle_ns)
    with pytest.raises(RunError, match=r"nothing can happen any more .node 'sink': unit 10 waits for a of unit 10"):
        live(case)


# Sessions beside each other


def decisions(lived: Lived, session: int) -> list:
    """What was decided of a session, whatever else happened at the same instants."""
    return sorted((r for r in lived.records if isinstance(r, Firing | Settlement) and r.session == session), key=repr)


def assert_undisturbed(case: Case, kind: type[Scheduler] = Scheduler) -> None:
    """The first session decides as it would alone."""
    first = case.sessions[0].number
    others = [i for i in case.incidents if getattr(i, "session", first) != first]
    alone = Case(case.plan, case.profile, case.sessions[:1], [], case.shares_lanes)
    beside = Case(case.plan, case.profile, case.sessions, others, case.shares_lanes)
    assert decisions(live(beside, kind), first) == decisions(live(alone, kind), first)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_a_session_with_lanes_of_its_own_decides_as_it_would_alone(case):
    drawn = any_case(case, sessions=4)
    drawn.shares_lanes = False
    assert_undisturbed(drawn)


def two_sessions(shares_lanes: bool) -> Case:
    case = mortal()
    case.sessions.append(Session(1, 5, 20))
    case.shares_lanes = shares_lanes
    return case


def test_the_law_catches_sessions_that_share_their_alarms():
    shared: dict = {}

    class Shared(Scheduler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._alarms = shared.setdefault(self.process, self._alarms)

    assert_undisturbed(two_sessions(shares_lanes=False))
    with pytest.raises((AssertionError, RunError)):
        assert_undisturbed(two_sessions(shares_lanes=False), Shared)


def test_the_law_catches_what_sessions_do_to_each_other_in_one_lane():
    with pytest.raises(AssertionError):
        assert_undisturbed(two_sessions(shares_lanes=True))


def test_the_law_catches_times_drawn_for_all_sessions_together(monkeypatch):
    drawn = iter(range(1, 10**9))
    monkeypatch.setattr(Draws, "_uniform", lambda self, what, unit: (next(drawn) % 97 + 1) / 98)
    case = two_sessions(shares_lanes=False)
    costs = {name: NodeCost(30, "assumed", p95_ms=60) for name in case.profile.nodes}
    case.profile = dataclasses.replace(case.profile, nodes=costs)
    with pytest.raises(AssertionError):
        assert_undisturbed(case)


# The rules, one by one


def outcomes(lived: Lived, stream: str, session: int = 0) -> dict[int, Validity]:
    return {r.unit: Validity(r.validity) for r in lived.settlements(session, stream)}


def test_a_dead_process_is_missing_until_it_is_back_and_then_plays_again():
    lived = live(mortal(DEATH, BACK))
    (newcomer,) = [seen.scheduler for seen in lived.seen if seen.scheduler.incarnation]
    first = newcomer.first_unit
    assert 14 < first < 20
    found = outcomes(lived, "work.out")
    assert [found[unit] for unit in (*range(10), *range(first, 30))] == [Validity.REAL] * (10 + 30 - first)
    assert {found[unit] for unit in range(10, first)} == {Validity.MISSING}
    assert {r.incarnation for r in lived.settlements(0, "work.out") if r.unit < 10} == {0}
    assert {r.incarnation for r in lived.settlements(0, "work.out") if r.unit >= 10} == {1}


def test_a_process_that_stays_dead_is_missing_to_the_end():
    found = outcomes(live(mortal(DEATH)), "work.out")
    assert {found[unit] for unit in range(10, 30)} == {Validity.MISSING}
    assert found[30] is Validity.END


def test_a_playout_that_is_dead_has_missed_its_units():
    lived = live(mortal(Dies("player", 10 * T)))
    assert {outcomes(lived, "paced.out")[unit] for unit in range(10, 30)} == {Validity.MISSING}
    assert set(outcomes(lived, "work.out").values()) == {Validity.REAL, Validity.END}


def test_a_process_does_not_come_back_to_a_session_that_is_nearly_over():
    lived = live(mortal(DEATH, BACK, units=15))
    assert {seen.scheduler.incarnation for seen in lived.seen} == {0}


def test_when_all_are_dead_the_record_still_says_what_was_missed():
    lived = live(mortal(*(Dies(process, 10 * T) for process in ("maker", "player", "keeper"))))
    for stream in lived.case.plan.streams:
        assert outcomes(lived, stream)[30] is Validity.END, stream
        assert outcomes(lived, stream)[29] is Validity.MISSING, stream


# Takeover, message by message


def opened(limit: int | None = None) -> Takeover:
    takeover = Takeover(shared_stream())
    takeover.open(0, 0, limit)
    return takeover


def settled(unit: int, validity: Validity = Validity.REAL, at_ns: int = 7) -> Settled:
    return Settled(Packet("work.out", unit, 0, unit * T, T, validity), at_ns)


def known(head: int, *kept: int, first_unit: int = 0) -> dict[str, Known]:
    return {"work.out": Known(first_unit, head, {unit: settled(unit) for unit in kept})}


def taken_over(takeover: Takeover, **answers: dict[str, Known]) -> dict[str, list]:
    """What the survivors are ordered after these answers."""
    takeover.declare_dead("maker")
    protocol = takeover.pass_on("maker")
    assert next(protocol) == {p: [Died(0, "maker", 0, ("work.out",))] for p in ("player", "keeper")}
    return protocol.send(Answers(0, {process: [said] for process, said in answers.items()}))


def test_what_one_survivor_knows_the_other_gets_and_the_first_reader_decides_from_there_on():
    takeover = opened()
    takeover.record([Settlement("work.out", unit, 0, 0, 0) for unit in range(6)])
    orders = taken_over(takeover, player=known(6, 4, 5), keeper=known(8, 5, 6, 7))
    assert orders == {
        "player": [Order(0, "work.out", (Span(0, FOREVER),), FOREVER, (settled(6), settled(7)))],
        "keeper": [Order(0, "work.out", (), FOREVER, ())],
    }
    assert [(r.unit, r.at_ns) for r in takeover.drain()] == [(6, 7), (7, 7)], "recorded, as the dead could not"


def test_what_is_recorded_and_reached_nobody_is_missing_for_all_and_settles_no_second_time():
    takeover = opened()
    takeover.record([Settlement("work.out", unit, 0, 0, 0) for unit in range(8)])
    orders = taken_over(takeover, player=known(7, 6), keeper=known(7, 6))
    for (order,) in orders.values():
        assert [(s.packet.unit, s.packet.validity) for s in order.outcomes] == [(7, Validity.MISSING)]
    assert takeover.drain() == []


def test_an_outcome_that_nobody_keeps_ends_the_run():
    with pytest.raises(RunError) as caught:
        taken_over(opened(), player=known(3, 0, 1, 2), keeper=known(6, 4, 5))
    assert str(caught.value) == (
        "stream 'work.out', unit 3: found that keeper took it in and keep it no more "
        "(expected it kept for player), start the run again"
    )


def test_the_reader_for_which_the_stream_began_first_decides():
    takeover = opened()
    takeover.record([Settlement("work.out", unit, 0, 0, 0) for unit in range(6)])
    orders = taken_over(takeover, player=known(6, first_unit=4), keeper=known(6))
    assert [order.spans for (order,) in orders.values()] == [(), (Span(0, FOREVER),)]


def test_a_newcomer_begins_when_all_have_agreed_on_a_unit_that_is_still_to_come():
    takeover = opened()
    taken_over(takeover, player=known(0), keeper=known(0))
    protocol = takeover.admit("maker", 10 * T)
    begin = next(protocol)["maker"][0]
    assert (begin.first_unit, begin.incarnation, begin.lives["maker"]) == (12, 1, 1)
    agreed = protocol.send(Answers(10 * T, {"maker": [{}]}))
    report = Report(0, ("source.out",))
    assert agreed["player"] == [report, Order(0, "work.out", (Span(0, 12),), 12)]
    again = protocol.send(Answers(13 * T, {}))
    assert again["maker"][0].first_unit == 18, "the answers came too late: as much later as they took"
    agreed = protocol.send(Answers(13 * T, {"maker": [{}]}))
    assert agreed["player"] == [report, Order(0, "work.out", (Span(0, 18),), 18)]
    assert protocol.send(Answers(16 * T, {})) == {"maker": [Go(0)]}


def test_a_newcomer_withdraws_from_a_session_that_is_over_before_all_can_agree():
    takeover = opened(limit=16)
    taken_over(takeover, player=known(0), keeper=known(0))
    protocol = takeover.admit("maker", 10 * T)
    next(protocol)
    protocol.send(Answers(10 * T, {"maker": [{}]}))
    withdrawn = protocol.send(Answers(14 * T, {}))
    assert withdrawn["maker"] == [Withdraw(0)]
    assert withdrawn["player"][1:] == [Order(0, "work.out", (Span(0, FOREVER),), FOREVER)], "as before it came"


def test_a_newcomer_knows_the_fences_that_were_raised_and_the_streams_that_have_ended():
    takeover = opened()
    takeover.fence(0, ["work.out"], 3, 5)
    takeover.declare_dead("keeper")
    for _ in (protocol := takeover.pass_on("keeper")):
        protocol.send(Answers(0, {"maker": [{}], "player": [{}]}))
    protocol = takeover.admit("keeper", 20 * T)
    assert next(protocol)["keeper"] == [
        Begin(0, 22, None, 1, {"maker": 0, "player": 0, "keeper": 1}, ((["work.out"], 3, 5),))
    ]
    asked = protocol.send(Answers(20 * T, {}))
    assert {p: messages[0] for p, messages in asked.items()} == dict.fromkeys(
        ("maker", "player"), Report(0, ("work.out",))
    )
    end = settled(18, Validity.END)
    ended = {"work.out": Known(0, 18, {}, end)}
    order, go = protocol.send(Answers(20 * T, {"maker": [ended], "player": [ended]}))["keeper"]
    assert (order, go) == (Order(0, "work.out", (), 0, (end,)), Go(0))


def test_a_process_says_that_its_node_has_ended_where_another_one_decides_the_stream():
    plan = shared_stream()
    elsewhere = {**plan.streams, "work.out": dataclasses.replace(plan.streams["work.out"], settler="player")}
    scheduler = Scheduler(dataclasses.replace(plan, streams=elsewhere), "maker", limit=0)
    scheduler.choose_all(scheduler.lanes, 0)
    answer = scheduler.answer(Report(0, ("work.out",)), 0)
    assert answer["work.out"].end is not None and answer["work.out"].end.packet.unit == 0


def test_an_heir_hands_its_outcomes_to_the_other_readers_by_its_own_name():
    plan = shared_stream()
    successor, other = (Scheduler(plan, process) for process in ("player", "keeper"))
    for scheduler in (successor, other):
        scheduler.answer(Died(0, "maker", 0, ()), 0)
    successor.answer(Order(0, "work.out", (Span(0, FOREVER),), FOREVER), 0)
    successor.advance(plan.release_ns(0) + plan.streams["work.out"].settle_ns)
    (handed,) = successor.take_handed()
    assert successor.take_outgoing() == []
    other.arrive(replace(handed, incarnation=0), 1)
    assert other.windows["work.out"].get(0) is None, "from the dead nothing is taken in"
    other.answer(Died(0, "player", 0, ()), 1)
    other.adopt(handed, "player", 0, 2)
    assert other.windows["work.out"].get(0) is None, "nor from a successor that died, too"
    other.adopt(handed, "player", 1, 3)
    assert other.windows["work.out"].get(0).packet.validity is Validity.MISSING


def test_what_may_be_sent_before_its_release_is_reckoned_with():
    assert reach_units(shared_stream()) == 0
    graph = Graph("ahead", latency_ms=400)
    source = graph.add("source", Source)
    past = graph.add("past", Stateful, inputs={"a": Edge(source["out"], delay=3, init="empty")})
    after = graph.add("after", Stateful, inputs={"a": past["out"]})
    graph.add("paced", Paced, inputs={"a": after["out"]})
    assert reach_units(graph.plan()) == 3


def test_a_window_keeps_what_settled_lately_and_measures_that_from_the_newest_settlement():
    window = StreamWindow(shared_stream().streams["work.out"], holds=False, keep_ns=2 * T)
    for unit in range(6):
        window.settle(settled(unit).packet, unit * T)
    for _ in range(2):
        window.forget(6)
        assert sorted(window.kept) == [4, 5]


@pytest.mark.parametrize("n_readers", [1, 2])
def test_what_is_kept_for_others_holds_no_shared_memory_and_the_last_real_unit_stays_whole(n_readers):
    stream = dataclasses.replace(shared_stream().streams["work.out"], readers=("player", "keeper")[:n_readers])
    window, lent = StreamWindow(stream, holds=True, keep_ns=8 * T), np.ones(3)
    for unit in range(6):
        window.settle(replace(settled(unit).packet, tensors={"": lent}), unit * T)
        window.forget(unit)
    kept = {unit: found.packet.tensors for unit, found in window.kept.items()}
    assert kept.pop(5)[""] is lent, "it is still needed"
    assert list(kept) == [0, 1, 2, 3, 4]
    assert [bool(tensors) for tensors in kept.values()] == [False] * 4 + [n_readers == 2]
    assert all(tensor is not lent for tensors in kept.values() for tensor in tensors.values())
    assert window.last_real_before(5).tensors[""] is lent
    window.settle(settled(6).packet, 99 * T)
    window.forget(6)  # after a long loss all of it is too old
    assert list(window.kept) == [6]
    window.settle(replace(settled(7).packet, tensors={"": lent}), 100 * T)
    window.forget(8)
    assert list(window.kept) == [6, 7]
