"""The way of what a turn of a process's scheduler gives out to other processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..channel.endpoint import Endpoint
from ..channel.publisher import Way
from ..channel.wire import Handed
from ..packet import Packet
from ..plan.plan import Carrier, Plan, StreamPlan
from ..schedule.scheduler import Scheduler
from .faulty_publisher import Sends


class Outgoing(NamedTuple):
    """Packets to their readers, and outcomes decided in the place of a dead process, in a life of this one, to the
    other readers."""

    packets: Sequence[Packet] = ()
    handed: Sequence[Packet] = ()
    incarnation: int = 0

    @classmethod
    def of(cls, scheduler: Scheduler | None) -> Outgoing:
        """Everything that a scheduler has to send now."""
        if scheduler is None:
            return cls()
        return cls(scheduler.take_outgoing(), scheduler.take_handed(), scheduler.incarnation)


class Sending:
    """Sends from any thread, one thread at a time per stream.

    Args:
        plan: the checked graph.
        process: the sender.
        endpoint: its end of all channels.
        publisher: the endpoint's, or a faulty one.
        warn: takes what users should know.
    """

    def __init__(
        self, plan: Plan, process: str, endpoint: Endpoint, publisher: Sends, warn: Callable[[str, str], None]
    ) -> None:
        self._plan, self._process = plan, process
        self._endpoint, self._publisher, self._warn = endpoint, publisher, warn
        self._copied: set[str] = set()

    def send(self, outgoing: Outgoing) -> None:
        """Send it all, what goes to the same readers in one message.

        A process that stood still settles at a stroke what it missed: by a message for each, its readers' queues would
        be full before they could take one.
        """
        if not outgoing.packets and not outgoing.handed:
            return  # of most turns
        for packet in outgoing.handed:
            others = [reader for reader in self._plan.streams[packet.stream].readers if reader != self._process]
            self._endpoint.publisher.hand(Handed(packet, self._process, outgoing.incarnation), others)
        together: dict[tuple[str, ...], list[Packet]] = {}
        for packet in outgoing.packets:
            together.setdefault(self._plan.streams[packet.stream].readers, []).append(packet)
        for readers, packets in together.items():
            ways = self._publisher.publish_all(packets, readers)
            for packet, way in zip(packets, ways, strict=True):
                stream = self._plan.streams[packet.stream]
                if way != stream.carrier and packet.tensors and stream.carrier != "inline":
                    self._note_copy(stream.name, packet.unit, way)

    def _note_copy(self, stream: str, unit: int, way: Way) -> None:
        """No slot was free: a reader is behind, or keeps packets for longer than their window. Told once per stream."""
        if stream in self._copied:
            return
        self._copied.add(stream)
        if self._plan.streams[stream].carrier == "device":
            if self._endpoint.has_devices:  # else it was told before unit 0 that there are none
                self._warn("warning", f"'{stream}': unit {unit} was copied to the host: no slot of its device was free")
            return
        pool = self._endpoint.pool
        holders = pool.holders(stream) if pool is not None else {}
        who = ", ".join(f"process '{name}' holds {n}" for name, n in holders.items())
        why = f"{who}: of units that a node there has not come to, or in arrays that one keeps and should copy"
        text = f"'{stream}': unit {unit} was copied through the socket, {why if who else 'the payload fits no slot'}"
        self._warn("warning", text)


def way_in(stream: StreamPlan, packet: Packet) -> Carrier:
    """Carrier by which a packet's payload has come: its stream's, or the host's where its device had no slot for it."""
    return "shared" if stream.carrier == "device" and packet.is_on_host else stream.carrier
