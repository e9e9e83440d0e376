"""Videos to measure with: a clip of somebody's face, and recordings of words, put together with their cues.

The clip is played to and fro for as long as there is something to say; its own sound is left away. Lips and voice are
then not in step, as with anybody whose line is bad.
"""

# T frames, H W size in pixels

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....runtime.errors import MediaError
from ....runtime.output_file import claim
from ..world.cuefile import written
from ..world.cues import Cue
from ..world.media import VideoWriter
from ..world.person import END_GLIDE, GO_ON_GLIDE, delivered
from ..world.signal import FRAME, MS, RATE, UNIT, Sound
from ..world.words import DIGITS

TURNS = 10
FLOOR = 3e-4
"""Noise of a quiet room."""
_WORD_S, _REST_S = 0.5, 1.6  # of an answer, and beside it


def compose(
    out: Path,
    takes: Mapping[str, tuple[Sound, ...]],
    pictures: NDArray[np.uint8] | None,
    seed: int,
    turns: int = TURNS,
    longest: int = 3,
) -> tuple[Cue, ...]:
    """Write ``out`` (MP4) and its cues beside it; returns these.

    Args:
        out: ends in ``.mp4``.
        takes: of each digit, by one voice.
        pictures: [T, H, W, 3] at 25 a second, sides even; None: no picture.
        seed: of what is said.
        turns: how many.
        longest: most digits in a turn.

    Raises:
        MediaError: it cannot be written.
    """
    sound, cues = speech(takes, seed, turns, longest)
    if pictures is None:
        try:
            claim(out)
            _write_sound(out, sound)
        except OSError as error:
            raise MediaError(f"{out}: cannot be written ({error.strerror}), choose another -o") from error
    else:
        frames = len(sound) // FRAME
        at = np.arange(frames) % max(2 * len(pictures) - 2, 1)
        shown = pictures[np.where(at < len(pictures), at, 2 * len(pictures) - 2 - at)]
        with VideoWriter(out, shown.shape[2], shown.shape[1], 1, 64_000) as video:
            for first in range(0, frames, 25):
                video.add(shown[first : first + 25], sound[first * FRAME : (first + 25) * FRAME, None])
    beside = out.with_suffix(".json")
    try:
        claim(beside)
        beside.write_text(written(cues), encoding="utf-8")
    except OSError as error:
        raise MediaError(f"{beside}: cannot be written ({error.strerror}), choose another -o") from error
    return cues


def speech(
    takes: Mapping[str, tuple[Sound, ...]], seed: int, turns: int, longest: int
) -> tuple[Sound, tuple[Cue, ...]]:
    """Turns of digits, with time for an answer behind each; whole units."""
    rng = np.random.default_rng((seed, 101))
    cues: list[Cue] = []
    parts: list[tuple[int, Sound]] = []
    at = int(rng.uniform(0.5, 1.2) * RATE)
    for _ in range(turns):
        words = [str(word) for word in rng.choice(DIGITS, int(rng.integers(1, longest + 1)))]
        cues.append(Cue("speech", at))
        for number, word in enumerate(words):
            take = takes[word][rng.integers(len(takes[word]))]
            spoken = delivered(take, END_GLIDE if number == len(words) - 1 else GO_ON_GLIDE)
            parts.append((at, spoken))
            at += len(spoken)
            cues.append(Cue("word", at, words=(word,)))
            at += 0 if number == len(words) - 1 else int(rng.uniform(20, 110)) * MS
        cues.append(Cue("end", at))
        at += int((_WORD_S * len(words) + _REST_S + rng.uniform(0, 0.6)) * RATE)
    whole = np.zeros(-(-at // UNIT) * UNIT, np.float32)
    for start, spoken in parts:
        whole[start : start + len(spoken)] += spoken
    whole += np.float32(FLOOR) * rng.standard_normal(len(whole)).astype(np.float32)
    return whole, tuple(cues)


def _write_sound(out: Path, sound: Sound) -> None:
    """A video without pictures."""
    import av

    with av.open(str(out), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        stream.bit_rate = 64_000
        samples = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
        block = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        block.sample_rate = RATE
        container.mux(stream.encode(block))
        container.mux(stream.encode(None))
