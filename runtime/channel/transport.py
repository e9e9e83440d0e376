"""Interface of the sockets between processes. Today over ZeroMQ, by the ipc of one machine (`link`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..errors import RunError
from ..packet import Packet
from .wire import Frame, Handed


class Outgoing(Protocol):
    """Sends from any thread to any peer, and never waits: a sender that waited would miss its own units."""

    def offer(self, peer: str, frames: Sequence[Frame]) -> bool:
        """Send a message without waiting; False when the peer's queue is full."""
        ...

    def move(self, peer: str, address: str) -> None:
        """From now on a peer is elsewhere: what was sent and has not left is dropped."""
        ...

    def full(self, peers: tuple[str, ...], what: str) -> RunError:
        """The error that says that these peers did not take something."""
        ...

    def close(self) -> None:
        """Close; what was sent lately still leaves. Call it when no thread sends."""
        ...


class Incoming(Protocol):
    """Receives what is sent to a process. One thread receives; any thread may call `wake`."""

    def receive(self, timeout_ms: int = -1) -> Packet | Handed | None:
        """The next packet, or outcome that was decided in the place of a dead process; None after a `wake`, or after
        ``timeout_ms`` (-1: wait for ever).

        Raises:
            RunError: what came is no packet, of another version, or points outside of its slot or frames.
        """
        ...

    @property
    def has_more(self) -> bool:
        """True if the message that `receive` gave a packet of holds another one."""
        ...

    def wake(self) -> None:
        """Let `receive` return None, now or when it is called next."""
        ...

    def close(self) -> None:
        """Stop listening. Call it when nobody receives."""
        ...
