"""The end of a process: which lanes are waited for, and which are left."""

from __future__ import annotations

import threading

import engine_toys as toys
import pytest

from wangraph.runtime.engine import leaving
from wangraph.runtime.engine.leaving import Leaving


class Stuck:
    """A lane whose thread goes on until the test lets it."""

    def __init__(self, doing="", closing_at=None):
        self.bodies = {"mix": None}
        self.doing, self.closing_at = doing, closing_at
        self.gate = threading.Event()
        self.thread = threading.Thread(target=self.gate.wait, daemon=True)
        self.thread.start()


@pytest.fixture
def now(monkeypatch):
    """The monotonic clock, which a test sets."""
    at = [100.0]
    monkeypatch.setattr(leaving.time, "monotonic", lambda: at[0])
    return at


def left(lane, advance):
    """What is left of a lane, by a clock that each report advances."""
    reports = []

    def report():
        reports.append(advance())
        if len(reports) > 30:
            lane.gate.set()

    try:
        made = Leaving(toys.looped("unused").plan(), [lane], threading.Lock(), lambda: 0)
        made.begin()
        return made.join(report)[0]
    finally:
        lane.gate.set()


def test_a_node_that_does_not_close_is_left_and_named(now):
    lane = Stuck("node 'mix': being closed", closing_at=100.0)
    assert left(lane, lambda: now.__setitem__(0, now[0] + 4)) == ["node 'mix': being closed"]
    assert now[0] == 112.0, "it has ten seconds"


def test_a_node_that_takes_its_time_to_close_is_waited_for(now):
    lane = Stuck("node 'mix': being closed", closing_at=100.0)
    assert left(lane, lambda: now.__setitem__(0, now[0] + 0.3)) == []


def test_a_node_that_is_being_opened_has_a_second(now):
    assert left(Stuck("node 'mix': being opened"), lambda: now.__setitem__(0, now[0] + 0.6)) == [
        "node 'mix': being opened"
    ]
    assert now[0] == pytest.approx(101.2)
