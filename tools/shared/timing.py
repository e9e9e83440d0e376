"""``wangraph check --timing``: what a profile, or the budgets, say of a graph before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .figures import quantiles_line
from .tables import table

if TYPE_CHECKING:
    from rich.console import Console

    from ...runtime.forecast.profile import Profile
    from ...runtime.forecast.resources import Forecast
    from ...runtime.plan.plan import Plan

SIMULATED = ("units", "real", "misses", "concealed", "late", "deadline_attainment", "model_latency_ms", "slack_ms")
"""What is reported of the simulated run."""

UNITS = 375
"""A minute of units of 160 ms: what is simulated for the verdict."""


def judged(plan: Plan, reference: str | None) -> dict[str, Any]:
    """The verdict on a graph as JSON holds it; times in milliseconds after release.

    Raises:
        UserError: no such profile, or it lacks a node.
    """
    from ...runtime.forecast.profile_file import load_profile
    from ...runtime.forecast.verdict import judge

    profile = None if reference is None else load_profile(reference)
    verdict = judge(plan, profile, UNITS)
    run = verdict.simulated.summary
    return {
        "verdict": verdict.word,
        "reasons": list(verdict.reasons),
        "strained": list(verdict.forecast.strained),
        "profile": {"name": verdict.profile.name, "file": verdict.profile.where, "source": verdict.profile.source},
        "warnings": warnings(plan, verdict.profile),
        "simulated": {key: run[key] for key in SIMULATED},
        **_sums(verdict.forecast),
    }


def warnings(plan: Plan, profile: Profile) -> list[str]:
    """Warnings about a profile before its figures are believed."""
    return [text] if (text := profile.foreign_to(plan)) else []


def print_verdict(out: Console, word: str, reasons: Sequence[str]) -> None:
    """The reasons of a verdict, its word in the colour of what it means."""
    from ...runtime.forecast.verdict import FAILED

    colour = "green" if word == "feasible" else "red" if word in FAILED else "yellow"
    for reason in reasons:
        word, _, rest = reason.partition(":")
        out.print(f"[{colour}]{word}[/]:", end="")
        out.print(rest, markup=False, soft_wrap=True)


def print_warnings(out: Console, texts: Sequence[str]) -> None:
    """A line for each."""
    for text in texts:
        out.print("[yellow]warning[/]: ", end="")
        out.print(text, markup=False, soft_wrap=True)


def _sums(sums: Forecast) -> dict[str, Any]:
    return {
        "paths": [
            {
                "to": path.end,
                "model_latency_ms": round(path.latency_ms, 3),
                "steps": [
                    {"what": s.what, "from_ms": round(s.from_ms, 3), "to_ms": round(s.to_ms, 3)} for s in path.steps
                ],
            }
            for path in sums.paths
        ],
        "loads": [
            {"kind": x.kind, "name": x.name, "ms": round(x.busy_ms, 3), "of_ms": x.of_ms, "ratio": round(x.ratio, 3)}
            for x in sums.loads
        ],
        "loops": [
            {"nodes": list(x.nodes), "ms": x.cost_ns / 1e6, "of_ms": x.budget_ns / 1e6, "ratio": round(x.ratio, 3)}
            for x in sums.loops
        ],
        "nodes": {
            name: {
                "cost_ms": round(x.cost_ms, 3),
                "earliest_start_ms": round(x.earliest_ms, 3),
                "due_ms": x.due_ms,
                "slack_ms": None if x.slack_ms is None else round(x.slack_ms, 3),
                "max_cost_ms": None if x.max_cost_ms is None else round(x.max_cost_ms, 3),
                "limited_by": x.limited_by,
            }
            for name, x in sums.nodes.items()
        },
    }


def print_timing(out: Console, timing: dict[str, Any]) -> None:
    """Path, nodes, loads, loops, and the verdict last, where it is seen."""
    profile = timing["profile"]
    out.print(f"\ntiming by '{profile['name']}' ({profile['source']})", markup=False, soft_wrap=True)
    numbers = ("cost ms", "starts", "due", "slack", "may grow to")
    rows = table("node", *numbers, "limited by", right=numbers)
    for name, node in timing["nodes"].items():
        figures = (node[key] for key in ("cost_ms", "earliest_start_ms", "due_ms", "slack_ms", "max_cost_ms"))
        rows.add_row(name, *("-" if value is None else f"{value:.5g}" for value in figures), node["limited_by"])
    out.print(rows)
    for path in timing["paths"]:
        steps = ", ".join(f"{s['what']} {s['to_ms'] - s['from_ms']:.4g}" for s in path["steps"])
        out.print(
            f"critical path to {path['to']}: {path['model_latency_ms']:.5g} ms: {steps}", markup=False, soft_wrap=True
        )
    for load in timing["loads"]:
        if load["ms"]:
            out.print(f"{load['kind']} {load['name']}: {load['ms']:.5g} of {load['of_ms']:g} ms ({load['ratio']:.0%})")
    for loop in timing["loops"]:
        ring = " -> ".join([*loop["nodes"], loop["nodes"][0]])
        out.print(f"loop {ring}: {loop['ms']:.5g} of {loop['of_ms']:g} ms ({loop['ratio']:.0%})")
    run = timing["simulated"]
    counts = f"{run['misses']} misses, {run['late']} late"
    latency = quantiles_line(run["model_latency_ms"], run)
    out.print(f"simulated {run['units']} units: {counts}; model latency {latency}", soft_wrap=True)
    print_warnings(out, timing["warnings"])
    print_verdict(out, timing["verdict"], timing["reasons"])
