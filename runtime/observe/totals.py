"""Outcomes added up: how many were real, missed and concealed, and how long the real ones took.

A missed unit has no latency that could be compared with others: what stands in for it is there at once, and what was
given up was given up at its due. So every percentile is of real units, and is told with how many they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..units import MS
from .distribution import Distribution
from .outcome import Outcome

UNTIMED: dict[str, Any] = {
    "fps": 0.0,
    "latency_ms": {},
    "model_latency_ms": {},
    "slack_ms": {},
    "time_to_first_unit_ms": None,
    "deadline_attainment": None,
}
"""What the figures of a run that follows decisions do not know: no clock holds it."""


class Totals:
    """Takes outcomes in the order of their units.

    Attributes:
        units, real, concealed, missed: how many; the last three make up the first.
        underruns: how often presentation ran dry: missed units in a row count once.
        longest_lost: most units in a row that were not real.
        in_time: units that were real and did not begin to play late.
        missed_by: missed units, by the presenters that lacked something.
        latency, model_latency, slack: of real units, as `Outcome` has them.
        skew: of all units that have one.
        first_real_ns, first_ns, last_ns: when the first real unit, the first and the last unit were presented.
    """

    def __init__(self, period_ns: int, unit_frames: int) -> None:
        self.units = self.real = self.concealed = self.missed = self.underruns = self.in_time = 0
        self.missed_by: Counter[str] = Counter()
        self.latency, self.model_latency, self.slack, self.skew = (Distribution() for _ in range(4))
        self.first_real_ns: int | None = None
        self.first_ns: int | None = None
        self.last_ns = 0
        self._period_ns, self._unit_frames = period_ns, unit_frames
        self._n_played = self._n_lost = self.longest_lost = 0
        self._is_dry = False

    def add(self, outcome: Outcome) -> None:
        """Count one more unit."""
        self.units += 1
        self.real += outcome.is_real
        self.concealed += outcome.status == "concealed"
        self.missed += outcome.is_missed
        self.in_time += outcome.kept_its_deadline
        self.underruns += outcome.is_missed and not self._is_dry
        self._is_dry = outcome.is_missed
        self._n_lost = 0 if outcome.is_real else self._n_lost + 1
        self.longest_lost = max(self.longest_lost, self._n_lost)
        self.missed_by.update(outcome.lacking)
        if outcome.skew_ns is not None:
            self.skew.add(outcome.skew_ns)
        if outcome.presented_ns is not None:
            self._n_played += 1
            self.first_ns = outcome.presented_ns if self.first_ns is None else min(self.first_ns, outcome.presented_ns)
            self.last_ns = max(self.last_ns, outcome.presented_ns)
        if outcome.is_real:
            self._add_real(outcome)

    def _add_real(self, outcome: Outcome) -> None:
        for distribution, value in (
            (self.latency, outcome.latency_ns),
            (self.model_latency, outcome.model_latency_ns),
            (self.slack, outcome.slack_ns),
        ):
            assert value is not None, outcome  # something was presented, and all of it was there
            distribution.add(value)
        if self.first_real_ns is None:
            self.first_real_ns = outcome.presented_ns

    def having(self, more: Iterable[Outcome]) -> Totals:
        """These and some more; what is added up here stays as it is."""
        both = Totals(self._period_ns, self._unit_frames)
        vars(both).update(vars(self))
        both.missed_by = self.missed_by.copy()
        for name in ("latency", "model_latency", "slack", "skew"):
            setattr(both, name, getattr(self, name).copy())
        for outcome in more:
            both.add(outcome)
        return both

    @property
    def fps(self) -> float:
        """Pictures per second, over the units presented."""
        if self.first_ns is None:
            return 0.0
        span_ns = self.last_ns - self.first_ns + self._period_ns
        return self._n_played * self._unit_frames / (span_ns / 1e9)

    @property
    def deadline_attainment(self) -> float | None:
        """The share of units that were real and in time; None without units."""
        return self.in_time / self.units if self.units else None

    def counts(self) -> dict[str, Any]:
        """Counts of units, by the field's words where it has them."""
        attained, first_ns = self.deadline_attainment, self.first_real_ns
        return {
            "real": self.real,
            "misses": self.missed,
            "concealed": self.concealed,
            "underruns": self.underruns,
            "recover_ms": round(self.longest_lost * self._period_ns / MS, 3),
            "deadline_attainment": None if attained is None else round(attained, 5),
            "time_to_first_unit_ms": None if first_ns is None else round(first_ns / MS, 3),
        }

    def figures(self) -> dict[str, Any]:
        """Rates and quantiles, for a summary."""
        return {
            "fps": round(self.fps, 3),
            "latency_ms": self.latency.quantiles(),
            "model_latency_ms": self.model_latency.quantiles(),
            "slack_ms": self.slack.quantiles(low=True),
            "av_skew_ms": {name: ms for name, ms in self.skew.quantiles().items() if name != "p99"},
        }
