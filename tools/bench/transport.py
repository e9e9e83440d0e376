"""From one process to another: inside a graph, over the channel alone, and with what others use."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from typing import NamedTuple, Protocol

from . import channel_hop, graph_hop
from .environments import PROGRAMS, python_with
from .hops import Hops
from .report import OnRound, Report, Round, Table, ignored, report

SIZES = {"1 KB": 1_000, "774 KB": 4 * 192 * 336 * 3, "6.2 MB": 8 * 4 * 192 * 336 * 3, "25 MB": 25_000_000}
"""774 KB is one unit of 336 x 192 pictures."""

AIM = ""
ROUNDS = 3
SECONDS = 10.0

RATE_HZ = 25.0
"""Hops in a second: as far apart as in a run, so that caches are as cold."""

_COLUMNS = ("p50", "p99", "p99.9", "max")
_SLACK_S = 60.0


class Way(Protocol):
    """Measures hops; None where it cannot be had here."""

    def __call__(self, n_bytes: int, hops: int, rate_hz: float) -> Hops | None:
        """So many hops of so many bytes."""
        ...


class Peer(NamedTuple):
    """Another way from process to process: a program in `peers`, and the packages that it needs."""

    program: str
    packages: tuple[str, ...] = ()


OURS: dict[str, Way] = {
    "graph, copied": partial(graph_hop.measure, link="direct", in_place=False),
    "graph, in place": partial(graph_hop.measure, link="direct", in_place=True),
    "graph, copied, zeromq": partial(graph_hop.measure, link="zeromq", in_place=False),
    "graph, in place, zeromq": partial(graph_hop.measure, link="zeromq", in_place=True),
    "channel, copied": partial(channel_hop.measure, link="direct", in_place=False),
    "channel, in place": partial(channel_hop.measure, link="direct", in_place=True),
}
"""Ways of ours; `graph` is from a body's return to the next body's call."""

PEERS = {
    "pipe and shared memory": Peer("floor_chain.py"),
    "ZeroMQ and shared memory": Peer("zeromq.py"),
    "iceoryx2": Peer("iceoryx.py", ("iceoryx2", "numpy")),
    "ezmsg": Peer("ezmsg_chain.py", ("ezmsg", "numpy")),
    "dora": Peer("dora_chain.py", ("dora-rs", "dora-rs-cli", "numpy", "pyarrow")),
}
"""The first is the floor: no graph can be quicker."""


def run(
    rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored, *, with_peers: bool = False
) -> Report:  # fmt: skip
    """Time hops of every size for so many seconds, each way after the other in every round.

    Returns:
        Per round: ``{"us": {"774 KB": {"graph, copied": {"p50", "p99", "p99.9", "max", "lost", "cpu_us"}, ...}}}``;
        None for a way that cannot be had here.

    Raises:
        WangraphError: a run failed.
    """
    hops = round(seconds * RATE_HZ)
    ways = OURS | ({name: partial(_measure_peer, peer) for name, peer in PEERS.items()} if with_peers else {})
    parameters = {"hops": hops, "rate_hz": RATE_HZ, "bytes": SIZES, "ways": [*ways]}
    return report("transport", AIM, parameters, rounds, lambda: measure(hops, ways=ways), rank, on_round)


def measure(
    hops: int, rate_hz: float = RATE_HZ, sizes: dict[str, int] | None = None, ways: dict[str, Way] | None = None
) -> Round:  # fmt: skip
    """One round: ``hops`` hops of every size, every way."""
    return {
        "us": {
            name: {
                way: None if (found := hop(n_bytes, hops, rate_hz)) is None else found.figures()
                for way, hop in (ways or OURS).items()
            }
            for name, n_bytes in (sizes or SIZES).items()
        }
    }


def rank(measured: Round) -> float:
    """The best round has the quickest median unit of pictures, copied."""
    return float(measured["us"]["774 KB"]["graph, copied"]["p50"])


def table(report: Report) -> Table:
    """A row for each round, size and way."""
    rows = [
        (r["round"], r["load_1m"], size, way, *_cells(found))
        for r in report["rounds"]
        for size, ways in r["us"].items()
        for way, found in ways.items()
    ]
    return Table(("round", "load", "payload", "way, us", *_COLUMNS, "lost", "cpu us"), rows)


def _cells(found: dict[str, float] | None) -> list[str]:
    if found is None:
        return ["not to be had", *[""] * (len(_COLUMNS) + 1)]
    cpu = "" if found["cpu_us"] is None else f"{found['cpu_us']:.0f}"
    return [*(f"{found[q]:.0f}" for q in _COLUMNS), str(found["lost"]), cpu]


def _measure_peer(peer: Peer, n_bytes: int, hops: int, rate_hz: float) -> Hops | None:
    if (python := python_with(peer.packages)) is None:
        return None
    command = [python, str(PROGRAMS / peer.program), str(n_bytes), str(hops), str(rate_hz)]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=hops / rate_hz + _SLACK_S)
        answer = json.loads(next(line for line in done.stdout.splitlines() if line.startswith(b"{")))
    except (OSError, subprocess.SubprocessError, StopIteration, ValueError):
        return None  # it breaks down here, as others' programs may
    return Hops(answer["us"], answer["sent"], answer["cpu_us"])
