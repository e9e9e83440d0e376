"""Alarms: what waits for an instant, in a heap, so that nobody is looked at before their time has come."""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """Whatever can wait for an instant; None: it waits for none."""

    alarm_ns: int | None


Owner = TypeVar("Owner", bound=Timed)


def earlier(one_ns: int | None, other_ns: int | None) -> int | None:
    """The nearer of two instants, where there is any."""
    if one_ns is None or other_ns is None:
        return other_ns if one_ns is None else one_ns
    return min(one_ns, other_ns)


class Timers(Generic[Owner]):
    """The alarms of many owners, each with at most one.

    Invariant: for every owner with an alarm there is an entry of that instant in the heap. An entry whose owner has
    another alarm by now, or none, is void and is dropped when it comes up: taking it out at once would be a search.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Owner]] = []
        self._n_set = 0

    def set(self, owner: Owner, at: int | None) -> None:
        """Wake an owner at this instant, and not at the one set before; None: not at all."""
        if owner.alarm_ns == at:
            return
        owner.alarm_ns = at
        if at is not None:
            self._n_set += 1
            heapq.heappush(self._heap, (at, self._n_set, owner))

    def due(self, now: int) -> list[Owner]:
        """Owners whose instant has come, in the order in which they were set; they have no alarm any more."""
        if not self._heap or self._heap[0][0] > now:
            return []
        found = []
        while self._heap and self._heap[0][0] <= now:
            at, number, owner = heapq.heappop(self._heap)
            if owner.alarm_ns == at:
                owner.alarm_ns = None
                found.append((number, owner))
        if len(found) > 1:
            found.sort(key=lambda entry: entry[0])
        return [owner for _, owner in found]

    @property
    def next_ns(self) -> int | None:
        """The nearest alarm."""
        while self._heap and self._heap[0][2].alarm_ns != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
