"""Evidence that what the agent must tell apart can be told apart: pairs of users who differ in one intention only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .cues import Cue, UserUnit
from .face import random_looks
from .oracle import REACTION_MS, YIELD_MS
from .person import END_GLIDE, GO_ON_GLIDE, Person, delivered
from .room import Room
from .script import Act, fixed
from .signal import FRAME, MS, UNIT, Sound
from .user import World
from .voices import Bank, Speaker
from .words import BACKCHANNELS, DIGITS

_SPEAKERS = 6  # synthetic speakers compared
_LOOKS = 4  # faces compared
_SIZE = 64
_PLAIN = 24  # a pixel that changed by more than this, of 255, is seen to


@dataclass(frozen=True)
class Evidence:
    """Distance of two things that the agent must tell apart: the least of all pairs, and what it must reach."""

    what: str
    value: float
    least: float
    unit: str

    def text(self) -> str:
        """One line."""
        return f"{self.what}: {self.value:.3g} {self.unit} (expected {self.least:g} or more)"


def evidence(bank: Bank) -> Iterator[Evidence]:
    """The evidence for every kind of cue, from synthetic speakers of the bank and random faces."""
    speakers = [s for s in bank.split("train") if s.synthesiser == "espeak-ng"]
    some = speakers[:: max(1, len(speakers) // _SPEAKERS)]
    yield Evidence("end or pause, last 160 ms", min(_endings(bank, s) for s in some), 1.5, "dB")
    yield Evidence("interruption or backchannel, first 240 ms", min(_onsets(bank, s) for s in some), 3.0, "dB")
    for what, kind in (("hand or none", "hand"), ("card or none", "card")):
        act = Act(kind, 400, colour="green")  # type: ignore[arg-type]  # both are kinds of acts
        yield Evidence(
            f"{what}, {REACTION_MS} ms later", min(_seen(bank, i, act, kind) for i in range(_LOOKS)), 60, "px"
        )
    aside = Act("aside", 400, (("six",),))
    yield Evidence("side talk or question, at its onset", min(_gaze(bank, i, aside) for i in range(_LOOKS)), 20, "px")


def _endings(bank: Bank, speaker: Speaker) -> float:
    """The same word at the end of a turn and before a pause."""
    distances = []
    for word in DIGITS:
        sound = bank.takes(speaker)[word][0]
        last, going_on = delivered(sound, END_GLIDE), delivered(sound, GO_ON_GLIDE)
        distances.append(_distance(last[-UNIT:], going_on[-UNIT:]))
    return min(distances)


def _onsets(bank: Bank, speaker: Speaker) -> float:
    """A digit and a backchannel, as far as they are heard when the agent must yield."""
    takes, until = bank.takes(speaker), YIELD_MS * MS
    pairs = product(DIGITS, BACKCHANNELS)
    return min(_distance(takes[one][0][:until], takes[two][0][:until]) for one, two in pairs)


def _seen(bank: Bank, seed: int, act: Act, kind: str) -> float:
    """Pixels that an act changes, by the time at which the agent may answer it."""
    doing, still = _watch(bank, seed, act), _watch(bank, seed, Act("ask", 60_000, (("six",),)))
    cue = next(cue for unit in doing for cue in unit.cues if cue.kind == kind)
    return _changed(_picture(doing, cue, REACTION_MS), _picture(still, cue, REACTION_MS))


def _gaze(bank: Bank, seed: int, aside: Act) -> float:
    """Pixels by which a user who speaks to somebody else differs from one who asks."""
    away, asking = _watch(bank, seed, aside), _watch(bank, seed, Act("ask", 60_000, (("six",),)))
    cue = next(cue for unit in away for cue in unit.cues if cue.kind == "speech")
    return _changed(_picture(away, cue, 0), _picture(asking, cue, 0))


def _watch(bank: Bank, seed: int, act: Act) -> list[UserUnit]:
    speaker = bank.split("train")[0]
    person = Person(speaker, random_looks(np.random.default_rng((seed, 51))), Room())
    world = World(seed, bank, person=person, script=fixed(act), size=_SIZE)
    return [world.step() for _ in range(20)]


def _picture(units: list[UserUnit], cue: Cue, later_ms: int) -> NDArray[np.uint8]:
    frame = (cue.at + later_ms * MS) // FRAME
    picture: NDArray[np.uint8] = np.concatenate([unit.frames for unit in units])[frame]
    return picture


def _changed(one: NDArray[np.uint8], two: NDArray[np.uint8]) -> float:
    return float((np.abs(one.astype(int) - two).max(axis=-1) > _PLAIN).sum())


def _distance(one: Sound, two: Sound) -> float:
    """Root mean square difference of two sounds' spectrograms in decibels, whatever their phases; 40 dB deep."""
    n = min(len(one), len(two))
    spectrograms = [_decibels(sound[:n]) for sound in (one, two)]
    return float(np.sqrt(np.mean((spectrograms[0] - spectrograms[1]) ** 2)))


def _decibels(sound: Sound) -> NDArray[np.float64]:
    frames = np.lib.stride_tricks.sliding_window_view(sound, 400)[::160] * np.hanning(400)
    power = np.abs(np.fft.rfft(frames)[:, :160].reshape(len(frames), 40, 4)).mean(axis=-1)
    decibels: NDArray[np.float64] = 20 * np.log10(power + 1e-2 * power.max())
    return decibels
