"""Dialogues as files: H.264 and AAC in MP4, with captions beside them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ....runtime.errors import MediaError
from ....runtime.output_file import claim
from ....wan_core.vocabulary import PAD
from .dialogue import Dialogue
from .signal import RATE, UNIT, Sound
from .tokens import VOCABULARY

_FPS = 25


class VideoWriter:
    """An MP4 being written: pictures at 25 fps, sound at 16 kHz, mono or stereo."""

    def __init__(self, path: Path, width: int, height: int, channels: int, bit_rate: int) -> None:
        import av

        self._av, self._path = av, path
        try:
            claim(path)
            self._container = av.open(str(path), "w", format="mp4")
            self._video = self._container.add_stream("libx264", rate=_FPS, options={"crf": "21", "preset": "slow"})
            self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
            self._layout = "mono" if channels == 1 else "stereo"
            self._audio = self._container.add_stream("aac", rate=RATE, layout=self._layout)
            self._audio.bit_rate = bit_rate
            self._container.start_encoding()
        except OSError as error:
            raise MediaError(f"{path}: cannot be written ({error.strerror}), choose another -o") from error
        self._frames = 0

    def add(self, pictures: NDArray[np.uint8], sound: Sound) -> None:
        """Pictures [T, H, W, 3], and the sound that goes with them [T * 640, channels]."""
        for picture in pictures:
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = self._frames, Fraction(1, _FPS)
            self._container.mux(self._video.encode(frame))
            self._frames += 1
        block = self._av.AudioFrame.from_ndarray(
            np.ascontiguousarray((np.clip(sound, -1, 1) * 32767).astype(np.int16).reshape(1, -1)),
            format="s16",
            layout=self._layout,
        )
        block.sample_rate, block.time_base = RATE, Fraction(1, RATE)
        block.pts = self._frames * (RATE // _FPS) - len(sound)
        self._container.mux(self._audio.encode(block))

    def close(self) -> None:
        """Write what is still in the encoders; the file is complete."""
        self._container.mux(self._video.encode())
        self._container.mux(self._audio.encode())
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is not None:
                raise error
            self.close()
        except OSError as failure:
            raise MediaError(f"{self._path}: writing failed ({failure.strerror}), choose another -o") from failure


def write_user(dialogue: Dialogue, path: Path) -> None:
    """The user's side alone, as a camera and a microphone would have it."""
    _, _, height, width, _ = dialogue.user_video.shape
    with VideoWriter(path, width, height, 1, 48_000) as video:
        for unit in range(len(dialogue)):
            sound = dialogue.user_audio[unit * UNIT : (unit + 1) * UNIT, None]
            video.add(dialogue.user_video[unit], sound)


def write_both(dialogue: Dialogue, path: Path) -> None:
    """User on the left, agent on the right, in picture and sound; captions as ``.srt`` of the same name beside it."""
    _, _, height, width, _ = dialogue.user_video.shape
    scale = max(1, 256 // height)
    with VideoWriter(path, 2 * width * scale, height * scale, 2, 96_000) as video:
        for unit in range(len(dialogue)):
            span = slice(unit * UNIT, (unit + 1) * UNIT)
            pair = np.concatenate([dialogue.user_video[unit], dialogue.agent_video[unit]], axis=2)
            pair = pair.repeat(scale, axis=1).repeat(scale, axis=2)
            video.add(pair, np.stack([dialogue.user_audio[span], dialogue.agent_audio[span]], axis=1))
    _write_captions(path.with_suffix(".srt"), captions(dialogue))


def _write_captions(path: Path, text: str) -> None:
    try:
        claim(path)
        path.write_text(text)
    except OSError as error:
        raise MediaError(f"{path}: cannot be written ({error.strerror}), choose another -o") from error


def captions(dialogue: Dialogue) -> str:
    """Captions of both sides, spoken, written and shown, as SubRip text; each line stays for a second."""
    lines = [(cue.at / RATE, _line_of(cue.kind, cue.words)) for cue in dialogue.cues]
    lines += [
        (unit * UNIT / RATE, f"agent: {VOCABULARY.word_of(int(token))}")
        for unit, token in enumerate(dialogue.agent_text)
        if token != PAD
    ]
    blocks = [
        f"{number}\n{_stamp(at)} --> {_stamp(at + 1.0)}\n{text}\n"
        for number, (at, text) in enumerate(sorted((at, text) for at, text in lines if text), start=1)
    ]
    return "\n".join(blocks)


def _line_of(kind: str, words: tuple[str, ...]) -> str:
    words_text = " ".join(words)
    lines = {"word": f"user: {words_text}", "typed": f"user types: {words_text}", "card": f"user shows: {words_text}"}
    doings = {"hand": "user raises a hand", "pressed": "user presses stop", "pause": "user pauses"}
    return lines.get(kind, doings.get(kind, ""))


def _stamp(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"
