"""The three clocks. All of them tell nanoseconds after the run's origin; bodies never see one."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time of a run."""

    def now(self) -> int:
        """Nanoseconds after the origin; negative before it."""
        ...


class SystemClock:
    """Real time: the machine's monotonic clock, which all its processes share."""

    def __init__(self, origin_ns: int) -> None:
        self.origin_ns = origin_ns

    def now(self) -> int:
        """Nanoseconds after the origin."""
        return time.monotonic_ns() - self.origin_ns


class ManualClock:
    """Time that stands where it was put: for tests, and for virtual time, where events move it."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now = now_ns

    def now(self) -> int:
        """The time it was put to."""
        return self._now

    def move_to(self, now_ns: int) -> None:
        """Put it forward; time never runs backwards."""
        assert now_ns >= self._now, (now_ns, self._now)
        self._now = now_ns
