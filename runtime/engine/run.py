"""The door to a run: start a plan, and reach it while it goes on, from scripts, threads, asyncio and notebooks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np

from ..errors import RunError, UserError, WangraphError, did_you_mean, listing
from ..node import Node, Timebase
from ..observe.records import Record
from ..observe.statistics import Statistics
from ..packet import Packet
from ..plan.catalogue import is_portable, resolve
from ..plan.plan import NodePlan, Plan
from ..schedule.events import Event
from . import system
from .collector import Collector, RunResult, Watcher
from .commands import Commands, Fence, Report, Send, Tap, Update
from .engine import Engine
from .faults import check_faults
from .local import LocalEngine
from .options import Options
from .record_sinks import recorded_streams
from .subscription import Bell, Subscription
from .supervisor import Supervisor

BACKLOG = 64
"""Packets of a stream that wait for a program, unless it says otherwise: ten seconds of units of 160 ms."""

RECORDS = 4096
"""Records that wait for a program, unless it says otherwise: some ten seconds of a graph of ten nodes."""

State = Literal["starting", "ready", "running", "ended"]

STATES = get_args(State)

STATUS_PATIENCE_S = 1.0
"""How long `Run.status` waits for every process to say where its nodes are."""


class Run:
    """One run of a plan, in a thread and processes of its own. `start` it, then use it from any thread.

        with wangraph.start("duplex") as run:
            run.send("chat.text", "three")
            for packet in run.packets("sync.video"):
                ...

    Leaving the block stops the run in order and waits for its end; an error of the run is raised there, unless
    another one is on its way. ``async with``, ``async for`` and ``await run`` do the same in a task; cancelling it
    stops the run in order.

    Attributes:
        collector: takes what comes out of the run.

    Raises:
        UserError: the plan cannot be run in this way; nothing was started.
    """

    def __init__(self, plan: Plan, options: Options, watcher: Watcher | None = None) -> None:
        self.plan = plan
        self.options = options
        self._check()
        self._commands = Commands()
        self.collector = Collector(plan, options)
        self.collector.watcher = watcher
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._has_ended = False
        self._end = Bell()
        self._signal: int | None = None

    # Life

    def start(self) -> Run:
        """Begin: open files, then start what runs the plan.

        Raises:
            UserError: a file cannot be written, or a port be listened on.
            RunError: it was started before.
        """
        if self._thread is not None:
            raise RunError("run: found one that was started before (expected a fresh one), make another")
        self.collector.open()
        self._commands.open()
        # not a daemon: a program that forgets to wait still gets its files finished
        self._thread = threading.Thread(target=self._live, name=f"run {self.plan.name}")
        self._thread.start()
        return self

    def wait(self, timeout_s: float | None = None) -> RunResult:
        """Wait for the end. In the main thread, Ctrl-C, SIGTERM and SIGHUP meanwhile stop the run in order, twice
        at once.

        Raises:
            WangraphError: the run failed; `summary` and the trace hold what came before, files are closed.
            TimeoutError: it has not ended after so long; it goes on.
        """
        with self._signals():
            if not self._end.wait_for(lambda: self._has_ended, timeout_s):
                raise TimeoutError(f"run '{self.plan.name}': goes on after {timeout_s:g} s")
        return self._ended()

    @property
    def state(self) -> State:
        """Phase of the run: ``starting``; ``ready``, every node open and warm; ``running``; ``ended``."""
        engine = self.collector.engine
        if self._has_ended:
            return "ended"
        if engine is None or not engine.is_ready:
            return "starting"
        return "running" if engine.origin_ns else "ready"

    def wait_until(self, state: State, timeout_s: float | None = None) -> None:
        """Wait until the run has come to a state or beyond it.

        Raises:
            WangraphError: it failed before; see `wait`.
            TimeoutError: it has not come so far in time; it goes on.
        """
        if not self.collector.wait_for(lambda: self._has_reached(state), timeout_s):
            raise TimeoutError(f"run '{self.plan.name}': still {self.state} after {timeout_s:g} s")
        if self._error is not None:
            self._ended()

    async def until(self, state: State) -> None:
        """Wait in a task until the run has come to a state or beyond it.

        Raises:
            WangraphError: it failed before; see `wait`.
        """
        await self.collector.until(lambda: self._has_reached(state))
        if self._error is not None:
            self._ended()

    def begin(self) -> None:
        """Let unit 0 of a run begin that was started ``paused``; before it is ready, as soon as it is."""
        self._commands.begin()

    def stop(self) -> None:
        """End in order: sources end where they are, what is under way flows out. Called twice, at once.

        From any thread, or a signal handler.
        """
        self._commands.stop()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._has_ended:
            self.stop()
        # an error of the block itself is the cause: the run's own would hide it
        try:
            self.wait()
        except WangraphError:
            if error is None:
                raise

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._has_ended:
            self.stop()
        try:
            await self
        except WangraphError:
            if error is None:
                raise

    def __await__(self) -> Generator[Any, None, RunResult]:
        return self._wait_in_task().__await__()

    async def _wait_in_task(self) -> RunResult:
        try:
            await self._end.until(lambda: self._has_ended)
        except BaseException:  # the task was cancelled: the run has nobody left
            self.stop()
            await self._end.until(lambda: self._has_ended)
            raise
        return self._ended()

    # While it goes on

    def packets(self, stream: str, backlog: int | None = BACKLOG) -> Subscription[Packet]:
        """Packets of a stream (``node.port``) as they settle, from now on; of one of the run's taps, from unit 0 on.

        Args:
            backlog: packets that wait for the consumer at most; the oldest are dropped, and counted in
                `Subscription.dropped`. None: all wait, whatever memory it takes.

        Raises:
            UserError: no such stream.
        """
        self._check_stream("packets", stream)
        handed_out = self.collector.hand_out(stream, backlog)
        self._commands.put(Tap(stream))
        # it may have ended meanwhile: nobody else would close what came too late, and its consumer would wait for ever
        if self._has_ended:
            handed_out.close()
        return handed_out

    def send(self, stream: str, value: Any) -> None:
        """Hand a value to a node for one of its outputs (``node.port``): a string, or an array.

        It arrives between two units, and comes out as the node decides: `capture.app` puts out one text a unit, sound
        and pictures as they come.

        Raises:
            UserError: no such stream, its node takes nothing from outside, or no such value.
            RunError: the run has ended.
        """
        self._check_stream("send", stream)
        name, _, port = stream.rpartition(".")
        cls, node = self._class(name)
        try:
            value = cls.accept(node.params, port, value)
        except UserError as error:
            raise UserError(f"send: node '{name}', output '{port}': {error}") from error
        self._check_goes_on("send")
        self._commands.put(Send(name, port, value if isinstance(value, str) else np.ascontiguousarray(value)))

    def set(self, node: str, /, *, first_unit: int = 0, **values: Any) -> None:
        """Change live parameters of a node from ``first_unit`` on, or from the first unit that it has not begun.

        The change is in the decision log: a replay makes it again.

        Raises:
            UserError: no such node or parameter, one that is not live, or a value that it refuses.
            RunError: the run has ended.
        """
        if node not in self.plan.nodes:
            raise UserError(
                f"set: no node '{node}' (it has: {listing(self.plan.nodes)}){did_you_mean(node, self.plan.nodes)}"
            )
        cls, planned = self._class(node)
        live = [name for name, param in cls.params.items() if param.live]
        for name in values:
            if name not in live:
                found = f"set: node '{node}': no live parameter '{name}' (it has: {listing(live)})"
                raise UserError(found + did_you_mean(name, live))
        checked = {name: cls.params[name].checked(f"set: node '{node}', {name}", v) for name, v in values.items()}
        try:
            cls.check({**planned.params, **checked})
        except UserError as error:
            raise UserError(f"set: node '{node}': {error}") from error
        self._check_goes_on("set")
        self._commands.put(Update(node, checked, first_unit))

    def fence(self, streams: str | Sequence[str], first_unit: int = 0) -> None:
        """Interrupt: what these streams carry of ``first_unit`` and later, was begun before the fence, and has not
        settled yet, is dropped, also what is being computed. What has settled stays so; states live on.

        Raises:
            UserError: no such stream.
        """
        streams = [streams] if isinstance(streams, str) else list(streams)
        for stream in streams:
            self._check_stream("fence", stream)
        self._check_goes_on("fence")
        self._commands.put(Fence(tuple(streams), first_unit))

    def fences(self, backlog: int | None = BACKLOG) -> Subscription[Fence]:
        """Interruptions as they are raised, by a node or by `fence`, from now on.

        Whoever plays what comes out of the run drops what it holds of these streams: the run itself drops only what
        has not settled yet.
        """
        subscription = self.collector.hand_out_fences(backlog)
        if self._has_ended:
            subscription.close()
        return subscription

    def records(self, backlog: int | None = RECORDS) -> Subscription[Record]:
        """Records of each step, from now on, as the run's trace holds them; several times a second."""
        subscription = self.collector.hand_out_records(backlog)
        if self._has_ended:
            subscription.close()
        return subscription

    @property
    def timebase(self) -> Timebase | None:
        """Units on the machine's monotonic clock; None before the run's clock has begun."""
        engine = self.collector.engine
        return Timebase(engine.origin_ns, self.plan.clock) if engine is not None and engine.origin_ns else None

    def status(self) -> dict[str, Any]:
        """The run now, as ``wangraph top --json`` prints it, and its `state`.

        Waits for a second at most until every process has said where its nodes are.
        """
        if self.state == "running":
            self._commands.put(Report())
            self.collector.wait_for_statuses(STATUS_PATIENCE_S)
        return {"state": self.state, **self.collector.snapshot()}

    # What came of it

    @property
    def summary(self) -> dict[str, Any]:
        """Summary of the run, as ``wangraph run --json`` prints it; empty before its end."""
        return self.collector.result.summary

    @property
    def reports(self) -> list[tuple[str, str, str]]:
        """Reports of the nodes: (node, key, text); empty before the run's end."""
        return self.collector.result.reports

    @property
    def log(self) -> list[Event]:
        """Decisions so far."""
        return self.collector.result.log

    @property
    def statistics(self) -> Statistics:
        """Figures of the run so far."""
        return self.collector.statistics

    @property
    def is_stopped(self) -> bool:
        """True if `stop` or a signal asked the run to end."""
        return self._commands.stops > 0

    def stuck_after_stop(self, now_s: float, patience_s: float) -> str:
        """Calls that keep a stopped run inside this process from ending, in words; empty where nothing does.

        Args:
            now_s: of the monotonic clock.
            patience_s: how long a call may go on after the stop.
        """
        engine, stopped_s = self.collector.engine, self._commands.stopped_s
        if not isinstance(engine, LocalEngine) or stopped_s is None or self._has_ended:
            return ""
        since_s = max(stopped_s, engine.moved_s)
        return ", ".join(engine.computing) if now_s - since_s > patience_s else ""

    @property
    def exit_code(self) -> int:
        """Exit code of a command that only runs it: 128 and the signal that ended it, SIGINT after `stop`; else 0."""
        if not self.is_stopped:
            return 0
        return 128 + (self._signal or signal.SIGINT)

    # Inside

    def _live(self) -> None:
        """The run's own thread: the engine from its start to its end, and what has to be finished after it."""
        failure: BaseException | None = None
        is_whole = False
        try:
            engine = self.collector.engine = self._make_engine()
            engine.run()
            is_whole = self._commands.stops < 2 and not engine.gave_up
        except BaseException as error:  # whatever it is, it is raised again where somebody waits for the run
            failure = error
            self.collector.fail(error)
        finally:
            self._commands.close()
            unwritten = self.collector.finish(is_whole=is_whole)
        self._error = failure or unwritten
        self._has_ended = True
        self._end.ring()
        self.collector.wake_waiters()

    def _make_engine(self) -> Engine:
        make = Supervisor if self.options.in_processes else LocalEngine
        return make(self.plan, self.options, self.collector, self._commands, self.collector.tapped)

    def _ended(self) -> RunResult:
        assert self._thread is not None, "wait before start"
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self.collector.result

    def _has_reached(self, state: State) -> bool:
        return self._has_ended or STATES.index(self.state) >= STATES.index(state)

    def _class(self, name: str) -> tuple[type[Node], NodePlan]:
        planned = self.plan.nodes[name]
        return resolve(planned.target), planned

    def _check_stream(self, what: str, stream: str) -> None:
        if stream not in self.plan.streams:
            hint = did_you_mean(stream, self.plan.streams)
            raise UserError(f"{what}: no stream '{stream}' (it has: {listing(self.plan.streams)}){hint}")

    def _check_goes_on(self, what: str) -> None:
        if self._has_ended:
            raise RunError(f"{what}: run '{self.plan.name}' has ended (expected one that goes on), start it again")

    def _check(self) -> None:
        for name in self.options.taps:
            self._check_stream("taps", name)
        check_faults(self.options.faults, self.plan, in_processes=self.options.in_processes)
        if self.options.in_processes:
            self._check_portable()
        if self.options.record:
            recorded_streams(self.plan, self.options.record_edges)
        if self.options.clock == "virtual":
            live = [n.name for n in self.plan.nodes.values() if resolve(n.target).is_live]
            if live:
                raise UserError(
                    f"--clock virtual: node '{live[0]}' reads a live device (expected sources that can wait), "
                    "run on the system clock"
                )

    def _check_portable(self) -> None:
        """Refuse classes that were typed in a notebook or made in a function: other processes cannot import them."""
        for node in self.plan.nodes.values():
            if not is_portable(node.target):
                raise UserError(
                    f"node '{node.name}': found the class {node.target.rpartition(':')[2]}, which only this process "
                    "can see (expected one at the top level of a .py file), move it into a file, "
                    "or run with serial=True"
                )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and a closed terminal end the run in order; the second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in system.ending_signals()}
        for number in before:
            signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        self._signal = self._signal or number
        self.stop()
