"""From a packet to all of its readers: into a slot once, then one small header each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from ..packet import Array, Packet
from .link import Outbox
from .pool import Pool
from .wire import Frame, encode

Way = Literal["shared", "inline"]
"""How a payload went: in a slot, or behind its header."""


class Publisher:
    """What a process's lanes send through; any thread, one thread at a time per stream."""

    def __init__(self, process: str, outbox: Outbox, pool: Pool | None) -> None:
        """``pool``: None for a process that shares nothing."""
        self._process = process
        self._outbox = outbox
        self._pool = pool

    def empty(self, stream: str, tensor: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """An array for a tensor of the stream's next packet: in shared memory, so that publishing it copies nothing;
        private when there is no slot for it."""
        return self._pool.empty(stream, tensor, shape, dtype) if self._pool else np.empty(shape, dtype)

    def publish(self, packet: Packet, readers: Sequence[str]) -> tuple[int, Way]:
        """Send a packet to ``readers``: processes that the plan names as readers of its stream.

        Arrays that lie in the slot already are made read-only, others are copied into one. Inline means that the
        payload was copied through the sockets: it fits no slot, or none was free (`Pool.holders` tells who has them).

        Returns:
            Payload bytes, and how they went.

        Raises:
            PeerFull: a reader does not read; the others got the packet.
            RunError: a dtype that does not travel.
        """
        way, refused = self._send(packet, readers)
        if refused:
            raise self._outbox.full(refused, f"unit {packet.unit} of '{packet.stream}'")
        return packet.n_bytes, way

    def _send(self, packet: Packet, readers: Sequence[str]) -> tuple[Way, tuple[str, ...]]:
        """How the payload went, and who did not take it."""
        placed = self._pool.place(packet.stream, packet.tensors) if self._pool and packet.tensors else None
        if self._pool is None or placed is None:
            return "inline", self._offer(encode(packet), readers)
        slot, _ = placed
        frames = encode(packet, slot, self._process)
        for reader in readers:  # all leases before any header: a quick reader must not free the slot under a slow one
            self._pool.lease(slot, reader)
        refused = self._offer(frames, readers)
        for reader in refused:
            self._pool.release(slot, reader)
        return "shared", refused

    def _offer(self, frames: Sequence[Frame], readers: Sequence[str]) -> tuple[str, ...]:
        return tuple(reader for reader in readers if not self._outbox.offer(reader, frames))
