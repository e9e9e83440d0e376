"""Node of the faults bench: it passes pictures and sound on, and misbehaves as real nodes have done."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

import numpy as np

from ...runtime.node import Node, Outputs, Param, Unit
from ...runtime.packet import Array
from ...runtime.ports import Input, Output

LINGERS_S = 120.0
"""How long what a node started would outlive the run if nobody ended it."""


class Middle(Node):
    """Pictures and sound as they came, but for one unit."""

    frames = Input("video", "F H W 3", "uint8")
    samples = Input("audio", "S", "float32")
    video = Output("video", "F H W 3", "uint8")
    audio = Output("audio", "S", "float32", rate_hz=16_000)
    deed: str = Param("", help="what it does, one of `DEEDS`")
    at: int = Param(0, min=0, help="in which unit")

    def step(self, unit: Unit, frames: Array | None, samples: Array | None) -> Outputs:
        """Pass on; do the deed in its unit."""
        if unit.index == self.at and self.deed in DEEDS:
            DEEDS[self.deed]()
        if unit.index == self.at and self.deed == "wrong-shape" and frames is not None:
            frames = frames[:, :10]
        return {"video": frames, "audio": samples}

    def close(self) -> None:
        """End, or not."""
        if self.deed == "close-raises":
            raise RuntimeError("the lens does not close")
        if self.deed == "close-hangs":
            time.sleep(LINGERS_S)


class _UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def _spin() -> NoReturn:
    while True:
        pass


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _raise_unreadable() -> NoReturn:
    raise _UnreadableError


def _fork() -> None:
    if os.fork() == 0:
        time.sleep(LINGERS_S)
        os._exit(0)


def _start_threads() -> None:
    for _ in range(20):
        threading.Thread(target=time.sleep, args=(LINGERS_S,)).start()  # no daemons: an ordinary end waits for them


DEEDS: dict[str, Callable[[], object]] = {
    "sys-exit": lambda: sys.exit(0),
    "exit-3": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "spin": _spin,
    "interrupt": _interrupt,
    "unreadable": _raise_unreadable,
    "no-memory": lambda: np.ones(1 << 50, np.uint8),
    "fork": _fork,
    "threads": _start_threads,
}
"""By name. ``wrong-shape``, ``close-raises`` and ``close-hangs`` are in the node itself."""
