"""Starts the processes of a run, waits until all are ready, sets the origin, watches, and ends them in order."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Sequence

import zmq

from ..errors import ProcessLost, RunError, StartError, WangraphError, error_of
from ..observe.records import NodeStatus, Note, Unfinished
from ..plan.plan import Plan
from ..run_token import Strangers, new_token
from ..schedule.events import Firing, Settlement
from .calls import stuck_error
from .children import START_DEADLINE_S, Child, Children
from .commands import Command, Commands, Fence, Report, Send, Tap, Update
from .condition import Condition
from .control import (
    Agreed,
    Batch,
    Begin,
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
    SupervisorEnd,
    ToSupervisor,
    Watch,
)
from .engine import NodeReport, Observer, Usage
from .failover import Failover
from .faults import SILENT
from .launcher import Launcher, LocalLauncher
from .liveness import LivenessWatch
from .options import Options
from .taps import TapReceiver

LEAD_NS = 120_000_000
"""From the moment when all are ready to the origin (plus what sources make ahead)."""

POLL_MS = 160
"""How long the supervisor sleeps when nothing rings: a frozen process is to be named within two units of its due."""

DRAIN_MS = 1000
"""How long what a process said last, that ended in order, may be on its way when the process is gone already."""

STOP_DEADLINE_S = 10.0
"""How long an ordered stop may go without anything fired (beyond the graph's latency, for which what was made may wait)
before the processes are told to end at once, and how long after that they are killed."""


WATCH_MS = 3000
"""How long one `Report` keeps processes saying where their nodes are."""


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
        self._run = f"{os.getpid():x}-{secrets.token_hex(4)}"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        address = f"ipc://@wangraph-{self._run}.supervisor"  # with a dot, as the name of no process has
        self._control = SupervisorEnd(self._context, address, new_token())
        self._poller = zmq.Poller()
        self._children = Children(
            plan, options, self._run, self._control, address, launcher or LocalLauncher(), self._poller
        )
        self._children.taps += taps
        self._failover = Failover(plan, self._children, observer, self._now_ns, self._fail)
        self._liveness = LivenessWatch(plan, self._failover.survives, self._children.lived_at, time.monotonic())
        self._taps: TapReceiver | None = None
        self._error: WangraphError | None = None
        self._stop_wanted_at: float | None = None
        self._moved_at = 0.0
        self._stopping_at_once = False
        self.is_ready = False
        self._generation = 0

    def run(self) -> None:
        """Run to the end, see `Engine`."""
        self._control.register(self._poller)
        self._poller.register(self._commands.fileno(), zmq.POLLIN)
        try:
            if self._children.taps:
                self._receive_taps()
            self._children.start_all()
            self._until(lambda c: c.is_ready, time.monotonic() + START_DEADLINE_S)
            self._children.hide_memory()  # by now everybody has attached
            self.is_ready = self._error is None
            self._serve_commands()  # before unit 0: who asked for packets gets the first one
            self._observer.poll()
            if self.options.paused:
                self._until(lambda c: self._commands.may_begin, None)
            if self._error is None and self._stop_wanted_at is None:
                self._begin()
            self._until(lambda c: c.is_finished, None)
            self._failover.advance()
        finally:
            # processes first: what was tapped is complete when they have ended
            self._end_children()
            if self._taps is not None:
                self._taps.close(c.name for c in self._children if c.hands_out)
            self._report_strangers(is_end=True)
            self._control.close()
            self._context.destroy(linger=200)
            self._children.close()
        if self._error is not None:
            raise self._error

    def stop(self, at_once: bool = False) -> None:
        """End in order: sources end where they are, what is under way flows out, files are closed."""
        # once each way: a stop repeated at every turn of the loop would never let its own deadline pass
        if self._stop_wanted_at is None or (at_once and not self._stopping_at_once):
            self._stop_wanted_at = self._moved_at = time.monotonic()
            self._stopping_at_once = at_once
            self._failover.stop()
            self._children.tell_all(Halt(at_once))

    def watch(self, for_ms: int) -> None:
        """Ask every process to say for so long where its nodes stand."""
        for child in self._children.current.values():
            if child.is_ready and not child.is_finished:
                self._control.send(child.key, Watch(for_ms))

    @property
    def origin_ns(self) -> int:
        """The beginning of unit 0 on the machine's monotonic clock; 0 before it is set."""
        return self._origin_ns

    @property
    def statuses(self) -> list[NodeStatus]:
        """State of every node, as processes reported it lately that `watch` asked."""
        return [status for child in self._children.current.values() for status in child.statuses]

    @property
    def usage(self) -> Usage:
        """Per process: pid, CPU seconds, resident megabytes, restarts."""
        return self._children.usage

    # Phases

    def _receive_taps(self) -> None:
        if self._taps is None:
            address, token = self._children.tap_address, self._control.token
            self._taps = TapReceiver(self._context, address, token, self._observer.tap)

    def _begin(self) -> None:
        # sources that run ahead begin before the origin: without room for it their first units would be late
        ahead = max((n.ahead_units for n in self.plan.nodes.values()), default=0)
        lead = LEAD_NS + max(0, ahead - 1) * self.plan.clock.period_ns
        self._origin_ns = time.monotonic_ns() + lead
        self._children.tell_all(Begin(self._origin_ns))
        for child in self._children:
            child.has_begun = True
        self._failover.open(self._origin_ns, self.options.units)
        self._observer.poll()

    def _until(self, reached: Callable[[Child], bool], deadline: float | None) -> None:
        """Serve the processes until all have come so far, one has failed, or the deadline has passed."""
        children = self._children.current
        while self._failover.is_waiting or not all(reached(c) or c.is_finished for c in children.values()):
            ready = dict(self._poller.poll(POLL_MS))
            # messages before deaths: the last ones of a process say why it ended
            while (message := self._control.receive()) is not None:
                self._handle(*message)
            for child in self._children:
                if child.launched.fileno() in ready:
                    self._on_exit(child)
            self._failover.advance()
            if self._commands.fileno() in ready:
                self._serve_commands()
            self._check_signs()
            self._report_strangers()
            if deadline is not None and time.monotonic() > deadline:
                self._give_up()
                return
            if self._is_stuck():
                if self._stopping_at_once:
                    return
                self._escalate()

    def _check_signs(self) -> None:
        """Report processes that say nothing; after a stop, or where a call has gone on for too long, end them."""
        children, stopped_at = self._children.current.values(), self._stop_wanted_at
        for child, why in self._liveness.silent(children, time.monotonic(), stopped_at):
            if stopped_at is None:
                self._report_silence(child, why)
            else:
                self._kill_silent(child)

    def _report_strangers(self, *, is_end: bool = False) -> None:
        """Report messages of other programs at the sockets here."""
        doors: list[Strangers] = [self._control.strangers, *([self._taps.strangers] if self._taps else [])]
        for text in filter(None, (door.news(is_end=is_end) for door in doors)):
            self._observer.take([Note(max(0, self._now_ns()), "supervisor", "warning", text)])

    def _report_silence(self, child: Child, why: Condition) -> None:
        calls = self._calls_of(child)
        text = f"process '{child.name}': no sign of life for {child.reported_s:.1f} s, {why.text}; {_in_words(calls)}"
        self._observer.take([Note(max(0, self._now_ns()), "supervisor", "stall", text), *calls])
        for call in calls:
            if call.at_ns - call.started_ns > (stall_ns := self.plan.nodes[call.node].stall_ns):
                self._failover.lose(child, stuck_error(call, stall_ns))
                return
        if self._liveness.is_lost(child):
            self._failover.lose(child, RunError(f"{text} (expected one several times a second), {why.remedy}"))

    def _kill_silent(self, child: Child) -> None:
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

    def _calls_of(self, child: Child) -> list[Unfinished]:
        """Words for what a process was computing."""
        return self._children.calls_of(child, self._now_ns())

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
        stuck = ", ".join(f"'{c.name}'" for c in self._children.current.values() if not c.is_finished)
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
                self._children.tell_all(RaiseFence(list(streams), self._generation, first_unit))
                self._failover.fence(streams, self._generation, first_unit)
            case Update(node, values, first_unit):
                self._children.update(node, values, first_unit)
            case Send(node, port, str() as text):
                self._children.send(self.plan.nodes[node].process, Deliver(node, port, text))
            case Send(node, port, value):
                message = Deliver(node, port, None, value.dtype.str, value.shape)
                self._children.send(self.plan.nodes[node].process, message, value.tobytes())
            case Report():
                self.watch(WATCH_MS)
            case Tap(stream):
                self._receive_taps()
                self._children.taps.append(stream)
                self._children.send(self.plan.streams[stream].settler, HandOut(stream))

    def _now_ns(self) -> int:
        """Nanoseconds after the origin; negative before it is set."""
        return time.monotonic_ns() - self._origin_ns if self._origin_ns else -1

    def _handle(self, key: str, message: ToSupervisor, payload: bytes) -> None:
        if (child := self._children.of(key)) is None:
            return  # a process that was forgotten meanwhile
        child.sign_at, child.reported_s = time.monotonic(), 0.0
        if isinstance(message, Hello):
            self._greet(child)
        elif isinstance(message, Opening):
            child.doing = f"opening node '{message.node}'"
        elif isinstance(message, Ready):
            child.is_ready, child.doing = True, "running"
            self.reports += message.reports
            self._failover.ready(child)
        elif isinstance(message, Batch):
            child.cpu_s, child.rss_mb, child.statuses = message.cpu_s, message.rss_mb, message.statuses
            # by firings and not by batches: a process whose node hangs reports all the same, and a stop would wait for
            # ever
            if any(isinstance(record, Firing) for record in message.records):
                self._moved_at = time.monotonic()
            self._failover.record(r for r in message.records if isinstance(r, Settlement))
            self._observer.take(message.records)
            self._observer.poll()
        elif isinstance(message, Agreed):
            self._failover.answered(child, message.number, payload)
        elif isinstance(message, Finished):
            self._note_finished(child, message)
        elif isinstance(message, NodeRequest):
            self._request(message)
        elif isinstance(message, Failed):
            self._note_failed(child, error_of(message.kind, message.text))

    def _greet(self, child: Child) -> None:
        # a process that was still starting when the stop went out: with a setup it would open its nodes only to close
        # them
        if self._stop_wanted_at is not None:
            self._control.send(child.key, Halt(at_once=True))
            return
        self._children.greet(child)

    def _note_finished(self, child: Child, message: Finished) -> None:
        child.cpu_s, child.rss_mb = message.cpu_s, message.rss_mb
        # those of opening come a second time, with those of closing
        self.reports += [r for r in message.reports if r not in self.reports]
        if child.verdict is not None:
            return  # it failed before: its exit is what counts
        child.is_finished, child.doing = True, "finished"
        child.hands_out = message.hands_out
        if message.left:
            self._give_up_on(message.left)
        self._failover.finished(child)

    def _note_failed(self, child: Child, error: WangraphError) -> None:
        if self._failover.survives(child):
            child.verdict = error  # it closes its nodes, and exits
        else:
            self._fail(error)

    def _request(self, request: NodeRequest) -> None:
        """A node asks something of the run: the same as if its user had."""
        if request.streams:
            self._commands.fence(request.streams, request.first_unit)
            return
        self._observer.take([Note(max(0, self._now_ns()), "supervisor", "stop", request.reason)])
        self._commands.end()

    def _on_exit(self, child: Child) -> None:
        """A process has ended; by itself, unless it had finished."""
        self._poller.unregister(child.launched.fileno())
        code = child.launched.wait() or 0
        # until then and no longer: the others go on talking, and would be listened to for ever
        drained_at = time.monotonic() + (DRAIN_MS / 1000 if code == 0 and self._children.leaves(child) else 0)
        while not child.is_finished:
            left_ms = max(0, round(1000 * (drained_at - time.monotonic())))
            if child.verdict is not None or (message := self._control.receive(left_ms)) is None:
                break
            self._handle(*message)
        if child.is_finished or child.is_killed:
            child.is_finished = True
            return
        calls = self._calls_of(child)
        self._observer.take([*calls, *self._strikes(calls)])
        goes_on = child.verdict is not None or self._failover.survives(child)
        so = "" if goes_on else ", the other processes were stopped in order"
        error = child.verdict or self._loss(child, code, calls, so)
        if goes_on:
            self._failover.died(child, error)
            return
        child.is_finished = True
        self._fail(error)

    def _loss(self, child: Child, code: int, calls: Sequence[Unfinished], so: str) -> ProcessLost:
        doing = " ".join([child.doing, *(_of_call(call) for call in calls[:1])])
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return ProcessLost(
            f"process '{child.name}' (pid {child.launched.pid}): {how} while {doing} "
            f"(expected to live as long as the run){so}"
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
        slow = "; ".join(f"process '{c.name}' is {c.doing}" for c in self._children.current.values() if not c.is_ready)
        self._fail(StartError(f"start: {slow} after {START_DEADLINE_S:g} s (expected to be ready), look at its log"))

    def _end_children(self) -> None:
        for child in self._children.end(2.0 if self._error is None else STOP_DEADLINE_S):
            self._record_kill(child)

    def _record_kill(self, child: Child) -> None:
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
