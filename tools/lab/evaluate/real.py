"""Real people put before a model: videos of a folder, each with its cues beside it as JSON.

A video cannot react, so that what counts is what was said to it and when: words, whole turns, words that nobody asked
for, and answers that the agent broke off although nobody wanted it to.
"""

# U units, S side in pixels

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....nodes.media.pictures import PictureReader
from ....nodes.media.probe import probe
from ....runtime.errors import MediaError
from ....wan_core.vocabulary import PAD, STOP
from ..world.cuefile import read
from ..world.cues import Cue, UserUnit
from ..world.face import Pose
from ..world.recordings import read_sound
from ..world.signal import FRAMES, UNIT, Sound
from ..world.voices import Speaker
from .agents import ModelAgent, Weights
from .figures import Figure, ratio
from .measures import answered, in_text, onset_ms, turns_right, words_right
from .rows import Setting
from .talk import DialogueSpec, Talk
from .turns import turns

ROWS_AT_ONCE = 12
"""Videos in a batch."""
_NOBODY = Speaker("video", "people", "video")


@dataclass(frozen=True)
class CuedVideo:
    """One video.

    Attributes:
        name: of its file.
        frames: [U, 4, S, S, 3] uint8; None: it has no picture.
        sound: [U, 2560]; None: it has no sound.
        cues: what its user does, in order of time.
    """

    name: str
    frames: NDArray[np.uint8] | None
    sound: Sound | None
    cues: tuple[Cue, ...]

    def __len__(self) -> int:
        return max(0 if x is None else len(x) for x in (self.frames, self.sound))


def read_videos(folder: Path, size: int) -> list[CuedVideo]:
    """Every video of a folder that has a file of cues of the same name.

    Raises:
        MediaError: there is none, or one that cannot be read (named).
    """
    found = [
        read_video(path, size)
        for path in sorted(folder.iterdir())
        if path.suffix != ".json" and path.with_suffix(".json").exists()
    ]
    if not found:
        raise MediaError(f"{folder}: found no videos (expected NAME.mp4 and NAME.json of each), see docs/benchmark.md")
    return found


def read_video(path: Path, size: int) -> CuedVideo:
    """One video and its cues, as a graph's ``capture.file`` plays it."""
    info, cues = probe(path), read(path.with_suffix(".json"))
    sound = read_sound(path) if info.has_audio else None
    frames = _pictures(path, size) if info.has_video else None
    units = max(0 if frames is None else len(frames) // FRAMES, 0 if sound is None else -(-len(sound) // UNIT))
    if frames is not None:
        missing = units * FRAMES - len(frames)
        frames = np.concatenate([frames, np.repeat(frames[-1:], max(0, missing), 0)])[: units * FRAMES]
        frames = frames.reshape(units, FRAMES, size, size, 3)
    if sound is not None:
        sound = np.pad(sound, (0, max(0, units * UNIT - len(sound))))[: units * UNIT].reshape(units, UNIT)
    return CuedVideo(path.stem, frames, sound, cues)


def _pictures(path: Path, size: int) -> NDArray[np.uint8]:
    """[T, S, S, 3] at 25 a second."""
    reader = PictureReader(path, probe(path), Fraction(25), (size, size), "crop", Fraction(0))
    taken: list[NDArray[np.uint8]] = []
    try:
        while reader.has_more(len(taken)):
            picture = np.empty((size, size, 3), np.uint8)
            reader.read(len(taken), picture)
            taken.append(picture)
    finally:
        reader.close()
    return np.stack(taken)


def watch(weights: Weights, videos: Sequence[CuedVideo], setting: Setting) -> list[Talk]:
    """Show videos to a model; each becomes a dialogue."""
    talks: list[Talk] = []
    for first in range(0, len(videos), ROWS_AT_ONCE):
        talks += _watch(weights, videos[first : first + ROWS_AT_ONCE], setting)
    return talks


def _watch(weights: Weights, videos: Sequence[CuedVideo], setting: Setting) -> list[Talk]:
    agent = ModelAgent(weights, setting.solver, setting.seed)
    specs = [DialogueSpec(number, _NOBODY) for number in range(len(videos))]
    agent.begin(specs)
    answers = [
        agent.step([_unit(video, unit, weights.size) for video in videos]) for unit in range(max(map(len, videos)))
    ]
    talks = []
    for row, video in enumerate(videos):
        own = [answer[row] for answer in answers[: len(video)]]
        talks.append(
            Talk(
                spec=specs[row],
                cues=tuple(cue for cue in video.cues if cue.at <= len(video) * UNIT),
                user_samples=np.zeros(len(video) * UNIT, np.float32)
                if video.sound is None
                else video.sound.reshape(-1),
                samples=np.concatenate([answer.samples for answer in own]),
                face={},
                text=np.asarray([answer.token for answer in own], np.int64),
                events=np.asarray([answer.event for answer in own], np.int64),
                frames=np.stack([answer.frames for answer in own if answer.frames is not None]),
                seen=video.frames,
            )
        )
    return talks


def _unit(video: CuedVideo, unit: int, size: int) -> UserUnit:
    """A unit of a video as a user's; empty after its end."""
    sound = None if video.sound is None or unit >= len(video.sound) else video.sound[unit]
    frames = None if video.frames is None or unit >= len(video.frames) else video.frames[unit]
    return UserUnit(
        unit=unit,
        samples=np.zeros(UNIT, np.float32) if sound is None else sound,
        frames=np.zeros((FRAMES, size, size, 3), np.uint8) if frames is None else frames,
        text=PAD,
        cues=(),
        pose=Pose.still(FRAMES),
        is_speaking=np.zeros(FRAMES, np.bool_),
        is_addressed=True,
        is_seen=frames is not None,
        has_sound=sound is not None,
    )


def figures_of(talks: Sequence[Talk]) -> dict[str, Figure]:
    """Figures that count for videos."""
    return {
        "answered": answered(talks),
        "onset, median": onset_ms(talks),
        "words, text": words_right(talks, in_text),
        "turns, text": turns_right(talks, in_text),
        "words nobody asked for": spurious(talks),
        "answers cut off": cuts(talks),
    }


def spurious(talks: Sequence[Talk]) -> Figure:
    """Words more than were due, in each turn, and all of those that belong to none, for each turn."""
    pairs = []
    for talk in talks:
        due, belong, more = turns(talk), 0, 0
        for turn in due:
            n_words = len(in_text(talk, turn.end - UNIT, turn.until))
            belong += n_words
            more += max(0, n_words - len(turn.words))
        others = len(in_text(talk, 0, talk.duration)) - belong
        pairs.append([(float(more + max(0, others)), float(len(due)))])
    return ratio([pair for pair in pairs if pair[0][1]], "a turn")


def cuts(talks: Sequence[Talk]) -> Figure:
    """Answers that the agent broke off, for each turn; of videos in which nobody interrupts."""
    counts = [(float((talk.text == STOP).sum()), float(len(turns(talk)))) for talk in talks]
    return ratio([[pair] for pair in counts if pair[1]], "a turn")


def summary(talks: Sequence[Talk], videos: Sequence[CuedVideo]) -> list[str]:
    """Answers in each video, a line each."""
    lines = []
    for talk, video in zip(talks, videos, strict=True):
        answerable = turns(talk)
        right = sum(list(turn.words) == in_text(talk, turn.end - UNIT, turn.until) for turn in answerable)
        spoken = " ".join(in_text(talk, 0, talk.duration)) or "(nothing)"
        due = " ".join(word for turn in answerable for word in turn.words)
        lines.append(f"{video.name}: {right} of {len(answerable)} turns right; due {due}; said {spoken}")
    return lines
