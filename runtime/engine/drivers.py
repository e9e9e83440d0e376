"""Runs a graph inside the calling process: under virtual time, or serially in real time.

Both are plain loops around the scheduler. Under virtual time a body's cost is what a profile or its budget says,
never what it took, so that two runs decide the same; lanes are resources of the simulation, and bodies may run in
real threads meanwhile (`LaneExecutor`) or where they are called (`SerialExecutor`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from ..errors import RunError
from ..plan.plan import NodePlan, Plan
from ..schedule.decide import Fire
from ..schedule.replay import ReplayScheduler
from ..schedule.scheduler import Result, Scheduler, lane_of
from .body import Body
from .clock import Clock, ManualClock

Cost = Callable[[NodePlan, Fire], int]
"""Virtual nanoseconds that a call takes."""


def declared_cost(node: NodePlan, fire: Fire) -> int:
    """The node's budget; 0 without one."""
    return node.cost_ns


class Executor(Protocol):
    """Runs bodies: `begin` when their time starts, `end` gives what they returned."""

    def begin(self, body: Body, lane: str, fire: Fire) -> object:
        """Start the call."""
        ...

    def end(self, begun: object) -> Result:
        """Wait for it."""
        ...

    def post(self, lane: str, call: Callable[[], None]) -> None:
        """Make a call between two bodies of a lane."""
        ...

    def close(self) -> None:
        """Free threads."""
        ...


class SerialExecutor:
    """One call after the other, in the calling thread."""

    def begin(self, body: Body, lane: str, fire: Fire) -> object:
        """Run it now."""
        return body.run(fire)

    def end(self, begun: object) -> Result:
        """Wait for the body; give what it returned."""
        assert isinstance(begun, Result)
        return begun

    def post(self, lane: str, call: Callable[[], None]) -> None:
        """Make it now: no body runs while others are decided on."""
        call()

    def close(self) -> None:
        """Nothing to free."""


class LaneExecutor:
    """A thread per lane, as in a parallel run."""

    def __init__(self) -> None:
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._posted: list[Future[None]] = []

    def begin(self, body: Body, lane: str, fire: Fire) -> object:
        """Hand it to the lane's thread."""
        return self._pool(lane).submit(body.run, fire)

    def end(self, begun: object) -> Result:
        """Wait for the thread."""
        assert isinstance(begun, Future)
        result = begun.result()
        while self._posted and self._posted[0].done():
            self._posted.pop(0).result()
        assert isinstance(result, Result)
        return result

    def post(self, lane: str, call: Callable[[], None]) -> None:
        """Make it in the lane's thread; what it raises is raised by the next `end`."""
        self._posted.append(self._pool(lane).submit(call))

    def close(self) -> None:
        """End the threads."""
        for pool in self._pools.values():
            pool.shutdown()

    def _pool(self, lane: str) -> ThreadPoolExecutor:
        if lane not in self._pools:
            self._pools[lane] = ThreadPoolExecutor(1, thread_name_prefix=f"lane {lane}")
        return self._pools[lane]


def run_virtual(
    plan: Plan,
    bodies: Mapping[str, Body],
    scheduler: Scheduler,
    executor: Executor,
    *,
    cost: Cost = declared_cost,
    tick: Callable[[int], None] | None = None,
) -> None:
    """One event queue, ordered by (time, depth, node name), until every node has ended.

    Args:
        tick: called with the virtual time after every step of it.
    """
    ahead_ns = max((n.ahead_units for n in plan.nodes.values()), default=0) * plan.clock.period_ns
    clock = ManualClock(plan.release_ns(scheduler.first_unit - 1) - ahead_ns)
    queue: list[tuple[int, int, str, Fire, object]] = []
    busy: set[str] = set()
    while not scheduler.done:
        now = clock.now()
        scheduler.advance(now)
        for fire in scheduler.choose_all([lane for lane in scheduler.lanes if lane not in busy], now):
            node = plan.nodes[fire.node]
            begun = executor.begin(bodies[fire.node], lane_of(node), fire)
            heapq.heappush(queue, (now + cost(node, fire), node.depth, fire.node, fire, begun))
            busy.add(lane_of(node))
        wakeup = scheduler.wakeup(now)
        # a body that is done at the instant of an alarm goes first: what it gives is there in time
        if queue and (wakeup is None or queue[0][0] <= wakeup):
            at, _, name, fire, begun = heapq.heappop(queue)
            clock.move_to(max(at, now))
            # waited for only now that its virtual time has come: bodies of other lanes compute meanwhile
            scheduler.finish(fire, executor.end(begun), clock.now())
            busy.discard(lane_of(plan.nodes[name]))
        elif wakeup is not None:
            clock.move_to(wakeup)
        elif not scheduler.done:
            raise _dead_end(scheduler)
        scheduler.take_outgoing()
        if tick is not None:
            tick(clock.now())


def _dead_end(scheduler: Scheduler) -> Exception:
    """The error that nothing can happen any more: of a log that is damaged, or else of a scheduler that is wrong."""
    waiting = "; ".join(f"{name}: {scheduler.waiting_for(name)}" for name in scheduler.nodes)
    if isinstance(scheduler, ReplayScheduler):
        return RunError(f"log: found {waiting} (expected calls whose inputs it has), it is damaged: record anew")
    return AssertionError(waiting)


def run_serial(
    plan: Plan,
    bodies: Mapping[str, Body],
    scheduler: Scheduler,
    clock: Clock,
    *,
    sleep: Callable[[int], None],
    tick: Callable[[int], None] | None = None,
) -> None:
    """One body at a time, in real time: the plainest engine, for debugging and as the reference of the other one.

    Args:
        sleep: waits for so many nanoseconds (or less).
    """
    while not scheduler.done:
        now = clock.now()
        scheduler.advance(now)
        fire = next((f for lane in scheduler.lanes if (f := scheduler.choose(lane, now)) is not None), None)
        if fire is not None:
            scheduler.finish(fire, bodies[fire.node].run(fire), clock.now())
            scheduler.take_outgoing()
        elif not scheduler.done:
            wakeup = scheduler.wakeup(now)
            if wakeup is None:
                continue  # a node ended while choosing: what follows from it is known now
            sleep(wakeup - now)
        if tick is not None:
            tick(clock.now())
