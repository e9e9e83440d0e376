"""Whether a graph can keep its clock: *infeasible* by the sums, *feasible* by simulation, else *unproven*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..plan.plan import Plan
from ..plan.profile import Profile
from ..plan.resources import Forecast, budgets, forecast
from .inject import Fault
from .simulate import Simulated, simulate

Word = Literal["infeasible", "feasible", "unproven"]


@dataclass(frozen=True)
class Verdict:
    """What can be said before a run, and why. ``reasons``: whole sentences, each beginning with the word."""

    word: Word
    reasons: tuple[str, ...]
    profile: Profile
    forecast: Forecast
    simulated: Simulated


def judge(
    plan: Plan, profile: Profile | None, units: int, seed: int = 0, faults: Sequence[Fault] = ()
) -> Verdict:  # fmt: skip
    """Look at a graph's sums, and run it so many units in simulation.

    Args:
        profile: None: by the graph's own budgets, which prove nothing but what cannot be.
        faults: what to inject into the simulation.

    Raises:
        UserError: the profile lacks a node.
    """
    costs = budgets(plan) if profile is None else profile
    sums, run = forecast(plan, costs, units), simulate(plan, costs, units, seed, faults)
    if sums.infeasible:
        return Verdict("infeasible", sums.infeasible, costs, sums, run)
    if not run.holds:
        return Verdict("unproven", (f"unproven: {_broken(plan, run, units)}",), costs, sums, run)
    if profile is None:
        text = "unproven: every due holds with the declared budgets, but nothing was measured, give --profile FILE"
        return Verdict("unproven", (text,), costs, sums, run)
    text = f"feasible: every due held in {units} simulated units with the profile '{profile.name}'"
    if sums.strained:
        text += f", but only at lower levels ({'; '.join(sums.strained)})"
    return Verdict("feasible", (text,), costs, sums, run)


def _broken(plan: Plan, run: Simulated, units: int) -> str:
    """The first thing that did not hold, in words."""
    counts = f"{run.summary['misses']} misses and {run.summary['late']} late in {units} simulated units"
    first = run.first_late
    if first is None or first.due_ns is None:
        return counts
    after = (first.finished_ns - first.due_ns) / 1e6
    how = "finished" if first.mode == "step" else "was not run for" if first.mode == "skip" else "only took in"
    return f"{counts}, first: node '{first.node}' {how} unit {first.last}, {after:.1f} ms after its due"
