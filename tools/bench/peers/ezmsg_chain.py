"""ezmsg: units in processes of their own, each of which sends on what it takes; it copies what is large through shared
memory by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from itertools import pairwise

import ezmsg.core as ez
import numpy as np
from pace import NS, Request, request, say


@dataclass
class Sent:
    """A message; the last one, of number -1, carries the processor nanoseconds of those before in ``sent_ns``."""

    number: int
    sent_ns: int
    payload: np.ndarray


class Chain(ez.Settings):
    """Settings of all units."""

    n_bytes: int
    hops: int
    rate_hz: float
    n_processes: int


class Producer(ez.Unit):
    """Sends at its rate."""

    SETTINGS = Chain
    OUTPUT = ez.OutputStream(Sent)

    @ez.publisher(OUTPUT)
    async def produce(self) -> AsyncGenerator:
        """Send every hop."""
        payload = np.arange(self.SETTINGS.n_bytes, dtype=np.uint8)
        await asyncio.sleep(1)
        start, began = time.monotonic_ns(), time.process_time()
        for number in range(self.SETTINGS.hops):
            left = start + int(number * NS / self.SETTINGS.rate_hz) - time.monotonic_ns()
            await asyncio.sleep(max(0, left) / NS)
            yield self.OUTPUT, Sent(number, time.monotonic_ns(), payload)
        spent = Sent(-1, int(1e9 * (time.process_time() - began)), np.zeros(1, np.uint8))
        yield self.OUTPUT, spent


class Relay(ez.Unit):
    """Sends on what it takes."""

    INPUT = ez.InputStream(Sent)
    OUTPUT = ez.OutputStream(Sent)

    async def initialize(self) -> None:
        """Begin."""
        self.began = 0.0

    @ez.subscriber(INPUT, zero_copy=True)
    @ez.publisher(OUTPUT)
    async def relay(self, sent: Sent) -> AsyncGenerator:
        """Send one on."""
        self.began = self.began or time.process_time()
        if sent.number < 0:
            sent = replace(sent, sent_ns=sent.sent_ns + int(1e9 * (time.process_time() - self.began)))
        yield self.OUTPUT, sent


class Reader(ez.Unit):
    """Takes every hop."""

    SETTINGS = Chain
    INPUT = ez.InputStream(Sent)

    async def initialize(self) -> None:
        """Begin."""
        self.took: dict[int, int] = {}
        self.began = 0.0

    @ez.subscriber(INPUT, zero_copy=True)
    async def read(self, sent: Sent) -> None:
        """Take one."""
        if sent.number >= 0:
            self.took[sent.number] = time.monotonic_ns() - sent.sent_ns
            self.began = self.began or time.process_time()
            return
        chain = self.SETTINGS
        wanted = Request(chain.n_bytes, chain.hops, chain.rate_hz, chain.n_processes)
        say(wanted, self.took, sent.sent_ns / 1e9 + time.process_time() - self.began)
        raise ez.NormalTermination


def main() -> None:
    """Measure."""
    wanted = request()
    units = {"producer": Producer(Chain(*wanted)), "reader": Reader(Chain(*wanted))}
    relays = {f"relay{place}": Relay() for place in range(wanted.n_processes - 2)}
    order = [units["producer"], *relays.values(), units["reader"]]
    connections = tuple((a.OUTPUT, b.INPUT) for a, b in pairwise(order))
    ez.run(components={**units, **relays}, connections=connections, process_components=tuple(order))


if __name__ == "__main__":
    main()
