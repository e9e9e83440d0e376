"""Signs of life of processes: who gives none, since when, and what the kernel says why."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from restart_toys import mortal

from wangraph.runtime.channel.segment import SegmentFile
from wangraph.runtime.engine import liveness
from wangraph.runtime.engine.calls import CallBoard, room_for
from wangraph.runtime.engine.children import Child
from wangraph.runtime.engine.condition import ThreadStates, condition, thread_states
from wangraph.runtime.engine.liveness import LivenessWatch


def silences(tmp_path, monkeypatch, *, lives=1000.0, **looks) -> Iterator[tuple[float, str]]:
    """Looks at a process every 0.1 s that last lived 1,000 s after the clock's zero; gives when something is told."""
    seen = ThreadStates(0.0, looks.get("states", "T"), 0.0)
    monkeypatch.setattr(liveness, "thread_states", lambda pid: seen)
    watch = LivenessWatch(mortal(tmp_path).plan(), lambda child: False, lambda child: lives, 1000.0)
    child = Child("far", 0, SimpleNamespace(pid=1))
    child.is_ready, child.has_begun, child.sign_at = True, True, 1000.0
    for now_s in looks.get("at", [1000 + tenth / 10 for tenth in range(20)]):
        for told, why in watch.silent([child], now_s, None):
            assert told is child
            yield now_s, why.text


def test_a_supervisor_that_was_paused_itself_blames_nobody(tmp_path, monkeypatch):
    at = (1020.0, 1020.2, 1020.4, 1020.6, 1020.8, 1021.2)
    assert [now_s for now_s, _ in silences(tmp_path, monkeypatch, at=at)] == [1020.4, 1021.2]


def test_who_gives_no_sign_is_told_after_two_units_and_then_twice_as_late(tmp_path, monkeypatch):
    told = [(1000.4, "it is stopped"), (1000.9, "it is stopped"), (1001.9, "it is stopped")]
    assert list(silences(tmp_path, monkeypatch)) == told


def test_who_gets_no_core_or_closes_its_nodes_is_told_later(tmp_path, monkeypatch):
    starved = list(silences(tmp_path, monkeypatch, states="SR"))
    assert starved[0] == (1000.9, "it wants to run and gets no core")
    assert next(silences(tmp_path, monkeypatch, lives=0.0)) == (1000.9, "it is stopped")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (None, None, "it has ended"),
        (ThreadStates(1.0, "SS", 0.0), ThreadStates(1.2, "ZZ", 0.0), "it has ended"),
        (ThreadStates(1.0, "SS", 0.0), ThreadStates(1.2, "ST", 0.0), "it is stopped"),
        (ThreadStates(1.0, "SD", 0.0), ThreadStates(1.2, "DS", 0.0), "it waits in the kernel for a disk or a device"),
        (ThreadStates(1.0, "SR", 0.0), ThreadStates(1.2, "SR", 0.05), "it wants to run and gets no core"),
        (
            ThreadStates(1.0, "SR", 0.0),
            ThreadStates(1.2, "SR", 0.19),
            "one of its calls does not let the interpreter go",
        ),
        (
            ThreadStates(1.0, "SS", 0.0),
            ThreadStates(1.2, "SS", 0.0),
            "one of its calls does not let the interpreter go",
        ),
    ],
)
def test_the_kernel_tells_what_keeps_a_process_from_its_sign(before, after, text):
    assert condition(before, after).text == text


def test_a_look_at_a_process_sees_its_threads():
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        os.kill(sleeper.pid, signal.SIGSTOP)
        os.waitpid(sleeper.pid, os.WUNTRACED)
        assert thread_states(sleeper.pid).states == "T"
    finally:
        sleeper.kill()
        sleeper.wait()
    assert thread_states(sleeper.pid) is None


def test_signs_of_life_are_seen_by_others_and_one_life_does_not_give_them_for_the_next(tmp_path):
    plan = mortal(tmp_path).plan()
    file = SegmentFile("signs", room_for(plan))
    board, seen_by = CallBoard(plan, file.path), CallBoard(plan, file.path)
    before = time.monotonic()
    board.live("far", 1)
    assert before <= seen_by.lived_at("far", 1) <= time.monotonic()
    assert (seen_by.lived_at("far", 2), seen_by.lived_at("near", 1), seen_by.leaves("far", 1)) == (0.0, 0.0, False)
    board.leave("far", 1)
    assert (seen_by.lived_at("far", 1), seen_by.leaves("far", 1), seen_by.leaves("far", 2)) == (0.0, True, False)
    for opened in (board, seen_by, file):
        opened.close()
