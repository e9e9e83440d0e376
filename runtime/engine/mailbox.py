"""Calls that a lane is to make next, and its way to wait for them."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue

from ..channel.transport import Poller
from ..channel.wire import Handed
from ..packet import Packet
from ..schedule.decide import Fire

Given = Fire | Callable[[], None] | None
"""A body's call, another call between two bodies, or the end."""

Arrive = Callable[[list[Packet | Handed]], None]
"""Takes in what a message holds, in the thread that has received it."""


class Mailbox:
    """Any thread puts in, the lane's own takes out.

    While nothing is there, the lane can receive from other processes itself: a packet that it waits for wakes it, and
    no thread that would wake it in turn.
    """

    def __init__(self) -> None:
        self._items: SimpleQueue[Given] = SimpleQueue()
        self._poller: Poller | None = None
        self._arrive: Arrive | None = None
        self._is_waiting = False

    def put(self, item: Given) -> None:
        """Put in; the end of the lane comes after everything before."""
        self._items.put(item)
        if self._is_waiting and self._poller is not None:
            self._poller.ring()

    def listen(self, poller: Poller | None, arrive: Arrive) -> None:
        """From now on receive while nothing is there. From any thread, once."""
        if poller is not None:
            self._poller, self._arrive = poller, arrive
            self._items.put(_nothing)  # the lane waits for this only, so far

    def get(self) -> Given:
        """The next thing to do.

        Raises:
            RunError: what was received meanwhile is no packet.
        """
        while self._poller is not None:
            try:
                return self._items.get_nowait()
            except Empty:
                pass
            # said before it is looked at once more: who puts in after that look rings
            self._is_waiting = True
            if self._items.empty():
                self._poller.wait(self._received)
            self._is_waiting = False
        return self._items.get()

    def _received(self, messages: list[Packet | Handed]) -> None:
        assert self._arrive is not None
        self._is_waiting = False  # it is awake: what the messages give it to do needs no bell
        self._arrive(messages)


def _nothing() -> None:
    """Make a lane look up."""
