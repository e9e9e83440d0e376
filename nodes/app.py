"""Nodes for what the program that runs a graph puts into it: text, sound and pictures, sent by `Run.send`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..runtime.errors import UserError
from ..runtime.node import Node, NodeContext, Param, Unit
from ..runtime.packet import Array
from ..runtime.ports import Input, Output

PLAYED_BACKLOG = 64
"""Units whose ``played`` may wait to be put out: ten seconds of units of 160 ms."""


class CaptureApp(Node):
    """Put out what the program that runs the graph sends with ``run.send("NODE.PORT", value)``.

    Text: one string a unit, in order. Sound: mono samples of any number, put out a unit at a time as they come; the
    last part of a sound that fills no unit is followed by silence. Pictures: one ``[H, W, 3]`` or several
    ``[n, H, W, 3]``; a unit shows those that came since the one before, the newest repeated or the oldest left out. A
    unit for which nothing came is empty. It never ends by itself.

    A program that plays what comes out of the graph says by ``played`` what the listener got: for each unit ``[unit,
    0]``, heard, or ``[unit, 1]``, not heard; as `sync.playout` does where the graph itself is the last to know.
    """

    text = Output("text", help="one string a unit")
    audio = Output("audio", "S", "float32", rate_hz=16000, help="mono samples in -1..1")
    video = Output("video", "F H W 3", "uint8", help="RGB pictures")
    played = Output("tokens", "2", "int64", help="unit number; 0 heard, 1 not heard")

    rate_hz: int = Param(16000, min=1000, max=192000, help="samples per second")
    width: int = Param(64, min=1, max=8192, help="pixels")
    height: int = Param(64, min=1, max=8192, help="pixels")
    backlog_s: float = Param(2.0, min=0.001, max=3600.0, help="sound that may wait to be put out, the oldest goes: "
                             "what is sent faster than it plays, or too late, would stay as delay")  # fmt: skip

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """The picture's size and the sound's rate as they are set."""
        width, height = params.get("width", 64), params.get("height", 64)
        video = Output("video", f"F {height} {width} 3", "uint8", help=cls.video.help)
        audio = Output("audio", "S", "float32", rate_hz=params.get("rate_hz", 16000), help=cls.audio.help)
        return cls.inputs, {"text": cls.text, "audio": audio, "video": video, "played": cls.played}

    @classmethod
    def accept(cls, params: Mapping[str, Any], port: str, value: Any) -> Any:
        """A string for ``text``, samples in -1..1 for ``audio``, pictures for ``video``, two numbers for ``played``.

        Raises:
            UserError: it is something else.
        """
        if port == "text":
            if isinstance(value, str):
                return value
            raise UserError(f"found {type(value).__name__} (expected a string)")
        if isinstance(value, str):
            raise UserError("found a string (expected an array), send it to the output 'text'")
        array = np.asarray(value)
        if port == "played":
            return _outcome(array)
        return _samples(array) if port == "audio" else _pictures(array, params["height"], params["width"])

    def open(self, ctx: NodeContext) -> None:
        """Begin with nothing waiting."""
        self._n_samples = ctx.clock.samples(self.rate_hz)
        self._n_frames = ctx.clock.unit_frames
        self._texts: deque[str] = deque()
        self._played: deque[Array] = deque(maxlen=PLAYED_BACKLOG)
        self._backlog = max(self._n_samples, round(self.backlog_s * self.rate_hz))
        self._sound = np.zeros(0, np.float32)
        self._pictures: list[Array] = []

    def receive(self, port: str, value: Any) -> None:
        """Let it wait for its unit."""
        if port == "text":
            self._texts.append(value)
        elif port == "played":
            self._played.append(value)
        elif port == "audio":
            self._sound = np.concatenate([self._sound, value])[-self._backlog :]
        else:
            self._pictures = [*self._pictures, *value][-self._n_frames :]

    def step(self, unit: Unit) -> dict[str, Any]:
        """Give what came for this unit."""
        return {
            "text": self._texts.popleft() if self._texts else None,
            "audio": self._next_sound(),
            "video": self._next_pictures(),
            "played": self._played.popleft() if self._played else None,
        }

    def _next_sound(self) -> Array | None:
        """A unit of samples ``[S]``; None when none came."""
        if not self._sound.size:
            return None
        unit = np.zeros(self._n_samples, np.float32)
        taken, self._sound = self._sound[: self._n_samples], self._sound[self._n_samples :]
        unit[: taken.size] = taken
        return unit

    def _next_pictures(self) -> Array | None:
        """A unit of pictures ``[F, H, W, 3]``, the newest of fewer repeated; None when none came."""
        taken, self._pictures = self._pictures, []
        if not taken:
            return None
        return np.stack(taken + [taken[-1]] * (self._n_frames - len(taken)))


def _samples(array: Array) -> Array:
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise UserError(f"found {_described(array)} (expected samples: [n] float32 in -1..1)")
    if array.dtype.kind in "iu":
        raise UserError(f"found {_described(array)} (expected [n] float32 in -1..1), divide by the type's maximum")
    if not np.isfinite(array).all():
        raise UserError("found samples that are no number (expected -1..1), replace them by 0")
    return array.astype(np.float32)


def _pictures(array: Array, height: int, width: int) -> Array:
    pictures = array[None] if array.ndim == 3 else array
    if pictures.ndim != 4 or pictures.shape[1:] != (height, width, 3) or array.dtype != np.uint8 or not len(pictures):
        raise UserError(
            f"found {_described(array)} (expected [{height} {width} 3] uint8, or several of them), "
            "resize them, or set the node's width and height"
        )
    return pictures


def _outcome(array: Array) -> Array:
    if array.shape != (2,) or array.dtype.kind not in "iu" or array[1] not in (0, 1):
        raise UserError(f"found {array.tolist()!r:.40} (expected [unit, 0] for heard or [unit, 1] for not heard)")
    return array.astype(np.int64)


def _described(array: Array) -> str:
    return f"[{' '.join(map(str, array.shape))}] {array.dtype}"
