"""Rule of lateness: a body finished after its due; a paced one, which waits for its due, began well after it."""

from __future__ import annotations

from ..plan.plan import NodePlan
from ..schedule.events import Firing
from ..units import MS

LATE_NS = 5 * MS
"""A presentation that began so long after its due is late. What is less is the machine's, not the graph's: a busy one
wakes a thread up to a tick of its kernel (4 ms at 250 Hz) after it should, and nobody sees or hears that."""


def is_late(node: NodePlan, firing: Firing) -> bool:
    """True if a body that answered was late."""
    if firing.mode != "step" or firing.verdict == "end":
        return False
    return past_due_ns(node, firing) > LATE_NS if node.paced else firing.verdict in ("late", "unfinished")


def past_due_ns(node: NodePlan, firing: Firing) -> int:
    """Time after its due at which a body finished; a paced one: began. 0 without a due."""
    at = firing.started_ns if node.paced else firing.finished_ns
    return 0 if firing.due_ns is None else at - firing.due_ns


def may_start_ns(node: NodePlan, firing: Firing) -> int:
    """From when on nothing but its lane and the clock held a body up: all was there, and a paced one was due."""
    return firing.ready_ns if not node.paced or firing.due_ns is None else max(firing.ready_ns, firing.due_ns)
