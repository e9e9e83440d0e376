"""State of a node, and the queue of nodes that can go on in a lane."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..plan.plan import NodePlan
from .decide import Fire, LevelChooser

Urgency = tuple[bool, float, int, str]
"""Smaller goes first: nodes on a feedback loop, then the earliest due, then depth; the name makes it certain."""


@dataclass(slots=True, eq=False)
class NodeState:
    """One node of a scheduler.

    Attributes:
        lane: as `lane_of` names it.
        outlets: its streams.
        cursor: the first unit that it has not seen.
        pending: how many packets are still open of those that the unit at the cursor takes in. Counted anew when the
            cursor moves, one less with each that settles: nobody asks the windows in between.
        ends_at: the first unit for which nothing comes any more: all inlets without delay have ended by then. None
            while one of them has not ended.
        alarm_ns: when time alone lets it go on; None when it waits for something else.
        is_queued: it is in its lane's queue.
        updates: changes of its parameters that no call has made yet, as (unit, values).

    Invariants, whenever the scheduler returns:
        running     pending is 0, and it is in no queue: its lane has it
        ended       it is in no queue, and nothing wakes it
        else        it is queued, or has an alarm, or pending is not 0: otherwise it would be forgotten for good
    """

    plan: NodePlan
    lane: str
    outlets: tuple[str, ...]
    chooser: LevelChooser
    cursor: int = 0
    pending: int = 0
    ends_at: int | None = None
    running: Fire | None = None
    ended: bool = False
    alarm_ns: int | None = None
    is_queued: bool = False
    updates: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)

    def take_updates(self, unit: int) -> tuple[Mapping[str, Any], ...]:
        """The changes that hold for ``unit``, in the order in which they were made; each is given once."""
        if not self.updates:
            return ()
        due = tuple(values for first, values in self.updates if first <= unit)
        self.updates = [(first, values) for first, values in self.updates if first > unit]
        return due


class ReadyQueue:
    """Nodes of one lane that can go on, the most urgent first."""

    def __init__(self) -> None:
        self.ordered: list[tuple[Urgency, NodeState]] = []

    def add(self, state: NodeState, urgency: Urgency) -> None:
        """Queue a node that is in no queue."""
        state.is_queued = True
        heapq.heappush(self.ordered, (urgency, state))

    def pop(self) -> NodeState:
        """The most urgent node, which leaves the queue; there must be one."""
        _, state = heapq.heappop(self.ordered)
        state.is_queued = False
        return state
