"""One process's end of all its channels: what the engine opens once and closes last."""

from __future__ import annotations

from collections.abc import Mapping

import zmq

from ..plan.plan import Plan
from .layout import layouts
from .link import Inbox, Outbox, queue_bound
from .pool import Pool, ReadPool
from .publisher import Publisher
from .segment import Segment
from .transport import Incoming, Outgoing


class Endpoint:
    """Inbox, outbox and shared memory of one process.

    Order: make it (it listens and has attached), tell the supervisor, run, end the lanes, `close`.

    Attributes:
        inbox: receives packets.
        publisher: sends packets.
        outbox: the sockets that it sends them through.
        pool: the slots of this process; None when it shares nothing.
    """

    def __init__(self, plan: Plan, process: str, paths: Mapping[str, str], addresses: Mapping[str, str]) -> None:
        """Attach what this process produces into and reads from, and listen.

        Args:
            paths: segment files by producing process, as the supervisor's `create_segments` made them.
            addresses: where each process listens, see `local_addresses`.

        Raises:
            RunError: a segment is gone or of another layout; somebody listens at this process's address.
        """
        self._segments = {
            name: Segment(paths[name], layout, writable=name == process)
            for name, layout in layouts(plan).items()
            if name == process or any(process in region.holders for region in layout.regions.values())
        }
        own = self._segments.get(process)
        others = {name: ReadPool(segment, process) for name, segment in self._segments.items() if name != process}
        bounds = {name: queue_bound(plan, name) for name in plan.processes}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.pool = Pool(own) if own else None
        self.inbox: Incoming = Inbox(self._context, addresses[process], process, bounds[process], others)
        self.outbox: Outgoing = Outbox(self._context, addresses, bounds)
        self.publisher = Publisher(process, self.outbox, self.pool)

    def close(self) -> None:
        """Close the sockets, let what was sent lately leave, unmap. Call it when no thread uses the endpoint."""
        self.inbox.close()
        self.outbox.close()
        self._context.term()
        for segment in self._segments.values():
            segment.close()
