"""Starts the processes of a run, waits until all are ready, sets the origin, watches, and ends them in order."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Sequence

import zmq

from ..channel.layout import layouts
from ..channel.link import local_addresses
from ..channel.segment import SegmentFile, create_segments
from ..errors import ProcessLost, RunError, StartError, WangraphError, error_of
from ..observe.records import NodeStatus, Note, Unfinished
from ..plan.plan import Plan, to_plain
from ..schedule.events import Firing
from .calls import CallBoard, room_for, stuck_error
from .commands import Command, Commands, Fence, Report, Send, Tap, Update
from .control import (
    Batch,
    Begin,
    Change,
    Deliver,
    Failed,
    Finished,
    Halt,
    HandOut,
    Hello,
    NodeRequest,
    Opening,
    RaiseFence,
    Ready,
    Setup,
    SupervisorEnd,
    Watch,
)
from .engine import NodeReport, Observer, Usage
from .faults import SILENT
from .launcher import Launched, Launcher, LocalLauncher
from .options import Options
from .taps import TapReceiver

START_DEADLINE_S = 120.0
"""How long the processes may take to open and warm their nodes."""

LEAD_NS = 120_000_000
"""From the moment when all are ready to the origin (plus what sources make ahead)."""

POLL_MS = 250
"""How long the supervisor sleeps when nothing rings: what it looks at by itself are deadlines of seconds."""

DRAIN_MS = 1000
"""How long what a process said last may be on its way when the process is gone already."""

SILENT_S = 2.0
"""How long a process may say nothing before that is told: it reports several times a second, unless a body keeps even
its main thread from running."""

SILENT_STOP_S = 1.2
"""How long a process may say nothing after a stop: it is killed then."""

STOP_DEADLINE_S = 10.0
"""How long an ordered stop may go without anything fired (beyond the graph's latency, for which what was made may wait)
before the processes are told to end at once, and how long after that they are killed."""


WATCH_MS = 3000
"""How long one `Report` keeps processes saying where their nodes are."""


class _Child:
    """One process as the supervisor knows it."""

    def __init__(self, name: str, launched: Launched) -> None:
        self.name = name
        self.launched = launched
        self.doing = "starting"
        self.is_ready = False
        self.is_finished = False
        self.hands_out = False
        self.is_killed = False
        self.sign_at = time.monotonic()
        self.reported_s = 0.0
        self.cpu_s = 0.0
        self.rss_mb = 0.0
        self.statuses: list[NodeStatus] = []


class Supervisor:
    """One run in processes of its own: an `Engine`.

    Args:
        plan: the checked graph.
        options: how to run it.
        observer: takes records, packets of tapped streams, and the time to look.
        commands: what is asked of the run while it goes on.
        taps: streams whose packets the observer gets from the first one on.
        launcher: starts the processes.
    """

    def __init__(
        self,
        plan: Plan,
        options: Options,
        observer: Observer,
        commands: Commands,
        taps: Iterable[str] = (),
        launcher: Launcher | None = None,
    ) -> None:
        self.plan = plan
        self.options = options
        self.reports: list[NodeReport] = []
        self.gave_up = False
        self._origin_ns = 0
        self._observer = observer
        self._commands = commands
        self._launcher = launcher or LocalLauncher()
        self._run = f"{os.getpid():x}-{secrets.token_hex(4)}"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._address = f"ipc://@wangraph-{self._run}.supervisor"  # with a dot, as the name of no process has
        self._control = SupervisorEnd(self._context, self._address)
        self._calls: CallBoard | None = None
        self._tapped = list(taps)
        self._taps: TapReceiver | None = None
        self._poller = zmq.Poller()
        self._children: dict[str, _Child] = {}
        self._setups: dict[str, Setup] = {}
        self._error: WangraphError | None = None
        self._stop_wanted_at: float | None = None
        self._moved_at = 0.0
        self._stopping_at_once = False
        self.is_ready = False
        self._generation = 0

    def run(self) -> None:
        """Run to the end, see `Engine`."""
        segments: dict[str, SegmentFile] = {}
        calls: SegmentFile | None = None
        self._control.register(self._poller)
        self._poller.register(self._commands.fileno(), zmq.POLLIN)
        try:
            segments = create_segments(self._run, layouts(self.plan))
            calls = SegmentFile(self._run, room_for(self.plan))
            self._calls = CallBoard(self.plan, calls.path)
            self._start({name: file.path for name, file in segments.items()}, calls.path)
            self._until(lambda c: c.is_ready, time.monotonic() + START_DEADLINE_S)
            # by now everybody has attached: with a name left, a killed run would leave its memory behind
            for file in (*segments.values(), calls):
                file.unlink()
            self.is_ready = self._error is None
            self._serve_commands()  # before unit 0: who asked for packets gets the first one
            self._observer.poll()
            if self.options.paused:
                self._until(lambda c: self._commands.may_begin, None)
            if self._error is None and self._stop_wanted_at is None:
                self._begin()
            self._until(lambda c: c.is_finished, None)
        finally:
            # processes first: what was tapped is complete when they have ended
            self._end_children()
            if self._taps is not None:
                self._taps.close(c.name for c in self._children.values() if c.hands_out)
            self._control.close()
            self._context.destroy(linger=200)
            if self._calls is not None:
                self._calls.close()
            for file in (*segments.values(), *([calls] if calls else [])):
                file.close()
        if self._error is not None:
            raise self._error

    def stop(self, at_once: bool = False) -> None:
        """End in order: sources end where they are, what is under way flows out, files are closed."""
        # once each way: a stop repeated at every turn of the loop would never let its own deadline pass
        if self._stop_wanted_at is None or (at_once and not self._stopping_at_once):
            self._stop_wanted_at = self._moved_at = time.monotonic()
            self._stopping_at_once = at_once
            for child in self._children.values():
                self._control.send(child.name, Halt(at_once))

    def watch(self, for_ms: int) -> None:
        """Ask every process to say for so long where its nodes stand."""
        for child in self._children.values():
            if child.is_ready and not child.is_finished:
                self._control.send(child.name, Watch(for_ms))

    @property
    def origin_ns(self) -> int:
        """The beginning of unit 0 on the machine's monotonic clock; 0 before it is set."""
        return self._origin_ns

    @property
    def statuses(self) -> list[NodeStatus]:
        """State of every node, as processes reported it lately that `watch` asked."""
        return [status for child in self._children.values() for status in child.statuses]

    @property
    def usage(self) -> Usage:
        """Per process: pid, CPU seconds, resident megabytes, restarts."""
        return {
            c.name: {"pid": c.launched.pid, "cpu_s": round(c.cpu_s, 3), "rss_mb": round(c.rss_mb, 1), "restarts": 0}
            for c in self._children.values()
        }

    # Phases

    def _start(self, segments: dict[str, str], calls: str) -> None:
        names = [name for name in self.plan.processes if self.plan.nodes_in(name)]
        addresses = local_addresses(self._run, names)
        plain = to_plain(self.plan)
        if self._tapped:
            self._receive_taps()
        for name in names:
            self._setups[name] = Setup(
                name, plain, segments, addresses, self.options.units, self._tapped, self._tap_address,
                list(self.options.faults), calls=calls,
            )  # fmt: skip
            arguments = (name, self._address, str(os.getpid()))
            child = self._children[name] = _Child(name, self._launcher.start(self.plan.processes[name], arguments))
            self._poller.register(child.launched.fileno(), zmq.POLLIN)

    @property
    def _tap_address(self) -> str:
        return f"{self._address}-taps"

    def _receive_taps(self) -> None:
        if self._taps is None:
            self._taps = TapReceiver(self._context, self._tap_address, self._observer.tap)

    def _begin(self) -> None:
        # sources that run ahead begin before the origin: without room for it their first units would be late
        ahead = max((n.ahead_units for n in self.plan.nodes.values()), default=0)
        lead = LEAD_NS + max(0, ahead - 1) * self.plan.clock.period_ns
        self._origin_ns = time.monotonic_ns() + lead
        for child in self._children.values():
            self._control.send(child.name, Begin(self._origin_ns))
        self._observer.poll()

    def _until(self, reached: Callable[[_Child], bool], deadline: float | None) -> None:
        """Serve the processes until all have come so far, one has failed, or the deadline has passed."""
        while not all(reached(c) or c.is_finished for c in self._children.values()):
            ready = dict(self._poller.poll(POLL_MS))
            # messages before deaths: the last ones of a process say why it ended
            while (message := self._control.receive()) is not None:
                self._handle(*message)
            for child in list(self._children.values()):
                if child.launched.fileno() in ready:
                    self._on_exit(child)
            self._serve_commands()
            self._check_signs()
            if deadline is not None and time.monotonic() > deadline:
                self._give_up()
                return
            if self._is_stuck():
                if self._stopping_at_once:
                    return
                self._escalate()

    def _check_signs(self) -> None:
        """Report processes that say nothing; after a stop, or where a call has gone on for too long, end them."""
        now_s = time.monotonic()
        for child in self._children.values():
            if child.is_finished or child.is_killed:
                continue
            if self._stop_wanted_at is not None:
                if now_s - max(child.sign_at, self._stop_wanted_at) > SILENT_STOP_S:
                    self._kill_silent(child)
            elif self._origin_ns and child.is_ready and now_s - child.sign_at > max(SILENT_S, 2 * child.reported_s):
                child.reported_s = now_s - child.sign_at
                self._report_silence(child)

    def _report_silence(self, child: _Child) -> None:
        calls = self._calls_of(child)
        text = f"process '{child.name}': no sign of life for {child.reported_s:.1f} s; {_in_words(calls)}"
        self._observer.take([Note(max(0, self._now_ns()), "supervisor", "stall", text), *calls])
        for call in calls:
            if call.at_ns - call.started_ns > (stall_ns := self.plan.nodes[call.node].stall_ns):
                self._fail(stuck_error(call, stall_ns))

    def _kill_silent(self, child: _Child) -> None:
        """A body keeps its process from ending, from answering even: what it holds is lost."""
        calls = self._calls_of(child)
        child.is_killed = True
        child.launched.kill()
        self._observer.take(self._strikes(calls))
        if child.is_ready:
            self._give_up_on([f"process '{child.name}' did not answer and was killed; {_in_words(calls)}"], calls)

    def _give_up_on(self, texts: Sequence[str], calls: Sequence[Unfinished] = ()) -> None:
        """Some of what was under way is lost, and that is reported."""
        self.gave_up = True
        now = max(0, self._now_ns())
        notes = [Note(now, "supervisor", "warning", f"{text}; it was left, what it held is lost") for text in texts]
        self._observer.take([*notes, *calls])
        self.stop(at_once=True)

    def _calls_of(self, child: _Child) -> list[Unfinished]:
        """Words for what a process was computing."""
        known = self._calls is not None and self._origin_ns
        return self._calls.of(child.name, self._now_ns()) if known and self._calls else []

    def _is_stuck(self) -> bool:
        """True if a stop does not come to its end: in order, a slow reader may take as long as it moves."""
        if self._stop_wanted_at is None:
            return False
        if self._stopping_at_once:
            return time.monotonic() > self._stop_wanted_at + STOP_DEADLINE_S
        return time.monotonic() > self._moved_at + STOP_DEADLINE_S + self.plan.latency_ns / 1e9

    def _escalate(self) -> None:
        """An ordered stop is stuck: what is under way is lost, and that is reported."""
        self.gave_up = True
        stuck = ", ".join(f"'{c.name}'" for c in self._children.values() if not c.is_finished)
        text = (
            f"process {stuck}: nothing fired for {STOP_DEADLINE_S:g} s after the stop (expected an end), "
            "it was ended at once and what was under way is lost"
        )
        self._observer.take([Note(max(0, self._now_ns()), "supervisor", "warning", text)])
        self.stop(at_once=True)

    def _serve_commands(self) -> None:
        if self.is_ready:
            for command in self._commands.take():
                self._do(command)
        else:
            self._commands.hush()  # a process that is not ready would never get them: they wait
        if self._commands.wants_end:
            self.stop(at_once=self._commands.stops > 1)

    def _do(self, command: Command) -> None:
        match command:
            case Fence(streams, first_unit):
                self._generation += 1
                self._observer.fenced(command)
                for child in self._children.values():
                    self._control.send(child.name, RaiseFence(list(streams), self._generation, first_unit))
            case Update(node, values, first_unit):
                self._control.send(self.plan.nodes[node].process, Change(node, dict(values), first_unit))
            case Send(node, port, str() as text):
                self._control.send(self.plan.nodes[node].process, Deliver(node, port, text))
            case Send(node, port, value):
                message = Deliver(node, port, None, value.dtype.str, value.shape)
                self._control.send(self.plan.nodes[node].process, message, value.tobytes())
            case Report():
                self.watch(WATCH_MS)
            case Tap(stream):
                self._receive_taps()
                self._control.send(self.plan.streams[stream].settler, HandOut(stream))

    def _now_ns(self) -> int:
        """Nanoseconds after the origin; negative before it is set."""
        return time.monotonic_ns() - self._origin_ns if self._origin_ns else -1

    def _handle(self, name: str, message: object) -> None:
        child = self._children[name]
        child.sign_at, child.reported_s = time.monotonic(), 0.0
        if isinstance(message, Hello):
            # a process that was still starting when the stop went out: with a setup it would open its nodes only to
            # close them
            stopped = self._stop_wanted_at is not None
            self._control.send(name, Halt(at_once=True) if stopped else self._setups[name])
        elif isinstance(message, Opening):
            child.doing = f"opening node '{message.node}'"
        elif isinstance(message, Ready):
            child.is_ready, child.doing = True, "running"
            self.reports += message.reports
        elif isinstance(message, Batch):
            child.cpu_s, child.rss_mb, child.statuses = message.cpu_s, message.rss_mb, message.statuses
            # by firings and not by batches: a process whose node hangs reports all the same, and a stop would wait for
            # ever
            if any(isinstance(record, Firing) for record in message.records):
                self._moved_at = time.monotonic()
            self._observer.take(message.records)
            self._observer.poll()
        elif isinstance(message, Finished):
            child.is_finished, child.doing = True, "finished"
            child.cpu_s, child.rss_mb = message.cpu_s, message.rss_mb
            # those of opening come a second time, with those of closing
            self.reports += [r for r in message.reports if r not in self.reports]
            child.hands_out = message.hands_out
            if message.left:
                self._give_up_on(message.left)
        elif isinstance(message, NodeRequest):
            self._request(message)
        elif isinstance(message, Failed):
            self._fail(error_of(message.kind, message.text))

    def _request(self, request: NodeRequest) -> None:
        """A node asks something of the run: the same as if its user had."""
        if request.streams:
            self._commands.fence(request.streams, request.first_unit)
            return
        self._observer.take([Note(max(0, self._now_ns()), "supervisor", "stop", request.reason)])
        self._commands.end()

    def _on_exit(self, child: _Child) -> None:
        """A process has ended; by itself, unless it had finished."""
        self._poller.unregister(child.launched.fileno())
        code = child.launched.wait() or 0
        # until then and no longer: the others go on talking, and would be listened to for ever
        drained_at = time.monotonic() + (DRAIN_MS / 1000 if code == 0 else 0)
        while not child.is_finished:
            left_ms = max(0, round(1000 * (drained_at - time.monotonic())))
            if (message := self._control.receive(left_ms)) is None:
                break
            self._handle(*message)
        if child.is_finished:
            return
        child.is_finished = True
        if child.is_killed:
            return
        calls = self._calls_of(child)
        self._observer.take([*calls, *self._strikes(calls)])
        doing = " ".join([child.doing, *(_of_call(call) for call in calls[:1])])
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._fail(
            ProcessLost(
                f"process '{child.name}' (pid {child.launched.pid}): {how} while {doing} "
                "(expected to live as long as the run), the other processes were stopped in order"
            )
        )

    def _strikes(self, calls: Sequence[Unfinished]) -> list[Note]:
        """Notes of faults that killed a process, or froze it for good: it could not send them any more."""
        silent = [fault for fault in self.options.faults if fault.kind in SILENT]
        return [
            Note(call.at_ns, "supervisor", "injected", f"{_of_call(call)}: {fault.what}")
            for call in calls
            for fault in silent
            if fault.node == call.node and fault.strikes(call, self.plan.seed)
        ]

    def _fail(self, error: WangraphError) -> None:
        # the first error is the cause: those after it are what a failing run does to its other processes
        if self._error is None:
            self._error = error
        self.stop(at_once=True)

    def _give_up(self) -> None:
        slow = "; ".join(f"process '{c.name}' is {c.doing}" for c in self._children.values() if not c.is_ready)
        self._fail(StartError(f"start: {slow} after {START_DEADLINE_S:g} s (expected to be ready), look at its log"))

    def _end_children(self) -> None:
        # one deadline for all: one after the other, each stuck process would cost its own
        deadline = time.monotonic() + (2.0 if self._error is None else STOP_DEADLINE_S)
        for child in self._children.values():
            if child.launched.wait(max(0.0, deadline - time.monotonic())) is None:
                child.launched.kill()
                child.launched.wait()
                self._record_kill(child)
            child.launched.close()

    def _record_kill(self, child: _Child) -> None:
        """A process had to be killed: what it held is lost, unless it had said that it was done."""
        if child.is_finished or self._error is not None:
            return
        self._error = RunError(
            f"process '{child.name}' (pid {child.launched.pid}): found still {child.doing} {STOP_DEADLINE_S:g} s after "
            "it was told to end at once (expected to end), it was killed and what it held is lost"
        )


def _in_words(calls: Sequence[Unfinished]) -> str:
    return "; ".join(call.text for call in calls) or "no node was computing"


def _of_call(call: Unfinished) -> str:
    return call.text.partition(":")[0]
