"""State of the nodes, and stalls: a node that is a unit over its due, and what it waits for. Looked for once a unit, a
stall is told within two. A call that goes on for longer than its node's ``stall_s`` is stuck."""

from __future__ import annotations

from dataclasses import dataclass

from ..observe.records import NodeStatus
from ..plan.plan import Plan
from ..schedule.decide import Fire
from ..schedule.node_state import NodeState
from ..schedule.scheduler import Scheduler

PATIENCE_UNITS = 1


def statuses(scheduler: Scheduler, now: int) -> list[NodeStatus]:
    """Every node of a process: the unit it is at, what it does or waits for, and what has settled ahead of it."""
    return [
        NodeStatus(
            name,
            state.cursor,
            scheduler.waiting_for(name) + _since(state, now),
            sum(max(0, scheduler.windows[i.stream].head + i.delay - state.cursor) for i in state.plan.inputs),
            scheduler.session,
            scheduler.incarnation,
        )
        for name, state in scheduler.nodes.items()
    ]


@dataclass(frozen=True)
class Stall:
    """A stall in words, and the call that does not end; None where the node waits."""

    text: str
    call: Fire | None


class StallWatch:
    """Looks at one process's scheduler. A stall is told once; again when the node has moved on and is late anew, or is
    twice as late as when it was told last."""

    def __init__(self, plan: Plan, scheduler: Scheduler) -> None:
        self._plan = plan
        self._scheduler = scheduler
        self._reported: dict[str, tuple[int, int]] = {}
        self._quiet_until = -(2**62)

    def stuck(self, now: int) -> Fire | None:
        """A call that has gone on for longer than its node may; it will not come back."""
        for state in self._scheduler.nodes.values():
            call = state.running
            if call is not None and now - call.started_ns > state.plan.stall_ns:
                return call
        return None

    def poll(self, now: int) -> list[Stall]:
        """New stalls, the one that others wait for first; usually empty."""
        # cursors only rise: until the nearest due of the last look, nobody can be late
        if now <= self._quiet_until:
            return []
        states = [(self._over_at(s), s) for s in self._scheduler.nodes.values() if not s.ended]
        stalled = [s for over_at, s in states if now > over_at]
        if not stalled:
            self._quiet_until = min((over_at for over_at, _ in states), default=now)
        names = {s.plan.name for s in stalled}
        self._reported = {name: reported for name, reported in self._reported.items() if name in names}
        if not stalled:
            return []
        # only the one that the others wait for: each of them is late, too, and none of it is their doing
        first = min(stalled, key=lambda s: (s.cursor, s.running is None, s.plan.depth))
        late_ns = now - self._due(first)
        cursor, reported_ns = self._reported.get(first.plan.name, (-1, 0))
        # a reader that is steadily late would be reported at every unit
        if first.cursor == cursor or late_ns < 2 * reported_ns:
            return []
        self._reported[first.plan.name] = (first.cursor, late_ns)
        doing = self._scheduler.waiting_for(first.plan.name) + _since(first, now)
        if not first.plan.enforced and (n_waiting := self._scheduler.backlog(first.plan.name)) > 1:
            doing += f", {n_waiting} units wait for it"
        return [Stall(f"node '{first.plan.name}': {doing}; {late_ns / 1e6:.0f} ms over its due", first.running)]

    def _due(self, state: NodeState) -> int:
        """Instant after which a unit is late. Off the paced path there is no due: a unit comes at its deadline, and one
        more unit of delay disturbs nobody."""
        due = state.plan.due_ns
        after = due if due is not None else self._plan.latency_ns + 2 * self._plan.clock.period_ns
        return self._plan.release_ns(state.cursor) + after

    def _over_at(self, state: NodeState) -> int:
        return self._due(state) + PATIENCE_UNITS * self._plan.clock.period_ns


def _since(state: NodeState, now: int) -> str:
    return "" if state.running is None else f" since {(now - state.running.started_ns) / 1e6:.0f} ms"
