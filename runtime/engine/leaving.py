"""The end of the lanes of a process: a call that does not end holds nobody up, its lane is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from ..observe.records import Unfinished
from ..plan.plan import Plan
from ..schedule.decide import Fire
from ..schedule.scheduler import Scheduler
from ..units import NS
from .calls import unfinished
from .lane import Lane

LEAVE_S = 1.0
"""How long a call may still go on when its lane is to end: longer than a unit takes, and soon enough for whoever
pressed Ctrl-C. A long unit, or a large budget, gives a body more time."""

CLOSE_S = 10.0
"""How long a node may take to close: a video or a recording writes what it still holds."""


class Leaving:
    """The lanes of a process that is told to end.

    Args:
        lock: guards the scheduler.
        now: nanoseconds after the origin.

    Attributes:
        scheduler: whose calls go on, once there is one.
    """

    def __init__(self, plan: Plan, lanes: Collection[Lane], lock: threading.Lock, now: Callable[[], int]) -> None:
        self.scheduler: Scheduler | None = None
        self._plan, self._lanes, self._lock, self._now = plan, lanes, lock, now
        self._halted_at: float | None = None

    def begin(self) -> None:
        """The process is told to end."""
        if self._halted_at is None:
            self._halted_at = time.monotonic()

    @property
    def is_held_up(self) -> bool:
        """True if the end waits for a call that has gone on for too long."""
        since_s = self._halted_at
        if since_s is None:
            return False
        with self._lock:
            return any(lane.thread.is_alive() and self._is_left(lane, since_s) for lane in self._lanes)

    def join(self, report: Callable[[], None]) -> tuple[list[str], list[Unfinished]]:
        """Wait for the lanes to close their nodes; what those do that are not waited for, in words and as records.

        Args:
            report: called meanwhile, several times a second.
        """
        since_s, alive = self._halted_at or time.monotonic(), [lane for lane in self._lanes if lane.thread.is_alive()]
        while alive:
            alive[0].thread.join(0.05)
            report()
            alive = [lane for lane in alive if lane.thread.is_alive()]
            with self._lock:
                if alive and all(self._is_left(lane, since_s) for lane in alive):
                    calls = unfinished(self._plan, [c for lane in alive if (c := self._call_of(lane))], self._now())
                    return [*(call.text for call in calls), *(lane.doing for lane in alive if lane.doing)], calls
        return [], []

    def _is_left(self, lane: Lane, since_s: float) -> bool:
        """True if a lane is in a call that has gone on for too long since that instant of the monotonic clock."""
        if (closing_at := lane.closing_at) is not None:
            return time.monotonic() - closing_at > CLOSE_S
        call, waited_s = self._call_of(lane), time.monotonic() - since_s
        if call is None:
            return bool(lane.doing) and waited_s > LEAVE_S
        patience_s = max(LEAVE_S, self._plan.clock.period_ns / NS, 2 * self._plan.nodes[call.node].cost_ns / NS)
        return min(waited_s, (self._now() - call.started_ns) / NS) > patience_s

    def _call_of(self, lane: Lane) -> Fire | None:
        if self.scheduler is None:
            return None
        return next((s.running for n, s in self.scheduler.nodes.items() if n in lane.bodies and s.running), None)
