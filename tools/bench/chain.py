"""A chain of processes: processor time of all of them together, and the way from the first to the last.

Every way is a program of its own, watched from outside while units flow, so that starting and ending do not count, and
whoever computes does: nodes, daemons, supervisors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .environments import PROGRAMS, python_with
from .hops import Hops
from .report import OnRound, Report, Round, Table, ignored, report

AIM = "0.4 times dora's and ezmsg's processor time"
ROUNDS = 3
SECONDS = 20.0

PROCESSES = 6
N_BYTES = 4 * 192 * 336 * 3
"""One unit of 336 x 192 pictures."""
RATE_HZ = 25.0

SAMPLE_EVERY_S = 0.25
FROM, UNTIL = 0.8, 0.3
"""Processor time is taken from so much of the run's length before its end until so much before it."""

_SLACK_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_COLUMNS = ("p50", "p99", "p99.9", "max")


class Way(NamedTuple):
    """A program: of ours as a module, or in `peers`; packages that it needs, and more arguments."""

    program: str
    packages: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


OURS = {
    "graph, copied": Way("chain_graph", more=("copied",)),
    "graph, in place": Way("chain_graph", more=("in-place",)),
}
PEERS = {
    "pipe and shared memory": Way("floor_chain.py"),
    "ezmsg": Way("ezmsg_chain.py", ("ezmsg", "numpy")),
    "dora": Way("dora_chain.py", ("dora-rs", "dora-rs-cli", "numpy", "pyarrow")),
}
"""The first is the floor: no graph can be cheaper."""


def run(
    rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored, *, with_peers: bool = False
) -> Report:  # fmt: skip
    """Run every way's chain for so many seconds in every round.

    Returns:
        Per round: ``{"ways": {"graph, copied": {"cpu_s", "p50", "p99", "p99.9", "max", "lost"}, ...}}``: processor
        seconds in a minute of the chain, and microseconds from the first process to the last; None for a way that
        cannot be had here.
    """
    ways = OURS | PEERS if with_peers else OURS
    parameters = {"processes": PROCESSES, "bytes": N_BYTES, "rate_hz": RATE_HZ, "seconds": seconds, "ways": [*ways]}
    return report("chain", AIM, parameters, rounds, lambda: measure(seconds, ways), rank, on_round)


def measure(seconds: float, ways: dict[str, Way]) -> Round:
    """One round."""
    return {"ways": {name: _measured(way, seconds) for name, way in ways.items()}}


def rank(measured: Round) -> float:
    """The best round is the one in which our chain cost least."""
    found = measured["ways"]["graph, in place"]
    return float("inf") if found is None else float(found["cpu_s"])


def table(report: Report) -> Table:
    """A row for each round and way."""
    rows = [
        (r["round"], r["load_1m"], way, *_cells(found)) for r in report["rounds"] for way, found in r["ways"].items()
    ]
    return Table(("round", "load", "way", "cpu s a minute", *(f"{q} us" for q in _COLUMNS), "lost"), rows)


def _cells(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["not to be had", *[""] * (len(_COLUMNS) + 1)]
    return [f"{found['cpu_s']:.2f}", *(f"{found[q]:.0f}" for q in _COLUMNS), str(found["lost"])]


def _measured(way: Way, seconds: float) -> dict[str, Any] | None:
    command = _command(way, round(RATE_HZ * seconds))
    watched = None if command is None else watch(command, seconds)
    if watched is None:
        return None
    cores, found = watched
    return {"cpu_s": round(cores * 60, 3), **{key: value for key, value in found.figures().items() if key != "cpu_us"}}


def _command(way: Way, hops: int) -> list[str] | None:
    arguments = [str(N_BYTES), str(hops), str(RATE_HZ), str(PROCESSES), *way.more]
    if not way.program.endswith(".py"):  # by import: processes of a run cannot find nodes of a main program
        code = f"from {__package__}.{way.program} import main; main()"
        return [sys.executable, "-c", code, *arguments]
    python = python_with(way.packages)
    return None if python is None else [python, str(PROGRAMS / way.program), *arguments]


def watch(command: Sequence[str], seconds: float) -> tuple[float, Hops] | None:
    """Cores that a program and all below it keep busy while it runs for so many seconds, and what it prints; None: it
    broke down."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        watchdog = threading.Timer(seconds + _SLACK_S, program.kill)
        watchdog.start()
        samples: list[tuple[float, float]] = []
        while program.poll() is None:
            samples.append((time.monotonic(), cpu_s(program.pid)))
            time.sleep(SAMPLE_EVERY_S)
        watchdog.cancel()
        assert program.stdout is not None
        printed, end = program.stdout.read(), time.monotonic()
    try:
        answer = json.loads(next(line for line in printed.splitlines() if line.startswith(b"{")))
    except (StopIteration, ValueError):
        return None
    within = [(at, cpu) for at, cpu in samples if FROM * seconds >= end - at >= UNTIL * seconds]
    if not within:
        return None
    (begun, before), (ended, after) = within[0], within[-1]
    return (after - before) / max(ended - begun, SAMPLE_EVERY_S), Hops(answer["us"], answer["sent"], answer["cpu_us"])


def cpu_s(pid: int) -> float:
    """Processor seconds of a process and of all below it, as they stand."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        below = [
            int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in tasks.read_text().split()
        ]
    except OSError:
        return 0.0  # it has ended
    return (int(words[11]) + int(words[12])) / _TICKS + sum(map(cpu_s, below))
