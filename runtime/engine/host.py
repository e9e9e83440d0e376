"""The inside of one process of a run: its scheduler, its bodies, and the threads around them.

Threads: one per lane (bodies, and packets from other processes while it has none to run), a timer (what time alone
decides), an inbox (packets that come while no lane waits for them), and the main thread (`process`, which answers the
supervisor). They share one scheduler under one lock; who changes it hands
out what can fire next, so that a unit goes from body to body without a thread in between.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..channel.endpoint import Endpoint
from ..channel.wire import Handed
from ..errors import WangraphError
from ..node import Timebase
from ..observe.records import Note, Transfer, Unfinished
from ..packet import Array, Packet
from ..plan.plan import Plan, ProcessPlan, from_plain
from ..schedule import duty
from ..schedule.decide import Fire
from ..schedule.scheduler import Result, Scheduler, lane_of
from ..units import NS
from .alarm import Alarm
from .body import Body, make_node
from .calls import CallBoard, stuck_error, unfinished
from .clock import SystemClock
from .control import (
    Batch,
    Begin,
    Change,
    Deliver,
    Failed,
    Happening,
    NodeRequest,
    Opening,
    PeerUp,
    RaiseFence,
    Setup,
)
from .faulty_body import make_body
from .faulty_publisher import make_publisher
from .initial import initial_packets
from .lane import Lane
from .leaving import Leaving
from .membership import Membership
from .requests import ForwardedRequests
from .sending import Outgoing, Sending, way_in
from .stalls import StallWatch, statuses
from .system import bind_to, raise_priority, sharpen_timers, usage
from .taps import TapSender

HostMessage = Opening | NodeRequest | Failed
"""What a process sends as it happens; the rest goes with its batches."""


class ProcessHost:
    """The scheduler of one process and the threads around it.

    There is no scheduler before `begin`: the unit at which the process takes part is known only when its nodes are
    open and warm. What comes for it earlier waits.
    """

    def __init__(self, setup: Setup, notify: Callable[[HostMessage], None], wake: Callable[[], None]) -> None:
        self.plan: Plan = from_plain(setup.plan)
        self.process = setup.process
        self.clock: SystemClock | None = None
        self.failed = threading.Event()
        self.ended = threading.Event()
        self._notify = notify
        self._wake = wake
        self._lock = threading.Lock()
        self._alarm = Alarm()
        self._alarm_at: int | None = None
        self._leaving = False
        self._listener: threading.Thread | None = None
        self._timer: threading.Thread | None = None
        self._noticed: list[Transfer | Note | Unfinished] = []
        self._watched_until = 0.0
        self._setup = setup
        self._taps: TapSender | None = None
        self._membership = Membership(self.plan, self.process, initial_packets(self.plan), self._tap)
        self._stalls: StallWatch | None = None
        self._bodies = {
            n.name: make_body(make_node(n), n, self.plan, setup.faults, self._notice)
            for n in self.plan.nodes_in(self.process)
        }
        self._calls = CallBoard(self.plan, setup.calls)
        self.live()
        self._endpoint = Endpoint(self.plan, self.process, setup.segments, setup.addresses, setup.lives, setup.token)
        publisher = make_publisher(self._endpoint.publisher, self.plan, setup.faults, self._notice)
        self._sending = Sending(self.plan, self.process, self._endpoint, publisher, self._notice)
        self._lanes = {name: self._lane(name) for name in dict.fromkeys(lane_of(b.plan) for b in self._bodies.values())}
        self._lane_of = {node: lane for lane in self._lanes.values() for node in lane.bodies}
        self.leaving = Leaving(self.plan, self._lanes.values(), self._lock, self._now)
        self._opened: set[str] = set()
        self.all_open = threading.Event()

    def open(self) -> None:
        """Start the lanes, which open and warm their nodes."""
        for stream in self._setup.taps:
            self.hand_out(stream)
        for lane in self._lanes.values():
            lane.thread.start()
        if not self._lanes:
            self.all_open.set()

    def begin(self, begin: Begin) -> None:
        """The origin is set; from now on things fire, in a later life once all have agreed from which unit on."""
        self._claim(self.plan.processes[self.process])
        self._endpoint.attach()
        for text in self._endpoint.notes:
            self._notice("warning", f"process '{self.process}': {text}")
        timebase = Timebase(begin.origin_ns, self.plan.clock)
        # posted before anything fires: a live node would be asked for unit 0 before it knows when that is
        for name, body in self._bodies.items():
            if body.wants_start:
                self._post(name, partial(body.start, timebase))
        setup = self._setup
        with self._lock:
            self.clock = SystemClock(begin.origin_ns)
            if not setup.life:
                self._membership.begin(duty.Begin(setup.session, 0, setup.limit, 0, {}, ()))
                self._membership.go()
                self._went()
        for lane in self._lanes.values():
            lane.listen(self._endpoint.inbox.poller(), self._arrive)
        self._listener = threading.Thread(target=self._guarded(self._listen), name="inbox", daemon=True)
        self._listener.start()
        self._timer = threading.Thread(target=self._guarded(self._keep_time), name="timer", daemon=True)
        self._timer.start()
        with self._lock:
            outgoing = self._turn()
        self._sending.send(outgoing)

    def _claim(self, plan: ProcessPlan) -> None:
        """Claim the processors and the priority that the plan gives the process."""
        # not before the clock: nodes load and warm on all that is free, and at a real-time priority they would keep the
        # others from doing the same
        refusals = [
            bind_to(plan.cpus) if plan.cpus is not None else "",
            raise_priority(plan.priority) if plan.priority is not None else "",
        ]
        for refusal in filter(None, refusals):
            self._notice("warning", f"process '{self.process}': {refusal}")

    def agree(self, messages: Sequence[duty.Message]) -> list[duty.Answer]:
        """Do what is said after a death, or for a return; gives what is asked."""
        with self._lock:
            answers = [self._answer(message) for message in messages]
            outgoing = self._turn()
        self._sending.send(outgoing)
        return answers

    def peer_up(self, message: PeerUp) -> None:
        """Another process is there again: from now on it is sent its packets."""
        self._endpoint.peer_up(message.process, message.life, message.path, message.address)

    def peer_down(self, process: str) -> None:
        """Another process is not there: it is sent nothing."""
        self._endpoint.peer_down(process)

    def halt(self, at_once: bool) -> None:
        """End sources where they are, or leave all lanes as soon as their bodies are done."""
        with self._lock:
            self.leaving.begin()
            if self._scheduler is None:
                self._leave()
                self.ended.set()  # nothing fires that could end by itself
                return
            self._scheduler.stop_at(0)
            if at_once:
                self._leave()
            outgoing = self._turn()
        self._sending.send(outgoing)

    def fence(self, fence: RaiseFence) -> None:
        """Raise a fence here."""
        with self._lock:
            raised = (fence.streams, fence.generation, fence.first_unit)
            self._membership.apply(lambda s: s.fence(*raised, self._now()))
            self._dispatch()

    def change(self, change: Change) -> None:
        """Change live parameters of a node."""
        with self._lock:
            self._membership.apply(lambda s: s.update(change.node, change.values, change.first_unit, self._now()))

    def deliver(self, message: Deliver, payload: bytes) -> None:
        """Hand a value to a node that takes values from outside."""
        value: str | Array = message.text or ""
        if message.text is None:
            value = np.frombuffer(payload, message.dtype).reshape(message.shape)
        self._post(message.node, partial(self._bodies[message.node].receive, message.port, value))

    def hand_out(self, stream: str) -> None:
        """Hand out the packets of a stream that settle here from now on."""
        if self._taps is None:
            self._taps = TapSender(self._setup.tap_address, self.process, self._setup.token)
        self._taps.add(stream)

    @property
    def hands_out(self) -> bool:
        """True if packets are handed out."""
        return self._taps is not None

    def batch(self) -> Batch:
        """Records since the last call, with stalls noticed on the way."""
        self.poll()
        with self._lock:
            scheduler = self._scheduler
            if strangers := self._endpoint.inbox.strangers.news():
                self._noticed.append(Note(self._now(), self.process, "warning", strangers))
            records: list[Happening] = [*(scheduler.take_events() if scheduler else ()), *self._noticed]
            self._noticed = []
            stand = statuses(scheduler, self._now()) if scheduler and self.is_watched else []
        return Batch(records, *usage(), stand)

    def poll(self) -> bool:
        """Look for stalls; whether there is a new one, which the next batch tells. A stuck call fails the run."""
        with self._lock:
            if self._stalls is None:
                return False
            now = self._now()
            stalls, stuck = self._stalls.poll(now), self._stalls.stuck(now)
            self._noticed += [Note(now, self.process, "stall", stall.text) for stall in stalls]
            self._noticed += unfinished(self.plan, [stall.call for stall in stalls if stall.call], now)
        if stuck is not None and not self.failed.is_set():
            (call,) = unfinished(self.plan, [stuck], now)
            self._fail(stuck_error(call, self.plan.nodes[call.node].stall_ns))
        return bool(stalls)

    def live(self) -> None:
        """Show that the main thread runs: it would not if a body kept the interpreter for itself."""
        self._calls.live(self.process, self._setup.life)

    def watch(self, for_ms: int) -> None:
        """Say in the next batches where every node stands."""
        self._watched_until = time.monotonic() + for_ms / 1000

    def close(self, report: Callable[[], None]) -> list[str]:
        """Wait for the lanes to close their nodes, then free sockets and memory.

        A call that does not end holds nobody up: its lane is left, and nothing here may be freed then.

        Args:
            report: called meanwhile, several times a second.

        Returns:
            What was left, in words.
        """
        self._calls.leave(self.process, self._setup.life)
        with self._lock:
            self._leave()
        left, calls = self.leaving.join(report)
        self._noticed += calls
        if left:
            return left
        if self._timer is not None:
            self._timer.join()
        if self._listener is not None:
            # a socket is closed by nobody while another thread receives from it: ZeroMQ would abort the process
            self._endpoint.inbox.wake()
            self._listener.join()
        if self._taps is not None:
            self._taps.close()
        self._endpoint.close()
        self._calls.close()
        return []

    @property
    def is_watched(self) -> bool:
        """True if somebody wants to know soon where nodes stand."""
        return time.monotonic() < self._watched_until

    @property
    def reports(self) -> list[tuple[str, str, str]]:
        """Reports of the nodes: (node, key, text)."""
        return [(name, key, text) for name, body in self._bodies.items() for key, text in body.reports]

    @property
    def _scheduler(self) -> Scheduler | None:
        return self._membership.scheduler

    # Threads

    def _lane(self, name: str) -> Lane:
        bodies = {n: b for n, b in self._bodies.items() if lane_of(b.plan) == name}
        return Lane(
            name,
            bodies,
            self._lock,
            self._calls,
            opening=lambda node: self._notify(Opening(node)),
            open_body=self._open_body,
            opened=self._lane_opened,
            finish=self._finish,
            failed=self._fail,
        )

    def _open_body(self, body: Body) -> None:
        body.open(
            self.plan.processes[self.process].threads, self._endpoint.publisher.empty, ForwardedRequests(self._forward)
        )

    def _post(self, node: str, call: Callable[[], None]) -> None:
        """Make a call in the lane of a node, between its bodies."""
        self._lane_of[node].post(call)

    def _forward(self, request: NodeRequest) -> None:
        """A node asks something of the run: no batch is waited for, an interruption is to be heard at once."""
        self._notify(request)
        self._wake()

    def _tap(self, packet: Packet) -> None:
        if self._taps is not None:
            self._taps.put(packet)

    def _notice(self, kind: str, text: str) -> None:
        """A body has something to tell."""
        with self._lock:
            self._noticed.append(Note(self._now(), self.process, kind, text))

    def _lane_opened(self, lane: Lane) -> None:
        with self._lock:
            self._opened.add(lane.name)
            if len(self._opened) == len(self._lanes):
                self.all_open.set()

    def _finish(self, lane: Lane, fire: Fire, result: Result) -> None:
        with self._lock:
            assert self._scheduler is not None
            # idle before anything is handed out: the lane takes its own next call here, with no thread in between
            self._scheduler.finish(fire, result, self._now())
            lane.is_idle = True
            outgoing = self._turn()
        self._sending.send(outgoing)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, WangraphError):
            self._notify(Failed(str(error), type(error).__name__))
        else:
            self._notify(Failed(f"{type(error).__name__}: {error}"))
        with self._lock:
            self._leave()
        self.failed.set()
        self.all_open.set()
        self._wake()

    def _keep_time(self) -> None:
        """Sleep until the scheduler has something to do by time alone."""
        sharpen_timers()
        assert self.clock is not None
        outgoing = Outgoing()
        while not self._leaving:
            with self._lock:
                left = None if self._alarm_at is None else self._alarm_at - self.clock.now()
                is_due = left is not None and left <= 0
                if is_due:
                    outgoing = self._turn()
            if is_due:
                self._sending.send(outgoing)
            else:
                self._alarm.sleep(None if left is None else left / NS)

    def _listen(self) -> None:
        """Take packets from other processes as they come while no lane waits for them."""
        while self._endpoint.inbox.attend(self._arrive):
            pass

    def _arrive(self, packets: list[Packet | Handed]) -> None:
        """Take in the packets of one message, all of them before anything fires: fired after the first, a reader would
        run without those that came with it."""
        with self._lock:
            now = self._now()
            for packet in packets:
                if isinstance(packet, Handed):
                    self._membership.arrive(packet, now)
                    continue
                stream = self.plan.streams[packet.stream]
                # only what carries something: settlements without a payload would fill the trace with ways of nothing
                if packet.is_payload:
                    way = (stream.process, self.process, packet.produced_ns, now)
                    self._noticed.append(
                        Transfer(packet.stream, packet.unit, *way, packet.n_bytes, way_in(stream, packet),
                                 packet.session, packet.incarnation)
                    )  # fmt: skip
                self._membership.arrive(packet, now)
            outgoing = self._turn()
        self._sending.send(outgoing)

    def _guarded(self, live: Callable[[], None]) -> Callable[[], None]:
        """A thread's body whose failure ends the run instead of only the thread."""

        def body() -> None:
            try:
                live()
            except Exception as error:
                self._fail(error)

        return body

    # With the lock held

    def _dispatch(self) -> None:
        """Give every idle lane what it can run, and set the alarm for what comes by time."""
        scheduler = self._scheduler
        if scheduler is None or self._leaving:
            return
        now = self._now()
        # time first: what it settles may be what an idle lane waits for
        scheduler.advance(now)
        idle = [name for name, lane in self._lanes.items() if lane.is_idle]
        for fire in scheduler.choose_all(idle, now):
            self._lane_of[fire.node].give(fire)
        alarm_at = scheduler.wakeup(now)
        if alarm_at != self._alarm_at:
            sooner = alarm_at is not None and (self._alarm_at is None or alarm_at < self._alarm_at)
            self._alarm_at = alarm_at
            # only for an earlier alarm: each later one would wake the timer to find nothing to do, several times a unit
            if sooner:
                self._alarm.ring()
        if scheduler.done and not self.ended.is_set():
            # the main thread sleeps in a receive of its own, up to its next poll
            self.ended.set()
            self._wake()

    def _turn(self) -> Outgoing:
        """Hand out what can run; gives what is to be sent, without the lock."""
        self._dispatch()
        return Outgoing.of(self._scheduler)

    def _answer(self, message: duty.Message) -> duty.Answer:
        if isinstance(message, duty.Died):
            self._endpoint.peer_down(message.process)
        answer = self._membership.answer(message, self._now())
        if isinstance(message, duty.Go):
            self._went()
        elif isinstance(message, duty.Withdraw):
            self._leave()
            self.ended.set()
        return answer

    def _went(self) -> None:
        """The scheduler goes from now on."""
        assert self._scheduler is not None
        self.leaving.scheduler = self._scheduler
        self._stalls = StallWatch(self.plan, self._scheduler)

    def _now(self) -> int:
        """Nanoseconds after the origin; 0 before it is set."""
        return self.clock.now() if self.clock else 0

    def _leave(self) -> None:
        if self._leaving:
            return
        self._leaving = True
        for lane in self._lanes.values():
            lane.leave()
        self._alarm.ring()
