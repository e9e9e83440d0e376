"""Growth of memory: every process of a run of a camera, a playout and a video, per unit and per hour.

A short run in real time cannot show how a run of days grows. Nearly all that grows does so with units, so units are
made short: an hour of units of 160 ms are 22,500, and here 50 of them pass in a second. The first half of the run is
left out, in which pools fill and distributions turn into buckets.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.engine.options import Options
from ...runtime.engine.run import Run
from ...runtime.errors import RunError
from ...runtime.observe.statistics import Statistics
from ...runtime.plan.graph import Graph
from .report import OnRound, Report, Round, Table, ignored, report

AIM = "5 MB an hour or less in every process"
ROUNDS = 1
SECONDS = 120.0

UNITS_IN_S = 50
UNITS_IN_H = 22_500
"""Units of 160 ms in an hour."""

SUPERVISOR = "supervisor"


@dataclass
class Sizes:
    """Watches a run: by process, how many units it had presented and how many bytes the process held, several times a
    second."""

    by_process: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def poll(self, statistics: Statistics, usage: dict[str, dict[str, float | int]]) -> None:
        """A batch has come from one of the processes."""
        pids = {SUPERVISOR: os.getpid(), **{name: int(process["pid"]) for name, process in usage.items()}}
        for name, pid in pids.items():
            held = resident_bytes(pid)
            if held:
                self.by_process.setdefault(name, []).append((statistics.units_presented, held))


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Run the graph for so many seconds.

    Returns:
        Per round: ``{"processes": {"main": {"mb", "bytes_per_unit", "mb_per_hour"}}, "units"}``.

    Raises:
        RunError: the run failed, or was too short to measure.
    """
    parameters = {"units": round(seconds * UNITS_IN_S), "units in an hour": UNITS_IN_H}
    return report("growth", AIM, parameters, rounds, lambda: measure(round(seconds * UNITS_IN_S)), rank, on_round)


def measure(units: int) -> Round:
    """One run."""
    sizes = Sizes()
    with tempfile.TemporaryDirectory() as folder:
        going = Run(graph(Path(folder)).plan(), Options(units=units, keep_log=False))
        going.collector.watcher = sizes
        going.start().wait()
    return {"units": units, "processes": {name: growth(sizes.by_process[name]) for name in sorted(sizes.by_process)}}


def growth(sizes: list[tuple[int, int]]) -> dict[str, float]:
    """Slope of a line through the second half of a process's sizes.

    Raises:
        RunError: there are too few of them.
    """
    half = sizes[-1][0] / 2 if sizes else 0
    later = np.array([(units, held) for units, held in sizes if units >= half], np.float64)
    if len(later) < 2 or later[0, 0] == later[-1, 0]:
        raise RunError(f"bench growth: found {len(later)} sizes of a process (expected 2), measure for longer")
    per_unit = float(np.polyfit(later[:, 0] - later[0, 0], later[:, 1], 1)[0])
    return {
        "mb": round(float(later[-1, 1]) / 1e6, 1),
        "bytes_per_unit": round(per_unit, 1),
        "mb_per_hour": round(per_unit * UNITS_IN_H / 1e6, 2),
    }


def rank(measured: Round) -> float:
    """The best round is the one whose fastest process grows least."""
    return float(max(process["mb_per_hour"] for process in measured["processes"].values()))


def table(report: Report) -> Table:
    """A row for each round and process."""
    rows = [
        (r["round"], r["load_1m"], name, p["mb"], f"{p['bytes_per_unit']:.0f}", f"{p['mb_per_hour']:.1f}")
        for r in report["rounds"]
        for name, p in r["processes"].items()
    ]
    return Table(("round", "load", "process", "MB", "bytes a unit", "MB an hour"), rows)


def graph(folder: Path) -> Graph:
    """A camera in a process of its own; playout, picture, sound and captions of a video in the other."""
    made = Graph("growth", fps=UNITS_IN_S, unit_frames=1, latency_ms=200)
    made.process("camera", lanes=["camera"])
    made.process("main", lanes=["play", "file"])
    given: dict[str, Any] = {"process": "camera", "lane": "camera", "width": 64, "height": 64}
    camera = made.add("camera", "capture.pattern", **given)
    played = made.add(
        "sync", "sync.playout", process="main", lane="play", inputs={p: camera[p] for p in ("video", "audio", "text")}
    )
    made.add(
        "file", "sink.mp4", process="main", lane="file", path=str(folder / "growth.mp4"), preset="ultrafast",
        inputs={p: played[p] for p in ("video", "audio", "text")},
    )  # fmt: skip
    return made


def resident_bytes(pid: int) -> int | None:
    """Bytes that a process holds in memory; 0 when it has ended, None when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
