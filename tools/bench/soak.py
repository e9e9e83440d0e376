"""A long conversation: the served duplex agent and one visitor whose clock is not ours, for as long as is wanted.

The visitor is `wangraph talk`'s client with the bundled clip again and again; its camera and microphone run faster than
the machine's clock, as devices do by some tens of parts in a million. Watched from outside: what became of the units,
how far sound and picture drift apart, and how every process grows.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...runtime.errors import RunError
from ...runtime.plan.graph import Graph
from ..talk.client import TalkOptions, talk
from ..talk.measures import TalkFigures
from .growth import UNITS_IN_H, growth, resident_bytes
from .live import served
from .report import OnRound, Report, Round, Table, ignored, report

AIM = "no misses on a quiet machine, 5 MB an hour or less in every process, skew p95 20 ms or less"
ROUNDS = 1
SECONDS = 1800.0

GRAPH = "duplex"
CLOCK_PPM = 200.0
"""The visitor's clock is fast by this: twice what cheap devices are off by."""

SAMPLE_EVERY_S = 2.0
UNIT_S = 0.16
SERVER = "server"

_CHILD = "wangraph.runtime.engine.child"


@dataclass
class Sizes:
    """By process, how many units the run had gone on for, and how many bytes the process held."""

    by_process: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    async def watch(self, server: int) -> None:
        """Take a sample now and then, for ever."""
        begun_s = time.monotonic()
        while True:
            units = round((time.monotonic() - begun_s) / UNIT_S)
            for name, pid in {SERVER: server, **processes_of(server)}.items():
                if held := resident_bytes(pid):
                    self.by_process.setdefault(name, []).append((units, held))
            await asyncio.sleep(SAMPLE_EVERY_S)


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Talk for so many seconds.

    Returns:
        Per round: ``outcomes`` of the units, ``misses`` among them, ``skew_ms`` {p50, p95}, ``underruns``,
        ``answered_ms`` {p50, p95}, and of each process ``mb`` and ``mb_per_hour``, in the second half.

    Raises:
        WangraphError: the server does not start, or the visit fails.
    """
    parameters = {"graph": GRAPH, "seconds": seconds, "clock_ppm": CLOCK_PPM}
    return report("soak", AIM, parameters, rounds, lambda: measure(seconds), rank, on_round)


def measure(seconds: float) -> Round:
    """One conversation."""
    source = Path(str(Graph.load(GRAPH).plan().nodes["user"].params["path"]))
    with served(GRAPH) as (link, pid):
        figures, sizes = asyncio.run(_talk(TalkOptions(link, source, seconds=seconds, clock_ppm=CLOCK_PPM), pid))
    if figures.skew_ms is None or figures.answered_ms is None:
        raise RunError(f"bench soak: found no answer in {seconds:g} s (expected some), talk for longer")
    misses = sum(n for outcome, n in figures.outcomes.items() if outcome in ("missed", "concealed"))
    return {
        "outcomes": figures.outcomes,
        "misses": misses,
        "skew_ms": dict(zip(("p50", "p95"), figures.skew_ms, strict=True)),
        "answered_ms": dict(zip(("p50", "p95"), figures.answered_ms, strict=True)),
        "underruns": figures.underruns,
        "processes": {name: growth(sizes.by_process[name]) for name in sizes.by_process},
    }


def rank(measured: Round) -> Any:
    """The best round has the fewest misses, then the least growth."""
    return measured["misses"], max(process["mb_per_hour"] for process in measured["processes"].values())


def table(report: Report) -> Table:
    """A row for each round and process; what the conversation was like in the first of them."""
    rows: list[tuple[object, ...]] = []
    for r in report["rounds"]:
        skew, answered = r["skew_ms"], r["answered_ms"]
        talk_cells: tuple[object, ...] = (
            sum(r["outcomes"].values()),
            r["misses"],
            r["outcomes"].get("late", 0),
            f"{skew['p50']:.1f} / {skew['p95']:.1f}",
            r["underruns"],
            f"{answered['p50']:.0f} / {answered['p95']:.0f}",
        )
        for name, process in r["processes"].items():
            rows.append((r["round"], r["load_1m"], *talk_cells, name, process["mb"], f"{process['mb_per_hour']:.1f}"))
            talk_cells = ("",) * len(talk_cells)
    columns = ("round", "load", "units", "missed", "late", "skew ms", "underruns", "answered ms", "process", "MB")
    return Table((*columns, "MB an hour"), rows)


def processes_of(server: int) -> dict[str, int]:
    """Processes of the run that a server has going: pids by name. While one is opened ahead of time, its name is that
    of the older one with a stroke."""
    found: dict[str, int] = {}
    for task in Path(f"/proc/{server}/task").glob("*/children"):
        for pid in map(int, task.read_text().split()):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if _CHILD in words:
                name = words[words.index(_CHILD) + 1]
                found[f"{name}'" if name in found else name] = pid
    return found


async def _talk(options: TalkOptions, server: int) -> tuple[TalkFigures, Sizes]:
    sizes = Sizes()
    watching = asyncio.create_task(sizes.watch(server))
    try:
        return await talk(options, lambda who, words: None), sizes
    finally:
        watching.cancel()


assert round(3600 / UNIT_S) == UNITS_IN_H
