"""Times of each unit of a visit, for the page's latency strip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...runtime.observe.outcome import Outcome
from ...runtime.observe.records import Record
from ...runtime.observe.run_view import RunView
from ...runtime.plan.plan import Plan
from ...runtime.schedule.events import Firing
from .protocol import Times

SETTLED_UNITS = 3
"""How many units behind the newest a unit is told: records of several processes come a few hundred ms apart."""

KEPT_UNITS = 64
"""Units of which the work of nodes is kept until they are told."""


class Strip:
    """Makes `Times` of records.

    Args:
        plan: of the run.
        nodes: whose work is told, in this order.
    """

    def __init__(self, plan: Plan, nodes: Sequence[str]) -> None:
        self._view = RunView(plan)
        self._place = {name: i for i, name in enumerate(nodes)}
        self._work: dict[int, list[float]] = {}
        self._reported = -1

    def add(self, records: Iterable[Record]) -> list[Times]:
        """Take in records; the units that can be told by now."""
        records = list(records)
        self._view.add(records)
        for record in records:
            if isinstance(record, Firing) and record.node in self._place:
                self._add_work(record)
        presented = self._view.open()
        if not presented:
            return []
        newest = presented[-1].unit
        fresh = [o for o in presented if self._reported < o.unit <= newest - SETTLED_UNITS]
        times = [self._times(outcome) for outcome in fresh]
        if fresh:
            self._reported = fresh[-1].unit
            self._work = {unit: work for unit, work in self._work.items() if unit > self._reported}
        return times

    def _add_work(self, firing: Firing) -> None:
        if firing.last <= self._reported or firing.verdict == "end":
            return
        if len(self._work) >= KEPT_UNITS and firing.last not in self._work:
            del self._work[min(self._work)]
        work = self._work.setdefault(firing.last, [-1.0] * len(self._place))
        work[self._place[firing.node]] = round((firing.finished_ns - firing.started_ns) / 1e6, 2)

    def _times(self, outcome: Outcome) -> Times:
        ready = outcome.model_latency_ns
        return Times(
            unit=outcome.unit,
            node_ms=self._work.get(outcome.unit, [-1.0] * len(self._place)),
            answered_ms=-1.0 if ready is None else round(ready / 1e6, 2),
            outcome="late" if outcome.is_real and outcome.late_ns else outcome.status,
        )
