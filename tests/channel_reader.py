"""The reading process of the tests of links: keeps looks at random, says what it saw. Not a test itself."""

from __future__ import annotations

import pickle
import random
import sys
import zlib

import numpy as np

from wangraph.runtime.channel.endpoint import Endpoint
from wangraph.runtime.packet import Array, Packet, Validity

ANSWERS = "reader.answers"
"""The stream of what the reader says: unit 0 without payload once it listens; at the end unit 1, whose array counts the
packets that came and the payloads that were not what was sent."""


def checksum(array: Array) -> int:
    """What the producer wrote down in `Packet.produced_ns`."""
    return zlib.crc32(np.ascontiguousarray(array))


def main(plan: object, process: str, paths: dict[str, str], addresses: dict[str, str], keep: int) -> None:
    """Say that it listens, read to the end of the stream, say what was seen."""
    endpoint = Endpoint(plan, process, paths, addresses)
    endpoint.publisher.publish(Packet(ANSWERS, 0, 0, 0, 0, Validity.EMPTY), ["main"])
    chance, kept, packets, torn = random.Random(0), [], 0, 0
    while (packet := endpoint.inbox.receive()) is not None and packet.is_payload:
        packets += 1
        torn += checksum(packet.array) != packet.produced_ns
        kept.append((packet.array[::3], checksum(packet.array[::3])))
        while len(kept) > keep:
            lease, wanted = kept.pop(chance.randrange(len(kept)))
            torn += checksum(lease) != wanted
    torn += sum(checksum(lease) != wanted for lease, wanted in kept)
    seen = np.array([packets, torn])
    endpoint.publisher.publish(Packet(ANSWERS, 1, 0, 0, 0, Validity.REAL, {"": seen}), ["main"])
    kept.clear()
    endpoint.close()


if __name__ == "__main__":
    main(*pickle.load(sys.stdin.buffer))
