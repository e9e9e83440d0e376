"""Another process with a device of the same name: what it is told to do, it does there."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from wangraph.runtime.channel.device_pool import DevicePool, DeviceReadPool
from wangraph.runtime.channel.segment import Segment
from wangraph.runtime.device import fake
from wangraph.runtime.device.find import device_named


class Peer:
    """A process that serves one call after the other; errors come back as they are."""

    def __init__(self, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(device, there), daemon=True)
        self.process.start()
        there.close()

    def __call__(self, what: str, *args: Any) -> Any:
        self._here.send((what, args))
        found = self._here.recv()
        if isinstance(found, Exception):
            raise found
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def close(self) -> None:
        self.kill()
        self._here.close()


def _serve(device: str, calls: Connection) -> None:
    served = _Served(device)
    while True:
        try:
            what, args = calls.recv()
        except EOFError:
            return
        try:
            calls.send(getattr(served, what)(*args))
        except Exception as error:
            calls.send(error)


class _Served:
    def __init__(self, device: str) -> None:
        self.api = device_named(device)
        self.memory: Any = None
        self.event: Any = None
        self.reader: Any = None
        self.producer: Any = None
        self.held: dict[str, Any] = {}

    def never_by_itself(self) -> None:
        """Let the stand-in do its work only when somebody waits for it: tests must not depend on how fast they are."""
        fake.LAG_S = 3600.0

    # One allocation

    def export(self, n_bytes: int) -> bytes:
        self.memory = self.api.allocate(n_bytes)
        return self.api.export(self.memory)

    def export_event(self) -> bytes:
        self.event = self.api.event()
        return self.api.export_event(self.event)

    def write(self, offset: int, value: np.ndarray) -> None:
        self.api.write(self.memory, offset, value)

    def record(self) -> None:
        self.api.record(self.event)

    def open(self, handle: bytes, n_bytes: int) -> None:
        self.memory = self.api.open(handle, n_bytes)

    def open_event(self, handle: bytes) -> None:
        self.event = self.api.open_event(handle)

    def wait(self) -> None:
        self.api.wait(self.event)

    def read(self, offset: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return self.api.to_host(self.api.array(self.memory, offset, shape, dtype, None))

    # Slots

    def attach(self, path: str, layout: Any, reader: str) -> None:
        self.reader = DeviceReadPool(Segment(path, layout, writable=False), reader)
        self.reader.open()

    def look(self, stream: str, slot: int, name: str) -> None:
        self.held[name] = self.reader.lease(stream, slot)

    def seen(self, name: str, offset: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return self.api.to_host(self.held[name].array(offset, shape, dtype))

    def read_later(self, name: str, offset: int, shape: tuple[int, ...], dtype: str) -> None:
        """Queue work over a slot: a copy of it, which is not done yet when this returns."""
        self.memory = self.api.allocate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        self.api.write(self.memory, 0, self.held[name].array(offset, shape, dtype))

    def forget(self, name: str) -> None:
        del self.held[name]

    def produce(self, path: str, layout: Any) -> None:
        self.producer = DevicePool(Segment(path, layout, writable=True))

    def publish(self, stream: str, value: np.ndarray, readers: list[str]) -> int | None:
        slot = self.producer.publish(stream, {"": self.api.upload(value)}, readers)
        return None if slot is None else slot.index
