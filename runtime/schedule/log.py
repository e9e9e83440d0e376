"""The decision log as it is written: one record for every call and every settlement."""

from __future__ import annotations

from collections.abc import Sequence

from ..packet import Packet
from .decide import Fire
from .events import Event, Fenced, Firing, Settlement, Verdict


class DecisionLog:
    """Keeps what was decided, in order, until it is drained.

    ``n_decided`` rises with every decision, recorded or not: as long as it does, something may follow from the last
    one.

    Args:
        session: whose decisions they are.
        incarnation: the life of the process that decides.
    """

    def __init__(self, session: int = 0, incarnation: int = 0) -> None:
        self.session = session
        self.incarnation = incarnation
        self.n_decided = 0
        self._events: list[Event] = []

    def fired(self, fire: Fire, now: int, verdict: Verdict, due: int | None) -> None:
        """A call is over, or was left out."""
        self.n_decided += 1
        self._events.append(
            Firing(fire.node, fire.first, fire.last, fire.mode, fire.level,
                   fire.ready_ns, fire.started_ns, now, due, verdict, self.session, self.incarnation)
        )  # fmt: skip

    def settled(self, packet: Packet, now: int) -> None:
        """A unit has its outcome."""
        self.n_decided += 1
        self._events.append(
            # a plain number: only what is the default itself is left out of what is written
            Settlement(packet.stream, packet.unit, int(packet.validity), now, packet.n_bytes,
                       packet.session, packet.incarnation)
        )  # fmt: skip

    def fenced(self, streams: Sequence[str], generation: int, first_unit: int, now: int) -> None:
        """A fence was raised."""
        self.n_decided += 1
        self._events.append(Fenced(list(streams), generation, first_unit, now, self.session, self.incarnation))

    def add(self, event: Event) -> None:
        """An event from elsewhere, as it is."""
        self.n_decided += 1
        self._events.append(event)

    def drain(self) -> list[Event]:
        """Decisions since the last call."""
        drained, self._events = self._events, []
        return drained
