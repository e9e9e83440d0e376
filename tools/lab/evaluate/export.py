"""Dialogues as files that other benchmarks read: both voices on one clock, a video, and what the user did when.

    DIR/NAME/user.wav  agent.wav  both.wav  dialogue.mp4  cues.json  text.json

All sounds are 16 kHz, 16 bits, equally long and begin together: sample n of each was heard at the same time. In
``both.wav`` the user is on the left.
"""

# U units, S side in pixels

from __future__ import annotations

import json
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....runtime.errors import MediaError
from ....runtime.output_file import claim
from ....wan_core.vocabulary import PAD
from ..world.cuefile import written
from ..world.media import VideoWriter
from ..world.signal import RATE, UNIT, Sound
from ..world.tokens import VOCABULARY
from .talk import Talk

SCALE = 4
"""A picture of 64 pixels is filmed so many times as large."""


def export(talks: Sequence[Talk], names: Sequence[str], folder: Path) -> None:
    """Write each dialogue into a folder of its own, of its name.

    Raises:
        MediaError: a file cannot be written.
    """
    for talk, name in zip(talks, names, strict=True):
        try:
            (folder / name).mkdir(parents=True, exist_ok=True)
            _export(talk, folder / name)
        except OSError as error:
            raise MediaError(
                f"{folder / name}: cannot be written ({error.strerror}), choose another --export"
            ) from error


def _export(talk: Talk, folder: Path) -> None:
    user, agent = talk.user_samples, talk.samples
    _write_wave(folder / "user.wav", user[:, None])
    _write_wave(folder / "agent.wav", agent[:, None])
    _write_wave(folder / "both.wav", np.stack([user, agent], 1))
    _write_text(folder / "cues.json", written(talk.cues))
    words = [
        {"at_s": round(unit * UNIT / RATE, 4), "word": VOCABULARY.word_of(int(token))}
        for unit, token in enumerate(talk.text)
        if token != PAD
    ]
    _write_text(folder / "text.json", json.dumps({"agent": words}, indent=1, ensure_ascii=False))
    if talk.frames is not None and talk.seen is not None:
        _write_video(folder / "dialogue.mp4", talk.seen, talk.frames, np.stack([user, agent], 1))


def _write_text(path: Path, text: str) -> None:
    claim(path)
    path.write_text(text, encoding="utf-8")


def _write_video(path: Path, seen: NDArray[np.uint8], shown: NDArray[np.uint8], sound: Sound) -> None:
    """The user on the left, the agent on the right, in picture and sound."""
    high = max(seen.shape[2], shown.shape[2]) * SCALE
    with VideoWriter(path, 2 * high, high, 2, 96_000) as video:
        for unit, (left, right) in enumerate(zip(seen, shown, strict=True)):
            pair = [part.repeat(high // part.shape[1], 1).repeat(high // part.shape[2], 2) for part in (left, right)]
            video.add(np.concatenate(pair, 2), sound[unit * UNIT : (unit + 1) * UNIT])


def _write_wave(path: Path, sound: Sound) -> None:
    """[N, channels] in -1..1."""
    claim(path)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
