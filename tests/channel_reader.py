"""The reading process of the tests of links: keeps looks at random, says what it saw. Not a test itself."""

from __future__ import annotations

import pickle
import random
import sys
import zlib

import msgspec
import numpy as np

from wangraph.runtime.channel.endpoint import Endpoint
from wangraph.runtime.packet import Array, Packet


class Seen(msgspec.Struct):
    """What a reader found: packets, and payloads that were not what was sent. Nothing yet when it listens."""

    packets: int = 0
    torn: int = 0


def checksum(array: Array) -> int:
    """What the producer wrote down in `Packet.produced_ns`."""
    return zlib.crc32(np.ascontiguousarray(array))


def main(run: str, plan: object, process: str, paths: dict[str, str], keep: int) -> None:
    """Read to the end of the stream, then say `Seen`."""
    endpoint: Endpoint[Seen] = Endpoint(run, plan, process, paths, Seen)
    endpoint.outbox.control("main", Seen())
    chance, kept, packets, torn = random.Random(0), [], 0, 0
    while isinstance(packet := endpoint.inbox.receive(), Packet) and packet.is_payload:
        packets += 1
        torn += checksum(packet.array) != packet.produced_ns
        kept.append((packet.array[::3], checksum(packet.array[::3])))
        while len(kept) > keep:
            look, wanted = kept.pop(chance.randrange(len(kept)))
            torn += checksum(look) != wanted
    torn += sum(checksum(look) != wanted for look, wanted in kept)
    endpoint.outbox.control("main", Seen(packets, torn))
    kept.clear()
    endpoint.close()


if __name__ == "__main__":
    main(*pickle.load(sys.stdin.buffer))
