"""Accuracy of a simulation by a profile: graphs of different shapes, profiled before and after a run."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from ...runtime.forecast.profiling import profile_run
from ...runtime.forecast.resources import forecast
from ...runtime.forecast.simulate import simulate
from ...runtime.observe.distribution import quantiles
from ...runtime.observe.outcome import real_latencies_ns
from ...runtime.observe.run_view import outcomes_of
from ...runtime.plan.graph import Graph
from .report import OnRound, Report, Round, Table, ignored, report

AIM = "predicted p50 and p95 of the model latency within 10 % of a run's"
ROUNDS = 5
SECONDS = 30.0

GRAPHS = ("mirror", "duplex_solo", "duplex")
"""A chain, a loop in one process, a loop over two."""

SETTINGS = {"checkpoint": "tiny", "user.loop": "true"}
SEEDS = 5
"""Simulations by each profile: one of the length of a run is as much chance as the run."""

LONG_UNITS = 3750
"""Ten minutes of units of 160 ms: how long simulating those takes is told too."""


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Profile each graph before and after a run, and compare that run with what both profiles predict.

    A shared machine is another one from minute to minute; what lies between two profiles is what a profile can know.

    Returns:
        Per round and graph: ``sums_ms`` (the critical path by typical costs), ``predicted_ms`` and ``real_ms``
        {p50, p95, p99, max} of the model latency, ``error`` {p50, p95} as a share of the real one, ``own_ms`` and
        ``own_error`` the same of the runs that were profiled (where they differ from the run's between, the machine
        was another one by then), ``misses`` {predicted, real}, and ``simulated_s``, seconds that ten minutes of the
        graph took to simulate.

    Raises:
        WangraphError: a run failed.
    """
    parameters = {"graphs": list(GRAPHS), "settings": SETTINGS, "seconds": seconds}
    return report("prediction", AIM, parameters, rounds, lambda: {"graphs": _measure(seconds)}, rank, on_round)


def rank(measured: Round) -> float:
    """The best round has the smallest of its largest errors."""
    return max(abs(float(e)) for graph in measured["graphs"].values() for e in graph["error"].values())


def table(report: Report) -> Table:
    """A row per round and graph: by sums, by simulation, and as it ran, in milliseconds; the simulation's error
    against that run, and its own against the runs that were profiled."""
    rows: list[tuple[Any, ...]] = []
    for r in report["rounds"]:
        for name, graph in r["graphs"].items():
            figures = [f"{graph['sums_ms']:.1f}"]
            for q in ("p50", "p95"):
                figures += [f"{graph[key][q]:.1f}" for key in ("predicted_ms", "real_ms")]
                figures += [f"{graph[key][q]:+.0%}" for key in ("error", "own_error")]
            counts = f"{graph['misses']['predicted']:g}/{graph['misses']['real']}"
            rows.append((r["round"], r["load_1m"], name, *figures, counts, f"{graph['simulated_s']:.1f}"))
    names = tuple(f"{q} {what}" for q in ("p50", "p95") for what in ("simulated", "run", "error", "own"))
    columns = ("predicted", *names, "misses", "10 min in s")
    return Table(("round", "load", "graph", *columns), rows)


def _measure(seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="wangraph-") as folder:
        return {name: _predict(name, seconds, Path(folder)) for name in GRAPHS}


def _predict(name: str, seconds: float, folder: Path) -> dict[str, Any]:
    plan = Graph.load(name, {**SETTINGS, "output": str(folder / f"{name}.mp4")}).plan()
    units = plan.clock.units_for(seconds)
    (before, own_before), (_, between), (after, own_after) = (profile_run(plan, units) for _ in range(3))
    profiles = (before, after)
    predicted = [simulate(plan, profile, units, seed) for profile in profiles for seed in range(SEEDS)]
    outcomes = [outcome for each in predicted for outcome in outcomes_of(plan, each.records)]
    guess = quantiles(real_latencies_ns(outcomes))
    began = time.monotonic()
    simulate(plan, before, LONG_UNITS)
    simulated_s = time.monotonic() - began
    own = _mean(own_before["model_latency_ms"], own_after["model_latency_ms"])
    sums = (max((path.latency_ms for path in forecast(plan, p).paths), default=0.0) for p in profiles)
    return {
        "sums_ms": round(fmean(sums), 3),
        "predicted_ms": guess,
        "real_ms": between["model_latency_ms"],
        "error": _error(guess, between["model_latency_ms"]),
        "own_ms": own,
        "own_error": _error(guess, own),
        "misses": {
            "predicted": sum(each.summary["misses"] for each in predicted) / len(predicted),
            "real": between["misses"],
        },
        "simulated_s": round(simulated_s, 2),
    }


def _mean(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {q: round(fmean((one[q], other[q])), 3) for q in one}


def _error(predicted: dict[str, float], real: dict[str, float]) -> dict[str, float]:
    return {q: round(predicted[q] / real[q] - 1, 4) for q in ("p50", "p95")}
