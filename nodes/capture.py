"""Sources of a recorded user: a media file, or lines of text typed at given times; and time itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.errors import GraphError, MediaError, UserError
from ..runtime.node import END, Emission, Node, NodeContext, Param, Unit
from ..runtime.ports import Input, Output
from .media.pictures import DARK_SIZE, PictureReader
from .media.probe import MediaInfo, check_readable, even, probe
from .media.sound import SoundReader

CUT_SHORT_S = 0.5
"""A file that ends this much before the length in its header is said to be cut."""


@dataclass
class Playing:
    """Place of a session in the file: unit ``first_unit`` plays its beginning. ``is_over`` stays once it is set."""

    pictures: PictureReader | None
    sound: SoundReader | None
    first_unit: int = 0
    is_over: bool = False


class CaptureFile(Node):
    """Play a media file: its pictures at the clock's rate and its sound in mono, lined up by their time stamps.

    Any file that FFmpeg reads: another rate, size, shape, turn or layout is converted. Of a file without picture, or
    without sound, that port stays empty, as without a camera or a microphone: black and silence would be something to
    see and to hear. What is left of the last unit is filled with the last picture and silence.
    """

    video = Output("video", "F H W 3", "uint8", help="RGB pictures, upright")
    audio = Output("audio", "S", "float32", rate_hz=16000, help="mono samples in -1..1")

    path: Path = Param(path="input", help="media file")
    width: int = Param(0, min=0, help="pixels; 0: as the file, or from height")
    height: int = Param(0, min=0, help="pixels; 0: as the file, or from width")
    fit: str = Param("crop", choices=("crop", "pad", "stretch"), help="how another shape becomes width x height")
    rate_hz: int = Param(16000, min=1000, max=192000, help="samples per second")
    start_s: float = Param(0.0, min=0.0, help="position in the file to begin at")
    seconds: float = Param(0.0, min=0.0, help="stop after this long; 0: at the end of the file")
    loop: bool = Param(False, help="begin again at the end of the file")

    ahead_units = 2

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the picture's size in numbers, once the file is there to look at."""
        try:
            width, height = _size(params)
        except UserError:  # `check` says what is wrong with the file
            return cls.inputs, cls.outputs
        if not (width and height):
            return cls.inputs, cls.outputs
        video = Output("video", f"F {height} {width} 3", "uint8", help=cls.video.help)
        rate_hz = params.get("rate_hz", 16000)
        return cls.inputs, {"video": video, "audio": Output("audio", "S", "float32", rate_hz=rate_hz)}

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """Open the file and look at its header and first picture."""
        if "path" in params:
            probe(Path(params["path"]))

    def open(self, ctx: NodeContext) -> None:
        """Look at the file and say what it lacks."""
        self._ctx = ctx
        self._info = probe(self.path)
        self._width, self._height = _size(self.values)
        self._samples = ctx.clock.samples(self.rate_hz)
        self._start = Fraction(self.start_s).limit_denominator(1_000_000)
        self._n_units = ctx.clock.units_for(self.seconds) if self.seconds else None
        self._opened: list[PictureReader | SoundReader] = []
        if not self._info.has_video:
            ctx.report("video", f"{ctx.name}: no picture in {self.path.name}: empty")
        if not self._info.has_audio:
            ctx.report("audio", f"{ctx.name}: no sound in {self.path.name}: empty")

    def new_state(self) -> Playing:
        """The file from `start_s` on, its first pictures decoded."""
        return Playing(*self._readers())

    def step(self, state: Playing, unit: Unit) -> Any:
        """The unit's pictures ``[F, H, W, 3]`` and samples ``[S]``, or `END`."""
        local = self._seek(state, unit)
        if local is None:
            return END
        n_frames = self._ctx.clock.unit_frames
        source_ns = int(self._start * 1_000_000_000) + self._ctx.clock.pts_ns(local)
        return {
            "video": Emission(self._video(state, local * n_frames, n_frames), source_time_ns=source_ns),
            "audio": Emission(self._audio(state, local * self._samples), source_time_ns=source_ns),
        }

    def gap(self, state: Playing, units: Sequence[Unit]) -> None:
        """Pass over these units' media."""
        for unit in units:
            self._seek(state, unit)

    def close(self) -> None:
        """Close the file."""
        for reader in self._opened:
            reader.close()

    def _seek(self, state: Playing, unit: Unit) -> int | None:
        """Number of the unit within this pass through the file, None when there is nothing more."""
        if state.is_over or (self._n_units is not None and unit.index >= self._n_units):
            state.is_over = True
            return None
        local = unit.index - state.first_unit
        if self._has_more(state, local):
            return local
        self._report_end(state)
        if not self.loop or local == 0:
            state.is_over = True
            return None
        self._close_readers(state)
        state.pictures, state.sound = self._readers()
        state.first_unit = unit.index
        return self._seek(state, unit)

    def _has_more(self, state: Playing, local: int) -> bool:
        """True if unit ``local`` begins before the end. Sound that outlasts it by less than a frame is a codec's
        padding, not worth a unit."""
        n_frames = self._ctx.clock.unit_frames
        if state.pictures is not None and state.pictures.has_more(local * n_frames):
            return True
        tail = self._samples // n_frames if local else 0
        return state.sound is not None and state.sound.has_more(local * self._samples + tail)

    def _video(self, state: Playing, first: int, n_frames: int) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        if state.pictures is None:
            return None
        frames: Any = self._ctx.empty("video", (n_frames, self._height, self._width, 3), "uint8")
        for j in range(n_frames):
            state.pictures.read(first + j, frames[j])
        return frames  # type: ignore[no-any-return]

    def _audio(self, state: Playing, first: int) -> np.ndarray[Any, np.dtype[np.float32]] | None:
        if state.sound is None:
            return None
        samples: Any = self._ctx.empty("audio", (self._samples,), "float32")
        state.sound.read(first, samples)
        return samples  # type: ignore[no-any-return]

    def _readers(self) -> tuple[PictureReader | None, SoundReader | None]:
        info, clock, size = self._info, self._ctx.clock, (self._width, self._height)
        fit: Any = self.fit
        pictures = PictureReader(self.path, info, clock.fps, size, fit, self._start) if info.has_video else None
        sound = SoundReader(self.path, info, self.rate_hz, self._start) if info.has_audio else None
        self._opened += [reader for reader in (pictures, sound) if reader is not None]
        return pictures, sound

    def _close_readers(self, state: Playing) -> None:
        for reader in (state.pictures, state.sound):
            if reader is not None:
                reader.close()
                self._opened.remove(reader)

    def _report_end(self, state: Playing) -> None:
        end_s = float(self._start)
        if state.pictures is not None:
            end_s = max(end_s, float(self._start + state.pictures.end_frame / self._ctx.clock.fps))
        if state.sound is not None:
            end_s = max(end_s, float(self._start + Fraction(state.sound.end_sample, self.rate_hz)))
        whole_s = self._info.duration_s
        if whole_s is not None and end_s < whole_s - CUT_SHORT_S and self.start_s < whole_s:
            text = f"{self._ctx.name}: {self.path.name} is cut: ended at {end_s:.2f} s of {whole_s:.2f} s"
            self._ctx.report("file", text)
            return
        broken = [r.broken for r in (state.pictures, state.sound) if r is not None and r.broken]
        if broken:
            self._ctx.report("file", f"{self._ctx.name}: {self.path.name} is damaged ({broken[0]}): parts are missing")


def _size(params: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of the pictures given out: as asked for, else the file's own, else `DARK_SIZE`."""
    width, height = params.get("width", 0), params.get("height", 0)
    if (width and height) or "path" not in params:
        return width, height
    info: MediaInfo = probe(Path(params["path"]))
    own = (info.width, info.height) if info.has_video else DARK_SIZE
    if width:
        return width, even(round(width * own[1] / own[0]))
    if height:
        return even(round(height * own[0] / own[1])), height
    return own


class CaptureText(Node):
    """Text typed at given times; a unit in which nothing is typed is empty. Ends after the last line."""

    text = Output("text", help="what is typed in this unit, lines joined by a line break")

    lines: list[Any] = Param([], help="lines as [seconds, text]")
    path: Path = Param(None, path="input", help="a file of lines as: 12.5 hello")

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """Read the lines."""
        _timed_lines(params.get("lines") or [], params.get("path"))

    def open(self, ctx: NodeContext) -> None:
        """Sort the lines into units."""
        self._by_unit: dict[int, str] = {}
        for seconds, text in sorted(_timed_lines(self.lines, self.path), key=lambda line: line[0]):
            index = int(seconds / ctx.clock.period)
            self._by_unit[index] = f"{self._by_unit[index]}\n{text}" if index in self._by_unit else text
        self._last = max(self._by_unit)

    def step(self, unit: Unit) -> Any:
        """The text of this unit, nothing, or `END`."""
        if unit.index > self._last:
            return END
        return {"text": self._by_unit.get(unit.index)}


class CaptureClock(Node):
    """Nothing but time: a tick a unit. It paces what has only feedback to go by, a simulated user for example."""

    tick = Output("tokens", "1", "int64", help="the unit's number")

    units: int = Param(0, min=0, help="how many; 0: for ever")

    def step(self, unit: Unit) -> Any:
        """The unit's number, or `END`."""
        if self.units and unit.index >= self.units:
            return END
        return {"tick": np.array([unit.index], np.int64)}


def _timed_lines(lines: Sequence[Any], path: Path | str | None) -> list[tuple[Fraction, str]]:
    """``(seconds, text)`` of every line.

    Raises:
        GraphError: none, or both kinds given, or a line that is not a time and a text.
        MediaError: the file cannot be read.
    """
    if bool(lines) == bool(path):
        found = "both lines and path" if lines else "neither lines nor path"
        raise GraphError(f"capture.text: found {found} (expected one of them), set params.lines")
    if not path:
        return [_timed_line(f"capture.text: params.lines[{i}]", line) for i, line in enumerate(lines)]
    path = Path(path)
    check_readable(path, "capture.text", "a file of lines as: 12.5 hello")
    try:
        written = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise MediaError(f"capture.text: {path}: not UTF-8 (expected lines as: 12.5 hello), convert it") from error
    found_lines = [
        _timed_line(f"capture.text: {path}:{number}", line.strip().split(maxsplit=1))
        for number, line in enumerate(written, start=1)
        if line.strip()
    ]
    if not found_lines:
        raise GraphError(f"capture.text: {path}: found no lines (expected lines as: 12.5 hello), write some")
    return found_lines


def _timed_line(where: str, line: Any) -> tuple[Fraction, str]:
    if isinstance(line, list | tuple) and len(line) == 2 and isinstance(line[1], str):
        try:
            seconds = Fraction(str(line[0]))
        except (ValueError, ZeroDivisionError):
            seconds = Fraction(-1)
        if seconds >= 0:
            return seconds, line[1]
    raise GraphError(f"{where}: found {line!r} (expected a time in seconds from 0 and a text), write: 12.5 hello")
