"""Layout of a process's shared segment: which bytes hold what, computed from the plan, the same in every process.

A segment is one file: a page-aligned *lease table* first, then the *payload*. Every shared stream has a region in the
payload, ``window + 2`` slots of equal size: the window may be held by readers, one slot is being written and one is
on its way. Inside a slot each tensor has a fixed place, so that a slot needs no directory of its own.

    | leases: 1 byte per (slot, holder) | stream A: slot 0, slot 1, ... | stream B: slot 0, ... |

The holders of a slot are the producing process itself (while it writes, and as long as its own nodes look at what
they emitted) and every reading process.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
class SegmentLayout:
    """The segment of one producing process: plain data, sent to every process that attaches it."""

    process: str
    regions: dict[str, StreamRegion]
    lease_bytes: int
    payload_bytes: int

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return self.lease_bytes + self.payload_bytes


def layouts(plan: Plan) -> dict[str, SegmentLayout]:
    """Layout by producing process; processes that share nothing are left out."""
    every = {name: layout(plan.streams.values(), name) for name in plan.processes}
    return {name: made for name, made in every.items() if made.regions}


def layout(streams: Iterable[StreamPlan], process: str) -> SegmentLayout:
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
    return SegmentLayout(process, regions, _aligned(lease_offset, LEASE_ALIGNMENT), offset)


def is_shared(stream: StreamPlan) -> bool:
    """True if the payload travels in slots: by plan, with a reader, and with a known bound."""
    return stream.carrier == "shared" and bool(stream.readers) and bool(stream.max_bytes)


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
