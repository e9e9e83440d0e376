"""State of the nodes, and stalls: a node that is a unit over its due, and what it waits for. Looked for once a unit, a
stall is told within two."""

from __future__ import annotations

from ..observe.records import NodeStatus
from ..plan.plan import Plan
from ..schedule.node_state import NodeState
from ..schedule.scheduler import Scheduler

PATIENCE_UNITS = 1


def statuses(scheduler: Scheduler) -> list[NodeStatus]:
    """Every node of a process: the unit it is at, what it does or waits for, and what has settled ahead of it."""
    return [
        NodeStatus(
            name,
            state.cursor,
            scheduler.waiting_for(name),
            sum(max(0, scheduler.windows[i.stream].head + i.delay - state.cursor) for i in state.plan.inputs),
            scheduler.session,
            scheduler.incarnation,
        )
        for name, state in scheduler.nodes.items()
    ]


class StallWatch:
    """Looks at one process's scheduler. A stall is told once; again when the node has moved on and is late anew, or is
    twice as late as when it was told last."""

    def __init__(self, plan: Plan, scheduler: Scheduler) -> None:
        self._plan = plan
        self._scheduler = scheduler
        self._reported: dict[str, tuple[int, int]] = {}

    def poll(self, now: int) -> list[str]:
        """New stalls in words, the one that others wait for first; usually empty."""
        stalled = [s for s in self._scheduler.nodes.values() if not s.ended and self._is_over(s, now)]
        names = {s.plan.name for s in stalled}
        self._reported = {name: reported for name, reported in self._reported.items() if name in names}
        if not stalled:
            return []
        first = min(stalled, key=lambda s: (s.cursor, s.running is None, s.plan.depth))
        late_ns = now - self._due(first)
        cursor, reported_ns = self._reported.get(first.plan.name, (-1, 0))
        if first.cursor == cursor or late_ns < 2 * reported_ns:
            return []
        self._reported[first.plan.name] = (first.cursor, late_ns)
        doing = self._scheduler.waiting_for(first.plan.name)
        if first.running is not None:
            doing += f" since {(now - first.running.started_ns) / 1e6:.0f} ms"
        return [f"node '{first.plan.name}': {doing}; {late_ns / 1e6:.0f} ms over its due"]

    def _due(self, state: NodeState) -> int:
        """Instant after which a unit is late. Off the paced path there is no due: a unit comes at its deadline, and one
        more unit of delay disturbs nobody."""
        due = state.plan.due_ns
        after = due if due is not None else self._plan.latency_ns + 2 * self._plan.clock.period_ns
        return self._plan.release_ns(state.cursor) + after

    def _is_over(self, state: NodeState, now: int) -> bool:
        return now > self._due(state) + PATIENCE_UNITS * self._plan.clock.period_ns
