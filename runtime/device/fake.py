"""A device that is none: memory of this machine behind the rules of one, for tests and for graphs on machines without.

It is as unkind as CUDA is (see `api`), and a little more: what was written does not show until its event is waited for,
or `LAG_S` has passed. A program that passes here may be wrong still; one that fails here is wrong on a GPU.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..payload import Array, Payload
from .api import HANDLE_BYTES, DeviceError, DeviceFull, DeviceLost, Memory

CAPACITY = 256 * 2**20
"""Bytes that one process may allocate."""

LAG_S = 0.02
"""How long work is queued before it is done by itself."""

_TICK_S = 0.0005
_HANDLE = struct.Struct("<qq")
_EVENT = struct.Struct("<3q")
_RECORDED, _PASSED, _WANTED = 0, 8, 16
_WORD = struct.Struct("<q")


class FakeMemory:
    """See `api.Memory`. ``owner`` is the pid of who allocated it, ``known_as`` the number of its file there."""

    def __init__(self, fd: int, n_bytes: int, owner: int, known_as: int) -> None:
        self.n_bytes, self.owner, self.fd, self.known_as = n_bytes, owner, fd, known_as
        self.bytes: NDArray[np.uint8] = np.frombuffer(mmap.mmap(fd, max(1, n_bytes)), np.uint8)

    def check(self) -> None:
        """Raise as a device would fault where its memory is gone."""
        if self.owner != os.getpid() and not _lives(self.owner):
            raise DeviceLost(
                f"fake: memory of process {self.owner}: found it gone with its process (expected it to live), "
                "fence what it made"
            )


class FakeArray:
    """An array of the device: shape and dtype can be seen, its numbers cannot, see `FakeDevice.to_host`."""

    def __init__(
        self, device: FakeDevice, memory: FakeMemory, offset: int, shape: tuple[int, ...], dtype: str, keeps: object
    ) -> None:
        self.device, self.memory, self.offset = device, memory, offset
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.keeps = keeps

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def held(self) -> NDArray[np.uint8]:
        """Its bytes as they are now, whatever work is queued."""
        return self.memory.bytes[self.offset : self.offset + self.nbytes]

    def __array__(self, *_: object, **__: object) -> Array:
        raise TypeError("an array of a device: copy it to the host first, nothing does so unasked")


class FakeEvent:
    """Three counters in shared memory: how often it was recorded, which time it has passed, and which one is wanted."""

    def __init__(self, fd: int, owner: int) -> None:
        self.fd, self.owner = fd, owner
        self._words = mmap.mmap(fd, _EVENT.size)

    def get(self, word: int) -> int:
        """Read one of the counters."""
        return int(_WORD.unpack_from(self._words, word)[0])

    def set(self, word: int, value: int) -> None:
        """Write one of the counters; each has one writer."""
        _WORD.pack_into(self._words, word, value)


class FakeDevice:
    """See the module.

    Args:
        name: ``fake:0``.
        capacity: bytes that may be allocated; `CAPACITY` if not given.
    """

    def __init__(self, name: str = "fake:0", capacity: int | None = None) -> None:
        self.name = name
        self._free = CAPACITY if capacity is None else capacity
        self._opened: set[tuple[int, int]] = set()
        self._queue: deque[tuple[float, Callable[[], None], tuple[FakeEvent, int] | None]] = deque()
        self._lock = threading.RLock()
        self._worker: threading.Thread | None = None

    # Memory

    def allocate(self, n_bytes: int) -> FakeMemory:
        """See `DeviceApi`."""
        if n_bytes > self._free:
            raise DeviceFull(
                f"{self.name}: found {self._free} bytes free (expected {n_bytes}), use smaller pictures or fewer slots"
            )
        self._free -= n_bytes
        return _own(n_bytes)

    def export(self, memory: Memory) -> bytes:
        """See `DeviceApi`."""
        own = cast(FakeMemory, memory)
        return _HANDLE.pack(own.owner, own.fd)

    def open(self, handle: bytes, n_bytes: int) -> FakeMemory:
        """See `DeviceApi`."""
        owner, fd = _HANDLE.unpack(handle[: _HANDLE.size])
        if owner == os.getpid():
            raise DeviceError(
                f"{self.name}: found a handle of this process (expected another one's), use its memory as it is"
            )
        if (owner, fd) in self._opened:
            raise DeviceError(f"{self.name}: found a handle that is open already (expected it once), keep what it gave")
        memory = FakeMemory(self._reached(owner, fd), n_bytes, owner, fd)
        self._opened.add((owner, fd))
        return memory

    def close(self, memory: Memory) -> None:
        """See `DeviceApi`."""
        closed = cast(FakeMemory, memory)
        if closed.owner == os.getpid():
            self._do_all()
            self._free += closed.n_bytes
        self._opened.discard((closed.owner, closed.known_as))
        os.close(closed.fd)

    def array(
        self, memory: Memory, offset: int, shape: tuple[int, ...], dtype: str, keeps: object = None
    ) -> FakeArray:  # fmt: skip
        """See `DeviceApi`."""
        return FakeArray(self, cast(FakeMemory, memory), offset, shape, dtype, keeps)

    def write(self, memory: Memory, offset: int, payload: Payload) -> None:
        """See `DeviceApi`."""
        target = cast(FakeMemory, memory)
        if isinstance(payload, FakeArray):
            data = payload.held  # its bytes and not itself: work that is queued keeps no array of Python's alive
        else:
            data = np.frombuffer(np.ascontiguousarray(cast(Array, payload)).tobytes(), np.uint8)
        self._put(lambda: _fill(target, offset, data))

    def upload(self, array: Array) -> FakeArray:
        """See `DeviceApi`."""
        memory = _own(array.nbytes)
        self.write(memory, 0, array)
        return FakeArray(self, memory, 0, array.shape, array.dtype.name, _Closing(memory.fd))

    # Order

    def event(self) -> FakeEvent:
        """See `DeviceApi`."""
        return FakeEvent(_file(_EVENT.size), os.getpid())

    def export_event(self, event: FakeEvent) -> bytes:
        """See `DeviceApi`."""
        return _HANDLE.pack(event.owner, event.fd)

    def open_event(self, handle: bytes) -> FakeEvent:
        """See `DeviceApi`."""
        owner, fd = _HANDLE.unpack(handle[: _HANDLE.size])
        return FakeEvent(self._reached(owner, fd), owner)

    def record(self, event: FakeEvent) -> None:
        """See `DeviceApi`."""
        number = event.get(_RECORDED) + 1
        event.set(_RECORDED, number)
        self._put(lambda: event.set(_PASSED, number), (event, number))

    def wait(self, event: FakeEvent) -> None:
        """See `DeviceApi`; a fake has no streams, and its caller waits."""
        number = event.get(_RECORDED)
        event.set(_WANTED, number)
        if event.owner == os.getpid():
            self._do_all()
        while event.get(_PASSED) < number:
            if not _lives(event.owner):
                raise DeviceLost(f"{self.name}: event: its process {event.owner} is gone (expected it to do its work)")
            time.sleep(_TICK_S)

    # Home

    def owns(self, value: object) -> bool:
        """See `Home`."""
        return isinstance(value, FakeArray) and value.device.name == self.name

    def adopt(self, value: Payload) -> Payload:
        """See `Home`."""
        return value

    def freeze(self, payload: Payload) -> Payload:
        """See `Home`; as on a GPU, nothing can be made read-only."""
        return payload

    def copy(self, payload: Payload) -> Payload:
        """See `Home`."""
        return self.upload(self.to_host(payload))

    def to_host(self, payload: Payload) -> Array:
        """See `Home`."""
        array = cast(FakeArray, payload)
        array.memory.check()
        self._do_all()
        return array.held.copy().view(array.dtype).reshape(array.shape)

    def describe(self) -> str:
        """See `DeviceApi`."""
        return f"{self.name}: a stand-in in this machine's memory, {self._free / 1e6:.0f} MB free"

    # Its queue

    def _put(self, work: Callable[[], None], marks: tuple[FakeEvent, int] | None = None) -> None:
        with self._lock:
            self._queue.append((time.monotonic(), work, marks))
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name=f"{self.name} queue", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._worker = None
                    return
                is_old = time.monotonic() - self._queue[0][0] > LAG_S
                if is_old or any(m and m[0].get(_WANTED) >= m[1] for _, _, m in self._queue):
                    self._do_all()
            time.sleep(_TICK_S)

    def _do_all(self) -> None:
        with self._lock:
            while self._queue:
                _, work, _ = self._queue.popleft()
                work()

    def _reached(self, owner: int, fd: int) -> int:
        try:
            return os.open(f"/proc/{owner}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceLost(
                f"{self.name}: handle of process {owner}: {os.strerror(error.errno or 0)} (expected it to live)"
            ) from error


class _Closing:
    """Closes a file when nothing refers to it any more."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self._fd)


def _own(n_bytes: int) -> FakeMemory:
    fd = _file(max(1, n_bytes))
    return FakeMemory(fd, n_bytes, os.getpid(), fd)


def _file(n_bytes: int) -> int:
    fd = os.memfd_create("wangraph-fake-device", os.MFD_CLOEXEC)
    os.ftruncate(fd, n_bytes)
    return fd


def _fill(memory: FakeMemory, offset: int, data: NDArray[np.uint8]) -> None:
    memory.bytes[offset : offset + len(data)] = data


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


assert _HANDLE.size <= HANDLE_BYTES
