"""Punctuality of the clock: when a source is called, and done, after the release of its unit, at 25 units a second.

Measured with the engine itself: one process, a source and a sink, both empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...runtime.engine.options import Options
from ...runtime.engine.run import Run
from ...runtime.plan.graph import Graph
from ...runtime.plan.plan import Plan
from ...runtime.schedule.events import Event, Firing
from .empty import Empty
from .machine import kept_busy, n_cores
from .report import OnRound, Report, Round, Table, ignored, quantiles, report

AIM = "p99 of 'called' 0.5 ms or less when idle"
ROUNDS = 3
SECONDS = 20.0

FPS = 25
SOURCE = "source"
SETTLING_UNITS = 5
"""Left out at the beginning."""


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Run a source on the clock, with the machine left as it is and with every core busy.

    Returns:
        Per round, for ``idle`` and ``busy``: ``called_ms`` and ``done_ms`` after release {p50, p95, p99, max}.

    Raises:
        RunError: a run failed.
    """
    plan, busy = graph().plan(), n_cores()
    units = SETTLING_UNITS + plan.clock.units_for(seconds)
    parameters = {"fps": FPS, "unit_frames": 1, "units": units - SETTLING_UNITS, "busy_processes": busy}

    def measure() -> Round:
        idle = deviation(plan, Run(plan, Options(units=units)).start().wait().log)
        with kept_busy(busy):
            return {"idle": idle, "busy": deviation(plan, Run(plan, Options(units=units)).start().wait().log)}

    return report("clock", AIM, parameters, rounds, measure, lambda r: r["idle"]["called_ms"]["p99"], on_round)


def graph() -> Graph:
    """A source and a sink in one process, in units of one picture."""
    made = Graph("clock", fps=FPS, unit_frames=1, latency_ms=1000 / FPS)
    made.process("main", threads=1)
    source = made.add(SOURCE, Empty, like="capture.pattern", width=16, height=16)
    made.add("sink", "sink.null", inputs={"value": source["video"]})
    return made


def deviation(plan: Plan, log: Iterable[Event]) -> dict[str, Any]:
    """Milliseconds from a unit's release until its source is called, and until it is done and its packet settled."""
    firings = [
        e
        for e in log
        if isinstance(e, Firing) and e.node == SOURCE and e.first >= SETTLING_UNITS and e.verdict != "end"
    ]
    called = [(f.started_ns - plan.release_ns(f.first)) / 1e6 for f in firings]
    done = [(f.finished_ns - plan.release_ns(f.first)) / 1e6 for f in firings]
    return {"called_ms": quantiles(called), "done_ms": quantiles(done)}


def table(report: Report) -> Table:
    """A row for each round, condition and moment."""
    rows = [
        (r["round"], r["load_1m"], condition, moment, *(f"{r[condition][f'{moment}_ms'][q]:.3f}" for q in _COLUMNS))
        for r in report["rounds"]
        for condition in ("idle", "busy")
        for moment in ("called", "done")
    ]
    return Table(("round", "load", "machine", "ms after release", *_COLUMNS), rows)


_COLUMNS = ("p50", "p95", "p99", "max")
