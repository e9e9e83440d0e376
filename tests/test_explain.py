"""Explaining: a unit's path adds up to its latency, and who stalled is named, wherever it was."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import timing_toys as toys
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wangraph.runtime.engine.faults import parse_fault
from wangraph.runtime.errors import UserError
from wangraph.runtime.forecast.profile import Delay
from wangraph.runtime.forecast.simulate import simulate
from wangraph.runtime.observe.explain import NOTICED_NS, explain, path, worst
from wangraph.runtime.observe.history import History, read_history
from wangraph.runtime.observe.records import TRACE_VERSION, Footer, Header, Note, TraceWriter, Transfer
from wangraph.runtime.packet import Validity
from wangraph.runtime.plan.plan import Plan, to_plain
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.tools.cli import cli

MS = 1_000_000


def call(*words: str) -> str:
    result = CliRunner().invoke(cli, list(words), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def history(*faults: str, units: int = 30, plan: Plan | None = None, profile=None, seed: int = 0) -> History:
    plan = plan or toys.agent()
    profile = profile or toys.profile()
    return History(plan, simulate(plan, profile, units, seed, [parse_fault(f) for f in faults]).records)


def write(file: Path, plan: Plan, records) -> Path:
    writer = TraceWriter(file)
    writer.write([Header(TRACE_VERSION, "0", "", to_plain(plan), {}, "simulated", "simulated"), *records, Footer({})])
    writer.close()
    return file


# Paths


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(1.0, 3.0), st.floats(0, 30), st.integers(0, 29))
@example(72554, 3.0, 14.0, 4)
def test_the_parts_of_a_path_add_up_from_release_to_the_presentation(seed, spread, transfer_ms, unit):
    known = history(profile=toys.profile(spread=spread, transfer_ms=transfer_ms), seed=seed)
    steps = path(known, unit)
    release = known.plan.release_ns(unit)
    assert steps[0].from_ns == release
    assert all(before.to_ns == after.from_ns for before, after in itertools.pairwise(steps))
    assert steps[-1].part == "due"
    taken = sum(s.ns for s in steps[:-1])
    assert taken == known.firings["play"][unit].ready_ns - release
    assert not known.outcomes[unit].is_real or taken == known.outcomes[unit].model_latency_ns


def test_a_path_names_what_computed_travelled_and_waited_in_order():
    told = [(s.part, s.text) for s in path(history(), 5)]
    assert told == [
        ("compute", "user: computes"),
        ("compute", "see: computes"),
        ("compute", "think: computes"),
        ("travel", "think.out: main to far"),
        ("compute", "act: computes"),
        ("travel", "act.out: far to main"),
        ("compute", "show: computes"),
        ("due", "play: waits for its due"),
    ]


def test_a_unit_that_waited_for_the_answer_before_it_says_so():
    known = history("act: stall=100ms at=5", plan=toys.agent(latency_ms=400), units=10)
    first = path(known, 6)[0]
    assert (first.unit, first.node, first.text) == (5, "act", "act: computes")


def test_a_lane_that_is_busy_is_told_with_who_keeps_it_busy():
    known = history("show: stall=150ms at=9", plan=toys.agent(latency_ms=400), units=15)
    told = [s.text for s in path(known, 10)]
    assert "see: its lane is busy with show of unit 9" in told


def test_an_empty_packet_travelled_though_its_way_was_not_recorded():
    plan = toys.agent()
    records = [
        Settlement(r.stream, r.unit, Validity.EMPTY, r.at_ns, 0)
        if isinstance(r, Settlement) and (r.stream, r.unit) == ("think.out", 9) else r
        for r in simulate(plan, toys.profile(), 20).records
        if not (isinstance(r, Transfer) and (r.stream, r.unit) == ("think.out", 9))
    ]  # fmt: skip
    texts = {step.part: step.text for step in path(History(plan, records), 9) if "think.out" in step.text}
    assert texts == {"travel": "think.out: main to far, empty"}


def test_a_late_clock_is_told():
    late = toys.profile()
    known = history(profile=late.having("clock.late_ms", 3), units=5)
    assert (path(known, 3)[0].part, path(known, 3)[0].text) == ("clock", "user: started after its release")


# Presentations that began late


BESIDE = {"plan": toys.agent(extra=True, play_lane="io"), "units": 20}
"""The playout shares its lane with a node off its path: it can be late without a miss."""


def assert_a_presentation_waits_for_its_due_and_no_longer(known: History):
    node = known.plan.nodes["play"]
    for unit, firing in known.firings["play"].items():
        steps = path(known, unit)
        assert all(before.to_ns == after.from_ns for before, after in itertools.pairwise(steps))
        assert steps[-1].to_ns == max(firing.started_ns, firing.ready_ns)
        waited = [s for s in steps if (s.part, s.node) == ("due", "play")]
        assert all(s.to_ns <= firing.due_ns + NOTICED_NS for s in waited if s.ns), unit
        ready_ns = firing.ready_ns - known.plan.release_ns(unit)
        assert sum(s.ns for s in steps if s.from_ns < firing.ready_ns) == ready_ns
        assert not known.outcomes[unit].is_real or ready_ns == known.outcomes[unit].model_latency_ns
        if firing.started_ns - max(firing.due_ns, firing.ready_ns) > NOTICED_NS:
            assert (steps[-1].part, steps[-1].node) in (("queue", node.name), ("clock", node.name)), unit


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.sampled_from(["aside", "see", "show", "user"]), st.integers(0, 400), st.floats(0, 9))
@pytest.mark.parametrize("lane", ["io", "codecs", "play"])
def test_a_presentation_waits_for_its_due_and_no_longer(lane, seed, node, stall_ms, late_ms):
    plan = toys.agent(extra=True, play_lane=lane)
    profile = toys.profile(spread=1.5).having("clock.late_ms", late_ms)
    known = history(f"{node}: stall={stall_ms}ms at=9", units=20, plan=plan, profile=profile, seed=seed)
    assert_a_presentation_waits_for_its_due_and_no_longer(known)


def test_the_law_catches_a_due_that_is_waited_for_until_the_start(monkeypatch):
    monkeypatch.setattr("wangraph.runtime.observe.explain.may_start_ns", lambda node, f: max(f.started_ns, f.ready_ns))
    with pytest.raises(AssertionError):
        assert_a_presentation_waits_for_its_due_and_no_longer(history("aside: stall=120ms at=9", **BESIDE))


def test_a_playout_whose_lane_is_usually_busy_past_its_due_names_who_keeps_it_busy():
    known = history("aside: stall=120ms at=9", **BESIDE)
    due, kept = path(known, 8)[-2:]
    assert [(s.part, s.text) for s in (due, kept)] == [
        ("due", "play: waits for its due"), ("queue", "play: its lane is busy with aside of unit 9"),
    ]  # fmt: skip
    assert [(s.ns / MS, s.usual_ns / MS) for s in (due, kept)] == [(95, 95), (82, 0)]
    assert known.presented_late == {8: 82 * MS} and not known.missed
    assert explain(known, 8).outcome.late_ns == 82 * MS and explain(known, 9).outcome.late_ns == 0


def test_a_late_clock_delays_a_presentation_after_its_due():
    known = history(profile=toys.profile().having("clock.late_ms", 6), units=5)
    (due, late) = path(known, 3)[-2:]
    assert [(s.part, s.text, s.ns, s.usual_ns) for s in (due, late)] == [
        ("due", "play: waits for its due", 89 * MS, 89 * MS), ("clock", "play: started after its due", 6 * MS, 6 * MS),
    ]  # fmt: skip


def test_without_a_miss_late_presentations_are_explained_the_latest_first(tmp_path):
    plan = BESIDE["plan"]
    faults = [parse_fault("aside: stall=80ms at=5"), parse_fault("aside: stall=120ms at=9")]
    file = str(write(tmp_path / "t.trace", plan, simulate(plan, toys.profile(), 20, 0, faults).records))
    told = json.loads(call("explain", file, "--json"))
    assert [(u["unit"], u["late_ms"]) for u in told["units"]] == [(8, 82), (4, 42)]
    lines = call("explain", file).splitlines()
    assert lines[0] == (
        "agent: 20 units, 0 missed, 2 presented late; model latency usually 105.0 ms, due 200 ms"
    )  # fmt: skip
    assert "unit 8: 105.0 ms after release (usually 105.0, due 200), presented 82.0 ms after its due" in lines
    assert "  most of what is unusual: play: its lane is busy with aside of unit 9, 82.0 ms longer than usual" in lines


def test_many_late_presentations_are_counted(tmp_path):
    plan = BESIDE["plan"]
    run = simulate(plan, toys.profile(), 40, 0, [parse_fault("aside: stall=100ms at=5..")])
    lines = call("explain", str(write(tmp_path / "t.trace", plan, run.records))).splitlines()
    assert lines[-1] == "25 more units presented late"


def test_the_worst_units_come_first():
    known = history("see: stall=30ms at=7", "see: stall=20ms at=12")
    assert worst(known, 2) == [7, 12]
    assert explain(known, 7).steps[1].excess_ns == 30 * MS


# Culprits


@pytest.mark.parametrize("node", ["user", "see", "think", "act", "show"])
@pytest.mark.parametrize("far", [True, False])
def test_whoever_stalls_is_the_culprit_of_every_miss_that_follows(node, far):
    known = history(f"{node}: stall=300ms at=9", plan=toys.agent(far=far))
    assert 9 in known.missed
    for unit in known.missed:
        (culprit,) = explain(known, unit).culprits
        assert (culprit.node, culprit.kind, culprit.unit) == (node, "computing", 9), (unit, culprit)
        assert culprit.text.endswith(f"on unit 9 (injected: node '{node}', unit 9: stall=300ms)")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["see", "think", "act", "show"]), st.integers(3, 25), st.integers(250, 900), st.integers(0, 99))
def test_a_stall_is_found_among_costs_that_spread(node, unit, stall_ms, seed):
    known = history(f"{node}: stall={stall_ms}ms at={unit}", profile=toys.profile(spread=1.15), seed=seed)
    culprits = {(c.node, c.unit) for c in explain(known, unit).culprits}
    assert culprits == {(node, unit)}


def test_a_culprit_is_told_with_every_link_between_it_and_the_miss():
    (culprit,) = explain(history("think: stall=300ms at=9"), 9).culprits
    assert (
        culprit.text == "think computed 340.0 ms (usually 40.0) on unit 9 (injected: node 'think', unit 9: stall=300ms)"
    )
    assert culprit.because[0] == "play got no a of unit 9 from show.out"
    assert culprit.because[-1] in ("act waited for think.out", "act got no a of unit 9 from think.out")


def test_a_packet_that_travels_long_is_the_culprit():
    columns = ("think.out", "see")
    rows = tuple((400.0 if i == 0 else 2.0, 10.0) for i in range(40))
    jammed = replace(toys.profile(), transfers={"think.out": Delay(2, "x")}, columns=columns, rows=rows)
    plan = toys.agent()
    records = simulate(plan, jammed, 60).records
    struck = [r.unit for r in records if isinstance(r, Transfer) and r.arrived_ns - r.sent_ns > 390 * MS]
    assert struck
    (culprit,) = explain(History(plan, records), struck[0]).culprits
    assert (culprit.kind, culprit.text) == ("travel", f"think.out of unit {struck[0]} travelled 400.0 ms (usually 2.0)")


def test_a_process_that_is_gone_is_the_culprit():
    plan = toys.agent()
    records = [
        r for r in simulate(plan, toys.profile(), 30).records
        if not (isinstance(r, Firing) and r.node in ("act", "show") and r.first >= 20)
        and not (isinstance(r, Settlement) and r.stream in ("act.out", "show.out") and r.unit >= 20)
    ]  # fmt: skip
    given_up = [
        Settlement(s, u, Validity.MISSING, plan.release_ns(u) + 200 * MS, 0)
        for s in ("act.out", "show.out")
        for u in range(20, 30)
    ]
    (culprit,) = explain(History(plan, [*records, *given_up]), 25).culprits
    assert (culprit.kind, culprit.node) == ("gone", "act")
    assert culprit.text.startswith("process far gave no sign of life after 3.")


def failed_at_unit_20(*lost: str) -> History:
    """The agent's run, ended by a failure before these nodes answered unit 20."""
    plan = toys.agent()
    end = plan.release_ns(20) + 210 * MS
    settles = {f"{name}.out" for name in lost} | {"show.out", "play.out"}
    records = [
        r for r in simulate(plan, toys.profile(), 30).records
        if not (isinstance(r, Firing) and r.last >= 20 and (r.node in (*lost, "show", "play") or r.started_ns > end))
        and not (isinstance(r, Settlement | Transfer) and r.unit >= 20 and r.stream in settles)
        and not (isinstance(r, Settlement) and r.at_ns > end)
    ]  # fmt: skip
    return History(
        plan, [*records, Note(end, "supervisor", "failed", "process 'far' (pid 1): killed by SIGKILL while running")]
    )


def test_the_first_unit_that_a_failed_run_did_not_finish_is_explained():
    known = failed_at_unit_20("act")
    assert known.unpresented[0] == 20 and 19 not in known.unpresented
    (culprit,) = explain(known, 20).culprits
    assert (culprit.kind, culprit.text) == ("gone", "process 'far' (pid 1): killed by SIGKILL")
    assert culprit.because[0] == "play got no a of unit 20 from show.out"


def test_who_had_not_answered_when_a_run_failed_is_named():
    (culprit,) = explain(failed_at_unit_20(), 20).culprits
    assert (culprit.node, culprit.text) == ("show", "show had not answered unit 20 when the run failed")


def test_the_failure_is_told_before_anything_else(tmp_path):
    known = failed_at_unit_20("act")
    file = write(tmp_path / "t", known.plan, [*known.settled.values(), *known.notes,
                 *(f for own in known.firings.values() for f in own.values())])  # fmt: skip
    lines = call("explain", str(file)).splitlines()
    assert lines[1] == "  failed at 3570 ms: process 'far' (pid 1): killed by SIGKILL while running"
    assert lines[3].startswith("unit 20: never presented")


def test_an_answer_that_is_lost_is_told_as_such():
    plan = toys.agent()
    records = [
        Settlement(r.stream, r.unit, Validity.MISSING, r.at_ns, 0)
        if isinstance(r, Settlement) and (r.stream, r.unit) == ("show.out", 9) else r
        for r in simulate(plan, toys.profile(), 20).records
    ]  # fmt: skip
    (culprit,) = explain(History(plan, records), 9).culprits
    assert (culprit.kind, culprit.text) == ("lost", "show answered unit 9 in time, and its answer was lost")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(1.0, 6.0), st.floats(0, 200))
def test_every_miss_of_any_run_has_a_culprit(seed, spread, transfer_ms):
    known = history(profile=toys.profile(spread=spread, transfer_ms=transfer_ms), seed=seed)
    for unit in range(known.n_units):
        told = explain(known, unit)
        assert bool(told.culprits) == (unit in known.missed)
        assert all(culprit.because for culprit in told.culprits)


# The command


def test_without_options_every_miss_is_explained(tmp_path):
    plan = toys.agent()
    run = simulate(plan, toys.profile(), 20, faults=[parse_fault("act: stall=300ms at=9")])
    text = call("explain", str(write(tmp_path / "t.trace", plan, run.records)))
    assert text.splitlines()[0] == "agent: 20 units, 2 missed; model latency usually 105.0 ms, due 200 ms"
    assert text.splitlines()[1] == "  injected at 1653 ms: node 'act', unit 9: stall=300ms"
    assert (
        "  missed: act computed 330.0 ms (usually 30.0) on unit 9 (injected: node 'act', unit 9: stall=300ms)" in text
    )
    assert "unit 9" in text and "most of what is unusual: act: computes" in text


def test_a_missed_unit_is_told_with_when_its_answer_came_not_when_it_was_given_up(tmp_path):
    plan = toys.agent()
    run = simulate(plan, toys.profile(), 20, faults=[parse_fault("show: stall=150ms at=9")])
    file = str(write(tmp_path / "t.trace", plan, run.records))
    assert "unit 9: missed, its answer came 255.0 ms after release (usually 105.0, due 200)" in call("explain", file)
    told = json.loads(call("explain", file, "--json"))
    assert [(u["unit"], u["status"], u["latency_ms"]) for u in told["units"]] == [(9, "missed", 255.0)]
    run = simulate(plan, toys.profile(), 20, faults=[parse_fault("act: stall=300ms at=9")])
    file = str(write(tmp_path / "u.trace", plan, run.records))
    assert "unit 9: missed, its answer never came (usually 105.0, due 200)" in call("explain", file)


def test_a_unit_that_was_made_up_is_told_as_concealed(tmp_path):
    plan = toys.agent()
    records = [
        Settlement(r.stream, r.unit, Validity.CONCEALED, r.at_ns, 8)
        if isinstance(r, Settlement) and (r.stream, r.unit) == ("show.out", 9) else r
        for r in simulate(plan, toys.profile(), 20).records
    ]  # fmt: skip
    file = str(write(tmp_path / "t.trace", plan, records))
    lines = call("explain", file, "--unit", "9").splitlines()
    assert lines[0] == "agent: 20 units, 0 missed, 1 concealed; model latency usually 105.0 ms, due 200 ms"
    assert "unit 9: 105.0 ms after release, concealed (usually 105.0, due 200)" in lines


def test_without_a_miss_the_slowest_unit_is_explained(tmp_path):
    plan = toys.agent()
    run = simulate(plan, toys.profile(), 20, faults=[parse_fault("see: stall=20ms at=4")])
    told = json.loads(call("explain", str(write(tmp_path / "t.trace", plan, run.records)), "--json"))
    assert [u["unit"] for u in told["units"]] == [4]
    assert told["units"][0]["latency_ms"] == pytest.approx(125)
    assert told["units"][0]["steps"][0]["from_ms"] == 0


def test_many_misses_are_counted_by_their_culprits(tmp_path):
    plan = toys.agent()
    run = simulate(plan, toys.profile(), 40, faults=[parse_fault("act: stall=300ms at=5..")])
    lines = call("explain", str(write(tmp_path / "t.trace", plan, run.records))).splitlines()
    assert any(line.endswith("more units missed:") for line in lines)
    assert any(line.startswith("  act (computing): ") for line in lines)


def test_an_unknown_unit_is_told_with_those_there_are():
    with pytest.raises(UserError) as caught:
        explain(history(units=5), 99)
    assert str(caught.value) == "--unit: found 99 (the trace has units 0 to 4), choose one of them"


def test_what_a_flight_recorder_kept_is_explained_from_where_it_begins():
    plan = toys.agent()
    since = plan.release_ns(20)
    records = simulate(plan, toys.profile(), 40, faults=[parse_fault("act: stall=300ms at=30")]).records
    kept = History(
        plan, [r for r in records if (r.finished_ns if isinstance(r, Firing) else plan.release_ns(40)) > since]
    )
    assert kept.first_unit > 18
    assert {c.node for c in explain(kept, 30).culprits} == {"act"}
    with pytest.raises(UserError, match=r"^--unit: found 3 \(the trace has units (19|20) to 39\), choose one of them$"):
        explain(kept, 3)


def test_unit_and_worst_exclude_each_other(tmp_path):
    with pytest.raises(UserError, match=r"^--unit and --worst: found both \(expected one of them\), leave one out$"):
        call("explain", "x", "--unit", "1", "--worst", "2")


def test_a_cut_trace_is_explained_as_far_as_it_goes(tmp_path):
    plan = toys.agent()
    whole = write(tmp_path / "t.trace", plan, simulate(plan, toys.profile(), 30).records).read_bytes()
    cut = tmp_path / "cut.trace"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    assert 15 < read_history(cut).n_units < 25
    explain(read_history(cut), 10)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "{}: found an empty file (expected a trace), make one with: wangraph run GRAPH --trace FILE"),
        (b"\x89PNG\r\n\x1a\n\n", "{}:1: found {} (expected a trace record), make one with: wangraph run GRAPH --trace FILE"),
        (b'{"type":"footer","summary":{}}\n',
         "{}: found no header (expected a trace), make one with: wangraph run GRAPH --trace FILE"),
    ],
)  # fmt: skip
def test_a_foreign_file_is_no_trace(tmp_path, data, message):
    file = tmp_path / "x.trace"
    file.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_history(file)
    assert str(caught.value) == message.format(file, repr(data.split(b"\n")[0]))


def test_a_trace_with_no_unit_or_another_plan_says_so(tmp_path):
    plan = toys.agent()
    with pytest.raises(UserError) as caught:
        read_history(write(tmp_path / "none.trace", plan, []))
    assert str(caught.value) == (
        f"{tmp_path}/none.trace: found no unit (expected some: the run ended before its first one, or the file was cut), "
        "record it again"
    )
    stranger = Firing("stranger", 0, 0, "step", 0, 0, 0, 1, None, "real")
    with pytest.raises(UserError) as caught:
        read_history(write(tmp_path / "other.trace", plan, [stranger]))
    assert str(caught.value) == (
        f"{tmp_path}/other.trace: found a firing of 'stranger' (the plan has: act, play, see, show, think, user), "
        "record it again"
    )
