"""Interface of a device, as packets need it: memory that others can open, events that order work, copies to the host.

The rules are CUDA's, and hold for every device here:

- A handle means a whole allocation. What lies inside it needs its offset beside the handle.
- An allocation is opened once in another process, and never in the one that exported it.
- Work on a device is queued. Bytes are what they were meant to be only after the event that was recorded behind the
  work; `DeviceApi.wait` orders what follows on this side behind it.
- An opened allocation is gone when the process that made it is.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..errors import RunError
from ..payload import Array, Home, Payload

HANDLE_BYTES = 64
"""Of an exported allocation or event, as CUDA has them."""


class DeviceError(RunError):
    """A device refuses what is asked of it."""


class DeviceFull(DeviceError):
    """A device has no memory left for what is asked."""


class DeviceLost(DeviceError):
    """Memory of a device is gone, with the process that it belonged to or with the device itself."""


class Memory(Protocol):
    """An allocation on a device, made here or opened.

    Attributes:
        n_bytes: its size.
    """

    n_bytes: int


class DeviceApi(Home, Protocol):
    """One device in this process. Calls queue work and return, except `to_host`.

    Attributes:
        name: ``cuda:0``.
    """

    name: str

    def allocate(self, n_bytes: int) -> Memory:
        """Allocate memory that can be exported.

        Raises:
            DeviceFull: there is not so much.
        """
        ...

    def export(self, memory: Memory) -> bytes:
        """Give the handle of an allocation, `HANDLE_BYTES` or fewer. It means all of it, not an array in it."""
        ...

    def open(self, handle: bytes, n_bytes: int) -> Memory:
        """Open an allocation of another process.

        Raises:
            DeviceError: it is this process's own, open already, or another device's that cannot be reached.
            DeviceLost: the process that exported it is gone.
        """
        ...

    def close(self, memory: Memory) -> None:
        """Free an allocation made here, or let go of an opened one. Arrays in it must not be used any more."""
        ...

    def event(self) -> Any:
        """Make an event that can be exported; it counts as passed until it is recorded."""
        ...

    def export_event(self, event: Any) -> bytes:
        """Give its handle, `HANDLE_BYTES` or fewer."""
        ...

    def open_event(self, handle: bytes) -> Any:
        """Open an event of another process."""
        ...

    def record(self, event: Any) -> None:
        """Let an event pass when everything queued so far is done. It can be recorded again and again."""
        ...

    def wait(self, event: Any) -> None:
        """Let everything that is queued from now on wait for what an event was recorded behind last.

        Raises:
            DeviceLost: the process that would have done that work is gone.
        """
        ...

    def array(self, memory: Memory, offset: int, shape: tuple[int, ...], dtype: str, keeps: object) -> Payload:
        """An array over a part of an allocation; ``keeps`` lives as long as it and every array over it."""
        ...

    def write(self, memory: Memory, offset: int, payload: Payload) -> None:
        """Queue a copy of a payload, of the host or of this device, into an allocation."""
        ...

    def upload(self, array: Array) -> Payload:
        """A fresh array of this device with the same numbers."""
        ...

    def describe(self) -> str:
        """Its name, memory and what of the above it can do, for people."""
        ...
