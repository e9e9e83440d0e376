"""A chain of processes: processor time of all of them together, and the way from the first to the last.

Every way is a program of its own, run twice, for a short time and for a long one: what the second costs more than the
first is what its units cost, without starting and ending, whoever it is that computes: nodes, daemons, supervisors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
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
SHORT = 0.25
"""Length of the short run, in that of the long one."""

_SLACK_S = 60.0
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
    """Run every way's chain for a quarter of so many seconds and for so many, in every round.

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
    hops = [round(RATE_HZ * seconds * share) for share in (SHORT, 1)]
    short, long = [spent(command, n / RATE_HZ + _SLACK_S) if (command := _command(way, n)) else None for n in hops]
    if short is None or long is None:
        return None
    (short_s, _), (long_s, found) = short, long
    more_s = (hops[1] - hops[0]) / RATE_HZ
    figures = {key: value for key, value in found.figures().items() if key != "cpu_us"}
    return {"cpu_s": round((long_s - short_s) / more_s * 60, 3), **figures}


def _command(way: Way, hops: int) -> list[str] | None:
    arguments = [str(N_BYTES), str(hops), str(RATE_HZ), str(PROCESSES), *way.more]
    if not way.program.endswith(".py"):
        return [sys.executable, "-m", f"{__package__}.{way.program}", *arguments]
    python = python_with(way.packages)
    return None if python is None else [python, str(PROGRAMS / way.program), *arguments]


def spent(command: Sequence[str], timeout_s: float) -> tuple[float, Hops] | None:
    """Processor seconds of a program and of all that it has waited for, and what it prints; None: it broke down."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        assert program.stdout is not None
        watchdog = threading.Timer(timeout_s, program.kill)
        watchdog.start()
        printed = program.stdout.read()
        _, status, usage = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
        watchdog.cancel()
    try:
        answer = json.loads(next(line for line in printed.splitlines() if line.startswith(b"{")))
    except (StopIteration, ValueError):
        return None
    return usage.ru_utime + usage.ru_stime, Hops(answer["us"], answer["sent"], answer["cpu_us"])
