"""Slots and leases: who may write into shared memory, and who still looks at it.

    free -> writing (leased by the producer) -> ready -> leased by its readers -> free

One byte per (slot, holder) says that the holder still looks. The producer sets the readers' bytes before it sends a
header; each holder clears its own when its last array over the slot dies, however long a node keeps one, slices and
torch tensors over it included. The producer takes only slots with no byte set, so that what somebody looks at is
never overwritten. No byte has two writers at a time, and no lock is shared between processes.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from collections.abc import Mapping

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import RunError, listing
from ..packet import Array, frozen
from .layout import StreamRegion
from .segment import Segment

FREE, HELD = 0, 1
"""Lease bytes."""

_NOWHERE = -1

Bytes = NDArray[np.uint8]


class Slot:
    """A slot that its producer may write into, until it is emitted.

    Attributes:
        region: the stream it belongs to.
        index: number within the region.
    """

    memory = ""

    def __init__(self, region: StreamRegion, index: int, root: Bytes, start: int) -> None:
        """``start``: address of its first byte."""
        self.region = region
        self.index = index
        # weakly, or a slot that is written and never emitted would not be free again
        self._root = weakref.ref(root)
        self._address = start
        self._given: set[str] = set()

    def array(self, tensor: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array | None:
        """A writable array at the tensor's place; None when it does not fit, was given before, or the slot is gone."""
        root, place = self._root(), self.region.tensors.get(tensor)
        dtype = np.dtype(dtype)
        # given twice, a node would write unit k + 1 into the array that carries unit k
        if root is None or tensor in self._given:
            return None
        if place is None or _n_bytes(shape, dtype) > place.max_bytes:
            return None
        self._given.add(tensor)
        return np.ndarray(shape, dtype, buffer=root, offset=place.offset)

    def fill(self, tensors: Mapping[str, Array], *, is_fresh: bool = False) -> Bytes | None:
        """Bring every tensor to its place, copying those that are not there already. Nothing may be written after.

        Args:
            is_fresh: no array over the slot has been given out.

        Returns:
            What keeps the slot until it is leased out; None, with nothing written, when a tensor does not fit or
            something would be overwritten that was given out or is still to be copied.
        """
        root = self._root()
        if root is None:
            return None
        there, copies = [], []
        for name, array in tensors.items():
            # an address is dear: numpy makes a whole dictionary for it
            place, start = self.region.tensors.get(name), _NOWHERE if is_fresh else address(array)
            if place is None or array.nbytes > place.max_bytes or array.dtype.hasobject:
                return None
            if start == self._address + place.offset and array.flags.c_contiguous and array.dtype.isnative:
                there.append(array)
            # something else lies in that place, or what is to be copied from here would be overwritten on the way
            elif name in self._given or self.holds(start):
                return None
            else:
                copies.append((array, place))
        for array, place in copies:
            np.copyto(np.ndarray(array.shape, _native(array.dtype), buffer=root, offset=place.offset), array)
        # readers look at these very bytes: a node that goes on writing would change what was sent
        for array in there:
            frozen(array)
        return root

    def holds(self, start: int) -> bool:
        """True if an array whose first byte is at this address lies within the slot."""
        return self._root() is not None and 0 <= start - self._address < self.region.slot_bytes

    def offset(self, tensor: str) -> int:
        """Place of a tensor inside the slot, in bytes."""
        return self.region.tensors[tensor].offset


class Pool:
    """The producer's side: takes free slots, brings payloads into them, leases them out. For any thread."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._regions = segment.layout.regions
        self._producer = segment.layout.process
        self._start = address(np.frombuffer(segment.payload, np.uint8))
        self._lock = threading.Lock()
        self._given: dict[str, dict[int, Slot]] = {stream: {} for stream in self._regions}

    def acquire(self, stream: str) -> tuple[Slot, Bytes] | None:
        """A slot to write into, and the array that keeps it; None when the stream has no slot or none is free."""
        region = self._regions.get(stream)
        if region is None:
            return None
        with self._lock:
            index = self._free(region)
            if index is None:
                return None
            # under the lock: two lanes of a process would take the same free slot
            self._segment.leases[region.lease(index, self._producer)] = HELD
        root = _root(self._segment, region, index, self._producer)
        return Slot(region, index, root, self._start + region.slot_offset(index)), root

    def empty(self, stream: str, tensor: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """An array to write a tensor of the stream's next packet into: in a slot when there is one, else private.

        Tensors of one packet share a slot. The slot is free again when its arrays die without being emitted.
        """
        given = self._given.get(stream, {})
        with self._lock:
            latest = next(reversed(given.values()), None)
        array = latest.array(tensor, shape, dtype) if latest else None
        if array is not None:
            return array
        acquired = self.acquire(stream)
        if acquired is None:
            return np.empty(shape, dtype)
        slot, root = acquired
        array = slot.array(tensor, shape, dtype)
        del root  # the array alone keeps the slot
        if array is None:
            return np.empty(shape, dtype)
        with self._lock:
            # last in the order again: `empty` looks for the slot that was begun last
            given.pop(slot.index, None)
            given[slot.index] = slot
        return array

    def place(self, stream: str, tensors: Mapping[str, Array]) -> tuple[Slot, Bytes] | None:
        """Bring a payload into one slot, copying only what is not in its place there.

        Returns:
            The slot, and the array that keeps it until it is leased out; None: the payload must travel inline.
        """
        slot = self._taken_back(stream, tensors)
        root = slot.fill(tensors) if slot else None
        if slot is not None and root is not None:
            return slot, root
        acquired = self.acquire(stream)
        if acquired is None:
            return None
        slot, fresh = acquired
        return None if slot.fill(tensors, is_fresh=True) is None else (slot, fresh)

    def _taken_back(self, stream: str, tensors: Mapping[str, Array]) -> Slot | None:
        """The slot that one of these arrays was written into, if any. It is never given back twice: an array that is
        emitted again must not have its slot leased again while the first lease runs."""
        given = self._given.get(stream)
        if not given:
            return None
        starts = [address(array) for array in tensors.values()]
        with self._lock:
            for index, slot in given.items():
                if any(slot.holds(start) for start in starts):
                    return given.pop(index)
        return None

    def lease(self, slot: Slot, reader: str) -> None:
        """Mark the slot as looked at by ``reader``; call it before the header is sent."""
        self._segment.leases[slot.region.lease(slot.index, reader)] = HELD

    def release(self, slot: Slot, reader: str) -> None:
        """Take a lease back whose header could not be sent."""
        self._segment.leases[slot.region.lease(slot.index, reader)] = FREE

    def reclaim(self, reader: str) -> None:
        """Free what a dead process held. Never call it for one that may still be looking."""
        for region in self._regions.values():
            if reader in region.holders:
                for index in range(region.n_slots):
                    self._segment.leases[region.lease(index, reader)] = FREE

    def holders(self, stream: str) -> dict[str, int]:
        """Number of the stream's slots that each process holds; empty when nobody holds any."""
        region = self._regions.get(stream)
        if region is None:
            return {}
        leases, slots = self._segment.leases, range(region.n_slots)
        counts = {holder: sum(leases[region.lease(slot, holder)] for slot in slots) for holder in region.holders}
        return {holder: count for holder, count in counts.items() if count}

    def _free(self, region: StreamRegion) -> int | None:
        """The lowest free slot: it is the one most likely to be in the cache still."""
        width, leases = len(region.holders), self._segment.leases
        unheld = bytes(width)
        for index in range(region.n_slots):
            first = region.lease_offset + index * width
            if leases[first : first + width] == unheld:
                return index
        return None


class ReadPool:
    """A reader's side: read-only looks into the slots of another process."""

    def __init__(self, segment: Segment, reader: str) -> None:
        self._segment = segment
        self._reader = reader

    def lease(self, stream: str, slot: int) -> Bytes:
        """All bytes of a slot, read-only. The lease ends when this array and everything over it are dead: call it
        once per header.

        Raises:
            RunError: there is no such slot, or this process does not read the stream.
        """
        layout = self._segment.layout
        region = layout.regions.get(stream)
        if region is None or not 0 <= slot < region.n_slots or self._reader not in region.holders[1:]:
            raise RunError(
                f"shared memory of process '{layout.process}': no slot {slot} of stream '{stream}' for "
                f"'{self._reader}' (it has: {_describe(layout.regions)}), do both processes run the same graph?"
            )
        return _root(self._segment, region, slot, self._reader)


def address(array: Array) -> int:
    """Address of the first byte."""
    return int(array.__array_interface__["data"][0])


def _root(segment: Segment, region: StreamRegion, slot: int, holder: str) -> Bytes:
    """The array every other array over a slot has as its base; the holder's lease ends with it.

    numpy collapses bases only down to the array that owns its buffer, and this one owns its hold on the mapping.
    """
    root = np.frombuffer(segment.payload, np.uint8, region.slot_bytes, region.slot_offset(slot))
    # with the array and not with the packet: a node may keep one, or a torch tensor over it, beyond its unit
    end = _LeaseEnd(root, _end_lease)
    end.leases, end.index = segment.leases, region.lease(slot, holder)
    _ENDS[id(end)] = end
    return root


class _LeaseEnd(weakref.ref[Bytes]):
    """Reference that ends a lease when its array dies. There are two for every hop: `weakref.finalize` would keep much
    more for each."""

    __slots__ = ("index", "leases")
    leases: mmap.mmap
    index: int


_ENDS: dict[int, _LeaseEnd] = {}
"""Leases that run in this process: a reference that nobody holds would die before its array."""


def _end_lease(end: weakref.ref[Bytes]) -> None:
    assert isinstance(end, _LeaseEnd)
    del _ENDS[id(end)]
    # the last arrays die after the mapping was closed, when a process ends
    if not end.leases.closed:
        end.leases[end.index] = FREE


def _describe(regions: Mapping[str, StreamRegion]) -> str:
    return listing(f"{region.n_slots} of '{name}'" for name, region in regions.items())


def _n_bytes(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    n_bytes = dtype.itemsize
    for size in shape:
        n_bytes *= size
    return n_bytes


def _native(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    return dtype.newbyteorder("=")
