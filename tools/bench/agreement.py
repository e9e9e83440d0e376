"""Agreement of check, profile, simulation and run on ordinary graphs: many of them, drawn by chance."""

from __future__ import annotations

import os
from typing import Any

from ...runtime.engine.options import Options
from ...runtime.engine.run import Run
from ...runtime.errors import RunError
from ...runtime.forecast.profile import Profile
from ...runtime.forecast.profiling import profile_run, shares_of
from ...runtime.forecast.simulate import simulate
from ...runtime.forecast.verdict import judge
from ...runtime.observe.distribution import quantiles
from ...runtime.observe.outcome import real_latencies_ns
from ...runtime.observe.run_view import outcomes_of
from .any_graph import Case, any_case
from .bodies import Speed, measured_speed
from .report import OnRound, Report, Round, Table, ignored, report

AIM = (
    "no verdict that disagrees; predicted p50 and p95 of the model latency within 10 % of the run's, or 2 ms, for 9 of "
    "10 graphs, and none off by more than 25 % and 2 ms"
)
ROUNDS = 1
SECONDS = 4.0
GRAPHS = 40

SEEDS = 5
"""Simulations by each profile: one of the length of a run is as much chance as the run."""

SHARE_UNITS = 6
"""Units in which it is measured what bodies do with their time."""

HELD = 0.05
"""Share of its units that a run may miss and still count as one that held: a shared machine stalls now and then."""

NEAR, FAR, NEAR_MS = 0.10, 0.25, 2.0
"""Errors that are wanted of most graphs and allowed at all, and how many milliseconds are no error."""

Graph = dict[str, Any]
"""What was found of one graph, see `run`."""


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored, graphs: int = GRAPHS) -> Report:
    """Draw graphs; profile, simulate and run each.

    Returns:
        Per round: ``graphs``, of each its ``seed`` and ``shape``, the ``verdict`` of check and simulation, the share of
        ``misses`` {predicted, real}, ``predicted_ms`` and ``real_ms`` {p50, p95} of the model latency where units were
        real in both, and whether they ``disagree``; ``n_disagree``, ``n_near`` and ``n_far`` of ``n_compared``.

    Raises:
        WangraphError: a run failed.
    """
    parameters = {"graphs": graphs, "seconds": seconds}
    measured = iter(range(rounds))
    return report(
        "agreement", AIM, parameters, rounds, lambda: _measure(next(measured) * graphs, graphs, seconds), rank, on_round
    )


def rank(measured: Round) -> tuple[int, int]:
    """The best round has the fewest disagreements, then the fewest graphs that are far off."""
    return measured["n_disagree"], measured["n_far"]


def table(report: Report) -> Table:
    """A row per graph, and one for all."""
    rows: list[tuple[Any, ...]] = []
    for r in report["rounds"]:
        for graph in r["graphs"]:
            latency = [_ms(graph, key, q) for q in ("p50", "p95") for key in ("predicted_ms", "real_ms")]
            shares = f"{graph['misses']['predicted']:.0%}/{graph['misses']['real']:.0%}"
            word = "DISAGREES" if graph["disagree"] else "" if graph["error"] is None else f"{graph['error']:.0%}"
            rows.append((r["round"], graph["seed"], graph["shape"], graph["verdict"], shares, *latency, word))
        found = f"{r['n_near']} of {r['n_compared']} near, {r['n_far']} far"
        rows.append((r["round"], "", "all", f"{r['n_disagree']} disagree", "", "", "", "", "", found))
    latencies = ("p50 simulated", "p50 run", "p95 simulated", "p95 run")
    return Table(("round", "seed", "graph", "verdict", "misses simulated/run", *latencies, "error"), rows)


def compare(seed: int, case: Case, simulated: Graph, real: Graph, word: str) -> Graph:
    """Predictions for a graph beside how it ran.

    Args:
        simulated, real: the share of ``misses`` and ``latency_ms`` {p50, p95}, empty where no unit was real.
    """
    both = {q: (simulated["latency_ms"].get(q), real["latency_ms"].get(q)) for q in ("p50", "p95")}
    pairs = [(p, r) for p, r in both.values() if p is not None and r]
    return {
        "seed": seed,
        "shape": case.shape,
        "verdict": word,
        "misses": {"predicted": round(simulated["misses"], 4), "real": round(real["misses"], 4)},
        "predicted_ms": simulated["latency_ms"],
        "real_ms": real["latency_ms"],
        "error": max((_error(p, r) for p, r in pairs), default=None),
        "disagree": (simulated["misses"] > HELD) != (real["misses"] > HELD),
    }


def summed(graphs: list[Graph]) -> Round:
    """All graphs of a round together."""
    errors = [graph["error"] for graph in graphs if graph["error"] is not None]
    return {
        "graphs": graphs,
        "n_disagree": sum(graph["disagree"] for graph in graphs),
        "n_compared": len(errors),
        "n_near": sum(error <= NEAR for error in errors),
        "n_far": sum(error > FAR for error in errors),
    }


def predicted(case: Case, profile: Profile, units: int, seeds: int = SEEDS) -> Graph:
    """Verdict of simulations by a profile on a graph."""
    runs = [simulate(case.plan, profile, units, seed) for seed in range(seeds)]
    latencies = [ns for each in runs for ns in real_latencies_ns(outcomes_of(case.plan, each.records))]
    return {
        "misses": sum(each.summary["misses"] for each in runs) / max(1, sum(each.summary["units"] for each in runs)),
        "latency_ms": quantiles(latencies, with_max=False),
    }


def _measure(first_seed: int, n: int, seconds: float) -> Round:
    speed = measured_speed()
    return summed([_one(seed, seconds, speed) for seed in range(first_seed, first_seed + n)])


def _one(seed: int, seconds: float, speed: Speed) -> Graph:
    case = any_case(seed, os.cpu_count() or 1, speed)
    units = case.plan.clock.units_for(seconds)
    profile, _ = profile_run(case.plan, units, shares_of(case.plan, SHARE_UNITS))
    word = judge(case.plan, profile, units).word
    run = Run(case.plan, Options(units=units, keep_log=False))
    run.start().wait()
    if not run.summary["units"]:
        raise RunError(f"agreement: graph {seed} presented no unit (expected {units}), run it again")
    real = {"misses": run.summary["misses"] / run.summary["units"], "latency_ms": run.summary["model_latency_ms"]}
    return compare(seed, case, predicted(case, profile, units), real, word)


def _error(predicted: float, real: float) -> float:
    """The error as a share of what was measured; none within `NEAR_MS`."""
    return 0.0 if abs(predicted - real) <= NEAR_MS else abs(predicted / real - 1)


def _ms(graph: Graph, key: str, q: str) -> str:
    return f"{graph[key][q]:.1f}" if q in graph[key] else ""
