"""The whole agent, as users run it: the command ``wangraph run duplex``, on the bundled clip again and again."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ...runtime.errors import RunError
from ...runtime.plan.graph import Graph
from ...runtime.plan.plan import Plan
from .report import OnRound, Report, Round, Table, ignored, report

AIM = "model latency p95 160 ms or less, no misses, unit 0 released 5 s or less after the command, on 2 cores"
ROUNDS = 5
SECONDS = 60.0

GRAPH = "duplex"
SETTINGS = {"checkpoint": "tiny", "user.loop": "true"}

_PATIENCE_S = 120.0
"""How much longer than its media a run may take."""


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Run the command, and read its summary.

    Returns:
        Per round: ``model_latency_ms`` and ``latency_ms`` {p50, p95, p99, max} of the ``real`` ones of its ``units``,
        ``misses``, ``late``, ``levels`` of the performer, ``first_release_s`` from the start of the command to the
        release of unit 0, and processor seconds of each process (``cpu_s``) and of all together with the command
        itself (``total_cpu_s``).

    Raises:
        RunError: the command failed.
    """
    plan = Graph.load(GRAPH, SETTINGS).plan()
    units = plan.clock.units_for(seconds)
    parameters = {
        "graph": GRAPH,
        "settings": SETTINGS,
        "units": units,
        "unit_ms": float(plan.clock.period * 1000),
        "latency_ms": plan.latency_ns / 1e6,
        "threads": {name: process.threads for name, process in plan.processes.items()},
    }
    return report("duplex", AIM, parameters, rounds, lambda: measure(plan, units), rank, on_round)


def measure(plan: Plan, units: int) -> Round:
    """Run the command once.

    Raises:
        RunError: it failed, or did not end.
    """
    with tempfile.TemporaryDirectory(prefix="wangraph-") as folder:
        target = Path(folder) / "summary.json"
        command = [sys.executable, "-m", "wangraph", "run", GRAPH, "--units", str(units), "--quiet", "--json",
                   str(target)]  # fmt: skip
        for key, value in {**SETTINGS, "output": str(Path(folder) / "duplex.mp4")}.items():
            command += ["--set", f"{key}={value}"]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        before, started_ns = _children_cpu_s(), time.monotonic_ns()
        limit_s = units * float(plan.clock.period) + _PATIENCE_S
        ended = _call(command, env, limit_s)
        if ended.returncode:
            raise RunError(f"bench duplex: {ended.stderr.strip() or 'the command failed'}")
        summary = json.loads(target.read_text())
        return {**figures(summary, plan, started_ns), "total_cpu_s": round(_children_cpu_s() - before, 3)}


def figures(summary: dict[str, Any], plan: Plan, started_ns: int) -> Round:
    """Figures that are kept of a run's summary.

    Args:
        started_ns: when the command was started, on the machine's monotonic clock.
    """
    origin_ns = summary.get("origin_ns")
    first_ns = None if origin_ns is None else origin_ns + plan.release_ns(0) - started_ns
    return {
        "units": summary["units"],
        "real": summary["real"],
        "model_latency_ms": summary["model_latency_ms"],
        "latency_ms": summary["latency_ms"],
        "misses": summary["misses"],
        "late": summary["late"],
        "levels": summary["nodes"]["perform"]["levels"],
        "first_release_s": None if first_ns is None else round(first_ns / 1e9, 3),
        "cpu_s": {name: process["cpu_s"] for name, process in summary["processes"].items()},
    }


def rank(measured: Round) -> tuple[int, float]:
    """The best round has the fewest misses, then the smallest p95; one in which no unit was real has none."""
    return measured["misses"], measured["model_latency_ms"].get("p95", float("inf"))


def table(report: Report) -> Table:
    """A row for each round."""
    rows = []
    for r in report["rounds"]:
        latency = (f"{ms:.1f}" if (ms := r["model_latency_ms"].get(q)) is not None else "-" for q in _COLUMNS)
        cpu = " ".join(f"{name} {used:.1f}" for name, used in r["cpu_s"].items())
        levels = " ".join(f"{level}:{n}" for level, n in r["levels"].items())
        rows.append(
            (r["round"], r["load_1m"], r["units"], r["real"], *latency, r["misses"], r["late"], levels,
             r["first_release_s"], f"{cpu}, all {r['total_cpu_s']:.1f}")
        )  # fmt: skip
    quantiles = tuple(f"model {q}" for q in _COLUMNS)
    return Table(("round", "load", "units", "real", *quantiles, "misses", "late", "levels", "unit 0 s", "CPU s"), rows)


def _call(command: list[str], env: dict[str, str], limit_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(f"bench duplex: the command runs after {limit_s:g} s (expected to have ended)") from error


def _children_cpu_s() -> float:
    """Processor seconds of all that was started here and has ended, with what that started."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


_COLUMNS = ("p50", "p95", "p99", "max")
