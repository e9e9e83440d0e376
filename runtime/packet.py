"""The packet: one stream's payload for one unit, with its times and its identity.

Identity is (session, stream, incarnation, unit). The generation is no part of it: a fence raises that, and says which
packets of one life are dropped. A packet is immutable, and its tensors are read-only.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from .payload import Array as Array
from .payload import Payload, is_on_host, kept, on_host
from .payload import frozen as frozen

WHOLE = ""
"""Name of the tensor in ports that carry exactly one."""

NO_TENSORS: Mapping[str, Payload] = MappingProxyType({})


class Validity(enum.IntEnum):
    """Outcome of a (stream, unit). ``REAL``, ``EMPTY``, ``MISSING`` and ``END`` are settlements;
    ``REPEATED`` and ``CONCEALED`` mark a substitute made downstream of one."""

    REAL = 0
    EMPTY = 1
    MISSING = 2
    REPEATED = 3
    CONCEALED = 4
    END = 5


class Packet(msgspec.Struct, frozen=True):
    """One stream's payload for one unit.

    Attributes:
        stream: ``node.port``.
        unit: unit number; never restarts within a session.
        generation: raised by a fence; older packets are dropped.
        pts_ns: media time of the unit, ``unit * T``.
        validity: what the payload is.
        tensors: by name; the name is ``""`` where the port carries exactly one.
        session: the conversation it belongs to.
        incarnation: which life of the process that makes the stream made it; 0 before its first restart.
        produced_ns: when it could leave, after the origin: the body that made it had finished, and a source's unit was
            released.
        capture_ns: when a live device captured it, in ``capture_clock``.
        source_time_ns: a file's own position, for sources that read one.
    """

    stream: str
    unit: int
    generation: int
    pts_ns: int
    duration_ns: int
    validity: Validity
    tensors: Mapping[str, Payload] = NO_TENSORS
    session: int = 0
    produced_ns: int = 0
    capture_ns: int | None = None
    capture_clock: str = ""
    source_time_ns: int | None = None
    incarnation: int = 0

    @property
    def is_payload(self) -> bool:
        """True if there is a payload: real, repeated or concealed."""
        return self.validity in (Validity.REAL, Validity.REPEATED, Validity.CONCEALED)

    @property
    def array(self) -> Array:
        """The tensor of a port that carries exactly one, in the memory of this machine."""
        return on_host(self.tensors[WHOLE])

    @property
    def on_host(self) -> dict[str, Array]:
        """The tensors in the memory of this machine, for files and sockets."""
        return {name: on_host(payload) for name, payload in self.tensors.items()}

    @property
    def n_bytes(self) -> int:
        """Payload size in bytes."""
        n_bytes = 0
        for array in self.tensors.values():
            n_bytes += array.nbytes
        return n_bytes

    def keep(self) -> Packet:
        """A copy whose tensors outlive the unit: views into shared memory are valid for one unit only."""
        return msgspec.structs.replace(self, tensors={name: kept(payload) for name, payload in self.tensors.items()})

    @property
    def is_on_host(self) -> bool:
        """True if its payload lies in the memory of this machine."""
        return all(is_on_host(payload) for payload in self.tensors.values())

    def hosted(self) -> Packet:
        """The packet with its payload in the memory of this machine: itself where it is there."""
        if self.is_on_host:
            return self
        return msgspec.structs.replace(self, tensors=self.on_host)

    def without_payload(self) -> Packet:
        """The outcome alone: what it held is gone."""
        return msgspec.structs.replace(self, tensors=NO_TENSORS)

    def marked(self, validity: Validity) -> Packet:
        """The same payload under another validity."""
        return msgspec.structs.replace(self, validity=validity)
