"""The node that stands in for a recorded one: gives out its packets, unit by unit, as they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..node import END, Emission, Node, NodeContext, Param, Unit
from ..packet import Packet, Validity
from ..ports import Input, Output
from .reader import open_recording

PATIENCE_UNITS = 16
"""How far a stream may be behind another one in the file before its unit counts as lost."""


class Playback(Node):
    """Plays the recorded streams of one node; ends where the recording does."""

    recording: str = Param(help="a file of wangraph record")
    node: str = Param(help="whose packets")
    ports_played: dict = Param({}, help="kind and tensors by port")  # type: ignore[type-arg]

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """The recorded ports, of any shape: what was recorded kept its contract then."""
        outputs = {
            port: Output(
                contract["kind"],
                tensors=None if contract["tensors"] == [""] else dict.fromkeys(contract["tensors"], (None, None)),
            )
            for port, contract in params["ports_played"].items()
        }
        return {}, outputs

    def open(self, ctx: NodeContext) -> None:
        """Find the beginning."""
        found = open_recording(Path(self.recording))
        streams = {f"{self.node}.{port}": port for port in self.ports_played}
        self._ends = max((found.units[stream] for stream in streams), default=0)
        self._ports = streams
        self._packets: Iterator[Packet] = found.packets(streams)
        self._units: dict[str, dict[int, Packet]] = {port: {} for port in self.ports_played}
        self._newest = -1

    def step(self, unit: Unit) -> Any:
        """The unit as it was recorded."""
        packets = {port: self._packet(port, unit.index) for port in self.ports_played}
        known = [packet.validity for packet in packets.values() if packet is not None]
        if unit.index >= self._ends or (known and all(validity is Validity.END for validity in known)):
            return END
        return {port: _emission(packet) for port, packet in packets.items()}

    def _packet(self, port: str, unit: int) -> Packet | None:
        """The packet of a unit; None where the recording lost it."""
        waiting = self._units[port]
        while unit not in waiting and self._newest < unit + PATIENCE_UNITS:
            packet = next(self._packets, None)
            if packet is None:
                break
            self._newest = max(self._newest, packet.unit)
            self._units[self._ports[packet.stream]][packet.unit] = packet
        return waiting.pop(unit, None)


def _emission(packet: Packet | None) -> Emission:
    if packet is None or packet.validity is Validity.END:
        return Emission(None, Validity.MISSING)
    value = None if not packet.tensors else packet.array if list(packet.tensors) == [""] else packet.tensors
    return Emission(value, packet.validity, packet.source_time_ns, packet.capture_ns, packet.capture_clock)
