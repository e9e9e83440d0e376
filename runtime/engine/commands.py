"""Commands to a run while it goes on. From any thread, or from a signal handler."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple


class Fence(NamedTuple):
    """Drop what these streams carry of ``first_unit`` and later, was begun before, and has not settled."""

    streams: tuple[str, ...]
    first_unit: int


class Update(NamedTuple):
    """Change live parameters of a node from ``first_unit`` on, or from the first unit that it has not begun."""

    node: str
    values: Mapping[str, Any]
    first_unit: int


class Send(NamedTuple):
    """Hand a value, a string or an array, to a node that takes it in for one of its output ports."""

    node: str
    port: str
    value: Any


class Report(NamedTuple):
    """Have every process say for a while where its nodes are."""


class Tap(NamedTuple):
    """Hand out the packets of a stream from now on."""

    stream: str


Command = Fence | Update | Send | Report | Tap


class Commands:
    """A mailbox with a bell: who serves the run waits on `fileno` and looks after it rang.

    A signal handler may interrupt any line of any method in its own thread: the only lock is one that a thread may take
    twice.

    Attributes:
        stopped_s: when one asked first, of the monotonic clock.
        stops: how often a user asked for the run's end: once, in order; more than once, at once.
        is_ended: a node asked for it, which is no hurry however often it does.
        may_begin: a run that was started paused may begin.
    """

    def __init__(self) -> None:
        self.stops = 0
        self.stopped_s: float | None = None
        self.is_ended = False
        self.may_begin = False
        self._waiting: deque[Command] = deque()
        self._bell = self._button = -1
        # a signal handler rings, too, perhaps while its own thread has the lock
        self._lock = threading.RLock()

    def open(self) -> None:
        """Somebody serves the run from now on."""
        self._bell, button = os.pipe()
        os.set_blocking(self._bell, False)
        # a signal handler rings it: in a full pipe it would hang for good
        os.set_blocking(button, False)
        self._button = button
        self._ring()  # for what was left before

    def stop(self) -> None:
        """End in order; called twice, at once."""
        self.stops += 1
        self.stopped_s = self.stopped_s or time.monotonic()
        self._ring()

    def begin(self) -> None:
        """Let unit 0 begin."""
        self.may_begin = True
        self._ring()

    def end(self) -> None:
        """End in order, as a node asks for it."""
        self.is_ended = True
        self._ring()

    @property
    def wants_end(self) -> bool:
        """True if the run is to end."""
        return self.stops > 0 or self.is_ended

    def put(self, command: Command) -> None:
        """Leave a command; after the run's end it stays undone."""
        # before the bell: rung first, it could be looked for before it is there
        self._waiting.append(command)
        self._ring()

    def fence(self, streams: Sequence[str], first_unit: int = 0) -> None:
        """Leave a `Fence`."""
        self.put(Fence(tuple(streams), first_unit))

    def take(self) -> list[Command]:
        """Commands left since the last call, in order."""
        # first: a command left while these are taken would lie there, and its bell be stopped
        self.hush()
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        return taken

    def fileno(self) -> int:
        """Readable after the bell rang."""
        return self._bell

    def wait(self, seconds: float) -> None:
        """Until the bell rings, or so long."""
        select.select([self._bell], [], [], seconds)

    def hush(self) -> None:
        """Stop the bell; it rings again for what is left from now on."""
        with suppress(BlockingIOError):
            os.read(self._bell, 4096)

    def close(self) -> None:
        """Nobody serves the run any more."""
        with self._lock:  # nobody may ring a number that another file has by then
            button, self._button = self._button, -1
            os.close(self._bell)
            os.close(button)

    def _ring(self) -> None:
        with self._lock, suppress(BlockingIOError):  # it rings already
            if self._button >= 0:
                os.write(self._button, b"!")
