"""A GPU by cupy: device memory that other processes open by CUDA's IPC handles, ordered by its IPC events.

Allocations are made by ``cudaMalloc`` and not from cupy's pool: a handle means a whole allocation, and those of a pool
are shared by many arrays. Everything runs on the legacy default stream, which torch's and cupy's own work is ordered
with; a node that uses streams of its own has to join them before it returns.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ..errors import MissingExtra
from ..payload import Array, Payload
from .api import DeviceError, DeviceFull, DeviceLost, Memory

_MEGABYTE = 1e6


class CudaMemory:
    """See `api.Memory`. ``pointer`` is where it begins on the device; ``is_own``: it was allocated here."""

    def __init__(self, pointer: int, n_bytes: int, *, is_own: bool) -> None:
        self.pointer, self.n_bytes, self.is_own = pointer, n_bytes, is_own


class CudaDevice:
    """See the module.

    Args:
        name: ``cuda:0``.

    Raises:
        MissingExtra: there is no cupy.
        DeviceError: there is no such device, or it does not share memory between processes.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._cupy = _library()
        self._runtime = self._cupy.cuda.runtime
        self._index = int(name.partition(":")[2] or 0)
        with self._here("is not there"):
            self._device = self._cupy.cuda.Device(self._index)
            self._device.use()
            self._properties = self._runtime.getDeviceProperties(self._index)
        if self._properties.get("integrated"):
            raise DeviceError(
                f"{name}: found a device that shares the host's memory (expected memory of its own), "
                "write memory: shared"
            )

    def allocate(self, n_bytes: int) -> CudaMemory:
        """See `DeviceApi`."""
        self._device.use()
        try:
            return CudaMemory(self._runtime.malloc(max(1, n_bytes)), n_bytes, is_own=True)
        except self._cupy.cuda.runtime.CUDARuntimeError as error:
            free, _ = self._runtime.memGetInfo()
            raise DeviceFull(
                f"{self.name}: found {free / _MEGABYTE:.0f} MB free (expected {n_bytes / _MEGABYTE:.0f}): {error}, "
                "use smaller pictures or fewer slots, or end what else is on it"
            ) from error

    def export(self, memory: Memory) -> bytes:
        """See `DeviceApi`."""
        with self._here("does not share memory between processes"):
            return bytes(self._runtime.ipcGetMemHandle(cast(CudaMemory, memory).pointer))

    def open(self, handle: bytes, n_bytes: int) -> CudaMemory:
        """See `DeviceApi`."""
        self._device.use()
        with self._here("cannot open another process's memory"):
            # lazily: peers are enabled where the driver allows it, the same device needs nothing
            pointer = self._runtime.ipcOpenMemHandle(handle, 1)
        return CudaMemory(pointer, n_bytes, is_own=False)

    def close(self, memory: Memory) -> None:
        """See `DeviceApi`."""
        closed = cast(CudaMemory, memory)
        self._device.use()
        self._runtime.deviceSynchronize()
        if closed.is_own:
            self._runtime.free(closed.pointer)
        else:
            self._runtime.ipcCloseMemHandle(closed.pointer)

    def event(self) -> Any:
        """See `DeviceApi`."""
        self._device.use()
        return self._cupy.cuda.Event(block=False, disable_timing=True, interprocess=True)

    def export_event(self, event: Any) -> bytes:
        """See `DeviceApi`."""
        with self._here("does not share events between processes"):
            return bytes(self._runtime.ipcGetEventHandle(event.ptr))

    def open_event(self, handle: bytes) -> Any:
        """See `DeviceApi`."""
        self._device.use()
        with self._here("cannot open another process's event"):
            return _OpenedEvent(self._runtime.ipcOpenEventHandle(handle))

    def record(self, event: Any) -> None:
        """See `DeviceApi`."""
        self._device.use()
        self._runtime.eventRecord(event.ptr, 0)

    def wait(self, event: Any) -> None:
        """See `DeviceApi`."""
        self._device.use()
        with self._here("lost an event", DeviceLost):
            self._runtime.streamWaitEvent(0, event.ptr)

    def array(self, memory: Memory, offset: int, shape: tuple[int, ...], dtype: str, keeps: object) -> Payload:
        """See `DeviceApi`."""
        cuda, held = self._cupy.cuda, cast(CudaMemory, memory)
        owned = cuda.UnownedMemory(held.pointer, held.n_bytes, keeps, self._index)
        return cast(Payload, self._cupy.ndarray(shape, np.dtype(dtype), cuda.MemoryPointer(owned, offset)))

    def write(self, memory: Memory, offset: int, payload: Payload) -> None:
        """See `DeviceApi`."""
        self._device.use()
        target = self.array(memory, offset, payload.shape, payload.dtype.name, None)
        if isinstance(payload, np.ndarray):
            cast(Any, target).set(np.ascontiguousarray(payload))
        else:
            cast(Any, target)[...] = payload

    def upload(self, array: Array) -> Payload:
        """See `DeviceApi`."""
        self._device.use()
        return cast(Payload, self._cupy.asarray(array))

    def owns(self, value: object) -> bool:
        """See `Home`."""
        return isinstance(value, self._cupy.ndarray) and value.device.id == self._index

    def adopt(self, value: Payload) -> Payload:
        """See `Home`."""
        self._device.use()
        return cast(Payload, self._cupy.ascontiguousarray(value))

    def freeze(self, payload: Payload) -> Payload:
        """See `Home`; nothing on a GPU can be made read-only."""
        return payload

    def copy(self, payload: Payload) -> Payload:
        """See `Home`."""
        self._device.use()
        return cast(Payload, cast(Any, payload).copy())

    def to_host(self, payload: Payload) -> Array:
        """See `Home`."""
        self._device.use()
        return cast(Array, self._cupy.asnumpy(payload))

    def take(self, array: object) -> Payload:
        """A foreign array of this device, torch's for example, as a payload: the same memory, by DLPack."""
        self._device.use()
        return cast(Payload, self._cupy.from_dlpack(array))

    def describe(self) -> str:
        """See `DeviceApi`."""
        self._device.use()
        free, total = self._runtime.memGetInfo()
        name = self._properties["name"].decode()
        return f"{self.name}: {name}, {free / _MEGABYTE:.0f} of {total / _MEGABYTE:.0f} MB free"

    def _here(self, what: str, kind: type[DeviceError] = DeviceError) -> _Worded:
        return _Worded(f"{self.name}: {what}", self._runtime.CUDARuntimeError, kind)


class _OpenedEvent:
    """An event of another process; ``ptr`` as cupy's own have it."""

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


class _Worded:
    """Turns the library's errors into ours."""

    def __init__(self, text: str, expected: type[BaseException], kind: type[DeviceError]) -> None:
        self._text, self._expected, self._kind = text, expected, kind

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and isinstance(error, self._expected):
            raise self._kind(f"{self._text}: {error} (see: wangraph doctor), write memory: shared") from error


def _library() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise MissingExtra(
            "device cuda: found no package 'cupy' (expected the extra 'gpu'), install it: pip install 'wangraph[gpu]'"
        ) from error
    return cupy
