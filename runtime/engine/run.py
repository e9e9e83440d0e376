"""Runs a plan to its end, in whichever engine, and tells what it was like."""

from __future__ import annotations

import datetime
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ..._version import __version__
from ..errors import UserError, WangraphError
from ..node import Node
from ..packet import Packet
from ..plan.catalogue import resolve
from ..plan.plan import Plan, to_plain
from ..schedule.events import Event
from ..schedule.replay import ReplayScheduler
from ..schedule.scheduler import Scheduler
from .body import Body, initial_packets
from .clock import SystemClock
from .inline import LaneExecutor, SerialExecutor, run_serial, run_virtual
from .process import usage
from .records import TRACE_VERSION, Footer, Header, Record, TraceWriter
from .statistics import Statistics
from .supervisor import Report, Supervisor

ClockName = Literal["system", "virtual"]


class Watcher(Protocol):
    """Looks at a run while it goes on."""

    def look(self, statistics: Statistics, usage: dict[str, dict[str, float | int]]) -> None:
        """Called several times a second."""
        ...


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes:
        units: sources end after so many units; None: when they have no more.
        clock: ``system`` (real time) or ``virtual`` (as fast as it goes, costs from the graph's budgets).
        serial: one thread, one process, one body at a time.
        trace: write every record here.
        taps: streams whose packets to keep and give back (in-process engines: ``virtual`` or ``serial``).
        log: decisions to follow instead of a clock.
    """

    units: int | None = None
    clock: ClockName = "system"
    serial: bool = False
    trace: Path | None = None
    taps: tuple[str, ...] = ()
    log: tuple[Event, ...] | None = None


@dataclass
class RunResult:
    """What a run was like.

    Attributes:
        summary: as ``wangraph run --json`` prints it.
        reports: what nodes told: (node, key, text), for example files written.
        packets: by stream, what the taps saw.
        log: the decision log, to run the same again.
    """

    summary: dict[str, Any]
    reports: list[Report] = field(default_factory=list)
    packets: dict[str, list[Packet]] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)


class Run:
    """One run of a plan. `go` runs it; `stop` may be called from another thread or a signal handler."""

    def __init__(self, plan: Plan, options: Options, watcher: Watcher | None = None) -> None:
        self.plan = plan
        self.options = options
        self.statistics = Statistics(plan)
        self.summary: dict[str, Any] = {}
        self.reports: list[Report] = []
        self.watcher = watcher
        self._trace: TraceWriter | None = None
        self._stopping = threading.Event()
        self._interrupts = 0
        self._usage: dict[str, dict[str, float | int]] = {}
        self._result = RunResult({})
        self._check()

    def go(self) -> RunResult:
        """Run to the end.

        Raises:
            WangraphError: the run failed; `summary` and the trace hold what came before, files are closed.
        """
        began = time.monotonic()
        self._open_trace()
        try:
            with _signals(self.stop):
                self._go_in_engine()
        finally:
            self.summary = self._summarise(time.monotonic() - began)
            self._result.summary = self.summary
            self._result.reports = self.reports
            if self._trace is not None:
                self._trace.write([Footer(self.summary)])
                self._trace.close()
        return self._result

    def stop(self) -> None:
        """End in order; asked twice, at once. From any thread, or a signal handler."""
        self._interrupts += 1
        self._stopping.set()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was asked for."""
        return self._interrupts > 0

    # Engines

    def _go_in_engine(self) -> None:
        if self.options.serial or self.options.clock == "virtual":
            self._go_inside()
        else:
            self._go_in_processes()

    def _go_in_processes(self) -> None:
        supervisor = Supervisor(
            self.plan,
            limit=self.options.units,
            log=self.options.log,
            on_records=lambda records: self._take(records, supervisor.usage),
            stop_asked=lambda: self._interrupts,
        )
        try:
            supervisor.run()
        finally:
            self.reports = supervisor.reports
            self._usage = supervisor.usage

    def _go_inside(self) -> None:
        plan, options = self.plan, self.options
        initial = initial_packets(plan)
        scheduler = (
            Scheduler(plan, initial=initial, limit=options.units, tap=self._tap)
            if options.log is None
            else ReplayScheduler(plan, log=options.log, initial=initial, tap=self._tap)
        )
        bodies = {name: Body(make_node(plan, name), node, plan) for name, node in plan.nodes.items()}
        executor = SerialExecutor() if options.serial else LaneExecutor()
        next_look = 0.0

        def tick(now: int) -> None:
            nonlocal next_look
            self._take(list(scheduler.take_events()))
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + 0.25
                self._look()

        try:
            for body in bodies.values():
                body.open(max(p.threads for p in plan.processes.values()))
            if options.clock == "virtual" or options.log is not None:
                run_virtual(plan, bodies, scheduler, executor, stopping=self._stopping, tick=tick)
            else:
                ahead = max((n.ahead_units for n in plan.nodes.values()), default=0)
                clock = SystemClock(time.monotonic_ns() + ahead * plan.clock.period_ns)
                run_serial(plan, bodies, scheduler, clock, sleep=lambda ns: self._sleep(ns), stopping=self._stopping,
                           tick=tick)  # fmt: skip
        finally:
            executor.close()
            self._take(list(scheduler.take_events()))
            self._close(bodies.values())
            cpu_s, rss_mb = usage()
            self._usage = {
                "main": {"pid": os.getpid(), "cpu_s": round(cpu_s, 3), "rss_mb": round(rss_mb, 1), "restarts": 0}
            }

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

    def _sleep(self, ns: int) -> None:
        self._stopping.wait(min(ns, 50_000_000) / 1e9)

    # Records

    def _tap(self, packet: Packet) -> None:
        if packet.stream in self.options.taps:
            self._result.packets.setdefault(packet.stream, []).append(packet.keep())

    def _take(self, records: list[Record], usage: dict[str, dict[str, float | int]] | None = None) -> None:
        self.statistics.add(records)
        self._result.log += [r for r in records if isinstance(r, Event)]
        if self._trace is not None and records:
            self._trace.write(records)
        if usage is not None:
            self._usage = usage
            self._look()

    def _look(self) -> None:
        if self.watcher is not None:
            self.watcher.look(self.statistics, self._usage)

    def _open_trace(self) -> None:
        if self.options.trace is None:
            return
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        try:
            self._trace = TraceWriter(self.options.trace)
        except OSError as error:
            raise UserError(f"--trace: {self.options.trace}: {error.strerror} (expected a writable file)") from error
        engine = "serial" if self.options.serial else "parallel"
        self._trace.write(
            [Header(TRACE_VERSION, __version__, started, to_plain(self.plan), machine(), self.options.clock, engine)]
        )

    def _summarise(self, wall_s: float) -> dict[str, Any]:
        summary = self.statistics.summary()
        media_s = summary["units"] * float(self.plan.clock.period)
        weights = {f"{node}": text for node, key, text in self.reports if key == "weights"}
        return {
            **summary,
            "wall_s": round(wall_s, 3),
            "realtime_factor": round(media_s / wall_s, 3) if wall_s else 0.0,
            "clock": self.options.clock,
            "engine": "serial" if self.options.serial else "parallel",
            "processes": self._usage,
            "weights": weights,
            "wrote": [text for _, key, text in self.reports if key == "wrote"]
            + ([str(self.options.trace)] if self.options.trace else []),
            "machine": machine(),
        }

    def _check(self) -> None:
        for name in self.options.taps:
            if name not in self.plan.streams:
                raise UserError(f"taps: no stream '{name}' (it has: {', '.join(sorted(self.plan.streams))})")
        if self.options.clock == "virtual":
            live = [n.name for n in self.plan.nodes.values() if resolve(n.target).is_live]
            if live:
                raise UserError(
                    f"--clock virtual: node '{live[0]}' reads a live device (expected sources that can wait), "
                    "run on the system clock"
                )


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run in order; the second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stop())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_node(plan: Plan, name: str) -> Node:
    """The instance of a node, as its process would make it."""
    node = plan.nodes[name]
    return resolve(node.target)(**node.params)


def machine() -> dict[str, Any]:
    """The machine a figure belongs to."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_1m": None if load is None else round(load, 2),
    }
