"""Figures of hops from one process to another, whoever made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Hops:
    """Hops that were measured.

    Attributes:
        us: microseconds of each that arrived.
        sent: how many there were.
        cpu_us: processor time of sender and reader for each; None where it cannot be told apart.
    """

    us: list[float]
    sent: int
    cpu_us: float | None

    def figures(self) -> dict[str, Any]:
        """Plain data: quantiles, losses, processor time."""
        p50, p99, p999 = np.percentile(self.us, [50, 99, 99.9]) if self.us else (0.0, 0.0, 0.0)
        return {
            "p50": round(float(p50), 1),
            "p99": round(float(p99), 1),
            "p99.9": round(float(p999), 1),
            "max": round(max(self.us, default=0.0), 1),
            "lost": self.sent - len(self.us),
            "cpu_us": None if self.cpu_us is None else round(self.cpu_us, 1),
        }
