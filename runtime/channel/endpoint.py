"""One process's end of all its channels: what the engine opens once and closes last."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import MissingExtra, RunError
from ..plan.plan import Plan
from .device_pool import ON_DEVICE, DevicePool, DeviceReadPool
from .layout import SegmentLayout, layouts
from .links import open_link
from .pool import Pool, ReadPool
from .publisher import Publisher
from .segment import Segment, life_name
from .transport import Incoming, Outgoing
from .wire import SlotReader


class Endpoint:
    """Inbox, outbox and shared memory of one process.

    Order: make it (it listens and has attached), tell the supervisor, run, end the lanes, `close`.

    Attributes:
        inbox: receives packets.
        publisher: sends packets.
        outbox: the sockets that it sends them through.
        pool: the slots of this process; None when it shares nothing.
        notes: what could not be had as planned, in words.
    """

    def __init__(
        self,
        plan: Plan,
        process: str,
        paths: Mapping[str, str],
        addresses: Mapping[str, str],
        lives: Mapping[str, int] | None = None,
        token: str = "",
    ) -> None:
        """Attach what this process produces into and reads from, and listen.

        Args:
            paths: segment files by producing process, as the supervisor made them.
            addresses: where each process listens, this one included.
            lives: which life of a process it is, of those that are not in their first.
            token: the run's, by which its processes know each other.

        Raises:
            RunError: a segment is gone or of another layout; somebody listens at this process's address.
        """
        self._process = process
        self._layouts = {
            name: layout
            for name, layout in layouts(plan).items()
            if name == process or any(process in region.holders for region in layout.regions.values())
        }
        lives = lives or {}
        self._segments: dict[str, Segment] = {}
        # read by the inbox's thread: entries are added and taken out in one step each
        self._read: dict[str, SlotReader] = {}
        self._on_devices: dict[str, DeviceReadPool] = {}
        self.notes: list[str] = []
        for name, layout in self._layouts.items():
            self._map(life_name(name, lives.get(name, 0)), layout, paths[name])
        own_name = life_name(process, lives.get(process, 0))
        own = self._segments.get(own_name)
        self.pool = Pool(own) if own else None
        self._link = open_link(plan, process, addresses, self._read, token)
        self.inbox: Incoming = self._link.inbox
        self.outbox: Outgoing = self._link.outbox
        self._devices = self._device_pool(own)
        self.publisher = Publisher(own_name, self.outbox, self.pool, self._devices)

    def attach(self) -> None:
        """Open what other processes share on devices. Call it when all are there."""
        for name, pool in self._on_devices.items():
            try:
                pool.open()
            except (RunError, MissingExtra) as error:
                self.notes.append(f"{error}; what '{name}' makes there comes by the host, a copy to it and one back")

    @property
    def has_devices(self) -> bool:
        """True if this process shares memory of a device."""
        return self._devices is not None

    def peer_down(self, process: str) -> None:
        """Another process is dead: what it holds of this one's memory is free, and it is sent nothing any more."""
        self.publisher.peer_down(process)

    def peer_up(self, process: str, life: int, path: str, address: str) -> None:
        """Another process is there again, with another address and other memory.

        Raises:
            RunError: its segment is gone or of another layout.
        """
        if process in self._layouts and life_name(process, life) not in self._segments:
            self._map(life_name(process, life), self._layouts[process], path)
            # a message of the life before may still be under way, and is read; of those before that, none can be
            for gone in (life_name(process, old) for old in range(life - 1)):
                if (segment := self._segments.pop(gone, None)) is not None:
                    del self._read[gone]
                    segment.close()
        self.publisher.peer_up(process, address)

    def close(self) -> None:
        """Close the sockets, let what was sent lately leave, unmap. Call it when no thread uses the endpoint."""
        for pool in self._on_devices.values():
            pool.close()
        if self._devices is not None:
            self._devices.close()
        self.inbox.close()
        self.outbox.close()
        self._link.close()
        for segment in self._segments.values():
            segment.close()

    def _map(self, name: str, layout: SegmentLayout, path: str) -> None:
        segment = self._segments[name] = Segment(path, layout, writable=layout.process == self._process)
        if layout.process != self._process:
            self._read[name] = ReadPool(segment, self._process)
            if any(self._process in region.slots.holders for region in layout.device_regions.values()):
                self._read[name + ON_DEVICE] = self._on_devices[name] = DeviceReadPool(segment, self._process)

    def _device_pool(self, own: Segment | None) -> DevicePool | None:
        """Slots on devices; None where this process makes nothing there, or where that cannot be shared."""
        if own is None or not own.layout.device_regions:
            return None
        try:
            return DevicePool(own)
        except (RunError, MissingExtra) as error:
            streams = ", ".join(own.layout.device_regions)
            self.notes.append(f"{error}; {streams}: by the host, a copy to it and one back for each reader")
            return None
