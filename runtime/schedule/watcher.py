"""The part of a supervisor that decides, in a run and in a simulation: it notices deaths, lets processes and sessions
in, and keeps what they record.

It drives one protocol of `Takeover` at a time; what happens meanwhile waits for its turn. Who dies while it is waited
for is not waited for any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol as Interface

from ..plan.plan import Plan
from .duty import Answer, Message
from .events import Event, Settlement
from .takeover import Answers, Protocol, Takeover

Task = Callable[[int], Protocol]
"""Begins a protocol, at an instant."""


class Post(Interface):
    """Starts processes and carries messages to them."""

    def revive(self, process: str, now: int) -> None:
        """From now on messages go to the new life of a process."""
        ...

    def tell(self, process: str, messages: Sequence[Message], number: int, now: int) -> None:
        """Send messages that `Watcher.answer` gets the answers to, with this number."""
        ...


class Watcher:
    """See the module."""

    def __init__(self, plan: Plan, post: Post) -> None:
        self.takeover = Takeover(plan)
        self._post = post
        self._tasks: deque[Task] = deque()
        self._protocol: Protocol | None = None
        self._number = 0
        self._waiting: set[str] = set()
        self._answers: dict[str, Sequence[Answer]] = {}
        self._absent: set[str] = set()
        self._returning: set[str] = set()

    def start(self, task: Task, now: int) -> None:
        """Begin a protocol, when those before it are through."""
        self._tasks.append(task)
        if self._protocol is None:
            self._next(now)

    def notice(self, process: str, now: int) -> None:
        """A process is known to be dead."""
        self.takeover.declare_dead(process)
        self._absent.add(process)
        self._tasks.append(lambda at: self.takeover.pass_on(process))
        if process in self._returning:
            self._let_in(process)
        if self._protocol is None:
            self._next(now)
        elif process in self._waiting:
            self._waiting.discard(process)
            self._go_on(now)

    def let_in(self, process: str, now: int) -> None:
        """A process is back; one that is not known to have been dead waits for that."""
        self._returning.add(process)
        if process in self._absent:
            self._let_in(process)
            if self._protocol is None:
                self._next(now)

    def answer(self, process: str, number: int, answers: Sequence[Answer], now: int) -> None:
        """A process answers; what it was asked before something else is of no interest any more."""
        if number == self._number and process in self._waiting:
            self._answers[process] = answers
            self._waiting.discard(process)
            self._go_on(now)

    def record(self, events: Iterable[Event]) -> None:
        """Records of a process."""
        self.takeover.record(events)

    def advance(self, now: int) -> list[Settlement]:
        """Settle what is due here by now; gives it."""
        self.takeover.advance(now)
        return self.takeover.drain()

    def _let_in(self, process: str) -> None:
        self._returning.discard(process)
        self._absent.discard(process)

        def admit(now: int) -> Protocol:
            self._post.revive(process, now)
            return self.takeover.admit(process, now)

        self._tasks.append(admit)

    def _next(self, now: int) -> None:
        if self._tasks:
            self._protocol = self._tasks.popleft()(now)
            self._send(self._protocol.__next__, now)

    def _go_on(self, now: int) -> None:
        if not self._waiting and self._protocol is not None:
            protocol, answers = self._protocol, Answers(now, self._answers)
            self._send(lambda: protocol.send(answers), now)

    def _send(self, step: Callable[[], Mapping[str, Sequence[Message]]], now: int) -> None:
        """Take a step of the protocol, and send what it says."""
        try:
            messages = step()
        except StopIteration:
            self._protocol = None
            self._next(now)
            return
        self._number += 1
        self._answers = {}
        self._waiting = set(messages).intersection(self.takeover.living)  # who died meanwhile never answers
        for process, several in messages.items():
            self._post.tell(process, several, self._number, now)
        self._go_on(now)
