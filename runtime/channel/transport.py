"""Interface of the sockets between processes, and the bound of their queues.

Two links do it: `direct` between processes of one machine, and `link` over ZeroMQ. The scheme of an address says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol

from ..errors import RunError
from ..packet import Packet
from ..plan.plan import Plan
from ..run_token import Strangers
from .segment import plain_name
from .wire import Frame, Handed

LinkName = Literal["direct", "zeromq"]
"""Carriers of headers between processes of one machine."""

DIRECT = "unix://@"
"""How the addresses of the direct link begin; those of the other are ZeroMQ's own."""

SPARE_MESSAGES = 64
"""Room in every queue beyond the windows, for what a process settles at one stroke after it stood still. It also keeps
a bound from being 0, which ZeroMQ takes for none."""


class PeerFull(RunError):
    """A peer does not take what it is sent: its queue is full. ``peers`` names who did not get the
    message, as far as it was raised in this process."""

    def __init__(self, message: str, peers: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.peers = peers


class Outgoing(Protocol):
    """Sends from any thread to any peer, and never waits: a sender that waited would miss its own units."""

    def offer(self, peers: Sequence[str], frames: Sequence[Frame]) -> tuple[str, ...]:
        """Send a message to each of these peers without waiting; gives those whose queue is full.

        What one thread sends to a peer arrives in order. The frames may be read until they have arrived.
        """
        ...

    def move(self, peer: str, address: str) -> None:
        """From now on a peer is elsewhere: what was sent and has not left is dropped."""
        ...

    def full(self, peers: tuple[str, ...], what: str) -> PeerFull:
        """The error that says that these peers did not take something."""
        ...

    def close(self) -> None:
        """Close; what was sent lately still leaves. Call it when no thread sends."""
        ...


class Poller(Protocol):
    """A thread's own way to wait for whatever it has to do, and to receive meanwhile."""

    def wait(self, take: Callable[[list[Packet | Handed]], None]) -> None:
        """Wait until messages come, which are handed over, or until it is rung. Raises as `Incoming.receive`."""
        ...

    def ring(self) -> None:
        """Let `wait` return, now or when it is called next. From any thread."""
        ...


class Incoming(Protocol):
    """Receives what is sent to a process. One thread receives; any thread may call `wake`.

    Attributes:
        strangers: other programs that tried to send.
    """

    strangers: Strangers

    def receive(self, timeout_ms: int = -1) -> Packet | Handed | None:
        """The next packet, or outcome that was decided in the place of a dead process; None after a `wake`, or after
        ``timeout_ms`` (-1: wait for ever).

        Raises:
            RunError: what came is no packet, of another version, or points outside of its slot or frames.
        """
        ...

    def attend(self, take: Callable[[list[Packet | Handed]], None]) -> bool:
        """Wait for messages and hand over what each of them holds, in order; False after a `wake`. Raises as `receive`.

        The thread that attends is the last resort: with pollers, it is woken for what comes while none of them waits.
        """
        ...

    def poller(self) -> Poller | None:
        """Let another thread receive, too, whenever it has nothing else to do; None where only one thread can."""
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


def local_address(run: str, process: str, link: LinkName = "direct") -> str:
    """Address of a process's inbox in a run on one machine; it leaves no file, and ends with the process.

    Addresses are made by who starts the processes, and handed to them: nobody else knows how.
    """
    name = plain_name(run, process)
    return f"{DIRECT}{name}" if link == "direct" else f"ipc://@{name}"


def local_addresses(run: str, processes: Iterable[str], link: LinkName = "direct") -> dict[str, str]:
    """The address book of a run on one machine: by process, where its first life listens."""
    return {process: local_address(run, process, link) for process in processes}


def queue_bound(plan: Plan, process: str) -> int:
    """Messages that may wait for ``process``: every window that it reads, twice, and `SPARE_MESSAGES`.

    A window holds what can still be of use. Twice, because a reader that is behind by more than that is not late:
    it has stopped.
    """
    windows = sum(s.window for s in plan.streams.values() if process in (*s.readers, s.settler))
    return 2 * windows + SPARE_MESSAGES


def peer_full(peers: tuple[str, ...], what: str, bounds: Mapping[str, int]) -> PeerFull:
    """The error that says that these peers did not take something."""
    names = ", ".join(f"'{peer}'" for peer in peers)
    bound = max(bounds[peer] for peer in peers)
    return PeerFull(
        f"process {names}: {what} not taken, more than {bound} messages wait "
        "(expected them to be read), is it stopped or starved of CPU?",
        peers,
    )
