"""Verdict on a graph and its clock: *infeasible* by the sums; *does not hold* or *feasible* by simulation; *unproven*
where it held with nothing but declared budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..engine.faults import Fault
from ..errors import listing
from ..observe.lateness import past_due_ns
from ..observe.run_view import outcomes_of
from ..plan.plan import Plan
from .profile import Profile
from .resources import Forecast, budgets, forecast
from .simulate import Simulated, simulate

Word = Literal["infeasible", "does not hold", "feasible", "unproven"]

FAILED: tuple[Word, ...] = ("infeasible", "does not hold")
"""Verdicts on graphs that do not keep their clock."""


@dataclass(frozen=True)
class Verdict:
    """Verdict before a run, with its reasons. ``reasons``: whole sentences, each beginning with the word."""

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
        text = f"does not hold: {_broken(plan, run, units)}{', with what was injected' if faults else ''}"
        return Verdict("does not hold", (text,), costs, sums, run)
    if profile is None:
        text = "unproven: every due holds with the declared budgets, but nothing was measured"
        if len(plan.unbudgeted) == len(plan.nodes):
            text = "unproven: no node has a budget, so that all of them cost 0 here"
        elif plan.unbudgeted:
            text += f", and {listing(plan.unbudgeted)} without a budget cost 0 here"
        text += "; prove it: wangraph profile GRAPH -o FILE, then wangraph check GRAPH --timing --profile FILE"
        return Verdict("unproven", (text,), costs, sums, run)
    text = f"feasible: every due held in {units} simulated units with the profile '{profile.name}'"
    if sums.strained:
        text += f", but only at lower levels ({'; '.join(sums.strained)})"
    if late := run.summary["late"]:
        text += f"; {late} presentation{'s' if late > 1 else ''} began late with the profile's clock"
    return Verdict("feasible", (text,), costs, sums, run)


def _broken(plan: Plan, run: Simulated, units: int) -> str:
    """The first thing that did not hold, in words."""
    counts = f"{run.summary['misses']} misses and {run.summary['late']} late in {units} simulated units"
    first = run.first_late
    if first is None:
        lost = next((o.missing[0] for o in outcomes_of(plan, run.records) if o.missing), None)
        return counts + ("" if lost is None else f", first: node '{lost.node}' got no {lost.port} of unit {lost.unit}")
    node, after = plan.nodes[first.node], past_due_ns(plan.nodes[first.node], first) / 1e6
    how = "began" if node.paced else "finished" if first.mode == "step" else "only took in"
    how = "was not run for" if first.mode == "skip" else how
    return f"{counts}, first: node '{first.node}' {how} unit {first.last}, {after:.1f} ms after its due"
