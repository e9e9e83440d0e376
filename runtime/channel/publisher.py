"""From a packet to all of its readers: into a slot once, then one small header each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from ..packet import Array, Packet
from .device_pool import DevicePool, DeviceSlot
from .pool import Pool, Slot
from .transport import Outgoing
from .wire import Handed, encode_all, encode_handed

Way = Literal["shared", "inline", "device"]
"""How a payload went: in a slot in shared memory, behind its header, or in a slot on its device."""


class Publisher:
    """Sending end of a process's lanes; any thread, one thread at a time per stream."""

    def __init__(
        self, process: str, outbox: Outgoing, pool: Pool | None, devices: DevicePool | None = None
    ) -> None:  # fmt: skip
        """``process`` as its segment is called; ``pool``: None for a process that shares nothing; ``devices``: None for
        one that shares nothing on a device."""
        self._process = process
        self._outbox = outbox
        self._pool, self._devices = pool, devices
        self._absent: frozenset[str] = frozenset()

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
        (way,) = self.publish_all([packet], readers)
        return packet.n_bytes, way

    def publish_all(self, packets: Sequence[Packet], readers: Sequence[str]) -> list[Way]:
        """Send several packets to the same readers in one message; see `publish`. Returns how each payload went."""
        if self._absent:
            readers = [reader for reader in readers if reader not in self._absent]
        parts = [self._leased(packet, readers) for packet in packets]
        frames = encode_all(parts, self._process)
        # offered to all before anything is raised: one full reader must not cost the others the packet
        if refused := self._outbox.offer(readers, frames):
            # their leases end with arrays that they never got: the slots would be lost for the rest of the run
            self._release([slot for _, slot in parts if slot is not None], refused)
            raise self._outbox.full(refused, ", ".join(f"unit {p.unit} of '{p.stream}'" for p in packets))
        return ["inline" if slot is None else "device" if slot.memory else "shared" for _, slot in parts]

    def hand(self, handed: Handed, readers: Sequence[str]) -> None:
        """Send an outcome that was decided here in the place of a dead process.

        Raises:
            PeerFull: a reader does not read; the others got it.
        """
        frames = encode_handed(handed)
        there = [reader for reader in readers if reader not in self._absent]
        if refused := self._outbox.offer(there, frames):
            raise self._outbox.full(refused, f"unit {handed.packet.unit} of '{handed.packet.stream}'")

    def peer_down(self, reader: str) -> None:
        """A reader is dead: it is sent nothing, and what it held is free."""
        self._absent |= {reader}
        self._reclaim(reader)

    def peer_up(self, reader: str, address: str) -> None:
        """A reader is there again, elsewhere."""
        # once more: a call that had begun before its death may have leased a slot to it since
        self._reclaim(reader)
        self._outbox.move(reader, address)
        self._absent -= {reader}

    def _reclaim(self, reader: str) -> None:
        if self._pool is not None:
            self._pool.reclaim(reader)
        if self._devices is not None:
            self._devices.reclaim(reader)

    def _leased(self, packet: Packet, readers: Sequence[str]) -> tuple[Packet, Slot | DeviceSlot | None]:
        """The packet as it is sent, and the slot of its payload, leased to its readers; None where it has to travel.

        All leases come before any header: a quick reader must not free a slot under a slow one. And before the next
        packet is placed, which would get the same slot.
        """
        if not packet.tensors or self._pool is None:
            return packet, None
        if self._devices is not None:
            if there := self._devices.publish(packet.stream, packet.tensors, readers):
                return packet, there
            packet = packet.hosted()
        placed = self._pool.place(packet.stream, packet.on_host)
        if placed is None:
            return packet, None
        slot, _ = placed
        for reader in readers:
            self._pool.lease(slot, reader)
        return packet, slot

    def _release(self, slots: Sequence[Slot | DeviceSlot], readers: Sequence[str]) -> None:
        for slot in slots:
            for reader in readers:
                if isinstance(slot, DeviceSlot):
                    assert self._devices is not None, slot
                    self._devices.release(slot, reader)
                else:
                    assert self._pool is not None, slot
                    self._pool.release(slot, reader)
