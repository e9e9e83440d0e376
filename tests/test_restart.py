"""Processes that die and come back in a real run: nothing is unaccounted, readers agree, and the run goes on."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq
from restart_toys import Count, Play, mortal

import wangraph
from wangraph import Graph
from wangraph.runtime.engine import failover as failover_module
from wangraph.runtime.engine import liveness
from wangraph.runtime.engine.agreement import encoded
from wangraph.runtime.engine.children import Child, Children
from wangraph.runtime.engine.control import RaiseFence
from wangraph.runtime.engine.failover import Failover
from wangraph.runtime.engine.options import Options
from wangraph.runtime.errors import GraphError, NodeError, ProcessLost, RunError, StartError, UserError
from wangraph.runtime.observe.explain import explain
from wangraph.runtime.observe.history import read_history
from wangraph.runtime.packet import Validity
from wangraph.runtime.schedule.events import Firing, Settlement

HOW = {
    "killed": "killed by SIGKILL while running node 'work', unit 8",
    "exit": "ended with exit code 0 while running node 'work', unit 8",
    "raises": "node 'work', unit 8: ValueError: the lens fell off",
    "hangs": "node 'work', unit 8: computing since ",
}


def seen(path: Path) -> dict[int, str]:
    return {int(unit): value for unit, value in (line.split() for line in path.read_text().splitlines())}


def assert_accounted(result) -> None:
    """Every unit of every stream has one outcome, without a gap from 0 to its end."""
    by_stream: dict[str, Counter[int]] = {}
    for event in result.log:
        if isinstance(event, Settlement) and event.validity != Validity.END:
            by_stream.setdefault(event.stream, Counter())[event.unit] += 1
    for stream, units in by_stream.items():
        assert set(units.values()) == {1}, f"{stream}: twice {[u for u, n in units.items() if n > 1]}"
        assert sorted(units) == list(range(len(units))), f"{stream}: gaps"


def notes(result, kind: str) -> list[str]:
    return [note["text"] for note in result.summary["notes"] if note["kind"] == kind]


def test_a_window_shorter_than_a_restart_takes_forgets_the_death_and_not_since_when(tmp_path):
    result = wangraph.run(mortal(tmp_path, on_crash="restart", restarts=1, restart_window_s=0.001, standby=True))
    (back,) = notes(result, "back")
    assert re.search(r"takes part again from unit \d+ on, \d\.\d\d s after its end$", back)


@pytest.mark.parametrize("trouble", HOW)
def test_a_process_that_crashes_is_started_again_and_every_unit_has_one_outcome(tmp_path, trouble):
    stall_s = 0.5 if trouble == "hangs" else 30.0  # not where a busy machine might make a call last as long
    result = wangraph.run(mortal(tmp_path, trouble, stall_s=stall_s, on_crash="restart"))
    assert_accounted(result)
    played, kept = seen(tmp_path / "play"), seen(tmp_path / "keep")
    both = played.keys() & kept.keys()
    assert {u: played[u] for u in both} == {u: kept[u] for u in both}, "two readers took in different outcomes"
    assert all(value in ("-", str(unit)) for unit, value in played.items())
    assert played[8] == "-", "the unit that it died in"
    (died,), (back,) = notes(result, "died"), notes(result, "back")
    assert HOW[trouble] in died and died.endswith("it is started again")
    first = int(back.removeprefix("process 'far': takes part again from unit ").split(" ")[0])
    lives = {e.incarnation: e for e in result.log if isinstance(e, Firing) and e.node == "work"}
    assert list(lives) == [0, 1] and lives[1].first > first > 8
    assert result.summary["processes"]["far"]["restarts"] == 1


def test_a_source_that_crashes_goes_on_at_the_unit_of_the_clock(tmp_path):
    result = wangraph.run(mortal(tmp_path, who="count", on_crash="restart"))
    assert_accounted(result)
    played = seen(tmp_path / "play")
    assert played[8] == "-" and played[max(played)] == str(max(played))


def test_a_process_that_is_bypassed_leaves_its_units_missing_and_the_run_goes_on(tmp_path):
    result = wangraph.run(mortal(tmp_path, on_crash="bypass", enough=0), units=40)
    assert_accounted(result)
    played = seen(tmp_path / "play")
    assert set(played) == set(range(40))
    assert {played[unit] for unit in range(9, 40)} == {"-"}
    assert notes(result, "died")[0].endswith("the run goes on without it")


def test_a_process_that_crashes_too_often_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = mortal(tmp_path, "never open again", on_crash="restart", restarts=2)
    with pytest.raises((ProcessLost, NodeError, RunError), match=r"work'.*no lens"):
        wangraph.run(graph)


def test_a_spare_life_takes_the_place_of_one_that_dies(tmp_path):
    with wangraph.start(mortal(tmp_path, "", 30, on_crash="restart", standby=True)) as run:
        for packet in run.packets("play.played", backlog=None):
            if packet.unit == 30:
                far = run.status()["processes"]["far"]["pid"]
                os.kill(far, signal.SIGKILL)
    result = run.wait()
    assert_accounted(result)
    assert result.summary["processes"]["far"]["pid"] != far
    assert len(notes(result, "back")) == 1


def test_a_life_that_follows_has_the_live_parameters_as_they_were_set(tmp_path):
    with wangraph.start(mortal(tmp_path, on_crash="restart"), paused=True) as run:
        run.set("work", factor=3)
        run.begin()
        run.wait()
    played = seen(tmp_path / "play")
    assert played[max(played)] == str(3 * max(played))


def test_a_stop_while_a_process_is_being_started_again_ends_the_run(tmp_path, monkeypatch):
    run = wangraph.start(mortal(tmp_path, on_crash="restart", enough=0))
    for packet in run.packets("play.played", backlog=None):
        if packet.unit > 8 and not packet.tensors:
            break
    run.stop()
    result = run.wait()
    assert_accounted(result)
    assert seen(tmp_path / "play").keys() == set(range(len(seen(tmp_path / "play"))))


def test_a_frozen_process_is_killed_and_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr(liveness, "SILENT_RESTART_S", 0.8)
    with wangraph.start(mortal(tmp_path, "", 10, on_crash="restart")) as run:
        for packet in run.packets("play.played", backlog=None):
            if packet.unit == 10:
                os.kill(run.status()["processes"]["far"]["pid"], signal.SIGSTOP)
    result = run.wait()
    assert_accounted(result)
    expected = (
        r"process 'far': no sign of life for \d\.\d s, it is stopped; .* \(expected one several times a second\), "
        r"let it go on \(kill -CONT\), or end the debugger; it is started again$"
    )
    assert re.match(expected, notes(result, "died")[0])


def test_a_frozen_process_without_which_nothing_goes_on_ends_the_run(tmp_path):
    expected = r"^process 'far': no sign of life for \d\.\d s, it is stopped; .*, let it go on \(kill -CONT\), or end the debugger$"
    with pytest.raises(RunError, match=expected), wangraph.start(mortal(tmp_path, "", 10, enough=0, stall_s=1)) as run:
        for packet in run.packets("play.played", backlog=None):
            if packet.unit == 10:
                os.kill(run.status()["processes"]["far"]["pid"], signal.SIGSTOP)
        run.wait()


def test_what_a_process_writes_would_be_begun_anew_and_is_refused(tmp_path):
    graph = Graph("writes")
    graph.process("far", on_crash="restart")
    count = graph.add("count", Count)
    graph.add("play", Play, process="far", inputs={"number": count["number"]}, params={"path": str(tmp_path / "out")})
    expected = (
        rf"node 'play': {tmp_path}/out: is written in process 'far', which is restarted when it crashes "
        r"\(expected a process that is not: its next life would begin the file anew\), move the node to a process of "
        r"its own$"
    )
    with pytest.raises(GraphError, match=expected):
        graph.plan()


def test_a_miss_while_a_process_is_gone_is_put_down_to_its_death(tmp_path):
    trace = tmp_path / "run.trace"
    wangraph.run(mortal(tmp_path, on_crash="restart"), trace=trace)
    history = read_history(trace)
    for unit in (8, 9):
        assert explain(history, unit).culprits[0].text.startswith("process 'far' was gone since ")


def test_a_log_with_a_death_in_it_cannot_be_followed(tmp_path):
    result = wangraph.run(mortal(tmp_path, on_crash="restart"))
    expected = (
        r"^log: found the log of a run in which a process died \(expected one in which none did: what it decided last "
        r"is lost\), run the graph anew$"
    )
    with pytest.raises(UserError, match=expected):
        wangraph.run(mortal(tmp_path, ""), log=result.log)


class Unmoved:
    """Children of a supervisor, without processes."""

    def __init__(self, plan) -> None:
        self.current = {name: Child(name, 0, SimpleNamespace(kill=lambda: None)) for name in plan.processes}
        self.standbys: dict[str, Child] = {}
        self.taps: list[str] = []
        self.sent: list[tuple[str, str]] = []

    def __iter__(self):
        return iter(self.current.values())

    def start_next(self, name):
        self.current[name] = Child(name, self.current[name].life + 1, SimpleNamespace(kill=lambda: None))

    def introduction(self, child):
        return child

    def hide_memory(self):
        pass

    def send(self, name, message, payload=b""):
        self.sent.append((name, type(message).__name__))


@pytest.mark.parametrize("is_introduced", [False, True])
def test_a_life_that_is_not_agreed_on_when_others_end_is_given_up(tmp_path, is_introduced):
    plan = mortal(tmp_path, on_crash="restart").plan()
    children, taken, failures = Unmoved(plan), [], []
    failover = Failover(
        plan, children, SimpleNamespace(take=taken.extend), lambda: 10 * plan.clock.period_ns, failures.append
    )
    failover.open(1, None)
    failover.died(children.current["far"], RunError("gone"))
    for name in ("near", "main", "keeper"):
        failover.answered(children.current[name], 1, encoded([{}]))
        failover.answered(children.current[name], 2, encoded([{}]))
    newcomer = children.current["far"]
    assert newcomer.life == 1
    newcomer.is_ready = is_introduced
    failover.ready(newcomer)
    assert (("far", "Begin") in children.sent) == is_introduced
    failover.finished(children.current["near"])
    assert newcomer.is_killed and not newcomer.takes_part
    newcomer.is_ready = True
    failover.ready(newcomer)
    assert children.sent.count(("far", "Begin")) == is_introduced, "nor is it later"
    assert not any(getattr(note, "kind", "") == "back" for note in taken)
    assert failures == []


def test_a_life_that_does_not_open_is_given_up_and_counts_as_a_death(tmp_path):
    plan = mortal(tmp_path, on_crash="restart", restarts=1).plan()
    children, taken, failures, killed = Unmoved(plan), [], [], []
    failover = Failover(plan, children, SimpleNamespace(take=taken.extend), lambda: 0, failures.append)
    failover.open(1, None)
    failover.died(children.current["far"], RunError("gone"))
    newcomer = children.current["far"]
    newcomer.doing, newcomer.late_at = "opening node 'work'", 0.0
    newcomer.launched = SimpleNamespace(kill=lambda: killed.append(newcomer))
    failover.advance()
    (error,) = failures
    assert killed == [], "one death more ends the run, in order"
    assert str(error) == (
        "process 'far': found it opening node 'work' after 120 s (expected it to be ready), look at its log"
    )


def test_a_life_that_cannot_be_started_ends_the_run_in_order(tmp_path):
    plan = mortal(tmp_path, on_crash="restart").plan()
    children, failures = Unmoved(plan), []

    def start_next(name):
        raise StartError("no room")

    children.start_next = start_next
    failover = Failover(plan, children, SimpleNamespace(take=lambda records: None), lambda: 0, failures.append)
    failover.open(1, None)
    failover.died(children.current["far"], RunError("gone"))
    assert [str(error) for error in failures] == ["no room"]


def test_nothing_is_sent_to_a_process_before_its_setup(tmp_path):
    sent = []
    control = SimpleNamespace(
        token="", send=lambda key, message, payload=b"": sent.append((key, type(message).__name__))
    )
    plan, launched = mortal(tmp_path).plan(), SimpleNamespace()
    children = Children(plan, Options(), "run", control, "address", SimpleNamespace(), zmq.Poller())
    children.current = {name: Child(name, 0, launched) for name in plan.processes}
    children.current["near"].is_greeted = True
    children.tell_all(RaiseFence([], 1, 0))
    children.update("work", {"factor": 3}, 0)
    assert sent == [("near", "RaiseFence")]


def test_a_standby_that_nothing_would_put_to_use_is_refused(tmp_path):
    expected = (
        r"process 'far', standby: found on_crash: bypass \(expected restart: nothing else puts it to use\), "
        r"write on_crash: restart$"
    )
    with pytest.raises(GraphError, match=expected):
        mortal(tmp_path, on_crash="bypass", standby=True).plan()


def test_a_process_that_dies_again_waits_longer_each_time(tmp_path, monkeypatch):
    plan = mortal(tmp_path, on_crash="restart", restart_delay_s=4.0).plan()
    children, taken, failures, now = Unmoved(plan), [], [], 1000.0
    monkeypatch.setattr(failover_module.time, "monotonic", lambda: now)
    failover = Failover(plan, children, SimpleNamespace(take=taken.extend), lambda: 0, failures.append)
    failover.open(1, None)
    waited = []
    for _ in range(5):
        dead = children.current["far"]
        failover.died(dead, RunError("gone"))
        since = now
        while children.current["far"] is dead:
            assert failover.is_waiting, "the run must not end meanwhile"
            now += 1.0
            failover.advance()
        waited.append(now - since)
    assert (waited, failures) == ([0, 4, 8, 16, 30], [])
    texts = [note.text for note in taken if getattr(note, "kind", "") == "died"]
    assert texts[:2] == ["gone; it is started again", "gone; it is started again in 4 s"]


def test_nobody_waits_any_more_when_the_run_comes_to_its_end(tmp_path):
    plan = mortal(tmp_path, on_crash="restart", restart_delay_s=100).plan()
    children = Unmoved(plan)
    failover = Failover(plan, children, SimpleNamespace(take=lambda records: None), lambda: 0, lambda error: None)
    failover.open(1, None)
    failover.died(children.current["far"], RunError("gone"))
    failover.died(children.current["far"], RunError("gone"))
    assert failover.is_waiting
    failover.stop()
    assert not failover.is_waiting
