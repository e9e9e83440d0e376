"""Layout of a process's shared segment: which bytes hold what, computed from the plan, the same in every process.

A segment is one file: a page-aligned *lease table* first, then the *payload*. Every shared stream has a region in the
payload, ``window + 2`` slots of equal size: the window may be held by readers, one slot is being written and one is
on its way. Inside a slot each tensor has a fixed place, so that a slot needs no directory of its own.

    | leases: 1 byte per (slot, holder) | stream A: slot 0, slot 1, ... | stream B: slot 0, ... |

The holders of a slot are the producing process itself (while it writes, and as long as its own nodes look at what
they emitted) and every reading process.

Slots of a stream that stays on a device lie in one allocation there. Their leases stand in the lease table with the
others, and behind all leases the handles by which processes open each other's memory and events:

    | leases | allocation by device | by slot: ready | by (slot, reader): done | ...
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ..device.api import HANDLE_BYTES
from ..plan.plan import Plan, StreamPlan

ALIGNMENT = 64
"""Tensors begin on a cache line, which is also the widest vector register."""

LEASE_ALIGNMENT = 65_536
"""The payload begins on a page of any machine: it is mapped apart from the leases."""

SPARE_SLOTS = 2
"""Slots beyond the window: one being written, one on its way."""


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Place of one tensor inside a slot."""

    offset: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class StreamRegion:
    """The slots of one stream.

    Attributes:
        offset: first byte of slot 0, counted from the start of the payload.
        slot_bytes: size of a slot, a multiple of `ALIGNMENT`.
        lease_offset: first lease byte of slot 0; slot s holds ``len(holders)`` of them from
            ``lease_offset + s * len(holders)`` on.
        holders: who may hold a slot, the producing process first.
    """

    stream: str
    n_slots: int
    slot_bytes: int
    offset: int
    lease_offset: int
    holders: tuple[str, ...]
    tensors: dict[str, TensorPlace]

    @property
    def n_bytes(self) -> int:
        """Payload bytes of all slots."""
        return self.n_slots * self.slot_bytes

    def slot_offset(self, slot: int) -> int:
        """First byte of a slot, counted from the start of the payload."""
        return self.offset + slot * self.slot_bytes

    def lease(self, slot: int, holder: str) -> int:
        """Index of the lease byte of (slot, holder)."""
        return self.lease_offset + slot * len(self.holders) + self.holders.index(holder)


@dataclass(frozen=True, slots=True)
class DeviceRegion:
    """The slots of one stream on a device.

    Attributes:
        device: ``cuda:0``.
        slots: as on the host, counted from the start of the allocation.
        handle_offset: place of the first handle in the lease table.
    """

    device: str
    slots: StreamRegion
    handle_offset: int

    def ready(self, slot: int) -> int:
        """Place of the handle of the event that a slot is written."""
        return self.handle_offset + slot * HANDLE_BYTES

    def done(self, slot: int, reader: str) -> int:
        """Place of the handle of the event that a reader has done with a slot."""
        readers = self.slots.holders[1:]
        number = self.slots.n_slots + slot * len(readers) + readers.index(reader)
        return self.handle_offset + number * HANDLE_BYTES

    @property
    def n_handles(self) -> int:
        """One for each slot, and one for each of its readers."""
        return self.slots.n_slots * len(self.slots.holders)


@dataclass(frozen=True, slots=True)
class SegmentLayout:
    """The segment of one producing process: plain data, the same in every process that attaches it.

    Attributes:
        regions: streams in shared memory; those on devices have one here, too, for what their device has no slot for.
        device_regions: streams on devices.
        device_handles: by device, place of the allocation's handle in the lease table.
    """

    process: str
    regions: dict[str, StreamRegion]
    lease_bytes: int
    payload_bytes: int
    device_regions: dict[str, DeviceRegion] = field(default_factory=dict)
    device_handles: dict[str, int] = field(default_factory=dict)

    def device_bytes(self, device: str) -> int:
        """Size of the allocation on a device."""
        return sum(region.slots.n_bytes for region in self.device_regions.values() if region.device == device)

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return self.lease_bytes + self.payload_bytes


def layouts(plan: Plan) -> dict[str, SegmentLayout]:
    """Layout by producing process; processes that share nothing are left out."""
    every = {name: layout(plan.streams.values(), name) for name in plan.processes}
    return {name: made for name, made in every.items() if made.regions}


def layout(streams: Collection[StreamPlan], process: str) -> SegmentLayout:
    """Layout of what ``process`` produces for others through shared memory.

    A stream whose size is not bounded by its contract gets no slots: its payload travels with the header.
    """
    regions: dict[str, StreamRegion] = {}
    offset = lease_offset = 0
    for stream in streams:
        if stream.process != process or not is_shared(stream):
            continue
        region = _region(stream, offset, lease_offset)
        regions[stream.name] = region
        offset += region.n_bytes
        lease_offset += region.n_slots * len(region.holders)
    on_devices = [stream for stream in streams if stream.name in regions and stream.carrier == "device"]
    device_regions, device_handles, end = _on_devices(on_devices, lease_offset)
    return SegmentLayout(process, regions, _aligned(end, LEASE_ALIGNMENT), offset, device_regions, device_handles)


def is_shared(stream: StreamPlan) -> bool:
    """True if the payload travels in slots: by plan, with a reader, and with a known bound."""
    return stream.carrier in ("shared", "device") and bool(stream.readers) and bool(stream.max_bytes)


def _on_devices(
    streams: Collection[StreamPlan], lease_offset: int
) -> tuple[dict[str, DeviceRegion], dict[str, int], int]:  # fmt: skip
    """Regions of streams on devices, places of the allocations' handles, and the end of the lease table."""
    taken: dict[str, int] = {}
    slots: dict[str, StreamRegion] = {}
    for stream in streams:
        slots[stream.name] = _region(stream, taken.get(stream.device, 0), lease_offset)
        taken[stream.device] = taken.get(stream.device, 0) + slots[stream.name].n_bytes
        lease_offset += slots[stream.name].n_slots * len(slots[stream.name].holders)
    end = _aligned(lease_offset, HANDLE_BYTES)
    allocations: dict[str, int] = {}
    for device in taken:
        allocations[device] = end
        end += HANDLE_BYTES
    regions: dict[str, DeviceRegion] = {}
    for stream in streams:
        regions[stream.name] = region = DeviceRegion(stream.device, slots[stream.name], end)
        end += region.n_handles * HANDLE_BYTES
    return regions, allocations, end


def _region(stream: StreamPlan, offset: int, lease_offset: int) -> StreamRegion:
    places: dict[str, TensorPlace] = {}
    end = 0
    for tensor in stream.tensors:
        assert tensor.max_bytes is not None, (stream.name, tensor.name)
        places[tensor.name] = TensorPlace(end, tensor.max_bytes)
        end = _aligned(end + tensor.max_bytes, ALIGNMENT)
    return StreamRegion(
        stream=stream.name,
        n_slots=stream.window + SPARE_SLOTS,
        slot_bytes=end,
        offset=offset,
        lease_offset=lease_offset,
        holders=(stream.process, *stream.readers),
        tensors=places,
    )


def _aligned(n_bytes: int, to: int) -> int:
    return -(-n_bytes // to) * to
