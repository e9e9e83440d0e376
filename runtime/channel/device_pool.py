"""Slots on a device: the same leases as in shared memory, ended by events of the device instead of by the host.

    free -> held by its readers (written, and an event recorded behind that) -> passed by each -> free

A reader has done with a slot when the work that it queued over it is done, and not when Python forgot its arrays: with
its last array it records an event, and marks its lease as *passed*. Who writes next lets the device wait for that
event. Nobody waits on the host.

Who cannot open the memory marks its leases as *refused*: such a slot is never free, and the payload goes by the host.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..device.api import HANDLE_BYTES, DeviceApi, DeviceError, Memory
from ..device.find import device_named
from ..errors import RunError
from ..payload import Payload
from .layout import DeviceRegion
from .pool import FREE, HELD
from .segment import Segment

PASSED, REFUSED = 2, 3
"""Lease bytes beyond those of the host: the reader's event tells when it is free; the reader cannot open the memory."""

LINGER_S = 1.0
"""How long a producer that has ended keeps its memory for those who still look at it."""

_POLL_S = 0.005


ON_DEVICE = "@device"
"""Behind the name of the process whose slot it is, in a header; no process has a name like that."""


class DeviceSlot:
    """A slot with a payload in it, leased to its readers. ``index``: within the stream."""

    memory = ON_DEVICE

    def __init__(self, region: DeviceRegion, index: int) -> None:
        self.region, self.index = region, index

    def offset(self, tensor: str) -> int:
        """Place of a tensor inside the slot, in bytes."""
        return self.region.slots.tensors[tensor].offset


class DevicePool:
    """The producer's side. For any thread.

    Args:
        segment: the producer's, whose lease table holds leases and handles.

    Raises:
        MissingExtra: the package for a device is not installed.
        DeviceError: a device is not there, shares no memory, or has too little.
    """

    def __init__(self, segment: Segment) -> None:
        self._table, self._layout = segment.leases, segment.layout
        self._lock = threading.Lock()
        self._ready: dict[tuple[str, int], Any] = {}
        self._done: dict[tuple[str, int, str], Any] = {}
        self._memory: dict[str, tuple[DeviceApi, Memory]] = {}
        for name in self._layout.device_handles:
            api = device_named(name)
            self._memory[name] = api, api.allocate(self._layout.device_bytes(name))
        for stream, region in self._layout.device_regions.items():
            api, _ = self._memory[region.device]
            for slot in range(region.slots.n_slots):
                event = self._ready[stream, slot] = api.event()
                self._write(region.ready(slot), api.export_event(event))
        # last: whoever sees it can open the rest
        for name, place in self._layout.device_handles.items():
            api, memory = self._memory[name]
            self._write(place, api.export(memory))

    def publish(self, stream: str, tensors: Mapping[str, Payload], readers: Sequence[str]) -> DeviceSlot | None:
        """Queue a copy of a payload into a free slot and lease it to ``readers``; None: it has to go by the host."""
        region = self._layout.device_regions.get(stream)
        if region is None or not _fits(region, tensors):
            return None
        with self._lock:
            index = next(self._free(region), None)
            if index is None:
                return None
            api, memory = self._memory[region.device]
            self._wait_for_readers(api, region, index)
            start = region.slots.slot_offset(index)
            for name, payload in tensors.items():
                api.write(memory, start + region.slots.tensors[name].offset, payload)
            api.record(self._ready[stream, index])
            for reader in readers:
                self._table[region.slots.lease(index, reader)] = HELD
        return DeviceSlot(region, index)

    def release(self, slot: DeviceSlot, reader: str) -> None:
        """Take a lease back whose header could not be sent."""
        self._table[slot.region.slots.lease(slot.index, reader)] = FREE

    def reclaim(self, reader: str) -> None:
        """Free what a dead process held; its work on the device has died with it."""
        with self._lock:
            for region in self._regions_of(reader):
                for index in range(region.slots.n_slots):
                    self._table[region.slots.lease(index, reader)] = FREE
                    self._done.pop((region.slots.stream, index, reader), None)

    def close(self) -> None:
        """Free the memory, once nobody looks at it any more."""
        until = time.monotonic() + LINGER_S
        regions = self._layout.device_regions.values()
        while any(HELD in self._leases(region, i) for region in regions for i in range(region.slots.n_slots)):
            if time.monotonic() > until:
                return  # it goes with the process
            time.sleep(_POLL_S)
        for region in regions:
            for index in range(region.slots.n_slots):
                self._wait_for_readers(self._memory[region.device][0], region, index)
        for api, memory in self._memory.values():
            api.close(memory)

    def _free(self, region: DeviceRegion) -> Iterator[int]:
        for index in range(region.slots.n_slots):
            if set(self._leases(region, index)) <= {FREE, PASSED}:
                yield index

    def _leases(self, region: DeviceRegion, index: int) -> bytes:
        first = region.slots.lease_offset + index * len(region.slots.holders)
        return self._table[first : first + len(region.slots.holders)]

    def _wait_for_readers(self, api: DeviceApi, region: DeviceRegion, index: int) -> None:
        """Let the device wait for what readers still do with a slot."""
        for reader in region.slots.holders[1:]:
            lease = region.slots.lease(index, reader)
            if self._table[lease] != PASSED:
                continue
            key = region.slots.stream, index, reader
            with suppress(DeviceError):  # a reader that has died: its work died with it
                if key not in self._done:
                    self._done[key] = api.open_event(self._read(region.done(index, reader)))
                api.wait(self._done[key])
            self._table[lease] = FREE

    def _regions_of(self, reader: str) -> Iterator[DeviceRegion]:
        return (r for r in self._layout.device_regions.values() if reader in r.slots.holders[1:])

    def _write(self, place: int, handle: bytes) -> None:
        self._table[place : place + HANDLE_BYTES] = handle.ljust(HANDLE_BYTES, b"\0")

    def _read(self, place: int) -> bytes:
        return self._table[place : place + HANDLE_BYTES]


class DeviceReadPool:
    """A reader's side: looks into the slots of another process on a device.

    Args:
        segment: the producer's.
        reader: this process.
    """

    def __init__(self, segment: Segment, reader: str) -> None:
        self._table, self._layout, self._reader = segment.leases, segment.layout, reader
        self._regions = {
            stream: region
            for stream, region in self._layout.device_regions.items()
            if reader in region.slots.holders[1:]
        }
        self._memory: dict[str, tuple[DeviceApi, Memory]] = {}
        self._ready: dict[tuple[str, int], Any] = {}
        self._done: dict[tuple[str, int], Any] = {}

    def open(self) -> None:
        """Open the memory and exchange events. Call it when the producer is there.

        Raises:
            RunError: it cannot be opened; the leases say so to the producer, which sends by the host.
        """
        try:
            for device in {region.device for region in self._regions.values()}:
                handle = self._read(self._layout.device_handles[device])
                if any(handle):  # else the producer could not do it, and has said so
                    api = device_named(device)
                    self._memory[device] = api, api.open(handle, self._layout.device_bytes(device))
            for stream, region in self._regions.items():
                if region.device in self._memory:
                    self._exchange(stream, region, self._memory[region.device][0])
        except Exception:
            self._memory.clear()
            for region in self._regions.values():
                for index in range(region.slots.n_slots):
                    self._table[region.slots.lease(index, self._reader)] = REFUSED
            raise

    def lease(self, stream: str, slot: int) -> DeviceLease:
        """A slot, leased until the lease and every array over it are dead and the work over them is done.

        Raises:
            RunError: there is no such slot, or its memory is not open.
        """
        region = self._regions.get(stream)
        if region is None or region.device not in self._memory or not 0 <= slot < region.slots.n_slots:
            raise RunError(
                f"device memory of process '{self._layout.process}': no slot {slot} of stream '{stream}' is open for "
                f"'{self._reader}', do both processes run the same graph?"
            )
        api, memory = self._memory[region.device]
        api.wait(self._ready[stream, slot])
        lease = DeviceLease(api, memory, region.slots.slot_offset(slot), region.slots.slot_bytes)
        index = region.slots.lease(slot, self._reader)
        end = weakref.finalize(lease, _pass, api, self._done[stream, slot], self._table, index)
        end.atexit = False
        return lease

    def close(self) -> None:
        """Give back what is still leased. Call it when no body runs any more: whatever holds an array looks no more."""
        for stream, region in self._regions.items():
            for slot in range(region.slots.n_slots):
                lease = region.slots.lease(slot, self._reader)
                if self._table[lease] == HELD and region.device in self._memory:
                    _pass(self._memory[region.device][0], self._done[stream, slot], self._table, lease)

    def _exchange(self, stream: str, region: DeviceRegion, api: DeviceApi) -> None:
        for slot in range(region.slots.n_slots):
            self._ready[stream, slot] = api.open_event(self._read(region.ready(slot)))
            done = self._done[stream, slot] = api.event()
            place = region.done(slot, self._reader)
            self._table[place : place + HANDLE_BYTES] = api.export_event(done).ljust(HANDLE_BYTES, b"\0")

    def _read(self, place: int) -> bytes:
        return self._table[place : place + HANDLE_BYTES]


class DeviceLease:
    """A look into one slot; every array of it keeps it."""

    def __init__(self, api: DeviceApi, memory: Memory, start: int, n_bytes: int) -> None:
        self._api, self._memory, self._start = api, memory, start
        self.nbytes = n_bytes

    def array(self, offset: int, shape: tuple[int, ...], dtype: str) -> Payload:
        """An array at a place inside the slot."""
        return self._api.array(self._memory, self._start + offset, shape, dtype, self)


def _fits(region: DeviceRegion, tensors: Mapping[str, Payload]) -> bool:
    places = region.slots.tensors
    return all(name in places and payload.nbytes <= places[name].max_bytes for name, payload in tensors.items())


def _pass(api: DeviceApi, done: Any, table: Any, lease: int) -> None:
    # the last arrays die after the mapping was closed, when a process ends
    if not table.closed:
        api.record(done)
        table[lease] = PASSED
