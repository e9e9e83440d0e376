"""One hop over the channel alone: from before the copy into shared memory to a readable array on the other side."""

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
from ...runtime.channel.transport import LinkName, local_addresses
from ...runtime.errors import ProcessLost
from ...runtime.packet import Array, Packet, Validity
from ...runtime.plan.plan import Plan, ProcessPlan, StreamPlan, TensorPlan
from ...runtime.units import NS, UnitClock
from .hops import Hops

WARM_UP = 10
"""Hops left out of the figures: sockets connect and caches fill in them."""

_STREAM = "producer.out"
_PATIENCE_S = 10


def measure(n_bytes: int, hops: int, rate_hz: float, link: LinkName, *, in_place: bool) -> Hops:
    """Time so many hops, copied into the slot or produced in place.

    Raises:
        ProcessLost: the reading process does not answer.
    """
    plan, name = _plan(n_bytes), secrets.token_hex(6)
    files = create_segments(name, layouts(plan))
    paths = {process: file.path for process, file in files.items()}
    addresses = local_addresses(name, plan.processes, link)
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
        spent_s = _produce(here, n_bytes, hops + WARM_UP, rate_hz, in_place=in_place)
        took, theirs_s = _answer(answers)
        us = [ns / 1000 for ns in took[WARM_UP:]]
        return Hops(us, hops, 1e6 * (spent_s + theirs_s) / (hops + WARM_UP))
    finally:
        child.join(1)
        child.kill()
        answers.close()
        here.close()
        for file in files.values():
            file.close()


def _produce(end: Endpoint, n_bytes: int, hops: int, rate_hz: float, *, in_place: bool) -> float:
    payload: Array = np.arange(n_bytes, dtype=np.uint8)
    start, began_s = time.monotonic_ns(), time.process_time()
    for unit in range(hops):
        time.sleep(max(0, start + int(unit * NS / rate_hz) - time.monotonic_ns()) / NS)
        made = payload
        if in_place:
            made = end.publisher.empty(_STREAM, "", (n_bytes,), np.uint8)
            np.copyto(made, payload)
        now = time.monotonic_ns()
        end.publisher.publish(_packet(unit, Validity.REAL, {"": made}, now), ["reader"])
    end.publisher.publish(_packet(hops, Validity.END, {}, 0), ["reader"])
    return time.process_time() - began_s


def _read(plan: Plan, paths: dict[str, str], addresses: dict[str, str], results: Connection) -> None:
    """Answer twice: with nothing once it listens, then with the nanoseconds of every hop, and seconds of processor."""
    end = Endpoint(plan, "reader", paths, addresses)
    took: list[int] = []
    results.send((took, 0.0))
    began_s = time.process_time()
    while isinstance(packet := end.inbox.receive(1000 * _PATIENCE_S), Packet) and packet.is_payload:
        took.append(time.monotonic_ns() - packet.produced_ns)
    results.send((took, time.process_time() - began_s))
    end.close()


def _answer(answers: Connection) -> tuple[list[int], float]:
    try:
        if answers.poll(_PATIENCE_S):
            answer: tuple[list[int], float] = answers.recv()
            return answer
    except EOFError:
        pass  # it ended without one
    raise ProcessLost(
        f"bench transport: reading process: found no answer (expected one within {_PATIENCE_S} s), "
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
