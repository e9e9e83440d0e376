"""The engines that need no processes of their own: serial in real time, and virtual time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

from ..errors import WangraphError
from ..node import Timebase
from ..observe.records import NodeStatus, Note, Record
from ..packet import Packet
from ..plan.plan import Plan
from ..schedule.replay import ReplayScheduler
from ..schedule.scheduler import Scheduler, lane_of
from .body import Body, make_node
from .clock import SystemClock
from .commands import Command, Commands, Fence, Report, Send, Tap, Update
from .drivers import Executor, LaneExecutor, SerialExecutor, declared_cost, run_serial, run_virtual
from .engine import NodeReport, Observer, Usage
from .faults import costs_with
from .faulty_body import make_body
from .initial import initial_packets
from .options import Options
from .stalls import statuses
from .system import usage

POLL_EVERY_S = 0.25


class _Requests:
    """Requests of nodes to the run: they are left where a user's commands are."""

    def __init__(self, commands: Commands, note: Callable[[str], None]) -> None:
        self._commands, self._note = commands, note

    def fence(self, streams: Sequence[str], first_unit: int = 0) -> None:
        """Ask for a fence."""
        self._commands.fence(streams, first_unit)

    def stop(self, reason: str = "") -> None:
        """Ask for the run's end."""
        self._note(reason)
        self._commands.end()


class _AtOnce(Exception):
    """The run was asked to end at once."""


class LocalEngine:
    """Runs a plan in the calling thread and process: an `Engine` without processes.

    Args:
        taps: streams whose packets the observer gets from the first one on.
        commands: what is asked of the run while it goes on.
    """

    gave_up = False
    is_ready = False

    def __init__(
        self,
        plan: Plan,
        options: Options,
        observer: Observer,
        commands: Commands,
        taps: Iterable[str] = (),
    ) -> None:
        self.plan = plan
        self.options = options
        self.reports: list[NodeReport] = []
        self._observer = observer
        self._commands = commands
        self._tapped = set(taps)
        self._began_ns = 0
        self._generation = 0
        self._noticed: list[tuple[str, str]] = []
        self._requests = _Requests(commands, lambda reason: self._noticed.append(("stop", reason)))
        self._next_poll = self.moved_s = 0.0
        self._now = 0
        initial = initial_packets(plan)
        self._scheduler = (
            Scheduler(plan, initial=initial, limit=options.units, tap=self._tap)
            if options.log is None
            else ReplayScheduler(plan, log=options.log, initial=initial, tap=self._tap)
        )
        self._executor: Executor = SerialExecutor() if options.serial else LaneExecutor()
        self._is_virtual = options.clock == "virtual" or options.log is not None
        pause = None if self._is_virtual else time.sleep
        self._bodies = {
            name: make_body(
                make_node(node), node, plan, options.faults, self._notice, pause
            )
            for name, node in plan.nodes.items()
        }  # fmt: skip

    def run(self) -> None:
        """Run to the end, see `Engine`; every body is closed by then."""
        threads = max(p.threads for p in self.plan.processes.values())
        try:
            for body in self._bodies.values():
                body.open(threads, requests=self._requests)
            self.is_ready = True
            self._observer.poll()
            while self.options.paused and not (self._commands.may_begin or self._commands.wants_end):
                self._commands.wait(POLL_EVERY_S)
                self._commands.hush()
            self._began_ns = time.monotonic_ns()
            with suppress(_AtOnce):
                self._drive()
        finally:
            # its threads first: a body must not be closed while one of them still runs it
            self._executor.close()
            self._hand_over()
            self._close(self._bodies.values())

    def _drive(self) -> None:
        if self._is_virtual:
            run_virtual(self.plan, self._bodies, self._scheduler, self._executor, tick=self._tick,
                        cost=costs_with(self.options.faults, declared_cost, self.plan.seed))  # fmt: skip
            return
        ahead = max((n.ahead_units for n in self.plan.nodes.values()), default=0)
        # sources that run ahead are called before the origin: without room for it their first units would be late
        self._began_ns += ahead * self.plan.clock.period_ns
        clock = SystemClock(self._began_ns)
        for body in self._bodies.values():
            if body.wants_start:
                body.start(Timebase(self._began_ns, self.plan.clock))
        run_serial(self.plan, self._bodies, self._scheduler, clock, sleep=self._sleep, tick=self._tick)

    @property
    def origin_ns(self) -> int:
        """Instant at which the bodies began to run; in virtual time, where units have no instant, for orientation."""
        return self._began_ns

    @property
    def usage(self) -> Usage:
        """This process, as a supervisor would report it."""
        cpu_s, rss_mb = usage()
        return {"main": {"pid": os.getpid(), "cpu_s": round(cpu_s, 3), "rss_mb": round(rss_mb, 1), "restarts": 0}}

    def watch(self, for_ms: int) -> None:
        """Nothing to do: `statuses` is known here."""

    @property
    def statuses(self) -> list[NodeStatus]:
        """State of every node."""
        return statuses(self._scheduler, self._now)

    @property
    def computing(self) -> list[str]:
        """Calls that go on, in words."""
        calls = [(name, state.running) for name, state in self._scheduler.nodes.items()]
        return [f"node '{name}', unit {call.last}: still computing" for name, call in calls if call is not None]

    def _tick(self, now: int) -> None:
        self._now, self.moved_s = now, time.monotonic()
        for command in self._commands.take():
            self._do(command, now)
        if self._commands.stops > 1:
            raise _AtOnce
        if self._commands.wants_end:
            self._scheduler.stop_at(0)
        self._hand_over()
        if time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + POLL_EVERY_S
            self._observer.poll()

    def _do(self, command: Command, now: int) -> None:
        match command:
            case Fence(streams, first_unit):
                self._generation += 1
                self._observer.fenced(command)
                self._scheduler.fence(list(streams), self._generation, first_unit, now)
            case Update(node, values, first_unit):
                self._scheduler.update(node, values, first_unit, now)
            case Send(node, port, value):
                self._executor.post(lane_of(self.plan.nodes[node]), partial(self._bodies[node].receive, port, value))
            case Report():
                pass  # `statuses` is always known here
            case Tap(stream):
                self._tapped.add(stream)

    def _tap(self, packet: Packet) -> None:
        if packet.stream in self._tapped:
            self._observer.tap(packet)

    def _notice(self, kind: str, text: str) -> None:
        """A body has something to tell."""
        self._noticed.append((kind, text))

    def _hand_over(self) -> None:
        records: list[Record] = [*self._scheduler.take_events()]
        while self._noticed:
            records.append(Note(self._now, "main", *self._noticed.pop(0)))
        self._observer.take(records)

    def _sleep(self, ns: int) -> None:
        # by the bell and not by the clock alone: a stop would wait for the next unit
        self._commands.wait(ns / 1e9)

    def _close(self, bodies: Iterable[Body]) -> None:
        """Close every body, also when one of them fails to; the first error is raised."""
        first: WangraphError | None = None
        for body in bodies:
            try:
                body.close()
            except WangraphError as error:
                first = first or error
            self.reports += [(body.plan.name, key, text) for key, text in body.reports]
        if first is not None:
            raise first
