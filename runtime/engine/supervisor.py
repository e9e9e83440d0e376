"""Starts the processes of a run, waits until all are ready, sets the origin, watches, and ends them in order."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import zmq

from ..channel.layout import layouts
from ..channel.segment import create_segments
from ..errors import ProcessLost, RunError, StartError, UserError, WangraphError
from ..observe.records import NodeStatus, Note, Record
from ..packet import Packet
from ..plan.plan import Plan, to_plain
from ..schedule.events import Firing
from .commands import Asked
from .control import (
    Batch,
    Begin,
    Failed,
    Finished,
    Halt,
    Hello,
    Opening,
    RaiseFence,
    Ready,
    Setup,
    SupervisorEnd,
    Watch,
)
from .faults import Fault
from .taps import TapReceiver

IS_LINUX = sys.platform.startswith("linux")

START_DEADLINE_S = 120.0
"""How long the processes may take to open and warm their nodes."""

LEAD_NS = 120_000_000
"""From the moment when all are ready to the origin (plus what sources make ahead)."""

POLL_MS = 250
"""How long the supervisor sleeps when nothing rings: what it looks at by itself are deadlines of seconds."""

LAST_WORDS_MS = 1000
"""How long what a process said last may be on its way when the process is gone already."""

STOP_DEADLINE_S = 10.0
"""How long an ordered stop may go without anything fired (beyond the graph's latency, for which what was made may wait)
before the processes are told to end at once, and how long after that they are killed."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Read by the numeric libraries when they load, for every thread of a process: a call could set only its own."""

Report = tuple[str, str, str]


class _Child:
    """One process as the supervisor knows it."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.popen = popen
        self.pidfd = os.pidfd_open(popen.pid)
        self.doing = "starting"
        self.is_ready = False
        self.is_finished = False
        self.is_lost = False
        self.cpu_s = 0.0
        self.rss_mb = 0.0
        self.statuses: list[NodeStatus] = []


class Supervisor:
    """One run in processes of its own.

    Attributes:
        gave_up: an ordered stop did not come to its end; what was under way is lost.

    Args:
        plan: the checked graph.
        limit: sources end at this unit.
        on_records: told what happened, several times a second, in the calling thread.
        asked: what is asked of the run while it goes on.
        faults: what to inject.
        taps: streams whose packets `on_packet` is told, from a thread of their own.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        limit: int | None = None,
        on_records: Callable[[list[Record]], None] = lambda records: None,
        asked: Asked,
        faults: Sequence[Fault] = (),
        taps: Sequence[str] = (),
        on_packet: Callable[[Packet], None] = lambda packet: None,
    ) -> None:
        self.plan = plan
        self.reports: list[Report] = []
        self.origin_ns = 0
        self._limit = limit
        self._on_records = on_records
        self._asked = asked
        self._faults, self._tapped, self._on_packet = list(faults), list(taps), on_packet
        self._taps: TapReceiver | None = None
        self._run = f"{os.getpid():x}-{secrets.token_hex(4)}"
        self._children: dict[str, _Child] = {}
        self._error: WangraphError | None = None
        self._stop_asked_at: float | None = None
        self._moved_at = 0.0
        self._stopping_at_once = False
        self.gave_up = False
        self._generation = 0

    def run(self) -> None:
        """Run to the end.

        Raises:
            WangraphError: what ended the run before its time; processes are gone and files closed by then.
        """
        segments = create_segments(self._run, layouts(self.plan))
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        address, folder = _control_address(self._run)
        self._tap_address = f"{address}-taps"
        if self._tapped:
            self._taps = TapReceiver(context, self._tap_address, self._on_packet)
        self._control = SupervisorEnd(context, address)
        self._poller = zmq.Poller()
        self._control.register(self._poller)
        self._poller.register(self._asked.fileno(), zmq.POLLIN)
        try:
            self._start(address, {name: file.path for name, file in segments.items()})
            self._until(lambda c: c.is_ready, time.monotonic() + START_DEADLINE_S)
            for file in segments.values():
                file.unlink()
            if self._error is None and self._stop_asked_at is None:
                self._begin()
            self._until(lambda c: c.is_finished, None)
        finally:
            self._end_children()
            if self._taps is not None:
                self._taps.close(c.name for c in self._children.values() if c.is_ready and not c.is_lost)
            self._control.close()
            context.destroy(linger=200)
            for file in segments.values():
                file.close()
            if folder is not None:
                folder.cleanup()
        if self._error is not None:
            raise self._error

    def stop(self, at_once: bool = False) -> None:
        """End in order: sources end where they are, what is under way flows out, files are closed."""
        if self._stop_asked_at is None or (at_once and not self._stopping_at_once):
            self._stop_asked_at = self._moved_at = time.monotonic()
            self._stopping_at_once = at_once
            for child in self._children.values():
                self._control.send(child.name, Halt(at_once))

    def watch(self, for_ms: int) -> None:
        """Ask every process to say for so long where its nodes stand."""
        for child in self._children.values():
            if child.is_ready and not child.is_finished:
                self._control.send(child.name, Watch(for_ms))

    @property
    def statuses(self) -> list[NodeStatus]:
        """Where every node stands, as told lately by processes that `watch` asked."""
        return [status for child in self._children.values() for status in child.statuses]

    @property
    def usage(self) -> dict[str, dict[str, float | int]]:
        """Per process: pid, CPU seconds, resident megabytes, restarts."""
        return {
            c.name: {"pid": c.popen.pid, "cpu_s": round(c.cpu_s, 3), "rss_mb": round(c.rss_mb, 1), "restarts": 0}
            for c in self._children.values()
        }

    # Phases

    def _start(self, address: str, segments: dict[str, str]) -> None:
        for name, process in self.plan.processes.items():
            if not self.plan.nodes_in(name):
                continue
            threads = str(process.threads)
            paths = os.pathsep.join(sys.path)  # a module beside the user's script is one everywhere
            env = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, threads), "PYTHONPATH": paths}
            command = [sys.executable, "-P", "-m", f"{__package__}.child", name, address, str(os.getpid())]
            child = _Child(name, subprocess.Popen(command, env=env, start_new_session=True, stdin=subprocess.DEVNULL))
            self._children[name] = child
            self._poller.register(child.pidfd, zmq.POLLIN)
        plain = to_plain(self.plan)
        self._setups = {
            name: Setup(self._run, name, plain, segments, self._limit, self._tapped, self._tap_address, self._faults)
            for name in self._children
        }

    def _begin(self) -> None:
        ahead = max((n.ahead_units for n in self.plan.nodes.values()), default=0)
        lead = LEAD_NS + max(0, ahead - 1) * self.plan.clock.period_ns
        self.origin_ns = time.monotonic_ns() + lead
        for child in self._children.values():
            self._control.send(child.name, Begin(self.origin_ns))

    def _until(self, reached: Callable[[_Child], bool], deadline: float | None) -> None:
        """Serve the processes until all have come so far, one has failed, or the deadline has passed."""
        while not all(reached(c) or c.is_finished for c in self._children.values()):
            ready = dict(self._poller.poll(POLL_MS))
            while (message := self._control.receive()) is not None:
                self._hear(*message)
            for child in list(self._children.values()):
                if child.pidfd in ready:
                    self._mourn(child)
            self._do_what_is_asked()
            if deadline is not None and time.monotonic() > deadline:
                self._give_up()
                return
            if self._is_stuck():
                if self._stopping_at_once:
                    return
                self._hurry()

    def _is_stuck(self) -> bool:
        """Whether a stop does not come to its end: in order, a slow reader may take as long as it moves."""
        if self._stop_asked_at is None:
            return False
        if self._stopping_at_once:
            return time.monotonic() > self._stop_asked_at + STOP_DEADLINE_S
        return time.monotonic() > self._moved_at + STOP_DEADLINE_S + self.plan.latency_ns / 1e9

    def _hurry(self) -> None:
        """An ordered stop is stuck: what is under way is lost, and that is told."""
        self.gave_up = True
        stuck = ", ".join(f"'{c.name}'" for c in self._children.values() if not c.is_finished)
        text = (
            f"process {stuck}: nothing fired for {STOP_DEADLINE_S:g} s after the stop (expected an end), "
            "it was ended at once and what was under way is lost"
        )
        self._on_records([Note(max(0, time.monotonic_ns() - self.origin_ns), "supervisor", "warning", text)])
        self.stop(at_once=True)

    def _do_what_is_asked(self) -> None:
        self._asked.quiet()
        if self._asked.stops:
            self.stop(at_once=self._asked.stops > 1)
        for streams, first_unit in self._asked.take_fences():
            self._generation += 1
            if first_unit is None:
                first_unit = max(0, (time.monotonic_ns() - self.origin_ns) // self.plan.clock.period_ns)
            for child in self._children.values():
                self._control.send(child.name, RaiseFence(list(streams), self._generation, first_unit))

    def _hear(self, name: str, message: object) -> None:
        child = self._children[name]
        if isinstance(message, Hello):
            stopped = self._stop_asked_at is not None
            self._control.send(name, Halt(at_once=True) if stopped else self._setups[name])
        elif isinstance(message, Opening):
            child.doing = f"opening node '{message.node}'"
        elif isinstance(message, Ready):
            child.is_ready, child.doing = True, "running"
            self.reports += message.reports
        elif isinstance(message, Batch):
            child.cpu_s, child.rss_mb, child.statuses = message.cpu_s, message.rss_mb, message.statuses
            if any(isinstance(record, Firing) for record in message.records):
                self._moved_at = time.monotonic()
            self._on_records(list(message.records))
        elif isinstance(message, Finished):
            child.is_finished, child.doing = True, "finished"
            child.cpu_s, child.rss_mb = message.cpu_s, message.rss_mb
            self.reports += [r for r in message.reports if r not in self.reports]
        elif isinstance(message, Failed):
            self._fail(UserError(message.text) if message.exit_code == 2 else RunError(message.text))

    def _mourn(self, child: _Child) -> None:
        """A process has ended; by itself, unless it had finished."""
        self._poller.unregister(child.pidfd)
        code = child.popen.wait()
        last_words_ms = LAST_WORDS_MS if code == 0 else 0
        while not child.is_finished and (message := self._control.receive(last_words_ms)) is not None:
            self._hear(*message)
        if child.is_finished:
            return
        child.is_finished = child.is_lost = True
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._fail(
            ProcessLost(
                f"process '{child.name}' (pid {child.popen.pid}): {how} while {child.doing} "
                "(expected to live as long as the run), the other processes were stopped in order"
            )
        )

    def _fail(self, error: WangraphError) -> None:
        if self._error is None:
            self._error = error
        self.stop(at_once=True)

    def _give_up(self) -> None:
        slow = "; ".join(f"process '{c.name}' is {c.doing}" for c in self._children.values() if not c.is_ready)
        self._fail(StartError(f"start: {slow} after {START_DEADLINE_S:g} s (expected to be ready), look at its log"))

    def _end_children(self) -> None:
        deadline = time.monotonic() + (2.0 if self._error is None else STOP_DEADLINE_S)
        for child in self._children.values():
            try:
                child.popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.popen.kill()
                child.popen.wait()
                self._regret(child)
            os.close(child.pidfd)

    def _regret(self, child: _Child) -> None:
        """A process had to be killed: what it held is lost, unless it had said that it was done."""
        if child.is_finished or self._error is not None:
            return
        self._error = RunError(
            f"process '{child.name}' (pid {child.popen.pid}): found still {child.doing} {STOP_DEADLINE_S:g} s after "
            "it was told to end at once (expected to end), it was killed and what it held is lost"
        )


def _control_address(run: str) -> tuple[str, tempfile.TemporaryDirectory[str] | None]:
    """Where processes find the supervisor: an abstract socket on Linux, which no crash leaves behind.

    Its name has a dot, as that of no process has.
    """
    if IS_LINUX:
        return f"ipc://@wangraph-{run}.supervisor", None
    folder = tempfile.TemporaryDirectory(prefix="wangraph-")
    return f"ipc://{Path(folder.name) / 'supervisor'}", folder
