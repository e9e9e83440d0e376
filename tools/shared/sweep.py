"""``--sweep KEY=FROM:TO:STEP``: one figure of a profile over a range, a simulated run for each value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from ...runtime.errors import UserError

if TYPE_CHECKING:
    from ...runtime.forecast.profile import Profile
    from ...runtime.plan.plan import Plan

MAX_POINTS = 1000
BAR = 40


@dataclass(frozen=True)
class Sweep:
    """A figure's name in a profile, and the values to try."""

    key: str
    values: tuple[float, ...]


def parse_sweep(text: str) -> Sweep:
    """``profile.perform.cost_ms=20:200:10`` -> the figure and 20, 30 ... 200.

    Raises:
        UserError: anything else.
    """
    key, _, span = text.rpartition("=")
    if not key.startswith("profile."):
        raise UserError(
            f"--sweep: found '{text}' (expected profile.NODE.FIGURE=FROM:TO:STEP), "
            "for example profile.perform.cost_ms=20:200:10"
        )
    try:
        first, last, step = (Decimal(part) for part in span.split(":"))
        if not (first.is_finite() and last.is_finite() and step.is_finite() and step > 0 and last >= first >= 0):
            raise ValueError(span)
    except (ValueError, InvalidOperation) as error:
        raise UserError(
            f"--sweep: found the range '{span}' (expected FROM:TO:STEP, 0 <= FROM <= TO, STEP more than 0), "
            "for example 20:200:10"
        ) from error
    n = int((last - first) / step) + 1
    if n > MAX_POINTS:
        raise UserError(f"--sweep: found {n} values (expected {MAX_POINTS} or less), make the step larger")
    # Decimals: 0.1 steps end where they should.
    return Sweep(key.removeprefix("profile."), tuple(float(first + i * step) for i in range(n)))


def run_sweep(plan: Plan, profile: Profile, sweep: Sweep, units: int, seed: int) -> Iterator[dict[str, Any]]:
    """A row per value: verdict, latency, misses. Equal draws for all of them, so that they differ by the value alone.

    Raises:
        UserError: no such figure.
    """
    from ...runtime.forecast.verdict import judge

    for value in sweep.values:
        verdict = judge(plan, profile.having(sweep.key, value), units, seed)
        summary = verdict.simulated.summary
        yield {
            "value": value,
            "verdict": verdict.word,
            "reason": verdict.reasons[0],
            "model_latency_ms": summary["model_latency_ms"],
            "real": summary["real"],
            "misses": summary["misses"],
            "late": summary["late"],
            "units": units,
        }


def plot(rows: list[dict[str, Any]], latency_ms: float) -> list[str]:
    """A bar per value: ``#`` up to p50 of the model latency, ``+`` up to p95, ``|`` where it is due."""
    longest = max([latency_ms, *(row["model_latency_ms"].get("p95", 0.0) for row in rows)])
    return [_bar(row["model_latency_ms"], latency_ms, longest) for row in rows]


def _bar(latency: dict[str, float], due_ms: float, longest: float) -> str:
    def at(ms: float) -> int:
        return round(ms / longest * BAR)

    typical, tail = at(latency.get("p50", 0.0)), at(latency.get("p95", 0.0))
    cells = ["#" if i < typical else "+" if i < tail else " " for i in range(BAR + 1)]
    cells[at(due_ms)] = "|"
    return "".join(cells)
