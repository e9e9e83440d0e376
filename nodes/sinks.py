"""Ends of a graph: an MP4, the terminal, or nowhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import GraphError
from ..runtime.node import Node, NodeContext, Param, Unit
from ..runtime.output_file import SIGNS
from ..runtime.packet import WHOLE, Packet
from ..runtime.ports import Input
from .media.captions import CaptionMerger
from .media.mp4 import Mp4Writer
from .media.pictures import DARK_SIZE, Scaler
from .media.probe import even
from .media.video_file import VideoFile, captions_path, part_path
from .media.writable import check_replaced, check_writable
from .relay import kept

PATIENCE_UNITS = 250
"""How many units are kept in memory while the picture's size is not known."""

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow")


@dataclass
class Mp4Session:
    """State of a session's file: its last picture, and the units that wait for the picture's size to be known."""

    picture: NDArray[np.uint8] | None = None
    waiting: list[tuple[Unit, Any, Any, str | None]] = field(default_factory=list)


class Mp4(Node):
    """Write an MP4: H.264, AAC and captions, with the captions in a .srt beside it as well.

    The file can be played while it is written, and whatever kills the process. A unit without picture repeats the
    last one, without sound is silent. Each file of a rotated video plays on its own; a caption ends with its file.
    """

    video = Input("video", "F H W 3", "uint8", late="empty", optional=True, help="RGB pictures")
    audio = Input(
        "audio", "N", "float32", late="empty", optional=True, guard="conceal", help="mono samples at any rate AAC knows"
    )
    text = Input("text", late="empty", optional=True, help="words of the captions")

    path: Path = Param(path="output", help="file to write")
    crf: int = Param(20, min=0, max=51, help="quality, 0 is best")
    preset: str = Param("veryfast", choices=PRESETS, help="x264's effort")
    scale: int = Param(1, min=1, max=32, help="enlarge pixels this many times")
    join: str = Param("words", choices=("words", "verbatim"), help="verbatim: units' texts are pieces of words")
    pause_s: float = Param(0.64, min=0.0, max=10.0, help="silence after which a caption ends")
    rotate_s: float = Param(
        0.0, min=0.0, help="begin another file every so many seconds: NAME-000.mp4, NAME-001.mp4...; 0: one file"
    )

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """See that the file can be written and that there is room for it."""
        if "path" in params:
            path = Path(params["path"])
            check_writable("sink.mp4", part_path(path, 0) if params.get("rotate_s") else path)

    def open(self, ctx: NodeContext) -> None:
        """Make the file, and start it when the sizes are known already."""
        self._ctx = ctx
        self._wants = {port: port in ctx.connected_inputs for port in ("video", "audio", "text")}
        if not (self._wants["video"] or self._wants["audio"]):
            raise GraphError(f"node '{ctx.name}': found neither video nor audio (expected one or both), connect them")
        self._units_a_file = max(1, round(self.rotate_s / float(ctx.clock.period))) if self.rotate_s else None
        self._first: int | None = None
        self._part = 0
        self._check_file()
        self._size = _video_size(ctx)
        self._n_samples = _samples(ctx)
        self._output: VideoFile | None = None
        self._captions: list[Path] = []
        self._sessions: list[Mp4Session] = []
        self._scaler = Scaler()
        if self._is_known():
            self._start(0)

    def new_state(self) -> Mp4Session:
        """The video's beginning. A file holds one session."""
        if self._sessions:
            raise GraphError(f"node '{self._ctx.name}': found a second session (expected one), write one file each")
        self._sessions.append(Mp4Session())
        return self._sessions[0]

    def step(
        self, state: Mp4Session, unit: Unit, video: Any = None, audio: Any = None, text: str | None = None
    ) -> None:
        """Write one unit: pictures ``[F, H, W, 3]``, samples ``[S]``, words; whatever is missing is made up for.

        Raises:
            MediaError: it cannot be written; what was written before can be played.
        """
        if self._output is None:
            self._learn(video, audio)
            if not self._is_known() and len(state.waiting) < PATIENCE_UNITS:
                state.waiting.append((unit, kept(video), kept(audio), text))
                return
            self._start(0)
        self._catch_up(state)
        self._write(state, unit, video, audio, text)

    def gap(self, state: Mp4Session, units: Sequence[Unit]) -> None:
        """Lost units take their time in the video too."""
        for unit in units:
            self.step(state, unit)

    def close(self) -> None:
        """Finish the file; after a failure too."""
        for state in self._sessions:
            if self._output is None and state.waiting:
                self._start(0)
            self._catch_up(state)
        if self._output is None:  # nothing was ever shown
            return
        try:
            self._finish()
        finally:
            self._report()

    def _report(self) -> None:
        last = self._file
        is_empty = not last.exists() or not last.stat().st_size
        text = str(last) if not self._part else f"{part_path(self.path, 0)} .. {last.name}"
        if is_empty:
            text = f"{last}: 0 bytes, the run ended before its first unit was written"
        self._ctx.report("warning" if is_empty else "wrote", text)
        if self._captions:
            first, end = self._captions[0], self._captions[-1]
            self._ctx.report("captions", str(first) if first == end else f"{first} .. {end.name}")

    @property
    def _file(self) -> Path:
        """The file that is written now."""
        return self.path if self._units_a_file is None else part_path(self.path, self._part)

    def _check_file(self) -> None:
        check_writable("sink.mp4", self._file)
        if self._wants["text"]:
            check_replaced("sink.mp4", captions_path(self._file), "caption file", SIGNS[".srt"])

    def _learn(self, video: Any, audio: Any) -> None:
        """Sizes of the first payload, where the plan did not know them."""
        if self._size is None and video is not None:
            self._size = video.shape[2], video.shape[1]
        if self._n_samples is None and audio is not None:
            self._n_samples = len(audio)

    def _is_known(self) -> bool:
        has_size = self._size is not None or not self._wants["video"]
        return has_size and (self._n_samples is not None or not self._wants["audio"])

    def _start(self, start_ms: int) -> None:
        """Begin a file whose first unit begins then."""
        clock = self._ctx.clock
        size = rate_hz = merger = None
        if self._wants["video"]:
            self._size = self._size or DARK_SIZE
            size = even(self._size[0] * self.scale), even(self._size[1] * self.scale)
        if self._wants["audio"]:
            self._n_samples = self._n_samples or clock.samples(16000)
            rate_hz = round(Fraction(self._n_samples) / clock.period)
        if self._wants["text"]:
            merger = CaptionMerger(round(self.pause_s * 1000), "verbatim" if self.join == "verbatim" else "words")
        writer = Mp4Writer(
            self._file, clock.fps, size, rate_hz, has_captions=merger is not None, crf=self.crf, preset=self.preset
        )
        self._output = VideoFile(writer, merger, start_ms)

    def _finish(self) -> None:
        output, self._output = self._output, None
        assert output is not None
        try:
            output.close()
        finally:
            if output.captions is not None:  # the first file of captions and the last: of a run of days there are many
                self._captions = [*self._captions[:1], output.captions]

    def _catch_up(self, state: Mp4Session) -> None:
        waiting, state.waiting = state.waiting, []
        for unit, video, audio, text in waiting:
            self._write(state, unit, video, audio, text)

    def _write(self, state: Mp4Session, unit: Unit, video: Any, audio: Any, text: str | None) -> None:
        self._rotate(unit)
        output = self._output
        assert output is not None
        if self._wants["video"]:
            assert self._size is not None
            for j in range(self._ctx.clock.unit_frames):
                if video is not None:
                    state.picture = self._enlarged(self._scaler.resized(video[j], self._size))
                elif state.picture is None:
                    width, height = self._size
                    state.picture = self._enlarged(np.zeros((height, width, 3), np.uint8))
                output.write_frame(state.picture)
        if self._wants["audio"]:
            assert self._n_samples is not None
            samples = np.zeros(self._n_samples, np.float32)
            if audio is not None:
                # the encoder refuses what is far beyond full scale, and with it all of the output
                samples[: len(audio)] = np.clip(audio[: self._n_samples], -1, 1)
            output.write_samples(samples)
        output.end_unit(text, unit.pts_ns // 1_000_000, (unit.pts_ns + unit.duration_ns) // 1_000_000)

    def _rotate(self, unit: Unit) -> None:
        """Begin the next file, if the unit is the first one of it."""
        if self._first is None:
            self._first = unit.index
        if self._units_a_file is None or unit.index < self._first + (self._part + 1) * self._units_a_file:
            return
        self._finish()
        self._part += 1
        self._check_file()
        self._start(unit.pts_ns // 1_000_000)

    def _enlarged(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.scale > 1:
            image = image.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        odd = image.shape[0] % 2, image.shape[1] % 2
        return np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge") if any(odd) else image


def _video_size(ctx: NodeContext) -> tuple[int, int] | None:
    shape = (ctx.input_shapes.get("video") or {}).get(WHOLE)
    return (shape[2], shape[1]) if shape and len(shape) == 4 and all(shape) else None


def _samples(ctx: NodeContext) -> int | None:
    shape = (ctx.input_shapes.get("audio") or {}).get(WHOLE)
    return shape[0] if shape and len(shape) == 1 and shape[0] else None


class Null(Node):
    """Take a stream in and drop it: something to measure, or an end for what must be consumed."""

    value = Input("any", "...", late="empty", device="any")

    def step(self, unit: Unit, value: Any = None) -> None:
        """Nothing."""


class Print(Node):
    """Print a stream to standard output, one line a unit."""

    value = Input("any", "...", late="empty")

    every: int = Param(1, min=1, help="print each so-many-th unit")
    empty: bool = Param(True, help="print units without a payload too")

    def open(self, ctx: NodeContext) -> None:
        """Remember the name that heads each line."""
        self._name = ctx.name

    def step(self, unit: Unit, value: Any = None) -> None:
        """Print the unit's number, its time, and the text or a summary of the arrays."""
        if unit.index % self.every or (value is None and not self.empty):
            return
        text = _summary(value, unit.packets.get("value"))
        print(f"{self._name}: unit {unit.index} at {unit.pts_ns / 1e9:.3f} s: {text}", flush=True)


def _summary(value: Any, packet: Packet | None) -> str:
    if value is None:
        return packet.validity.name.lower() if packet is not None else "empty"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_array(array)}" for name, array in value.items())
    return _array(value)


def _array(value: Any) -> str:
    array = np.asarray(value)
    shape = "x".join(map(str, array.shape)) or "1"
    if not array.size:
        return f"{shape} {array.dtype}"
    return f"{shape} {array.dtype} min {array.min():.4g} mean {array.mean():.4g} max {array.max():.4g}"
