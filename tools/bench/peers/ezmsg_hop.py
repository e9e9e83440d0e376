"""ezmsg: two units in processes of their own; it copies what is large through shared memory by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import ezmsg.core as ez
import numpy as np
from pace import NS, Request, request, say


@dataclass
class Sent:
    """A message."""

    number: int
    sent_ns: int
    payload: np.ndarray


class Hop(ez.Settings):
    """Settings of both units."""

    n_bytes: int
    hops: int
    rate_hz: float


class Producer(ez.Unit):
    """Sends at its rate."""

    SETTINGS = Hop
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


class Reader(ez.Unit):
    """Takes every hop."""

    SETTINGS = Hop
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
        wanted = Request(self.SETTINGS.n_bytes, self.SETTINGS.hops, self.SETTINGS.rate_hz)
        say(wanted, self.took, sent.sent_ns / 1e9 + time.process_time() - self.began)
        raise ez.NormalTermination


class Both(ez.Collection):
    """Producer and reader, a process each."""

    SETTINGS = Hop
    PRODUCER = Producer()
    READER = Reader()

    def configure(self) -> None:
        """Hand the settings on."""
        self.PRODUCER.apply_settings(self.SETTINGS)
        self.READER.apply_settings(self.SETTINGS)

    def network(self) -> ez.NetworkDefinition:
        """The one edge."""
        return ((self.PRODUCER.OUTPUT, self.READER.INPUT),)

    def process_components(self) -> tuple:
        """Both are alone."""
        return (self.PRODUCER, self.READER)


if __name__ == "__main__":
    ez.run(SYSTEM=Both(Hop(*request())))
