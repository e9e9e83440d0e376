"""One process's end of all its channels: what the engine opens once and closes last."""

from __future__ import annotations

from collections.abc import Mapping

from ..plan.plan import Plan
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
        for name, layout in self._layouts.items():
            self._map(life_name(name, lives.get(name, 0)), layout, paths[name])
        own_name = life_name(process, lives.get(process, 0))
        own = self._segments.get(own_name)
        self.pool = Pool(own) if own else None
        self._link = open_link(plan, process, addresses, self._read, token)
        self.inbox: Incoming = self._link.inbox
        self.outbox: Outgoing = self._link.outbox
        self.publisher = Publisher(own_name, self.outbox, self.pool)

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
        self.inbox.close()
        self.outbox.close()
        self._link.close()
        for segment in self._segments.values():
            segment.close()

    def _map(self, name: str, layout: SegmentLayout, path: str) -> None:
        segment = self._segments[name] = Segment(path, layout, writable=layout.process == self._process)
        if layout.process != self._process:
            self._read[name] = ReadPool(segment, self._process)
