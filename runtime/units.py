"""The unit clock: exact media time, in integer nanoseconds.

A *unit* is the quantum of everything: ``unit_frames`` pictures at ``fps``, 4 frames at 25 fps = 160 ms.
All times are computed from unit numbers, never accumulated, so that nothing drifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from .errors import GraphError

NS = 1_000_000_000
MS = 1_000_000

USUAL_RATES_HZ = (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Sampling rates that devices and models have."""


@dataclass(frozen=True)
class UnitClock:
    """Division of media time into units.

    Attributes:
        fps: pictures per second, exact (``Fraction(30000, 1001)`` is welcome).
        unit_frames: pictures in one unit.
    """

    fps: Fraction = Fraction(25)
    unit_frames: int = 4

    def __post_init__(self) -> None:
        if self.fps <= 0:
            raise GraphError(f"clock.fps: found {self.fps} (expected more than 0), for example 25")
        if self.unit_frames < 1:
            raise GraphError(f"clock.unit_frames: found {self.unit_frames} (expected 1 or more), for example 4")

    @property
    def period(self) -> Fraction:
        """Length T of one unit in seconds, exact."""
        return Fraction(self.unit_frames) / self.fps

    @cached_property
    def period_ns(self) -> int:
        """Length T of one unit in nanoseconds, rounded down; for margins, never for adding up."""
        return int(self.period * NS)

    def pts_ns(self, unit: int) -> int:
        """Media time at which unit ``unit`` begins: ``unit * T``, rounded towards 0.

        In whole numbers: every time in a run is computed here, and a `Fraction` takes ten times as long.
        """
        scaled, parts = self._ratio
        return unit * scaled // parts if unit >= 0 else -(-unit * scaled // parts)

    def unit_at(self, at_ns: int) -> int:
        """The unit that is going on at an instant: the last one that has begun."""
        scaled, parts = self._ratio
        return at_ns * parts // scaled

    def release_ns(self, unit: int) -> int:
        """Time after the origin at which unit ``unit`` is complete: ``(unit + 1) * T``."""
        return self.pts_ns(unit + 1)

    def duration_ns(self, unit: int) -> int:
        """Length of unit ``unit``; differs by 1 ns between units where T is not a whole number of them."""
        return self.pts_ns(unit + 1) - self.pts_ns(unit)

    @cached_property
    def _ratio(self) -> tuple[int, int]:
        """T in nanoseconds as a ratio of whole numbers."""
        return self.unit_frames * self.fps.denominator * NS, self.fps.numerator

    def samples(self, rate_hz: int) -> int:
        """Audio samples in one unit at ``rate_hz``.

        Raises:
            GraphError: the rate does not give a whole number of samples per unit.
        """
        exact = self.period * rate_hz
        if exact.denominator != 1:
            raise GraphError(
                f"clock: {rate_hz} Hz gives {float(exact):.3f} samples per unit of {float(self.period * 1000):g} ms "
                f"(expected a whole number), choose {self._whole_choices(rate_hz)}"
            )
        return int(exact)

    def _whole_choices(self, rate_hz: int) -> str:
        """The nearest clocks and rates that give whole numbers of samples, in words."""
        step = (rate_hz / self.fps).denominator
        below = self.unit_frames // step * step
        frames = [n for n in (below, below + step) if n]
        whole = [rate for rate in USUAL_RATES_HZ if (self.period * rate).denominator == 1]
        rates = sorted(sorted(whole, key=lambda rate: abs(rate - rate_hz))[:2])
        choices = ["unit_frames " + " or ".join(f"{n} ({float(1000 * n / self.fps):g} ms)" for n in frames)]
        choices += [f"rate_hz {' or '.join(map(str, rates))}"] if rates else []
        return ", ".join([*choices, "or another fps"])

    def units_for(self, seconds: float) -> int:
        """Units needed to cover ``seconds``, rounded up."""
        return -int(-Fraction(seconds).limit_denominator(1_000_000) / self.period // 1)
