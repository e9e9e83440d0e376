"""One hop between two processes: from before the copy into shared memory to a readable array on the other side."""

from __future__ import annotations

import multiprocessing
import secrets
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ...runtime.channel.endpoint import Endpoint
from ...runtime.channel.layout import layouts
from ...runtime.channel.segment import create_segments
from ...runtime.channel.transport import local_addresses
from ...runtime.errors import ProcessLost
from ...runtime.packet import Array, Packet, Validity
from ...runtime.plan.plan import Plan, ProcessPlan, StreamPlan, TensorPlan
from ...runtime.units import NS, UnitClock
from .report import OnRound, Report, Round, Table, ignored, quantiles, report

SIZES = {"1 KB": 1_000, "774 KB": 4 * 192 * 336 * 3, "6.2 MB": 8 * 4 * 192 * 336 * 3}
"""774 KB is one unit of 336 x 192 pictures."""

AIM = ""
ROUNDS = 3
SECONDS = 10.0

RATE_HZ = 25.0
"""Hops in a second: as far apart as in a run, so that caches are as cold."""

WARM_UP = 10
"""Hops left out of the figures: sockets connect and caches fill in them."""

_COLUMNS = ("p50", "p95", "p99", "max")
_STREAM = "producer.out"
_PATIENCE_S = 10


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Time hops of every size for so many seconds, copied into the slot and produced in place.

    Returns:
        Per round: ``{"us": {"774 KB": {"copy": {"p50", "p95", "p99", "max"}, "in_place": {...}}}}``.

    Raises:
        ProcessLost: the reading process does not answer.
    """
    hops = round(seconds * RATE_HZ)
    parameters = {"hops": hops, "rate_hz": RATE_HZ, "bytes": SIZES}
    return report("hop", AIM, parameters, rounds, lambda: measure(hops), rank, on_round)


def measure(hops: int, rate_hz: float = RATE_HZ, sizes: dict[str, int] | None = None) -> Round:
    """One round: ``hops`` hops of every size, both ways."""
    figures = {
        name: {
            "copy": _figures(_measure(n_bytes, hops, rate_hz, in_place=False)),
            "in_place": _figures(_measure(n_bytes, hops, rate_hz, in_place=True)),
        }
        for name, n_bytes in (sizes or SIZES).items()
    }
    return {"us": figures}


def rank(measured: Round) -> float:
    """The best round has the quickest median unit of pictures, copied."""
    return float(measured["us"]["774 KB"]["copy"]["p50"])


def table(report: Report) -> Table:
    """A row for each round, size and way."""
    rows = [
        (r["round"], r["load_1m"], size, way.replace("_", " "), *(f"{found[q]:.0f}" for q in _COLUMNS))
        for r in report["rounds"]
        for size, ways in r["us"].items()
        for way, found in ways.items()
    ]
    return Table(("round", "load", "payload", "us", *_COLUMNS), rows)


def _figures(took_ns: list[int]) -> dict[str, float]:
    return quantiles([ns / 1000 for ns in took_ns[WARM_UP:]], digits=1)


def _measure(n_bytes: int, hops: int, rate_hz: float, *, in_place: bool) -> list[int]:
    plan, name = _plan(n_bytes), secrets.token_hex(6)
    files = create_segments(name, layouts(plan))
    paths = {process: file.path for process, file in files.items()}
    addresses = local_addresses(name, plan.processes)
    context = multiprocessing.get_context("spawn")
    answers, results = context.Pipe(duplex=False)
    child = context.Process(target=_read, args=(plan, paths, addresses, results), daemon=True)
    here = Endpoint(plan, "producer", paths, addresses)
    try:
        child.start()
        results.close()  # so that the answers end with the process that gives them
        _answer(answers)
        for file in files.values():
            file.unlink()
        _produce(here, n_bytes, hops + WARM_UP, rate_hz, in_place=in_place)
        return _answer(answers)
    finally:
        child.join(1)
        child.kill()
        answers.close()
        here.close()
        for file in files.values():
            file.close()


def _produce(end: Endpoint, n_bytes: int, hops: int, rate_hz: float, *, in_place: bool) -> None:
    payload: Array = np.arange(n_bytes, dtype=np.uint8)
    start = time.monotonic_ns()
    for unit in range(hops):
        time.sleep(max(0, start + int(unit * NS / rate_hz) - time.monotonic_ns()) / NS)
        made = payload
        if in_place:
            made = end.publisher.empty(_STREAM, "", (n_bytes,), np.uint8)
            np.copyto(made, payload)
        now = time.monotonic_ns()
        end.publisher.publish(_packet(unit, Validity.REAL, {"": made}, now), ["reader"])
    end.publisher.publish(_packet(hops, Validity.END, {}, 0), ["reader"])


def _read(plan: Plan, paths: dict[str, str], addresses: dict[str, str], results: Connection) -> None:
    """Answer twice: with nothing once it listens, then with the nanoseconds of every hop."""
    end = Endpoint(plan, "reader", paths, addresses)
    took: list[int] = []
    results.send(took)
    while isinstance(packet := end.inbox.receive(1000 * _PATIENCE_S), Packet) and packet.is_payload:
        took.append(time.monotonic_ns() - packet.produced_ns)
    results.send(took)
    end.close()


def _answer(answers: Connection) -> list[int]:
    try:
        if answers.poll(_PATIENCE_S):
            took: list[int] = answers.recv()
            return took
    except EOFError:
        pass  # it ended without one
    raise ProcessLost(
        f"bench hop: reading process: found no answer (expected one within {_PATIENCE_S} s), "
        "run it where fewer processes wait for the CPU"
    )


def _packet(unit: int, validity: Validity, tensors: dict[str, Any], now_ns: int) -> Packet:
    return Packet(_STREAM, unit, 0, 0, 0, validity, tensors, produced_ns=now_ns)


def _plan(n_bytes: int) -> Plan:
    tensor = TensorPlan("", "uint8", (n_bytes,), n_bytes)
    stream = StreamPlan(
        name=_STREAM,
        node="producer",
        port="out",
        kind="any",
        tensors=(tensor,),
        is_log=False,
        process="producer",
        settler="producer",
        settle_ns=None,
        window=3,
        readers=("reader",),
        carrier="shared",
    )
    return Plan("hop", UnitClock(), 0, {}, {_STREAM: stream}, {p: ProcessPlan(p) for p in ("producer", "reader")})
