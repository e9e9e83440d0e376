"""Figures with intervals: Wilson's for counts, bootstrap by dialogue for everything else.

They know how dialogues differ, and that those of one user are alike; not that there are few voices, of which others
might do better or worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

LEVEL_Z = 1.959964
"""Of 95 % intervals."""
DRAWS = 1000
"""Of a bootstrap."""
NO_EVENT = -math.log(0.025)
"""So many events are expected, at most, where none was seen."""


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95 % interval.

    Attributes:
        value: NaN where there was nothing to measure; infinite where it never happened.
        low, high: the interval; NaN where one dialogue tells nothing of others.
        n: events that it was measured on.
        unit: ``share``, ``ms``, ``per minute``, ``a turn`` or empty.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str

    def text(self) -> str:
        """``0.967 [0.941, 0.982]``."""
        if math.isnan(self.value):
            return "-"
        if math.isnan(self.low):
            return f"{number(self.value, self.unit)} [-]"
        return f"{number(self.value, self.unit)} [{number(self.low, self.unit)}, {number(self.high, self.unit)}]"

    def plain(self) -> dict[str, float | int | str | None]:
        """For JSON, which knows neither NaN nor infinity."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


NOTHING = Figure(math.nan, math.nan, math.nan, 0, "")


def share(hits: Sequence[bool]) -> Figure:
    """The share of ``hits``, each of a dialogue of its own, that are true, with Wilson's interval."""
    return _wilson(sum(hits), len(hits), 1.0)


def share_of(dialogues: Sequence[Sequence[bool]]) -> Figure:
    """The same where dialogues have several each, which may be alike: Wilson's interval for as many as they are worth.

    The design effect (Kish 1965) is what their sums by dialogue vary more than if all were independent.
    """
    rows = np.array([(sum(hits), len(hits)) for hits in dialogues if len(hits)], np.float64).reshape(-1, 2)
    hits, n = rows.sum(0).tolist()
    p = hits / n if n else 0.0
    alone = n * p * (1 - p)
    together = float(((rows[:, 0] - p * rows[:, 1]) ** 2).sum())
    return _wilson(int(hits), int(n), max(1.0, together / alone) if alone else 1.0)


def _wilson(hits: int, n: int, effect: float) -> Figure:
    """``effect``: by how much the variance is greater than that of independent hits."""
    if not n:
        return NOTHING
    p, z, worth = hits / n, LEVEL_Z, n / effect
    middle = (p + z * z / (2 * worth)) / (1 + z * z / worth)
    half = z / (1 + z * z / worth) * math.sqrt(p * (1 - p) / worth + z * z / (4 * worth * worth))
    return Figure(p, min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half)), n, "share")  # but for rounding


def quantile(dialogues: Sequence[Sequence[float]], q: float = 0.5, unit: str = "ms") -> Figure:
    """A quantile over all values of all dialogues; what never happened is infinite and counts."""
    return _bootstrap(dialogues, lambda rows: _quantile(np.concatenate(rows), q), unit)


def mean(dialogues: Sequence[Sequence[float]], unit: str = "") -> Figure:
    """The mean over all values of all dialogues."""
    return _bootstrap(dialogues, lambda rows: float(np.concatenate(rows).mean()), unit)


def ratio(dialogues: Sequence[Sequence[tuple[float, float]]], unit: str = "share") -> Figure:
    """The sum of the first numbers over the sum of the second ones."""

    def of(rows: list[NDArray[np.float64]]) -> float:
        top, bottom = np.concatenate(rows).sum(0)
        return float(top / bottom) if bottom else math.nan

    found = _bootstrap(dialogues, of, unit)
    if unit == "share" and found.value in (0.0, 1.0):
        # equal values have no spread to draw from: as if every answer were one hit or miss
        plain = share([bool(found.value)] * found.n)
        return replace(found, low=plain.low, high=plain.high)
    if unit != "share" and found.value == 0.0:
        # what never happened may happen all the same: Poisson's limit for no event in this time
        return replace(found, low=0.0, high=NO_EVENT / sum(bottom for row in dialogues for _, bottom in row))
    return found


def difference(one: Figure, other: Figure) -> Figure:
    """``one - other``, of independent figures; the intervals add as squares."""
    if math.isnan(one.value) or math.isnan(other.value):
        return NOTHING
    value = one.value - other.value
    low = math.hypot(one.value - one.low, other.high - other.value)
    high = math.hypot(one.high - one.value, other.value - other.low)
    return Figure(value, value - low, value + high, min(one.n, other.n), one.unit)


def average(one: Figure, other: Figure) -> Figure:
    """``(one + other) / 2``, of independent figures."""
    if math.isnan(one.value) or math.isnan(other.value):
        return NOTHING
    value = (one.value + other.value) / 2
    low = math.hypot(one.value - one.low, other.value - other.low) / 2
    high = math.hypot(one.high - one.value, other.high - other.value) / 2
    return Figure(value, value - low, value + high, one.n + other.n, one.unit)


_Statistic = Callable[[list[NDArray[np.float64]]], float]


def _bootstrap(dialogues: Sequence[Sequence[float | tuple[float, float]]], of: _Statistic, unit: str) -> Figure:
    rows = [np.asarray(values, np.float64) for values in dialogues if len(values)]
    if not rows:
        return NOTHING
    rng = np.random.default_rng(71)
    if len(rows) < 2:
        return Figure(of(rows), math.nan, math.nan, sum(len(row) for row in rows), unit)
    drawn = [of([rows[i] for i in rng.integers(len(rows), size=len(rows))]) for _ in range(DRAWS)]
    low, high = _quantile(np.asarray(drawn), 0.025), _quantile(np.asarray(drawn), 0.975)
    return Figure(of(rows), low, high, sum(len(row) for row in rows), unit)


def _quantile(values: NDArray[np.float64], q: float) -> float:
    """Without interpolation, which infinity does not allow."""
    return float(np.quantile(values, q, method="inverted_cdf"))


def number(value: float, unit: str) -> str:
    """A value of a figure, as it is printed."""
    if math.isinf(value):
        return "never"
    return f"{value:.0f}" if unit == "ms" else f"{value:.1f}" if unit == "per minute" else f"{value:.3f}"
