"""Who made the last unit miss, said while the run goes on: from the last records alone, and only when somebody asks."""

from __future__ import annotations

from typing import Any

from .blame import blame
from .flight_recorder import AFTER_NS, at_ns
from .history import History
from .statistics import Statistics


class LastMiss:
    """Remembers what it found; looks again while what follows a miss may still tell more of it."""

    def __init__(self) -> None:
        self._unit = -1
        self._is_final = False
        self._found: dict[str, Any] | None = None

    def look(self, statistics: Statistics) -> dict[str, Any] | None:
        """The unit and the culprit in words; None when nothing was missed, or it is too long ago to say."""
        unit = statistics.last_missed_unit
        if unit == self._unit and self._is_final:
            return self._found
        self._unit, self._found, self._is_final = unit, None, False
        if unit >= 0:
            self._blame(statistics, unit)
        return self._found

    def _blame(self, statistics: Statistics, unit: int) -> None:
        plan, records = statistics.plan, list(statistics.recent)
        deadline = plan.release_ns(unit) + plan.latency_ns
        self._is_final = max(map(at_ns, records), default=0) > deadline + AFTER_NS
        history = History(plan, records)
        if lacking := history.misses.get(unit):
            culprit = blame(history, *lacking[0], unit)
            self._found = {"unit": unit, "node": culprit.node, "kind": culprit.kind, "text": culprit.text}
