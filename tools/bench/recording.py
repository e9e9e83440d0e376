"""Cost of recording, and a disk that stalls: raw pictures of the duplex graph into MCAP, at 25 fps.

The graph has no bodies; what enters and what leaves it is recorded, two pictures a frame and their sound. Cost is the
difference between a run that is recorded and one that is not, all processes together. Then once more into a pipe
whose other end takes nothing for two seconds in the middle of the run: a disk that stalls, as the recorder sees it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...runtime.engine.options import Options
from ...runtime.engine.record_sinks import recorded_streams
from ...runtime.engine.run import Run
from ...runtime.plan.plan import Plan
from ...runtime.recording.reader import open_recording
from .empty import empty_graph
from .overhead import Samples, slope
from .report import OnRound, Report, Round, Table, ignored, report

AIM = "5 % or less of a core, and nothing lost when the disk stalls for 2 s"
ROUNDS = 3
SECONDS = 20.0

GRAPH = "duplex"
WIDTH, HEIGHT = 336, 192
STALL_S = 2.0

_PIPE = """
import os, sys, time
source, target, stall_after, stall_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
taken = 0
with open(source, "rb", buffering=0) as pipe, open(target, "wb") as kept:
    while data := pipe.read(1 << 20):
        if taken < stall_after <= taken + len(data):
            time.sleep(stall_s)
        taken += len(data)
        kept.write(data)
"""
"""Takes bytes out of a pipe, and none for a while after so many."""


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Run without recording, recorded, and recorded through a disk that stalls.

    Returns:
        Per round: ``plain_ms`` and ``recorded_ms`` of processor time per unit, ``cpu_share`` of a core that recording
        took, ``mb_per_s`` recorded, and of the run with the stall ``stalled``: {packets, expected, lost, misses}.

    Raises:
        WangraphError: a run failed, or was too short to measure.
    """
    plan = empty_graph(GRAPH, WIDTH, HEIGHT).plan()
    units = plan.clock.units_for(seconds)
    parameters = {
        "graph": GRAPH, "units": units, "pictures": f"{WIDTH}x{HEIGHT}", "stall_s": STALL_S,
        "edges": recorded_streams(plan, ()),
    }  # fmt: skip
    return report("recording", AIM, parameters, rounds, lambda: measure(plan, units), rank, on_round)


def measure(plan: Plan, units: int) -> Round:
    """One round."""
    with tempfile.TemporaryDirectory(prefix="wangraph-") as folder:
        file = Path(folder) / "bench.mcap"
        plain, _ = _spent_ms(plan, Options(units=units))
        recorded, summary = _spent_ms(plan, Options(units=units, record=file))
        size = file.stat().st_size
        file.unlink()
        media_s = units * float(plan.clock.period)
        return {
            "plain_ms": round(plain, 3),
            "recorded_ms": round(recorded, 3),
            "cpu_share": round((recorded - plain) / (plan.clock.period_ns / 1e6), 4),
            "mb_per_s": round(size / 1e6 / media_s, 2),
            "misses": summary["misses"],
            "stalled": stalled(plan, units, Path(folder), size // 2),
        }


def stalled(plan: Plan, units: int, folder: Path, stall_after: int) -> dict[str, Any]:
    """Record through a pipe that takes nothing for a while after so many bytes, and look at what came out."""
    with _pipe(folder, stall_after) as (pipe, kept):
        summary = Run(plan, Options(units=units, record=pipe, keep_log=False)).start().wait().summary
    found = open_recording(kept)
    n_packets = sum(1 for packet in found.packets() if packet.is_payload)
    kept.unlink()
    return {
        "packets": n_packets,
        "expected": units * len(summary["recording"]["edges"]),
        "lost": sum(found.lost.values()),
        "misses": summary["misses"],
    }


def rank(measured: Round) -> Any:
    """The best round lost and took least."""
    return measured["stalled"]["lost"], measured["cpu_share"]


def table(report: Report) -> Table:
    """A row per round."""
    rows = []
    for r in report["rounds"]:
        s = r["stalled"]
        times = (f"{r['plain_ms']:.2f}", f"{r['recorded_ms']:.2f}", f"{r['cpu_share']:.1%}", f"{r['mb_per_s']:.1f}")
        kept = (f"{s['packets']}/{s['expected']}", s["lost"], s["misses"])
        rows.append((r["round"], r["load_1m"], *times, r["misses"], *kept))
    columns = ("ms per unit", "recorded", "of a core", "MB/s", "misses", "kept in a stall", "lost", "misses in it")
    return Table(("round", "load", *columns), rows)


def _spent_ms(plan: Plan, options: Options) -> tuple[float, dict[str, Any]]:
    """Processor milliseconds per unit, all processes together, and the summary."""
    samples = Samples(plan)
    summary = Run(plan, options, samples).start().wait().summary
    assert options.units is not None
    slopes = [slope(taken, options.units) for taken in samples.by_process.values()]
    return sum(s.us_per_unit for s in slopes) / 1000, summary


@contextmanager
def _pipe(folder: Path, stall_after: int) -> Iterator[tuple[Path, Path]]:
    """A named pipe, and the file that what is written into it ends in."""
    pipe, kept = folder / "pipe", folder / "kept.mcap"
    os.mkfifo(pipe)
    command = [sys.executable, "-S", "-c", _PIPE, str(pipe), str(kept), str(stall_after), str(STALL_S)]
    reader = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield pipe, kept
        reader.wait(STALL_S + 60)
    finally:
        reader.kill()
        reader.wait()
        pipe.unlink()
