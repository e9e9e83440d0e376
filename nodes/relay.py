"""Passing a value on as it came: what a packet was, and where it came from, stay with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime.node import Emission, Unit
from ..runtime.packet import Validity


def relayed(unit: Unit, port: str, value: Any) -> Emission | None:
    """The value of an input as an output: a repeated picture stays repeated, times of capture stay. None stays None."""
    if value is None:
        return None
    packet = unit.packets.get(port)
    if packet is None:
        return Emission(value)
    return Emission(value, packet.validity, packet.source_time_ns, packet.capture_ns, packet.capture_clock)


def is_missing(unit: Unit, port: str) -> bool:
    """True if the unit of a connected input was lost or late, and not deliberately empty or past the stream's end."""
    packet = unit.packets.get(port)
    return packet is None or packet.validity is Validity.MISSING


def kept(value: Any) -> Any:
    """A copy that outlives the unit: arrays may be views into memory that is used again."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) or hasattr(value, "items"):
        return {name: np.array(array) for name, array in value.items()}
    return np.array(value)
