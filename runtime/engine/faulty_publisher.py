"""Faults on the way from one process to another: packets that arrive twice, or after those of the next unit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ..channel.publisher import Publisher, Way
from ..packet import Packet
from ..plan.plan import Plan
from .faults import ON_THE_WAY, Fault, Kind
from .guards import Notice


class Sends(Protocol):
    """The part of a `Publisher` that sends."""

    def publish_all(self, packets: Sequence[Packet], readers: Sequence[str]) -> list[Way]:
        """Send several packets to the same readers in one message."""
        ...


class FaultyPublisher:
    """A publisher whose network is bad.

    Args:
        publisher: sends.
        notice: takes a note of every fault that strikes.
    """

    def __init__(self, publisher: Sends, plan: Plan, faults: Sequence[Fault], notice: Notice) -> None:
        self._publisher, self._plan, self._faults, self._notice = publisher, plan, faults, notice
        self._held: dict[str, Packet] = {}

    def publish_all(self, packets: Sequence[Packet], readers: Sequence[str]) -> list[Way]:
        """Send, see `Publisher.publish_all`; of a packet that is held back, as if it had gone."""
        twice = [packet for packet in packets if self._strikes("duplicate", packet)]
        # of a stream that holds one back already the next one goes first, or two would come in order again
        held = [p for p in packets if p.stream not in self._held and self._strikes("reorder", p)]
        overtaken = [self._held.pop(p.stream) for p in packets if p.stream in self._held]
        self._held.update({packet.stream: packet for packet in held})
        at_once = [packet for packet in packets if not any(packet is other for other in held)]
        ways: dict[int, Way] = {}
        if at_once:
            ways = dict(zip(map(id, at_once), self._publisher.publish_all(at_once, readers), strict=True))
        # in messages of their own: within one, all packets are taken in before anything happens
        for packet in [*overtaken, *(packet for packet in twice if id(packet) in ways)]:
            self._publisher.publish_all([packet], readers)
        return [ways.get(id(packet), "shared") for packet in packets]

    def _strikes(self, kind: Kind, packet: Packet) -> bool:
        node = self._plan.streams[packet.stream].node
        own = (fault for fault in self._faults if fault.kind == kind and fault.node == node)
        if not packet.is_payload or not any(fault.strikes_unit(packet.unit, self._plan.seed) for fault in own):
            return False
        self._notice("injected", f"node '{node}', unit {packet.unit}: {kind} of '{packet.stream}'")
        return True


def make_publisher(publisher: Publisher, plan: Plan, faults: Iterable[Fault], notice: Notice) -> Sends:
    """The sending end of a process: the plain one unless a fault strikes packets on their way."""
    own = [fault for fault in faults if fault.kind in ON_THE_WAY]
    return FaultyPublisher(publisher, plan, own, notice) if own else publisher
