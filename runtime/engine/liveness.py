"""Watch over processes from outside: who has said nothing for how long. All times are seconds of one clock.

A process reports several times a second, whatever its nodes compute, unless a body keeps even its main thread from
running, or it is stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..plan.plan import Plan
from ..units import NS
from .children import Child

SILENT_S = 0.8
"""How long a process may say nothing before that is told: two reports and a half."""

SILENT_RESTART_S = 3.0
"""How long a process may say nothing without which the run goes on: it is killed then."""

SILENT_STOP_S = 1.2
"""How long a process may say nothing after a stop: it is killed then."""

PAUSE_S = 0.5
"""Between two looks. Whoever did not look for longer could not hear either."""


class LivenessWatch:
    """See the module.

    Args:
        plan: the checked graph.
        survives: whether the run goes on without a process.
        now_s: when it begins to watch.
    """

    def __init__(self, plan: Plan, survives: Callable[[Child], bool], now_s: float) -> None:
        self._plan, self._survives, self._looked_at = plan, survives, now_s

    def silent(self, children: Iterable[Child], now_s: float, stopped_at: float | None) -> list[Child]:
        """Processes of which it is time to tell that they say nothing: each time twice as late as the time before;
        after a stop, those that do not answer it."""
        # paused with all the others, it would blame them for what it did not hear itself
        paused_s = max(0.0, now_s - self._looked_at - PAUSE_S)
        self._looked_at = now_s
        found = []
        for child in children:
            child.sign_at += paused_s
            silent_s = now_s - child.sign_at
            if child.is_finished or child.is_killed:
                continue
            if stopped_at is not None:
                is_due = min(silent_s, now_s - stopped_at) > SILENT_STOP_S
            else:
                is_due = child.has_begun and child.is_ready and silent_s > max(SILENT_S, 2 * child.reported_s)
            if is_due:
                child.reported_s = silent_s
                found.append(child)
        return found

    def is_lost(self, child: Child) -> bool:
        """True if a process has been silent for longer than anything that its nodes may do; where the run goes on
        without it, before the queues of those that send to it are full."""
        patience_s = max(node.stall_ns for node in self._plan.nodes_in(child.name)) / NS
        if self._survives(child):
            patience_s = min(patience_s, SILENT_RESTART_S)
        return child.reported_s > patience_s
