"""Decisions of the scheduler: a call of a body (`Fire`), and at which level of effort (`LevelChooser`)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from ..packet import Packet
from ..plan.plan import Mode

NO_GENERATIONS: Mapping[str, int] = MappingProxyType({})

Given = Packet | tuple[Packet, ...] | None
"""What stands behind one inlet for one unit: a packet, several with look-ahead, None when it is not connected."""


class Fire(msgspec.Struct, frozen=True):
    """Call this body now: units ``first..last`` (one for a step), with the inputs of each unit by port.

    ``generations`` are those of the node's output streams when it started: what a fence has overtaken by the time
    it finishes is discarded. ``updates`` are changes of the node's parameters, to be made before the call, in order.
    """

    node: str
    mode: Mode
    first: int
    last: int
    inputs: tuple[Mapping[str, Given], ...]
    level: int = 0
    ready_ns: int = 0
    started_ns: int = 0
    generations: Mapping[str, int] = NO_GENERATIONS
    updates: tuple[Mapping[str, Any], ...] = ()
    session: int = 0

    @property
    def units(self) -> range:
        """Unit numbers of the call."""
        return range(self.first, self.last + 1)


class LevelChooser:
    """Picks an entry of a node's ladder (0 is the best) from the slack it has, with hysteresis.

    Down at once when the expected cost does not fit; up by one after `patience` units in which the better level
    would have fitted with room to spare. Expectation is a moving mean plus twice the moving deviation of what each
    level cost; levels better than the current one are forgotten slowly, so that one stall is not held against them.
    """

    patience = 12
    room = 1.3

    def __init__(self, n_levels: int) -> None:
        self.level = 0
        self._mean: list[float | None] = [None] * n_levels
        self._deviation = [0.0] * n_levels
        self._fitting = 0

    def pick(self, slack_ns: int | None) -> int:
        """The level for a unit that has ``slack_ns`` until its due (None: no due)."""
        if slack_ns is None or len(self._mean) < 2:
            return self.level
        # as far down as it needs at once: one level a unit would miss as many units as there are levels
        while self.level < len(self._mean) - 1 and self._expected(self.level) > slack_ns:
            self.level += 1
            self._fitting = 0
        if self.level and self._expected(self.level - 1) * self.room <= slack_ns:
            self._fitting += 1
            if self._fitting >= self.patience:
                self.level -= 1
                self._fitting = 0
        else:
            self._fitting = 0
        return self.level

    def observe(self, level: int, cost_ns: int) -> None:
        """A unit at ``level`` took this long."""
        if level >= len(self._mean):
            return
        mean = self._mean[level]
        if mean is None:
            self._mean[level] = float(cost_ns)
        else:
            self._deviation[level] += 0.1 * (abs(cost_ns - mean) - self._deviation[level])
            self._mean[level] = mean + 0.1 * (cost_ns - mean)
        for better in range(level):
            known = self._mean[better]
            if known is not None:
                self._mean[better] = max(known * 0.99, self._mean[level] or 0.0)
                self._deviation[better] *= 0.99

    def _expected(self, level: int) -> float:
        mean = self._mean[level]
        return 0.0 if mean is None else mean + 2 * self._deviation[level]
