"""Faults on purpose: how they are written, what they do, and that a replay makes the same of them."""

from __future__ import annotations

import os
import subprocess
import sys

import engine_toys as toys
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wangraph import run
from wangraph.runtime.engine.faults import KINDS, TIMED, Fault, costs_with, parse_fault
from wangraph.runtime.errors import NodeError, ProcessLost, UserError
from wangraph.runtime.observe.records import Note, read_trace
from wangraph.runtime.schedule.decide import Fire
from wangraph.runtime.schedule.events import Firing

UNITS = 12
ALL = (
    "corrupt, cpu-hog, disk-full, drop, duplicate, exit0, freeze-gil, garbage, hang, kill, nan, raise, reorder, "
    "repeat, slow, stall, stop"
)
SYNTAX = rf"\(expected 'NODE: stall=300ms at=UNIT'; kinds: {ALL}\)$"


def looped(out, *, far=False):
    return toys.looped(out, far=far)


# Written


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("think: stall=300ms at=20", Fault("think", "stall", 20, 20, time_ns=300_000_000)),
        ("think: stall=1.5s at=0", Fault("think", "stall", 0, 0, time_ns=1_500_000_000)),
        ("think: at=20..40 slow=2.5", Fault("think", "slow", 20, 40, factor=2.5)),
        ("think:slow=3x at=7..", Fault("think", "slow", 7, None, factor=3.0)),
        ("think: drop at=20", Fault("think", "drop", 20, 20)),
        ("think: raise at=20", Fault("think", "raise", 20, 20)),
        ("think: kill at=20", Fault("think", "kill", 20, 20)),
        ("think: nan p=.1 at=20..40", Fault("think", "nan", 20, 40, p=0.1)),
        ("think: stop at=20", Fault("think", "stop", 20, 20)),
        ("think: stop=2s at=20", Fault("think", "stop", 20, 20, time_ns=2_000_000_000)),
    ],
)
def test_a_fault_says_what_happens_to_whom_and_when(text, fault):
    assert parse_fault(text) == fault


@given(
    st.sampled_from(["stall=250ms", "slow=1.5", "stop", "stop=2000ms", *set(KINDS) - {"slow", "stop", *TIMED}]),
    st.integers(0, 10_000),
    st.one_of(st.none(), st.just(...), st.integers(0, 100)),
    st.sampled_from(["", " p=0.1", " p=0.25"]),
)
def test_a_fault_reads_back_as_it_was_written(kind, first, more, share):
    at = str(first) if more is None else f"{first}.." if more is ... else f"{first}..{first + more + 1}"
    text = f"a: {kind} at={at}{share}"
    assert str(parse_fault(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("think stall=300ms at=2", r"^--inject 'think stall=300ms at=2': found no node and fault " + SYNTAX),
        ("think:", r"^--inject 'think:': found no node and fault " + SYNTAX),
        ("a: drop", r"^--inject 'a: drop': found no at=UNIT \(expected at=12, at=12..20 or at=12..\)$"),
        ("a: drop at=x", r"^--inject 'a: drop at=x': found at=x \(expected at=12, at=12..20 or at=12..\)$"),
        ("a: drop at=5..3", r"^--inject 'a: drop at=5..3': found at=5..3 \(expected the first unit before the last\)$"),
        ("a: drop kill at=1", rf"^--inject .*: found drop, kill \(expected one of: {ALL}\)$"),
        ("a: stal=3ms at=1", r"^--inject .*: found 'stal' \(expected one of: .*\); did you mean 'stall'\?$"),
        ("a: stall=300 at=1", r"^--inject .*: found stall=300 \(expected a time, for example stall=300ms\)$"),
        ("a: slow=0.5 at=1", r"^--inject .*: found slow=0.5 \(expected a factor of 1 or more, for example slow=2.5\)$"),
        ("a: drop=3 at=1", r"^--inject .*: found drop=3 \(expected drop alone\)$"),
        (
            "a: freez-gil=1s at=1",
            r"^--inject .*: found 'freez-gil' \(expected one of: .*\); did you mean 'freeze-gil'\?$",
        ),
        ("a: freeze-gil at=1", r"^--inject .*: found freeze-gil= \(expected a time, for example freeze-gil=300ms\)$"),
        ("a: stop=soon at=1", r"^--inject .*: found stop=soon \(expected a time, for example stop=300ms\)$"),
        ("a: at=1 p=.5", rf"^--inject .*: found none \(expected one of: {ALL}\)$"),
        ("a: nan from=1 at=1", rf"^--inject .*: found from, nan \(expected one of: {ALL}\)$"),
        *(
            (f"a: nan at=1 p={p}", rf"^--inject .*: found p={p} \(expected a share above 0 and up to 1, .* p=\.1\)$")
            for p in ("0", "1.5", "x", "")
        ),
    ],
)
def test_a_fault_that_is_not_written_like_one_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_fault(text)


def test_a_fault_of_a_node_that_is_not_there_is_refused_before_the_run(tmp_path):
    with pytest.raises(
        UserError,
        match=r"^--inject 'mixx: drop at=1': no node 'mixx' \(it has: digest, mix, .*\); did you mean 'mix'\?$",
    ):
        run(looped(tmp_path / "out"), units=2, inject=["mixx: drop at=1"])
    assert not (tmp_path / "out").exists()


def test_nothing_is_killed_where_the_run_is_in_this_process(tmp_path):
    with pytest.raises(
        UserError,
        match=r"^--inject 'mix: kill at=1': found a run inside this process \(expected processes of its own\), "
        r"run it on the system clock without --serial$",
    ):
        run(looped(tmp_path / "out"), units=2, clock="virtual", inject=["mix: kill at=1"])


# Suffered


def virtual(tmp_path, *faults, units=UNITS, **more):
    return run(looped(tmp_path / "out"), units=units, clock="virtual", inject=faults, **more)


def firings(result, node):
    return {f.first: f for f in result.log if isinstance(f, Firing) and f.node == node and f.verdict != "end"}


def test_a_stall_under_the_virtual_clock_is_cost_and_not_a_sleep(tmp_path):
    stalled = firings(virtual(tmp_path, "mix: stall=3600s at=4", units=6), "mix")[4]
    assert stalled.finished_ns - stalled.started_ns == 3600 * 10**9 + 5_000_000
    assert stalled.verdict == "late"


def test_a_slow_node_takes_so_many_times_its_cost_while_it_is_slow(tmp_path):
    spent = {
        u: f.finished_ns - f.started_ns for u, f in firings(virtual(tmp_path, "mix: slow=3 at=4..6"), "mix").items()
    }
    assert {u for u, ns in spent.items() if ns == 15_000_000} == {4, 5, 6}
    assert {ns for u, ns in spent.items() if not 4 <= u <= 6} == {5_000_000}


def test_what_is_dropped_is_missing_downstream_and_nowhere_else(tmp_path):
    result = virtual(tmp_path, "mix: drop at=4")
    assert result.summary["misses"] == 1
    lines = (tmp_path / "out").read_text().splitlines()
    assert [line for line in lines if not line.startswith("4 ")] and lines[4] == "4 empty"
    assert firings(result, "mix")[4].mode == "step"


def test_two_faults_of_one_node_add_up():
    node = looped("unused").plan().nodes["mix"]
    faults = (
        parse_fault("mix: stall=10ms at=1.."),
        parse_fault("mix: slow=2 at=2"),
        parse_fault("near: slow=9 at=1.."),
    )
    cost = costs_with(faults, lambda node, fire: 5_000_000, seed=0)
    fires = [Fire("mix", "step", unit, unit, ()) for unit in range(4)]
    assert [cost(node, fire) // 1_000_000 for fire in fires] == [5, 15, 20, 15]


def test_a_call_over_several_units_is_struck_by_a_fault_of_any_of_them():
    fault = parse_fault("a: drop at=5")
    assert [fault.strikes(Fire("a", "absorb", first, first + 2, ()), seed=0) for first in (2, 3, 5, 6)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_node_told_to_raise_raises_with_its_unit(tmp_path):
    with pytest.raises(NodeError, match=r"^node 'mix', unit 3: raised because --inject said so$"):
        virtual(tmp_path, "mix: raise at=3", serial=True)


def test_a_process_told_to_die_is_gone_in_that_unit(tmp_path):
    with pytest.raises(ProcessLost, match=r"^process 'far' \(pid \d+\): killed by SIGKILL while running "):
        run(
            looped(tmp_path / "out", far=True), units=UNITS, inject=["mix: kill at=3"], trace=tmp_path / "run.trace"
        )  # fmt: skip
    assert (tmp_path / "out").read_text().splitlines()
    notes = [(n.kind, n.text) for n in read_trace(tmp_path / "run.trace") if isinstance(n, Note)]
    assert ("injected", "node 'mix', unit 3: kill") in notes, "the dead process could not tell it"


def test_faults_in_processes_strike_and_are_in_the_trace(tmp_path):
    result = run(
        looped(tmp_path / "out", far=True), units=UNITS, inject=["mix: drop at=3", "near: stall=1ms at=5"],
        trace=tmp_path / "run.trace",
    )  # fmt: skip
    notes = [(n.kind, n.text) for n in read_trace(tmp_path / "run.trace") if isinstance(n, Note)]
    assert notes[:2] == [("inject", "mix: drop at=3"), ("inject", "near: stall=1ms at=5")]
    assert ("injected", "node 'mix', unit 3: drop") in notes
    assert ("injected", "node 'near', unit 5: stall=1ms") in notes
    assert result.summary["misses"] == 1


def test_a_replay_injects_nothing_and_still_makes_what_the_faults_made(tmp_path):
    first = virtual(tmp_path, "mix: stall=700ms at=4", "near: drop at=8", "near: slow=30 at=9")
    before = (tmp_path / "out").read_text()
    assert first.summary["misses"] > 1
    again = run(looped(tmp_path / "out"), serial=True, log=first.log)
    assert (tmp_path / "out").read_text() == before
    assert not [n for n in again.summary["notes"] if n["kind"] == "injected"]


def test_the_command_takes_faults_and_documents_them(tmp_path):
    command = [sys.executable, "-m", "wangraph", "run"]
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(
        f"    {kind}  " in told for kind in ("stall=300ms", "slow=2.5", "stop, stop=2s", "freeze-gil=2s", "cpu-hog=2s")
    )
    assert all(f"    {kind}  " in told for kind in set(KINDS) - {"slow", *TIMED})
    done = subprocess.run(
        [*command, "hello", "--units", "4", "--clock", "virtual", "--inject", "sync: drop at=2", "--json", "-"],
        cwd=tmp_path, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip
    assert "node 'sync', unit 2: drop" in done.stdout
