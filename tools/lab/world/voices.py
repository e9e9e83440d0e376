"""Voices: words spoken by synthesisers and by recorded people, made when first asked for and kept on disk.

A *speaker* is a synthesiser's voice at one pitch and speed, or one person of a folder of recordings. Speakers are
split once: those held out (by name, or a whole synthesiser) are never heard in training.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....runtime.errors import MediaError, UserError, did_you_mean, listing
from .accents import SPELLED
from .life.material import NOTHING, Material, is_held_out, read_material
from .life.material import Split as Split
from .recordings import read_recording, unreadable
from .shipped import takes_of, write
from .signal import Sound, level, trim
from .synthesis import espeak_release, speak_espeak, speak_flite
from .words import AGENT_WORDS, DIGITS, USER_WORDS

_log = logging.getLogger("wangraph.world")

_RECIPE = 4  # counts changes of how words are made, so that an older cache is not read
_SPELLING = {"espeak-ng": {"mm-hmm": "[[m@h'mm]]"}, "flite": {"mm-hmm": "muhum"}}

_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc")
_VARIANTS = (
    "m1",
    "m3",
    "m4",
    "m7",
    "f1",
    "f2",
    "f4",
    "f5",
    "Alex",
    "Andrea",
    "Annie",
    "Michael",
    "linda",
    "steph",
    "david",
)
_OTHER_ACCENTS = ("en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd", *SPELLED)
_OTHER_VARIANTS = ("m2", "f3", "Denis", "belinda")
_FLITE = ("kal16", "awb", "rms", "slt")
HELD_OUT = frozenset({"flite", "lucas", "en-us+Annie", "en-gb+m4", "en-gb-scotland+f4", "en-us+f5", "en-gb+Michael"})
"""Synthesisers, people and voices that training never hears, unless told otherwise."""


@dataclass(frozen=True)
class Speaker:
    """Somebody who can say words.

    Attributes:
        name: unique; what `HELD_OUT` and ``--hold-out`` name.
        synthesiser: ``espeak-ng``, ``flite`` or ``people``.
        voice: the synthesiser's name of the voice, or the person's.
        pitch: 0..99, espeak-ng only.
        words_per_minute: espeak-ng only.
    """

    name: str
    synthesiser: str
    voice: str
    pitch: int = 50
    words_per_minute: int = 175


def synthetic_speakers() -> list[Speaker]:
    """Every synthetic user, in a fixed order."""
    rng = np.random.default_rng(0)
    voices = [f"{accent}+{variant}" for accent in _ACCENTS for variant in _VARIANTS]
    voices += [f"{accent}+{variant}" for accent in _OTHER_ACCENTS for variant in _OTHER_VARIANTS]
    speakers = [
        Speaker(voice, "espeak-ng", voice, int(rng.integers(30, 70)), int(rng.integers(150, 210))) for voice in voices
    ]
    return speakers + [Speaker(f"flite-{voice}", "flite", voice) for voice in _FLITE]


class Bank:
    """Takes of words by speakers, from disk where they were made before.

    Args:
        people: folder of recordings ``WORD_PERSON_TAKE.wav`` (a digit may be written as a figure).
        hold_out: names of speakers, people or synthesisers kept from the ``train`` split.
        cache: where made words are kept; ``$XDG_CACHE_HOME/wangraph/voices`` if not given.
        life: folder of photographs and recordings of real people and places, which users are then made of too; of
            the recorded people those are held out, too, whom `life.material.is_held_out` names.

    Raises:
        MediaError: the folder has no recordings, or one that cannot be used (named).
        UserError: a held-out name that nobody has.
    """

    def __init__(
        self,
        people: Path | None = None,
        hold_out: Iterable[str] = HELD_OUT,
        cache: Path | None = None,
        life: Path | None = None,
    ) -> None:
        self.cache = cache or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "wangraph" / "voices"
        self._recordings = _recordings(people) if people else {}
        self._held_out = frozenset(hold_out)
        self._spoken: dict[Speaker, Mapping[str, tuple[Sound, ...]]] = {}
        self._life = life
        self._material: dict[Split, Material] = {}
        self.speakers = synthetic_speakers() + [
            Speaker(person, "people", person) for person in sorted(self._recordings)
        ]
        self._check_names()

    def split(self, split: Split) -> list[Speaker]:
        """Speakers of one side of the split, in a fixed order."""
        held = {"train": False, "held-out": True}[split]
        return [speaker for speaker in self.speakers if self._is_held_out(speaker) == held]

    def _is_held_out(self, speaker: Speaker) -> bool:
        is_kept_back = self._life is not None and speaker.synthesiser == "people" and is_held_out(speaker.voice)
        return is_kept_back or bool(self._held_out & {speaker.name, speaker.synthesiser, speaker.voice})

    def material(self, split: Split) -> Material:
        """Material for users of one side of the split, besides voices; nothing where there is no such folder.

        Raises:
            MediaError: a file of the folder cannot be read.
        """
        if self._life is None:
            return NOTHING
        if split not in self._material:
            self._material[split] = read_material(self._life, split)
        return self._material[split]

    def takes(self, speaker: Speaker) -> Mapping[str, tuple[Sound, ...]]:
        """All takes of every word that ``speaker`` can say: trimmed, 16 kHz, root mean square 0.12.

        Raises:
            MissingExtra: its synthesiser is not installed.
            MediaError: it failed; a recording that cannot be read, or is silent.
        """
        if speaker not in self._spoken:
            self._spoken[speaker] = self._people(speaker) if speaker.synthesiser == "people" else self._made(speaker)
        return self._spoken[speaker]

    def _people(self, speaker: Speaker) -> dict[str, tuple[Sound, ...]]:
        return {
            word: tuple(read_recording(path) for path in paths)
            for word, paths in self._recordings[speaker.voice].items()
        }

    def _made(self, speaker: Speaker) -> dict[str, tuple[Sound, ...]]:
        key = _key(speaker)
        if (shipped := takes_of(key)) is not None:
            return shipped
        words = sorted({*USER_WORDS, *AGENT_WORDS})
        release = f"-{espeak_release(speaker.name)}" if speaker.synthesiser == "espeak-ng" else ""
        path = self.cache / f"{speaker.voice}-{key}{release}.npz"
        if path.exists():
            with np.load(path) as kept:
                return {word: (kept[word],) for word in words}
        sounds = _synthesised(speaker, words)
        made = {word: level(trim(sound)) for word, sound in zip(words, sounds, strict=True)}
        keep(path, made)
        return {word: (sound,) for word, sound in made.items()}

    def _check_names(self) -> None:
        names = {name for s in self.speakers for name in (s.name, s.synthesiser, s.voice)}
        for name in sorted(self._held_out - names - HELD_OUT):
            raise UserError(
                f"hold-out: nobody is called '{name}' (people: {listing(self._recordings)}; "
                f"synthesisers: espeak-ng, flite){did_you_mean(name, names)}"
            )


def write_shipped(path: Path, agents: Sequence[Speaker]) -> int:
    """Write what `shipped` reads: words of the agents, and of every synthetic user who is held out; how many they are.

    Raises:
        MissingExtra: a synthesiser is not installed.
        MediaError: the file cannot be written.
    """
    bank = Bank()
    who = [(speaker, USER_WORDS) for speaker in bank.split("held-out")] + [(speaker, AGENT_WORDS) for speaker in agents]
    write(path, {_key(speaker): {word: bank.takes(speaker)[word][0] for word in words} for speaker, words in who})
    return len(who)


def keep(path: Path, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Write arrays to be found at ``path`` by whoever needs them next; where it cannot be written, warn and go on.

    Several processes may make the same at once: each writes a file of its own and moves it there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            try:
                np.savez(part, **arrays)  # type: ignore[arg-type]  # numpy's stub confuses the arrays with its flags
                part.flush()
                os.replace(part.name, path)
            finally:
                Path(part.name).unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s: cannot be kept (%s), so it is made anew next time: set XDG_CACHE_HOME", path, error.strerror)


def _key(speaker: Speaker) -> str:
    """Key of all that a speaker's words depend on."""
    words = sorted({*USER_WORDS, *AGENT_WORDS})
    return hashlib.sha256(repr((_RECIPE, astuple(speaker), words)).encode()).hexdigest()[:16]


def digest_of_recordings(folder: Path) -> str:
    """Digest of the recorded people that `Bank` finds in a folder: names and contents of their files, wherever it is.

    Raises:
        MediaError: the folder has no recordings, or one that cannot be read (named).
    """
    digest = hashlib.blake2b(digest_size=6)
    found = _recordings(folder)
    for path in sorted(path for words in found.values() for paths in words.values() for path in paths):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise unreadable(path) from error
        digest.update(os.fsencode(path.name) + b"\0" + len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _recordings(folder: Path) -> dict[str, dict[str, list[Path]]]:
    found: dict[str, dict[str, list[Path]]] = {}
    for path in sorted(folder.glob("*.wav")):
        word, _, rest = path.stem.partition("_")
        person = rest.rpartition("_")[0]
        word = DIGITS[int(word)] if word.isdecimal() and int(word) < 10 else word
        if person and word in USER_WORDS:
            found.setdefault(person, {}).setdefault(word, []).append(path)
    if not found:
        raise MediaError(f"{folder}: no recordings (expected files like seven_anna_0.wav or 7_anna_0.wav)")
    for person, words in found.items():
        missing = set(DIGITS) - set(words)
        if missing:
            raise MediaError(f"{folder}: {person} lacks {listing(missing)} (expected all ten digits), record or remove")
    return found


def _synthesised(speaker: Speaker, words: Sequence[str]) -> list[Sound]:
    texts = [_spelled(speaker, word) for word in words]
    if speaker.synthesiser == "flite":
        return speak_flite(speaker.name, speaker.voice, texts)
    return speak_espeak(speaker.name, speaker.voice, speaker.pitch, speaker.words_per_minute, texts)


def _spelled(speaker: Speaker, word: str) -> str:
    """Spelling that the synthesiser is given to read."""
    by_language = SPELLED.get(speaker.voice.partition("+")[0], {})
    return _SPELLING[speaker.synthesiser].get(word) or by_language.get(word, word)
