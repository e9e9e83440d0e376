"""Next call of a node: the table of situations (ARCHITECTURE.md), for one node at one instant.

Nothing changes here but the level chooser and the changes of parameters that a call takes with it: the scheduler does
what is decided.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..plan.plan import Mode, NodePlan, Plan
from .decide import NO_GENERATIONS, Fire, Given
from .ends import Ends
from .inlets import Inlets, is_lost
from .node_state import NodeState, Urgency
from .window import StreamWindow

AT_ONCE = -(2**62)
"""An instant before all others."""


class Rules:
    """The rules for the nodes of one process in one session.

    Args:
        plan: the checked graph.
        inlets: what stands behind a node's inlets.
        windows: by stream.
        ends: where sources end.
        session: whose calls they are.
    """

    def __init__(
        self, plan: Plan, inlets: Inlets, windows: Mapping[str, StreamWindow], ends: Ends, session: int
    ) -> None:
        self._plan = plan
        self._inlets = inlets
        self._windows = windows
        self._ends = ends
        self._session = session

    def is_over(self, state: NodeState, unit: int) -> bool:
        """True if a node ends at a unit: a source at its limit, another where nothing comes any more."""
        if state.plan.is_source:
            return self._ends.limit is not None and unit >= self._ends.limit
        return state.ends_at is not None and unit >= state.ends_at

    def next(self, state: NodeState, now: int) -> Fire | None:
        """The call that a node could make now, which is not over; None: it waits."""
        node, unit = state.plan, state.cursor
        if node.is_source:
            return self._next_of_source(state, now)
        given = self._inlets.given(node, unit)
        if given is None:
            return None
        if node.paced:
            due = self.due(node, unit)
            return None if due is not None and now < due else self._fire(state, "step", unit, unit, now, given)
        # before lost inputs: of several units too late, each lost one would cost a call of its own
        if self.is_behind(node, unit, now):
            return self._catch_up(state, now)
        if (over := self._overflow(state)) > 0:
            return self._fire(state, "gap" if node.stateful else "skip", unit, unit + over - 1, now)
        if is_lost(node, given):
            return self._fire(state, "gap" if node.stateful else "skip", unit, unit, now)
        return self._fire(state, "step", unit, unit, now, given)

    def opens(self, state: NodeState) -> int | None:
        """Instant at which a node can go on, time alone deciding; None: not before something settles."""
        node, unit = state.plan, state.cursor
        if self.is_over(state, unit):
            return AT_ONCE
        if node.is_source:
            return self._plan.release_ns(unit - node.ahead_units)
        # no alarm while something is open: whatever settles it wakes the node
        if state.pending:
            return None
        due = self.due(node, unit) if node.paced else None
        return AT_ONCE if due is None else due

    def due(self, node: NodePlan, unit: int) -> int | None:
        """Instant at which a node must have finished a unit."""
        return None if node.due_ns is None else self._plan.release_ns(unit) + node.due_ns

    def is_behind(self, node: NodePlan, unit: int, now: int) -> bool:
        """True if it is too late to begin a unit. A paced node never is: it presents what there is."""
        latest = node.latest_start_ns
        return latest is not None and not node.paced and now > self._plan.release_ns(unit) + latest

    def urgency(self, state: NodeState) -> Urgency:
        """Order between nodes of one lane."""
        due = self.due(state.plan, state.cursor)
        return (not state.plan.on_loop, float("inf") if due is None else due, state.plan.depth, state.plan.name)

    def waiting(self, state: NodeState) -> int:
        """Number of units that have settled for a node from its cursor on."""
        return self._inlets.settled_until(state.plan) - state.cursor

    def _overflow(self, state: NodeState) -> int:
        """Number of the units that wait and are too many."""
        backlog = state.plan.backlog
        return 0 if backlog is None else self.waiting(state) - backlog

    def _next_of_source(self, state: NodeState, now: int) -> Fire | None:
        node, unit = state.plan, state.cursor
        if now < self._plan.release_ns(unit - node.ahead_units):
            return None
        # a source that slept skips what is over: a burst of old units would fill the queues of everybody behind it
        last = unit
        while self.is_behind(node, last, now) and not self.is_over(state, last):
            last += 1
        if last > unit:
            return self._fire(state, "gap" if node.stateful else "skip", unit, last - 1, now)
        return self._fire(state, "step", unit, unit, now)

    def _catch_up(self, state: NodeState, now: int) -> Fire:
        """Several units behind: one absorb (or gap) over what is too late, so that the newest can be in time."""
        node, first = state.plan, state.cursor
        given = self._inlets.given(node, first)
        assert given is not None, (node.name, first)
        lost = is_lost(node, given)
        last = first
        while (
            self.is_behind(node, last + 1, now)
            and not self.is_over(state, last + 1)
            and (following := self._inlets.given(node, last + 1)) is not None
            # lost units and others in one call: the body would take both for the same
            and (not node.stateful or is_lost(node, following) == lost)
        ):
            last += 1
        mode: Mode = "skip" if not node.stateful else "gap" if lost else "absorb"
        return self._fire(state, mode, first, last, now)

    def _fire(
        self,
        state: NodeState,
        mode: Mode,
        first: int,
        last: int,
        now: int,
        known: Mapping[str, Given] | None = None,
    ) -> Fire:
        """``known``: the inputs of ``first``, where they were found already and it is the only unit."""
        node = state.plan
        inputs: list[Mapping[str, Given]] = []
        if known is not None:
            inputs.append(self._inlets.substituted(node, known, first))
        elif not node.is_source and mode != "skip":
            for unit in range(first, last + 1):
                given = self._inlets.given(node, unit)
                assert given is not None, (node.name, unit)
                inputs.append(self._inlets.substituted(node, given, unit))
        ready = self._inlets.ready_ns(node, last)
        if ready is None:
            ready = self._plan.release_ns(last)
        due = self.due(node, last)
        level = state.chooser.pick(None if due is None else due - now) if mode == "step" else state.chooser.level
        generations = NO_GENERATIONS  # of most streams, and of most runs, it is 0
        for stream in state.outlets:
            if generation := self._windows[stream].generation:
                generations = {**generations, stream: generation}
        updates = state.take_updates(last) if mode != "skip" else ()  # a skip runs no body that could make them
        return Fire(
            node.name, mode, first, last, tuple(inputs), level, ready, now, generations, updates, self._session
        )  # fmt: skip
