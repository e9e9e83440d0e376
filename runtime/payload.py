"""Payloads of packets, tensor by tensor, and the kinds of memory that they may lie in.

Today there is one, the memory of this machine (`HOST`), and payloads are numpy arrays. An array of a device is a
payload as it is once its memory is a `Home` of `HOMES`: bodies, packets, files and views need nothing that is not here.
"""

from __future__ import annotations

from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
"""A payload in the memory of this machine."""


@runtime_checkable
class Payload(Protocol):
    """An array of any library, wherever its memory is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes by dimension."""
        ...

    @property
    def dtype(self) -> Any:
        """Its numbers; ``dtype.name`` as numpy has it."""
        ...

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        ...


class Home(Protocol):
    """A kind of memory that payloads lie in."""

    name: str

    def owns(self, value: object) -> bool:
        """True if a value is a payload that lies here."""
        ...

    def adopt(self, value: Payload) -> Payload:
        """A payload of what a body returned: contiguous, copied only if it is not."""
        ...

    def freeze(self, payload: Payload) -> Payload:
        """The same memory, read-only from now on as far as its library can tell."""
        ...

    def copy(self, payload: Payload) -> Payload:
        """A payload of its own memory, which nobody else writes."""
        ...

    def to_host(self, payload: Payload) -> Array:
        """Copy or view of it in the memory of this machine; a copy only where it lies elsewhere."""
        ...


class HostMemory:
    """The memory of this machine: numpy arrays, bfloat16 as uint16 with its dtype named in the port's contract."""

    name = "cpu"

    def owns(self, value: object) -> bool:
        """True if it is a numpy array."""
        return isinstance(value, np.ndarray)

    def adopt(self, value: Payload) -> Array:
        """The array itself, or a contiguous copy."""
        array = cast(Array, value)
        return array if type(array) is np.ndarray and array.flags.c_contiguous else np.ascontiguousarray(array)

    def freeze(self, payload: Payload) -> Array:
        """The array itself, read-only."""
        return frozen(cast(Array, payload))

    def copy(self, payload: Payload) -> Array:
        """A fresh array."""
        return cast(Array, payload).copy()

    def to_host(self, payload: Payload) -> Array:
        """The array itself."""
        return cast(Array, payload)


HOST = HostMemory()

HOMES: list[Home] = [HOST]
"""Kinds of memory that are known in this process, the host's first."""


def home_of(value: object) -> Home | None:
    """Home of a value; None for one that is no payload, a list or a number for example."""
    # called for every tensor of every unit: a generator would cost more than the question
    for home in HOMES:
        if home.owns(value):
            return home
    return None


def is_on_host(payload: Payload) -> bool:
    """True if a payload lies in the memory of this machine already."""
    return home_of(payload) is HOMES[0]


def on_host(payload: Payload) -> Array:
    """Payload in the memory of this machine."""
    home = home_of(payload)
    assert home is not None, type(payload)
    return home.to_host(payload)


def kept(payload: Payload) -> Payload:
    """A copy of its own memory, where the payload is."""
    home = home_of(payload)
    assert home is not None, type(payload)
    return home.freeze(home.copy(payload))


def frozen(array: Array) -> Array:
    """The array itself, read-only from now on."""
    array.flags.writeable = False
    return array
