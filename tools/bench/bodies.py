"""Bodies that do nothing but take their time, as real ones do: they sleep, like one that waits for a device, compute in
libraries that let the interpreter go, in one thread or two, hold the interpreter, or burst."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...runtime.node import Node, NodeContext, Outputs, Param, Unit
from ...runtime.packet import Array
from ...runtime.ports import Input, Output

SHAPE = ("64 64", "float32")
BLOCK = bytes(1 << 16)
"""What is hashed again and again: large enough that the interpreter is let go meanwhile."""

CALIBRATION_S, TRIES = 0.02, 10


@dataclass(frozen=True)
class Speed:
    """Work that a machine does in a millisecond with nothing else to do."""

    hashes_per_ms: float = 20.0
    counts_per_ms: float = 1000.0


def measured_speed() -> Speed:
    """The best of several tries: what else runs on the machine only ever takes from it."""
    return Speed(max(_per_ms(_hash) for _ in range(TRIES)), max(_per_ms(_count) for _ in range(TRIES)))


class Source(Node):
    """Gives a packet a unit."""

    out = Output("latent", *SHAPE)

    def step(self, unit: Unit) -> Outputs:
        """The unit's number everywhere."""
        return {"out": np.full((64, 64), unit.index, np.float32)}


class EarlySource(Source):
    """May be called ahead of its unit."""

    ahead_units = 2


class Work(Node):
    """Passes on what it gets, after a while."""

    a = Input("latent", *SHAPE)
    b = Input("latent", *SHAPE, optional=True)
    out = Output("latent", *SHAPE)
    sleep_ms: float = Param(0.0, min=0, help="how long it waits")
    hashes: int = Param(0, min=0, help="how much it computes without the interpreter")
    counts: int = Param(0, min=0, help="how much it computes with the interpreter held")
    threads: int = Param(1, min=1, max=8, help="threads that compute: so much shorter")
    burst_ms: float = Param(0.0, min=0, help="how much longer it waits in some units")
    burst_every: int = Param(8, min=2, help="in every how many")

    def open(self, ctx: NodeContext) -> None:
        """Make the threads that compute."""
        self._pool = ThreadPoolExecutor(self.threads)
        ctx.on_close(self._pool.shutdown)

    def step(self, unit: Unit, a: Array, b: Array | None = None) -> Outputs:
        """Take the time."""
        bursts = unit.index % self.burst_every == self.burst_every - 1
        time.sleep((self.sleep_ms + self.burst_ms * bursts) / 1000)
        share = self.hashes // self.threads
        list(self._pool.map(_hash, [share] * self.threads)) if self.threads > 1 else _hash(share)
        _count(self.counts)
        return {"out": a}


class Memory(Work):
    """The same, and keeps something: it is told of lost units."""

    def new_state(self) -> list[int]:
        """Nothing yet."""
        return []

    def step(self, state: list[int], unit: Unit, a: Array, b: Array | None = None) -> Outputs:  # type: ignore[override]
        """Take the time."""
        return super().step(unit, a, b)

    def absorb(self, state: list[int], units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> None:
        """Take several in at once, in no time."""

    def gap(self, state: list[int], units: Sequence[Unit]) -> None:
        """Nothing was kept of them."""


class Play(Node):
    """Plays out at the deadline."""

    paced = True
    a = Input("latent", *SHAPE, late="empty")
    out = Output("latent", *SHAPE)

    def step(self, unit: Unit, a: Array | None) -> Outputs:
        """Pass on what came."""
        return {"out": a}


def _hash(n: int) -> None:
    for _ in range(n):
        hashlib.blake2b(BLOCK)


def _count(n: int) -> None:
    for _ in range(n):
        sum(range(100))


def _per_ms(work: Any) -> float:
    """Number of times that a kind of work is done in a millisecond."""
    n, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < CALIBRATION_S:
        work(16)
        n += 16
    return n / (spent * 1000)
