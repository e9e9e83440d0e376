"""Both ends of a process's link, of the kind that its address says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import zmq

from ..plan.plan import Plan
from .direct_inbox import DirectInbox
from .direct_outbox import DirectOutbox
from .link import Inbox, Outbox
from .transport import DIRECT, Incoming, Outgoing, queue_bound
from .wire import SlotReader


class Link(NamedTuple):
    """A process's ends to receive and to send. Close both ends, then the link."""

    inbox: Incoming
    outbox: Outgoing
    close: Callable[[], None]


def open_link(
    plan: Plan, process: str, addresses: Mapping[str, str], segments: Mapping[str, SlotReader], token: str
) -> Link:  # fmt: skip
    """Listen at a process's address, and be ready to send to the others.

    Args:
        addresses: where each process listens, this one included.
        segments: attached segments by producing process; may be filled later.
        token: the run's.

    Raises:
        StartError: somebody listens there already.
    """
    own, bounds = addresses[process], {name: queue_bound(plan, name) for name in plan.processes}
    if own.startswith(DIRECT):
        return Link(DirectInbox(own, process, segments, token), DirectOutbox(addresses, bounds, token), lambda: None)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    return Link(
        Inbox(context, own, process, bounds[process], segments), Outbox(context, addresses, bounds), context.term
    )
