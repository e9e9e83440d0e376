"""Cost of the runtime itself: processor time per unit of the duplex graph without bodies.

Packets have their full size. Times are slopes between two moments of a run, process by process, so that starting
and ending do not count.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...runtime.engine.options import Options
from ...runtime.engine.run import Run
from ...runtime.errors import RunError
from ...runtime.observe.statistics import Statistics
from ...runtime.plan.graph import Graph
from ...runtime.plan.plan import Plan
from .empty import Empty, Settings, empty_graph
from .report import OnRound, Report, Round, Table, ignored, report

AIM = "3 ms or less of a 160 ms unit, all processes together (the graph as shipped)"
ROUNDS = 3
SECONDS = 20.0

GRAPH = "duplex"
WIDTH, HEIGHT = 336, 192
"""Four such pictures are 774 KB."""

VIDEO_CROSSES: Settings = {"user.process": "performer", "user.lane": "loop"}
"""Another placement: the user is seen by one process and answered by the other, 774 KB more a unit."""

SETTLING_UNITS = 6
"""Left out at the beginning: first touches, sockets that connect."""

SUPERVISOR = "supervisor"


class Sample(NamedTuple):
    """State of a process by a moment: units (mean of its nodes), calls of bodies, and processor seconds."""

    units: float
    firings: int
    cpu_s: float


@dataclass(frozen=True)
class Slope:
    """Processor time of one process, between two samples."""

    units: float
    firings: int
    cpu_s: float

    @property
    def us_per_unit(self) -> float:
        """Microseconds of one unit."""
        return self.cpu_s / self.units * 1e6

    @property
    def us_per_firing(self) -> float | None:
        """Microseconds of one call; None for the supervisor, which calls none."""
        return self.cpu_s / self.firings * 1e6 if self.firings else None


class Samples:
    """Watches a run: samples of its processes, each of the moment at which a batch of its records has come.

    Args:
        every_s: between two samples; they are taken in a process that is measured.
    """

    def __init__(self, plan: Plan, every_s: float = 1.0) -> None:
        self._every_s = every_s
        self._next_at = 0.0
        self._nodes = {name: [node.name for node in plan.nodes_in(name)] for name in plan.processes}
        self.by_process: dict[str, list[Sample]] = {name: [] for name in (*self._nodes, SUPERVISOR)}

    def poll(self, statistics: Statistics, usage: dict[str, dict[str, float | int]]) -> None:
        """A batch has come from one of the processes."""
        if (now := time.monotonic()) < self._next_at:
            return
        self._next_at = now + self._every_s
        for name, nodes in self._nodes.items():
            calls = sum(statistics.fired[node] for node in nodes)
            self._add(name, Sample(calls / len(nodes), calls, usage[name]["cpu_s"]))
        calls = sum(statistics.fired.values())
        self._add(SUPERVISOR, Sample(calls / sum(map(len, self._nodes.values())), 0, time.process_time()))

    def _add(self, name: str, sample: Sample) -> None:
        samples = self.by_process[name]
        if not samples or sample.units > samples[-1].units:
            samples.append(sample)


def slope(samples: list[Sample], units: int) -> Slope:
    """From the first sample after the beginning to the last one before the run of ``units`` units ends.

    Raises:
        RunError: the run was too short to have two of them.
    """
    within = [s for s in samples if SETTLING_UNITS <= s.units < units]
    if len(within) < 2:
        raise RunError(f"bench overhead: found {len(within)} samples in {units} units (expected 2), measure for longer")
    first, last = within[0], within[-1]
    return Slope(last.units - first.units, last.firings - first.firings, last.cpu_s - first.cpu_s)


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Run the empty graph: as shipped, on a processor for each process, with pictures that cross; and sources alone.

    Returns:
        Per round and variant: ``ms_per_unit`` of all processes together, ``graph_ms_per_unit`` without the
        supervisor's, and for each of them ``us_per_unit`` and ``us_per_firing``.

    Raises:
        RunError: a run failed, or was too short to measure.
    """
    plans = variants()
    shipped = plans["as shipped"]
    units = shipped.clock.units_for(seconds)
    parameters = {
        "graph": GRAPH,
        "units": units,
        "unit_ms": float(shipped.clock.period * 1000),
        "threads": {name: process.threads for name, process in shipped.processes.items()},
        "packet_bytes": {name: stream.max_bytes for name, stream in shipped.streams.items()},
    }

    def measure() -> Round:
        return {"variants": {name: figures(plan, units) for name, plan in plans.items()}}

    def rank(measured: Round) -> Any:
        return measured["variants"]["as shipped"]["ms_per_unit"]

    return report("overhead", AIM, parameters, rounds, measure, rank, on_round)


def variants() -> dict[str, Plan]:
    """Plans that are measured, by name."""
    return {
        "as shipped": empty_graph(GRAPH, WIDTH, HEIGHT).plan(),
        "a processor each": empty_graph(GRAPH, WIDTH, HEIGHT, _a_processor_each()).plan(),
        "pictures cross": empty_graph(GRAPH, WIDTH, HEIGHT, VIDEO_CROSSES).plan(),
        "sources alone": floor().plan(),
    }


def _a_processor_each() -> Settings:
    """The first and the last processor that there is, for the two processes."""
    usable = sorted(os.sched_getaffinity(0))
    return {"processes.main.cpus": usable[0], "processes.performer.cpus": usable[-1]}


def floor() -> Graph:
    """A source in each process and nothing else: timers, records and control."""
    graph = Graph("floor")
    for process in ("main", "performer"):
        graph.process(process, threads=1)
        graph.add(f"{process}_source", Empty, process=process, like="capture.pattern", width=WIDTH, height=HEIGHT)
    return graph


def figures(plan: Plan, units: int) -> dict[str, Any]:
    """Run it once."""
    samples = Samples(plan)
    Run(plan, Options(units=units), samples).start().wait()
    return computed({name: slope(taken, units) for name, taken in samples.by_process.items()})


def computed(slopes: dict[str, Slope]) -> dict[str, Any]:
    """Figures of one variant."""
    processes = {
        name: {
            "us_per_unit": round(s.us_per_unit, 1),
            "us_per_firing": None if s.us_per_firing is None else round(s.us_per_firing, 1),
        }
        for name, s in slopes.items()
    }
    graph = sum(s.us_per_unit for name, s in slopes.items() if name != SUPERVISOR) / 1000
    together = graph + slopes[SUPERVISOR].us_per_unit / 1000
    return {"ms_per_unit": round(together, 3), "graph_ms_per_unit": round(graph, 3), "processes": processes}


def table(report: Report) -> Table:
    """A row for each round, variant and process."""
    rows = []
    for measured in report["rounds"]:
        for variant, found in measured["variants"].items():
            for name, process in found["processes"].items():
                per_firing = process["us_per_firing"]
                rows.append(
                    (
                        measured["round"],
                        measured["load_1m"],
                        variant,
                        f"{found['ms_per_unit']:.2f}",
                        f"{found['graph_ms_per_unit']:.2f}",
                        name,
                        f"{process['us_per_unit']:.0f}",
                        "" if per_firing is None else f"{per_firing:.0f}",
                    )
                )
    columns = ("round", "load", "variant", "ms per unit", "without supervisor", "process", "us per unit", "us per call")
    return Table(columns, rows)
