"""Death and return of processes in a run: what `schedule/watcher` decides, done with real ones.

A process whose ``on_crash`` is ``restart`` begins another life: the dead one's streams pass to their readers, which
settle them as missing by time; the new life opens and warms its nodes meanwhile, is introduced to the others, and
takes part from a unit on that all have agreed on. With ``bypass`` nothing follows after its streams have passed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from ..errors import StartError, WangraphError
from ..observe.downtime import BACK, DIED
from ..observe.records import Note
from ..plan.plan import Plan
from ..schedule.duty import Answer, Begin, Go, Message, Order
from ..schedule.events import Event
from ..schedule.watcher import Watcher
from .agreement import answers_in, encoded
from .children import START_DEADLINE_S, Child, Children
from .control import Agree, HandOut, PeerDown
from .control import Begin as Origin
from .engine import Observer

RESTART_DELAY_MOST_S = 30.0
"""A process that dies again and again is started at this distance at last."""


class Failover:
    """See the module.

    Args:
        plan: the checked graph.
        children: the processes.
        observer: takes records of what is settled here, and notes.
        now_ns: nanoseconds after the origin.
        fail: ends the run, as no life can be started, or what survivors know cannot be brought together.

    Attributes:
        is_open: the run has begun, and some process may die without ending it.
    """

    def __init__(
        self,
        plan: Plan,
        children: Children,
        observer: Observer,
        now_ns: Callable[[], int],
        fail: Callable[[WangraphError], None],
    ) -> None:
        self.is_open = False
        self._plan, self._children, self._observer, self._now_ns = plan, children, observer, now_ns
        self._fail = fail
        self._watcher = Watcher(plan, self)
        self._origin_ns = 0
        self._is_ending = False
        self._deaths: dict[str, deque[float]] = {name: deque() for name in plan.processes}
        self._gone_since: dict[str, float] = {}
        self._restart_at: dict[str, float] = {}
        self._standby_at: dict[str, float] = {}
        self._queued: set[str] = set()
        self._questions: dict[str, tuple[int, int]] = {}
        self._without_answer: list[str] = []
        self._first_unit: dict[str, int] = {}

    def open(self, origin_ns: int, limit: int | None) -> None:
        """The run begins."""
        self._origin_ns = origin_ns
        if any(process.on_crash != "end" for process in self._plan.processes.values()):
            self.is_open = True
            self._watcher.takeover.open(0, 0, limit)
            for name in self._children.current:
                self._keep_standby(name)

    def record(self, events: Iterable[Event]) -> None:
        """Take in what processes recorded."""
        if self.is_open:
            self._watcher.record(events)

    def advance(self) -> None:
        """Settle what nobody alive reads and time settles, and answer for those who have ended."""
        if not self.is_open:
            return
        for child in self._children:
            if child.life and not (child.is_ready or child.is_finished) and time.monotonic() > child.late_at:
                text = f"process '{child.name}': found it {child.doing} after {START_DEADLINE_S:g} s"
                self.lose(child, StartError(f"{text} (expected it to be ready), look at its log"))
        for name in _due(self._restart_at):
            self._start(name)
        for name in _due(self._standby_at):
            self._keep_standby(name)
        while self._without_answer:
            self._answer_for(self._without_answer.pop())
        self._take(self._watcher.advance(self._now_ns()))

    def survives(self, child: Child) -> bool:
        """True if the run would go on without this life of a process."""
        process = self._plan.processes[child.name]
        if not self.is_open or process.on_crash == "end":
            return False
        if self._children.standbys.get(child.name) is child:
            return True
        return process.on_crash == "bypass" or self._is_ending or self._n_recent(child.name) < process.restarts

    def lose(self, child: Child, why: WangraphError) -> None:
        """A process does not do its work any more: it is killed, and without it the run goes on; or the run ends."""
        if child.verdict is not None:
            return
        if not self.survives(child):
            self._fail(why)
            return
        child.verdict = why
        child.launched.kill()

    def died(self, child: Child, why: WangraphError) -> None:
        """A life has ended that the run can do without; its process has begun to reap it."""
        child.is_finished = True
        name, now = child.name, self._now_ns()
        self._deaths[name].append(time.monotonic())
        if self._children.standbys.get(name) is child:
            del self._children.standbys[name]
            self._note(name, "warning", f"{why}; it was the standby of process '{name}'")
            if self._n_recent(name) < self._plan.processes[name].restarts:
                self._standby_at[name] = time.monotonic() + self._delay_s(name)
            return
        self._gone_since.setdefault(name, time.monotonic())
        is_back = self._plan.processes[name].on_crash == "restart" and not self._is_ending
        delay_s = 0.0 if name in self._children.standbys else self._delay_s(name)
        again = f"it is started again{f' in {delay_s:g} s' if delay_s else ''}"
        self._note(name, DIED, f"{why}; {again if is_back else 'the run goes on without it'}")
        with self._failing():
            # a life that had not begun was never alive to the others
            if name in self._watcher.takeover.living:
                self._watcher.notice(name, now)
            if is_back:
                self._restart_at[name] = time.monotonic() + delay_s
            self.advance()

    @property
    def is_waiting(self) -> bool:
        """True if a process that is dead will be started again."""
        return bool(self._restart_at)

    def ready(self, child: Child) -> None:
        """A life is open and warm; it takes part as soon as it can, unless it is a standby."""
        name = child.name
        is_next = child.life and child.is_ready and self._children.current[name] is child and not self._is_ending
        if is_next and name not in self._queued and name not in self._watcher.takeover.living:
            self._queued.add(name)
            with self._failing():
                self._watcher.let_in(name, self._now_ns())
                self.advance()

    def answered(self, child: Child, number: int, body: bytes) -> None:
        """A process answers what it was asked."""
        if self._children.current[child.name] is child:
            self._questions.pop(child.name, None)
            with self._failing():
                self._watcher.answer(child.name, number, answers_in(body), self._now_ns())
                self.advance()

    def finished(self, child: Child) -> None:
        """A process has ended in order: the run comes to its end, and nobody is let in any more.

        What it sent last it sent to those who took part: a life that came after would wait for its end for ever.
        """
        if self.is_open:
            with self._failing():
                self._end()
                self._answer_for(child.name)
                self.advance()

    def stop(self) -> None:
        """The run ends: nobody comes back any more."""
        if self.is_open:
            with self._failing():
                self._end()
                self.advance()

    def fence(self, streams: Sequence[str], generation: int, first_unit: int) -> None:
        """A fence was raised: who begins later has to know of it."""
        if self.is_open:
            self._watcher.takeover.fence(0, streams, generation, first_unit)

    # What the watcher has done

    def revive(self, process: str, now: int) -> None:
        """Introduce the new life of a process to the others, and them to it. See `watcher.Post`."""
        self._queued.discard(process)
        if self._is_ending:
            return  # it was given up meanwhile
        child, living = self._children.current[process], self._watcher.takeover.living
        child.has_begun = True
        for name, other in self._children.current.items():
            if other is child:
                continue
            if name not in living:
                self._children.send(process, PeerDown(name))
                continue
            self._children.send(name, self._children.introduction(child))
            if other.life:  # it may have come back after this one was set up
                self._children.send(process, self._children.introduction(other))
        self._children.send(process, Origin(self._origin_ns))

    def tell(self, process: str, messages: Sequence[Message], number: int, now: int) -> None:
        """See `watcher.Post`."""
        self._questions[process] = (number, len(messages))
        for message in messages:
            if isinstance(message, Begin):
                self._first_unit[process] = message.first_unit
            elif isinstance(message, Go):
                self._went(process)
            elif isinstance(message, Order) and message.stream in self._children.taps:
                self._children.send(process, HandOut(message.stream))
        if self._children.current[process].is_finished:
            self._without_answer.append(process)
        else:
            self._children.send(process, Agree(number), encoded(messages))

    def _went(self, process: str) -> None:
        self._children.hide_memory()
        took_s = time.monotonic() - self._gone_since.pop(process)
        first = self._first_unit[process]
        self._children.current[process].takes_part = True
        text = f"process '{process}': takes part again from unit {first} on, {took_s:.2f} s after its end"
        self._note(process, BACK, text)
        self._keep_standby(process)

    def _answer_for(self, process: str) -> None:
        """A process that has ended in order knows of nothing that is still open."""
        number, n_messages = self._questions.pop(process, (-1, 0))
        nothing: list[Answer] = [{} for _ in range(n_messages)]
        self._watcher.answer(process, number, nothing, self._now_ns())

    def _end(self) -> None:
        """Let nobody in any more."""
        if self._is_ending:
            return
        self._is_ending = True
        self._restart_at.clear()
        self._standby_at.clear()
        now = self._now_ns()
        self._watcher.takeover.stop(0, self._plan.clock.unit_at(max(0, now)) + 1)
        for child in self._children:
            if child.life and not child.takes_part and not child.is_finished:
                child.is_finished = child.is_killed = True
                child.launched.kill()
                if child.has_begun:
                    self._watcher.notice(child.name, now)

    def _start(self, name: str) -> None:
        with self._failing():
            self._children.start_next(name)
            self.ready(self._children.current[name])

    def _keep_standby(self, name: str) -> None:
        process = self._plan.processes[name]
        if process.standby and not self._is_ending:
            try:
                self._children.start_standby(name)
            except WangraphError as error:  # the run can do without it
                self._note(name, "warning", f"process '{name}': no standby: {error}")

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """End the run in order by an error: raised, it would take the supervisor along, and files would be cut."""
        try:
            yield
        except WangraphError as error:
            self._fail(error)

    def _delay_s(self, name: str) -> float:
        """Seconds to wait before a process that has just died is started: none the first time."""
        before = self._n_recent(name) - 2
        return min(RESTART_DELAY_MOST_S, self._plan.processes[name].restart_delay_s * 2**before) if before >= 0 else 0.0

    def _n_recent(self, name: str) -> int:
        deaths, window_s = self._deaths[name], self._plan.processes[name].restart_window_s
        while deaths and deaths[0] < time.monotonic() - window_s:
            deaths.popleft()
        return len(deaths)

    def _take(self, settled: Sequence[Event]) -> None:
        if settled:
            self._observer.take(list(settled))

    def _note(self, process: str, kind: str, text: str) -> None:
        self._observer.take([Note(max(0, self._now_ns()), process, kind, text)])


def _due(starts: dict[str, float]) -> list[str]:
    """Processes whose time to be started has come; they are taken out."""
    return [name for name, at in list(starts.items()) if time.monotonic() >= at and starts.pop(name)]
