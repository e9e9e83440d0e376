"""The engines that need no processes of their own: serial in real time, and virtual time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from ..errors import WangraphError
from ..observe.records import NodeStatus, Note, Record
from ..packet import Packet
from ..plan.catalogue import resolve
from ..plan.plan import Plan
from ..schedule.replay import ReplayScheduler
from ..schedule.scheduler import Scheduler
from .body import Body, initial_packets
from .clock import SystemClock
from .commands import Asked
from .drivers import LaneExecutor, SerialExecutor, declared_cost, run_serial, run_virtual
from .faults import costs_with, make_body
from .options import Options
from .stalls import statuses
from .system import usage

LOOK_EVERY_S = 0.25


class _AtOnce(Exception):
    """The run was asked to end at once."""


class InsideEngine:
    """Runs a plan in the calling process.

    Args:
        tap: told every packet that settles.
        take: told what happened, in order, after every step of time.
        look: called a few times a second.
        asked: what is asked of the run while it goes on.
    """

    def __init__(
        self,
        plan: Plan,
        options: Options,
        *,
        tap: Callable[[Packet], None],
        take: Callable[[Sequence[Record]], None],
        look: Callable[[], None],
        asked: Asked,
    ) -> None:
        self.plan = plan
        self.options = options
        self.reports: list[tuple[str, str, str]] = []
        self.origin_ns = 0
        self._take, self._look, self._asked = take, look, asked
        self._generation = 0
        self._struck: list[str] = []
        self._next_look = 0.0
        self._now = 0
        initial = initial_packets(plan)
        self._scheduler = (
            Scheduler(plan, initial=initial, limit=options.units, tap=tap)
            if options.log is None
            else ReplayScheduler(plan, log=options.log, initial=initial, tap=tap)
        )
        self._is_virtual = options.clock == "virtual" or options.log is not None
        pause = None if self._is_virtual else time.sleep
        self._bodies = {
            name: make_body(
                resolve(node.target)(**node.params), node, plan, options.faults, self._struck.append, pause
            )
            for name, node in plan.nodes.items()
        }  # fmt: skip

    def run(self) -> None:
        """Run to the end.

        Raises:
            WangraphError: what ended the run before its time; every body is closed by then.
        """
        executor = SerialExecutor() if self.options.serial else LaneExecutor()
        threads = max(p.threads for p in self.plan.processes.values())
        try:
            for body in self._bodies.values():
                body.open(threads)
            self.origin_ns = time.monotonic_ns()
            with suppress(_AtOnce):
                self._drive(executor)
        finally:
            executor.close()
            self._hand_over()
            self._close(self._bodies.values())

    def _drive(self, executor: SerialExecutor | LaneExecutor) -> None:
        if self._is_virtual:
            run_virtual(self.plan, self._bodies, self._scheduler, executor, tick=self._tick,
                        cost=costs_with(self.options.faults, declared_cost))  # fmt: skip
            return
        ahead = max((n.ahead_units for n in self.plan.nodes.values()), default=0)
        self.origin_ns += ahead * self.plan.clock.period_ns
        clock = SystemClock(self.origin_ns)
        run_serial(self.plan, self._bodies, self._scheduler, clock, sleep=self._sleep, tick=self._tick)

    @property
    def usage(self) -> dict[str, dict[str, float | int]]:
        """This process, as the supervisor would tell it."""
        cpu_s, rss_mb = usage()
        return {"main": {"pid": os.getpid(), "cpu_s": round(cpu_s, 3), "rss_mb": round(rss_mb, 1), "restarts": 0}}

    def watch(self, for_ms: int) -> None:
        """Nothing to do: `statuses` is known here."""

    @property
    def statuses(self) -> list[NodeStatus]:
        """Where every node stands."""
        return statuses(self._scheduler)

    def _tick(self, now: int) -> None:
        self._now = now
        if self._asked.stops > 1:
            raise _AtOnce
        if self._asked.stops:
            self._scheduler.stop_at(0)
        for streams, first_unit in self._asked.take_fences():
            self._generation += 1
            unit = max(0, now // self.plan.clock.period_ns) if first_unit is None else first_unit
            self._scheduler.fence(list(streams), self._generation, unit, now)
        self._hand_over()
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_EVERY_S
            self._look()

    def _hand_over(self) -> None:
        records: list[Record] = [*self._scheduler.take_events()]
        while self._struck:
            records.append(Note(self._now, "main", "injected", self._struck.pop(0)))
        self._take(records)

    def _sleep(self, ns: int) -> None:
        self._asked.wait(ns / 1e9)

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
