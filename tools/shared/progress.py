"""A line every few seconds on how a run is doing, where no live view is drawn."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...runtime.observe.distribution import RECENT, quantiles
from ...runtime.observe.outcome import real_latencies_ns
from ...runtime.observe.statistics import Statistics

EVERY_S = 10.0


class ProgressLines:
    """Watches a run.

    Args:
        write: takes a line.
        clock: seconds.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._next_s = clock() + EVERY_S

    def poll(self, statistics: Statistics, usage: object) -> None:
        """Write a line if it is time."""
        now_s = self._clock()
        if now_s >= self._next_s:
            self._next_s = now_s + EVERY_S
            self._write(line(statistics))


def line(statistics: Statistics) -> str:
    """Units, misses, and the latency of the last units that were real."""
    latency = quantiles(real_latencies_ns(statistics.newest_outcomes()[-RECENT:]))
    text = f"unit {statistics.units_presented}: {statistics.misses} misses, {sum(statistics.late.values())} late"
    if not latency:
        return text
    due = statistics.plan.latency_ns / 1e6
    return f"{text}, model latency p50 {latency['p50']:.1f}, p95 {latency['p95']:.1f} of {due:g} ms"
