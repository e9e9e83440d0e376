"""Many durations in little memory: every one of them while they are few, then how many fell into each bucket.

A bucket is 2 % wide, so that a quantile read from buckets is within 1 % of the value that it stands for. Least and
greatest value stay exact. A run of days keeps what a run of an hour does.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence

from ..units import MS

EXACT = 4096
"""Values kept as they are; the next one turns all of them into buckets."""

ERROR = 0.01
"""How far, by its own size, a value read from a bucket may be off."""

RECENT = 50
"""The newest values, kept besides: what live views show."""

FARTHEST_NS = 2**63 - 1
"""What a value of more than 64 bits counts as."""

_GAMMA = (1 + ERROR) / (1 - ERROR)
_LOG_GAMMA = math.log(_GAMMA)


class Distribution:
    """Whole nanoseconds, of either sign."""

    __slots__ = ("_buckets", "_greatest", "_least", "_n", "_recent", "_values")

    def __init__(self, values_ns: Iterable[int] = ()) -> None:
        self._values = array("q")
        # From here on once there are buckets; before, the values say it.
        self._buckets: dict[int, int] = {}
        self._n = self._least = self._greatest = 0
        self._recent: deque[int] = deque(maxlen=RECENT)
        for value in values_ns:
            self.add(value)

    def __len__(self) -> int:
        return self._n if self._buckets else len(self._values)

    def add(self, ns: int) -> None:
        """Count a value."""
        if not self._buckets:
            try:
                self._values.append(ns)
            except OverflowError:  # of a damaged trace: no run lasts that long
                self._values.append(FARTHEST_NS if ns > 0 else -FARTHEST_NS)
            if len(self._values) > EXACT:
                self._turn_into_buckets()
            return
        self._n += 1
        self._least, self._greatest = min(self._least, ns), max(self._greatest, ns)
        self._recent.append(ns)
        bucket = _bucket(ns)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    @property
    def recent(self) -> list[int]:
        """The last `RECENT` values, the newest last."""
        return list(self._recent) if self._buckets else list(self._values[-RECENT:])

    def copy(self) -> Distribution:
        """The same values; what is added to one of them is not added to the other."""
        twin = Distribution()
        twin._values, twin._buckets, twin._recent = self._values[:], dict(self._buckets), self._recent.copy()
        twin._n, twin._least, twin._greatest = self._n, self._least, self._greatest
        return twin

    def quantiles(self, *, with_max: bool = True, low: bool = False) -> dict[str, float]:
        """Quantiles as of `quantiles` of all values."""
        if not self._buckets:
            return quantiles(self._values, with_max=with_max, low=low)
        return _named(self.quantile, with_max=with_max, low=low)

    def quantile(self, q: float) -> float:
        """The value below which a share ``q`` of all lies, in nanoseconds; there is at least one.

        Between two neighbours the value is interpolated.
        """
        if not self._buckets:
            return _at(sorted(self._values), q)
        position = q * (self._n - 1)
        below = int(position)
        low, high = self._ranked(below), self._ranked(min(below + 1, self._n - 1))
        return low + (high - low) * (position - below)

    def _turn_into_buckets(self) -> None:
        values, self._values = self._values, array("q")
        self._buckets = dict(Counter(map(_bucket, values)))
        self._n, self._least, self._greatest = len(values), min(values), max(values)
        self._recent.extend(values[-RECENT:])

    def _ranked(self, rank: int) -> float:
        """The value that has ``rank`` others below it, as far as its bucket tells."""
        if rank == 0:
            return self._least
        if rank == self._n - 1:
            return self._greatest
        before = 0
        for bucket in sorted(self._buckets):
            before += self._buckets[bucket]
            if before > rank:
                return min(max(_middle(bucket), self._least), self._greatest)
        raise AssertionError((rank, self._n, before))


def quantiles(values_ns: Collection[int], *, with_max: bool = True, low: bool = False) -> dict[str, float]:
    """p50, p95, p99 and max of nanoseconds, as milliseconds (``low``: p50, p5, p1 and min); empty without values."""
    if not values_ns:
        return {}
    ordered = sorted(values_ns)
    return _named(lambda q: _at(ordered, q), with_max=with_max, low=low)


def _named(at: Callable[[float], float], *, with_max: bool, low: bool) -> dict[str, float]:
    wanted = {"p50": 0.5, "p5": 0.05, "p1": 0.01, "min": 0.0} if low else {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    if with_max and not low:
        wanted["max"] = 1.0
    return {name: round(at(q) / MS, 3) for name, q in wanted.items()}


def _at(ordered: Sequence[int], q: float) -> float:
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _bucket(ns: int) -> int:
    """Buckets of larger values have larger numbers; 0 is a bucket of its own."""
    if not ns:
        return 0
    number = math.ceil(math.log(abs(ns)) / _LOG_GAMMA) + 1
    return number if ns > 0 else -number


def _middle(bucket: int) -> float:
    """The value that is within `ERROR` of everything in a bucket."""
    if not bucket:
        return 0.0
    size = 2 * _GAMMA ** (abs(bucket) - 1) / (_GAMMA + 1)
    return size if bucket > 0 else -size
