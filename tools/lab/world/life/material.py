"""Photographs, clips and recordings of real people and places, read from a folder and split by who and where.

The folder may have ``faces-still``, ``faces-video``, ``hands``, ``rooms``, ``noise`` and ``voices-words``; what it
lacks is drawn, or left out. A person, a place or a sound is in training or held out, never both: their name decides.
"""

# H W size in pixels, T frames, N samples

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .....runtime.errors import MediaError
from ..recordings import read_recording, read_sound
from ..signal import FRAME, RATE, Plane, Sound, level, loudness, trim
from ..words import USER_WORDS

Split = Literal["train", "held-out"]
Picture = NDArray[np.uint8]

PARTS = ("faces-still", "faces-video", "hands", "rooms", "noise", "voices-words")
"""Folders that are read where they are there."""

SHARE = 6
"""One in so many people, places and sounds is held out."""

CLIP_HEIGHT = 96
"""Clips are kept this high: they are shown smaller still."""
CLIPS_EACH = 3
"""Most clips of one person."""
_LONGEST_S = 12.0  # of a clip
_FULL_VOICE = 0.16  # root mean square at which a mouth is wide open; recordings are levelled to 0.12


@dataclass(frozen=True, eq=False)
class Cutout:
    """A picture [H, W, 4] with a matte as its last channel, and whose it is."""

    who: str
    picture: Picture


@dataclass(frozen=True, eq=False)
class Portrait(Cutout):
    """A face that looks into the camera; ``landmarks`` [189, 2] are x and y in pixels, as its README numbers them."""

    landmarks: Plane


@dataclass(frozen=True, eq=False)
class Clip:
    """A real person moving, [T, H, W, 3] at 25 pictures a second, who looks into the camera.

    Attributes:
        mouth: how far it is open [T], by the loudness of the clip's own voice; None: not known.
        has_screen: whether the wall behind is of one blue, so that it can be cut away.
    """

    who: str
    frames: Picture
    mouth: Plane | None
    has_screen: bool


@dataclass(frozen=True, eq=False)
class Sitting:
    """One person at one webcam: pictures with an open palm raised, and pictures with fists, fingers or nothing."""

    who: str
    palms: tuple[Picture, ...]
    others: tuple[Picture, ...]


@dataclass(frozen=True)
class Material:
    """Material for users of one side of the split; anything may be missing.

    Attributes:
        portraits, clips, sittings: people.
        palms, fists: hands alone, open or not.
        rooms: by place; ``things`` are pictures with people or goods in them, which are no rooms to stand in.
        noises, music: sounds of any length, root mean square 0.1.
        responses: impulse responses of rooms.
        words: other words than the world's, by person.
        speech: running speech, by person.
    """

    portraits: tuple[Portrait, ...] = ()
    clips: tuple[Clip, ...] = ()
    sittings: tuple[Sitting, ...] = ()
    palms: tuple[Cutout, ...] = ()
    fists: tuple[Cutout, ...] = ()
    rooms: tuple[tuple[Picture, ...], ...] = ()
    things: tuple[Picture, ...] = ()
    noises: tuple[Sound, ...] = ()
    music: tuple[Sound, ...] = ()
    responses: tuple[Sound, ...] = ()
    words: dict[str, tuple[Sound, ...]] = field(default_factory=dict)
    speech: dict[str, tuple[Sound, ...]] = field(default_factory=dict)


NOTHING = Material()
"""Of a world that is drawn and synthetic."""


def is_held_out(name: str) -> bool:
    """True if a person, a place or a sound of this name is kept from training."""
    return hashlib.blake2b(name.encode(), digest_size=2).digest()[0] % SHARE == 0


def read_material(folder: Path, split: Split) -> Material:
    """One side of everything in a folder.

    Raises:
        MediaError: the folder has nothing that could be used, or a file that cannot be read (named).
    """
    if not any((folder / part).is_dir() for part in PARTS):
        raise MediaError(f"{folder}: found none of {', '.join(PARTS)} (expected one or more), see docs/benchmark.md")

    def kept(name: str) -> bool:
        return is_held_out(name) == (split == "held-out")

    palms, fists, sittings = _hands(folder / "hands", kept)
    rooms, things = _rooms(folder / "rooms", kept)
    noises, music, responses = _sounds(folder / "noise", kept)
    words, speech = _voices(folder / "voices-words", kept)
    return Material(
        portraits=_portraits(folder / "faces-still", kept),
        clips=_clips(folder / "faces-video", kept),
        sittings=sittings,
        palms=palms,
        fists=fists,
        rooms=rooms,
        things=things,
        noises=noises,
        music=music,
        responses=responses,
        words=words,
        speech=speech,
    )


def digest_of_material(folder: Path) -> str:
    """Digest of names and sizes of all files of the folder, wherever it is."""
    digest = hashlib.blake2b(digest_size=6)
    for part in PARTS:
        for path in sorted((folder / part).rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def _rows(table: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none where it is not there."""
    if not table.exists():
        return []
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MediaError(f"{table}: cannot be read ({error}), copy it again") from error


def read_picture(path: Path, grey: bool = False) -> Picture:
    """A photograph [H, W, 3], or one channel of it [H, W].

    Raises:
        MediaError: it cannot be read.
    """
    import av

    try:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            picture: Picture = frame.to_ndarray(format="gray" if grey else "rgb24")
    except (OSError, ValueError, StopIteration, av.FFmpegError) as error:
        raise MediaError(f"{path}: not a readable picture (expected JPEG or PNG), remove or replace it") from error
    return picture


def read_clip(path: Path, height: int = CLIP_HEIGHT) -> tuple[Picture, Sound]:
    """Pictures [T, H, W, 3] of a video at 25 a second, ``height`` pixels high, and its sound [N], empty if it has none.

    Raises:
        MediaError: it cannot be read.
    """
    import av

    times: list[float] = []
    shown: list[Picture] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            width = max(2, round(stream.width * height / stream.height / 2) * 2)
            for frame in container.decode(stream):
                if frame.time is None or frame.time > _LONGEST_S:
                    break
                times.append(frame.time)
                shown.append(frame.reformat(width, height).to_ndarray(format="rgb24"))
            has_sound = bool(container.streams.audio)
    except (OSError, ValueError, IndexError, av.FFmpegError) as error:
        raise MediaError(f"{path}: not a readable video, remove or replace it") from error
    if not shown:
        raise MediaError(f"{path}: found no picture (expected a video), remove or replace it")
    at = np.arange(0, times[-1] + 0.02, 0.04)
    pictures = np.stack(shown)[np.searchsorted(times, at + 1e-3, "right").clip(1) - 1]
    return pictures, read_sound(path) if has_sound else np.empty(0, np.float32)


def _portraits(folder: Path, kept: Any) -> tuple[Portrait, ...]:
    if not (folder / "landmarks.npz").exists():
        return ()
    found = []
    with np.load(folder / "landmarks.npz") as landmarks:
        for row in _rows(folder / "people.csv"):
            path = folder / row["file"]
            matte = path.with_suffix(".mask.png")
            if path.stem in landmarks and matte.exists() and kept(row["person"]):
                picture = np.dstack([read_picture(path), read_picture(matte, grey=True)])
                found.append(Portrait(row["person"], picture, landmarks[path.stem].astype(np.float32)))
    return tuple(found)


def _clips(folder: Path, kept: Any) -> tuple[Clip, ...]:
    found: list[Clip] = []
    seen: dict[str, int] = defaultdict(int)
    for row in _rows(folder / "clips.csv"):
        who = row["person"]
        if row["looks"] != "camera" or not kept(who) or seen[who] >= CLIPS_EACH:
            continue
        seen[who] += 1
        frames, sound = read_clip(folder / row["file"])
        mouth = None
        if len(sound):
            whole = np.resize(level(sound), len(frames) * FRAME) if len(sound) < len(frames) * FRAME else level(sound)
            mouth = np.clip(loudness(whole[: len(frames) * FRAME]) / _FULL_VOICE, 0.0, 1.0).astype(np.float32)
        found.append(Clip(who, frames, mouth, row["source"] == "GRID"))
    return tuple(found)


def _hands(folder: Path, kept: Any) -> tuple[tuple[Cutout, ...], tuple[Cutout, ...], tuple[Sitting, ...]]:
    alone: dict[bool, list[Cutout]] = {True: [], False: []}
    webcams: dict[str, dict[bool, list[Picture]]] = defaultdict(lambda: {True: [], False: []})
    for row in _rows(folder / "pictures.csv"):
        path, is_palm = folder / row["file"], row["open_palm"] == "1"
        matte, place = path.with_suffix(".mask.png"), path.stem.rpartition("_")[0]
        if not kept(place):
            continue
        if matte.exists():
            picture = np.dstack([read_picture(path), read_picture(matte, grey=True)])
            alone[is_palm].append(Cutout(row["person"], picture))
        elif row["box"]:
            webcams[place][is_palm].append(read_picture(path))
    sittings = [Sitting(place, tuple(both[True]), tuple(both[False])) for place, both in sorted(webcams.items())]
    return tuple(alone[True]), tuple(alone[False]), tuple(sitting for sitting in sittings if sitting.others)


def _rooms(folder: Path, kept: Any) -> tuple[tuple[tuple[Picture, ...], ...], tuple[Picture, ...]]:
    places: dict[str, list[Picture]] = defaultdict(list)
    things: list[Picture] = []
    for row in _rows(folder / "pictures.csv"):
        if kept(row["place"]):
            picture = read_picture(folder / row["file"])
            if row["people"] == "no":
                places[row["place"]].append(picture)
            else:
                things.append(picture)
    return tuple(tuple(pictures) for _, pictures in sorted(places.items())), tuple(things)


def _sounds(folder: Path, kept: Any) -> tuple[tuple[Sound, ...], tuple[Sound, ...], tuple[Sound, ...]]:
    kinds: dict[str, list[Sound]] = {"noise": [], "music": [], "impulse": []}
    for row in _rows(folder / "sounds.csv"):
        name = row["file"].rpartition(".")[0].removesuffix("-2")
        # too few impulse responses to keep one back: their tails are stretched instead
        if row["kind"] in kinds and (row["kind"] == "impulse" or kept(name)):
            sound = read_sound(folder / row["file"])
            if len(sound):
                kinds[row["kind"]].append(sound)
    return tuple(kinds["noise"]), tuple(kinds["music"]), tuple(kinds["impulse"])


def _voices(folder: Path, kept: Any) -> tuple[dict[str, tuple[Sound, ...]], dict[str, tuple[Sound, ...]]]:
    words: dict[str, list[Sound]] = defaultdict(list)
    for path in sorted(folder.glob("*_*_*.wav")):
        word, _, rest = path.stem.partition("_")
        person = rest.rpartition("_")[0]
        if word not in USER_WORDS and kept(person):
            words[person].append(read_recording(path))
    speech: dict[str, list[Sound]] = defaultdict(list)
    for path in sorted(folder.glob("connected/speech_*_*.flac")):
        person = path.stem.split("_")[1]
        if kept(person):
            speech[person].append(level(trim(read_sound(path))))
    return _tuples(words.items()), _tuples(speech.items())


def _tuples(items: Iterable[tuple[str, list[Sound]]]) -> dict[str, tuple[Sound, ...]]:
    return {name: tuple(sound for sound in sounds if len(sound) > RATE // 20) for name, sounds in items}
