"""Print of figures of units: never without how many units they are of."""

from __future__ import annotations

import math
from typing import Any


def quantiles_line(quantiles: dict[str, float], summary: dict[str, Any]) -> str:
    """``p50 47.0  p95 61.0  ms  of 12 real, 38 missed``, of the figures of real units in a run's summary."""
    if not quantiles:
        return f"none of {summary['units']} units was real"
    figures = "  ".join(f"{name} {value:.1f}" for name, value in quantiles.items())
    return f"{figures}  ms  of {made_up_of(summary)}"


def made_up_of(summary: dict[str, Any]) -> str:
    """``12 real, 38 missed``: what the units of a run were; kinds that there were none of are left out."""
    counts = {"missed": summary["misses"], "concealed": summary["concealed"]}
    return ", ".join([f"{summary['real']} real", *(f"{n} {name}" for name, n in counts.items() if n)])


def percent(share: float) -> str:
    """Rounded down: 100 % is all of them."""
    return f"{math.floor(share * 1000) / 10:g} %"
