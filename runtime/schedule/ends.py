"""Ends of nodes, as far as they can be known in a process before the packets of the end arrive there."""

from __future__ import annotations

from collections.abc import Mapping

from ..plan.plan import Plan
from .window import StreamWindow


class Ends:
    """Units at which nodes end.

    Args:
        plan: the checked graph.
        windows: of the process, by stream: an end that has settled is certain.
        limit: sources end at this unit, or where they were when it was set lower.

    Attributes:
        here: nodes of this process that have ended.

    What follows from a limit is a guess until the ends are there: a source that was told to stop may have been further
    on. So nothing of it is kept once an end or a new limit says more.
    """

    def __init__(self, plan: Plan, windows: Mapping[str, StreamWindow], limit: int | None) -> None:
        self.limit = limit
        self.here: dict[str, int] = {}
        self._plan = plan
        self._windows = windows
        self._guesses: dict[str, int | None] = {}

    def lower(self, unit: int) -> None:
        """End every source at ``unit`` (or where it already is, if that is later)."""
        self.limit = unit if self.limit is None else min(self.limit, unit)
        self.forget_guesses()

    def forget_guesses(self) -> None:
        """Something is certain that was a guess."""
        self._guesses.clear()

    def of(self, node: str) -> int | None:
        """The unit at which a node ends; None where that is not known."""
        if node in self.here:
            return self.here[node]
        plan = self._plan.nodes[node]
        for port in plan.outputs:
            window = self._windows.get(f"{node}.{port}")
            if window is not None and window.ended_at is not None:
                return window.ended_at
        if plan.is_source:
            return self.limit
        if node not in self._guesses:
            # without delayed inputs: over a loop the question would come back to this node without end
            ends = [self.of(self._plan.streams[i.stream].node) for i in plan.inputs if not i.delay]
            known = [end for end in ends if end is not None]
            self._guesses[node] = max(known) if known and len(known) == len(ends) else None
        return self._guesses[node]
