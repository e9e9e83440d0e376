"""A device that comes and goes: looked for every second, and what becomes of it is said once each time."""

from __future__ import annotations

import logging
import re

import pytest
from device_toys import PATIENCE_S, Plug, Turns

from wangraph.nodes.devices.upkeep import RETRY_S, DeviceAbsent, Upkeep
from wangraph.runtime.errors import MediaError
from wangraph.runtime.node import NodeContext
from wangraph.runtime.units import UnitClock


class Lamp:
    """A device that works for a while."""

    name = "toy lamp"
    plug: Plug

    def begin(self, *asked: object) -> None:
        pass

    def close(self) -> None:
        self.plug.closed.append(self.name)


def context(reports: list[str] | None = None) -> NodeContext:
    report = (lambda key, text: None) if reports is None else (lambda key, text: reports.append(f"{key}: {text}"))
    return NodeContext("node", UnitClock(), report=report)


def followed(upkeep: Upkeep[Lamp]) -> list[str]:
    """Messages while it runs to its end in this thread."""
    lines: list[str] = []
    upkeep._say = lines.append
    upkeep.run()
    return lines


def test_an_absent_device_is_looked_for_every_second_and_said_once():
    turns, plug = Turns(5), Plug()
    lines = followed(Upkeep("lamp", plug.open, lambda lamp: None, turns))
    assert lines == ["found no toy (expected one), plug one in: empty"]
    assert len(plug.asked) == 5 and turns.waited == [RETRY_S] * 5


def test_a_device_that_is_there_from_the_start_is_not_worth_a_word():
    plug = Plug()
    plug.plugged.put(Lamp())
    assert followed(Upkeep("lamp", plug.open, lambda lamp: None, Turns(1))) == []
    assert plug.closed == ["toy lamp"]


def test_a_device_that_is_pulled_out_is_said_once_and_its_return_too():
    turns, plug = Turns(4), Plug()
    is_plugged = iter([True, False, False, True])

    def open_lamp() -> Lamp:
        if next(is_plugged):
            plug.plugged.put(Lamp())
        return plug.open()

    def use(lamp: Lamp) -> None:
        if turns.left > 1:
            raise DeviceAbsent("unplugged")

    upkeep = Upkeep("lamp", open_lamp, use, turns)
    assert followed(upkeep) == ["toy lamp is gone: unplugged: empty until it is back", "toy lamp is there"]
    assert (upkeep.n_lost, upkeep.is_there, plug.closed) == (1, False, ["toy lamp"] * 2)


def test_what_can_never_come_is_not_looked_for_again():
    turns = Turns(9)

    def refuse() -> Lamp:
        raise DeviceAbsent("found no library (expected one), install it", may_return=False)

    assert followed(Upkeep("lamp", refuse, lambda lamp: None, turns)) == [
        "found no library (expected one), install it: empty"
    ]
    assert turns.waited == []


def test_a_device_that_breaks_in_an_unforeseen_way_is_given_back():
    plug = Plug()
    plug.plugged.put(Lamp())

    def break_it(lamp: Lamp) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Upkeep("lamp", plug.open, break_it, Turns(1)).run()
    assert plug.closed == ["toy lamp"]


def test_without_a_required_device_the_run_does_not_begin():
    upkeep = Upkeep("lamp", Plug().open, lambda lamp: None, Turns(1))
    message = "node 'node': found no toy (expected one), plug one in"
    with pytest.raises(MediaError, match=f"^{re.escape(message)}$"):
        upkeep.start(context(), required=True)


def test_without_a_device_that_is_not_required_the_run_goes_on_and_says_so(caplog):
    reports: list[str] = []
    with caplog.at_level(logging.WARNING, "wangraph.node"):
        Upkeep("lamp", Plug().open, lambda lamp: None, Turns(1)).start(context(reports), required=False)
    assert reports == ["lamp: found no toy (expected one), plug one in: empty"]
    assert caplog.messages == ["found no toy (expected one), plug one in: empty"]


def test_stopping_ends_the_use_of_the_device_and_its_thread():
    plug = Plug()
    plug.plugged.put(Lamp())
    upkeep: Upkeep[Lamp] = Upkeep("lamp", plug.open, lambda lamp: upkeep.stopped.wait(PATIENCE_S) and None)
    upkeep.start(context(), required=True)
    assert upkeep.is_there
    upkeep.stop()
    assert plug.closed == ["toy lamp"]
    assert upkeep._thread is not None and not upkeep._thread.is_alive()
