"""How much older the picture shown is than the sound played, unit by unit, from what was repeated."""

from __future__ import annotations

from array import array

from ..packet import Validity


class Skew:
    """Takes what was shown and played as it settles, each side in the order of its units.

    Attributes:
        ms: of every unit of which both sides are known, 8 bytes each: runs may last for days.
    """

    def __init__(self, period_ms: float) -> None:
        self.ms = array("d")
        self._period_ms = period_ms
        self._behind = 0
        self._seen: dict[int, int] = {}
        self._is_silent: dict[int, bool] = {}

    def show(self, unit: int, validity: Validity) -> None:
        """A picture; repeated, it is one unit older than the one before."""
        self._behind = self._behind + 1 if validity in (Validity.REPEATED, Validity.CONCEALED) else 0
        self._seen[unit] = self._behind
        self._pair(unit)

    def play(self, unit: int, validity: Validity) -> None:
        """A sound; what is silent has no time that a picture could be behind."""
        self._is_silent[unit] = validity in (Validity.CONCEALED, Validity.EMPTY, Validity.MISSING)
        self._pair(unit)

    def _pair(self, unit: int) -> None:
        if unit in self._seen and unit in self._is_silent:
            behind = self._seen.pop(unit)
            self.ms.append(0.0 if self._is_silent.pop(unit) else behind * self._period_ms)
