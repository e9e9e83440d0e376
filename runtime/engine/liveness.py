"""Watch over processes from outside: who gives no sign of life, for how long, and why. All times are seconds of one
clock.

A process gives one at least once in 160 ms, in shared memory (`calls`), whatever its nodes compute, unless a body keeps
even its main thread from running, or it is stopped, or gets no core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..plan.plan import Plan
from ..units import NS
from .children import Child
from .condition import Condition, condition, thread_states

SUSPECT_S = 0.2
"""After how long without a sign a process is looked at for the first time: what it did since tells why, later."""

SILENT_S = 0.32
"""How long a process may give no sign of life before that is told: two units of 160 ms."""

SILENT_LONG_S = 0.8
"""The same, of one that gets no core, as on every busy machine, or that closes its nodes and sends reports only."""

SILENT_RESTART_S = 3.0
"""How long a process may say nothing without which the run goes on: it is killed then."""

SILENT_STOP_S = 1.2
"""How long a process may say nothing after a stop: it is killed then."""

PAUSE_S = 0.5
"""Between two looks. Whoever did not look for longer was paused, and may have been with all the others."""


class LivenessWatch:
    """See the module.

    Args:
        plan: the checked graph.
        survives: whether the run goes on without a process.
        lived_at: when a life of one was last seen to run.
        now_s: when it begins to watch.
    """

    def __init__(
        self, plan: Plan, survives: Callable[[Child], bool], lived_at: Callable[[Child], float], now_s: float
    ) -> None:
        self._plan, self._survives, self._lived_at, self._looked_at = plan, survives, lived_at, now_s

    def silent(
        self, children: Iterable[Child], now_s: float, stopped_at: float | None
    ) -> list[tuple[Child, Condition]]:  # fmt: skip
        """Processes of which it is time to tell that they give no sign of life, and why: each time twice as late as the
        time before; after a stop, those that do not answer it."""
        # paused with all the others, it would blame them for what it did not hear itself
        between_s, self._looked_at = now_s - self._looked_at, now_s
        paused_s = between_s if between_s > PAUSE_S else 0.0
        found = []
        for child in children:
            child.sign_at += paused_s
            lived_at = self._lived_at(child)
            if lived_at > child.sign_at:
                child.sign_at, child.reported_s = lived_at, 0.0
            silent_s = now_s - child.sign_at
            if child.is_finished or child.is_killed:
                continue
            if silent_s < SUSPECT_S:
                child.suspected = None
            elif child.suspected is None:
                child.suspected = thread_states(child.launched.pid)
            elif (why := self._is_due(child, silent_s, now_s, stopped_at, lived_at)) is not None:
                child.reported_s = silent_s
                found.append((child, why))
        return found

    def is_lost(self, child: Child) -> bool:
        """True if a process has been silent for longer than anything that its nodes may do; where the run goes on
        without it, before the queues of those that send to it are full."""
        return child.reported_s > self._patience_s(child)

    def _patience_s(self, child: Child) -> float:
        patience_s = max(node.stall_ns for node in self._plan.nodes_in(child.name)) / NS
        return min(patience_s, SILENT_RESTART_S) if self._survives(child) else patience_s

    def _is_due(
        self, child: Child, silent_s: float, now_s: float, stopped_at: float | None, lived_at: float
    ) -> Condition | None:
        """Reason of its silence, if it is time to tell that."""
        if stopped_at is not None:
            if min(silent_s, now_s - stopped_at) <= SILENT_STOP_S:
                return None
        else:
            due_s = max(SILENT_S, min(2 * child.reported_s, self._patience_s(child)))
            if not (child.has_begun and child.is_ready) or child.verdict is not None or silent_s <= due_s:
                return None
        why = condition(child.suspected, thread_states(child.launched.pid))
        return why if (why.is_its_own and lived_at) or silent_s > SILENT_LONG_S else None
