"""Culprit of the last missed unit, found while the run goes on: from the last records alone, and only on request."""

from __future__ import annotations

from typing import Any

from .blame import blame
from .flight_recorder import AFTER_NS
from .history import History
from .outcome import Outcome, UnitKey
from .records import at_ns
from .statistics import Statistics


class LastMiss:
    """Remembers the culprit; looks for it again while what follows a miss may still show more of it."""

    def __init__(self) -> None:
        self._key: UnitKey | None = None
        self._is_final = False
        self._found: dict[str, Any] | None = None

    def poll(self, statistics: Statistics) -> dict[str, Any] | None:
        """The unit and the culprit in words; None when nothing was missed, or it is too long ago to say."""
        missed = statistics.newest_missed
        if missed is None or (missed.key == self._key and self._is_final):
            return self._found
        self._key, self._found = missed.key, None
        self._blame(statistics, missed)
        return self._found

    def _blame(self, statistics: Statistics, missed: Outcome) -> None:
        plan, records = statistics.plan, [*statistics.unfinished.values(), *statistics.recent]
        deadline = plan.release_ns(missed.unit) + plan.latency_ns
        self._is_final = max(map(at_ns, records), default=0) > deadline + AFTER_NS
        history = History(plan, records)
        lost = next((m for m in missed.missing if (m.stream, m.unit) in history.settled), None)
        if lost is not None:
            culprit = blame(history, lost)
            self._found = {"unit": missed.unit, "node": culprit.node, "kind": culprit.kind, "text": culprit.text}
