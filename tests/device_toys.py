"""Devices without hardware: a camera, a sound stream and a wait, each led by the test instead of by time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np

from wangraph.nodes.devices.upkeep import DeviceAbsent

PATIENCE_S = 10
"""After this long a test that waits for a thread fails; none of them takes a hundredth of it."""


class Turns:
    """Stands in for an event: every wait ends at once, and the n-th one says that it is time to stop."""

    def __init__(self, n: int) -> None:
        self.left = n
        self.waited: list[float] = []

    def is_set(self) -> bool:
        return self.left <= 0

    def set(self) -> None:
        self.left = 0

    def wait(self, timeout: float) -> bool:
        self.waited.append(timeout)
        self.left -= 1
        return self.is_set()


class Plug:
    """Where devices are plugged in: what is put here is what the next attempts to open find."""

    def __init__(self) -> None:
        self.plugged: queue.Queue[Any] = queue.Queue()
        self.asked: list[tuple[Any, ...]] = []
        self.opened: list[Any] = []
        self.closed: list[str] = []

    def open(self, *asked: Any) -> Any:
        self.asked.append(asked)
        try:
            found = self.plugged.get_nowait()
        except queue.Empty:
            raise DeviceAbsent("found no toy (expected one), plug one in") from None
        found.plug = self
        self.opened.append(found)
        found.begin(*asked)
        return found


class ToyCamera:
    """Gives the pictures that the test shows it."""

    def __init__(self, name: str = "toy camera") -> None:
        self.name = name
        self.shown: queue.Queue[Any] = queue.Queue()
        self.plug: Plug

    def begin(self, *asked: Any) -> None:
        pass

    def show(self, *pictures: tuple[Any, int]) -> None:
        """Show pictures, and return when the node has taken them in."""
        for picture in pictures:
            self.shown.put(picture)
        self.shown.join()

    def pull(self) -> None:
        """Pull the plug, and return when the node has noticed."""
        self.shown.put(None)
        self.shown.join()

    def pictures(self) -> Iterator[tuple[Any, int]]:
        while True:
            picture = self.shown.get()
            try:
                if picture is None:
                    raise DeviceAbsent(
                        "found /dev/video0: No such device (expected a camera to read), see: wangraph devices"
                    )
                yield picture
            finally:
                self.shown.task_done()

    def close(self) -> None:
        self.plug.closed.append(self.name)


class ToyStream:
    """A microphone or speakers; the test calls `use` in the place of the device's thread."""

    def __init__(self, rate_hz: int = 48000, name: str = "toy stream") -> None:
        self.name = name
        self.rate_hz = rate_hz
        self.n_glitches = 0
        self.use: Callable[[np.ndarray[Any, Any], int], None]
        self.plug: Plug
        self.is_open = threading.Event()
        self.is_closed = threading.Event()
        self._pulled = threading.Event()

    def begin(self, device: str, use: Any) -> None:
        self.use = use

    def pull(self) -> None:
        """Pull the plug, and return when the node has noticed."""
        self._pulled.set()
        assert self.is_closed.wait(PATIENCE_S)

    def watch(self, stopped: Any) -> None:
        self.is_open.set()
        while not stopped.wait(0.001):
            if self._pulled.is_set():
                raise DeviceAbsent("it gives nothing any more")

    def close(self) -> None:
        self.plug.closed.append(self.name)
        self.is_closed.set()


def picture(shade: int, width: int = 64, height: int = 48, format: str = "rgb24") -> av.VideoFrame:
    """A grey picture as a camera's decoder gives it."""
    image = np.full((height, width, 3), shade, np.uint8)
    return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=format)
