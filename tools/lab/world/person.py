"""User of the world: looks, voice and the way it is bent, room."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .face import random_looks
from .life.acoustics import Line, room_of
from .life.material import NOTHING
from .life.scene import View
from .room import Room
from .signal import Plane, Sound, glide
from .voices import Bank, Speaker, Split

END_GLIDE = 0.86
"""Rate at the very end of a turn's last word: it falls. Every other word rises to `GO_ON_GLIDE`."""
GO_ON_GLIDE = 1.06

PEOPLE_SHARE = 0.4
"""How many users are recorded people, where there are some."""
LIVING_SHARE = 0.65
"""The same, of users who look and sound like life."""
NO_SOUND_SHARE = 0.03
"""How many of these have no microphone."""
SHORT_WORD_S = 0.45
"""A recorded word that is shorter was cut out of running speech; alone it would be said more slowly."""
LONGEST_STRETCH = 1.7


@dataclass(frozen=True)
class Person:
    """Identity of a user: looks, voice and how it is bent, room.

    Attributes:
        speaker: whose voice; ``rate`` and ``tract`` bend it, ``stretch`` makes words longer that are `SHORT_WORD_S`.
        looks: of the drawing of them.
        room: where they are.
        view, line: what a camera films, and how they are heard, of users who look and sound like life.
        has_sound: whether they have a microphone.
    """

    speaker: Speaker
    looks: Plane
    room: Room
    rate: float = 1.0
    tract: float = 1.0
    view: View | None = None
    line: Line | None = None
    stretch: float = 1.0
    has_sound: bool = True

    @classmethod
    def sample(cls, rng: np.random.Generator, bank: Bank, split: Split, echo: bool = False) -> Person:
        """A person drawn from one side of the bank's split; where there are recorded people, 40 % are of them."""
        speakers = bank.split(split)
        people = [speaker for speaker in speakers if speaker.synthesiser == "people"]
        material = bank.material(split)
        lives = material is not NOTHING
        is_recorded = rng.random() < (LIVING_SHARE if lives else PEOPLE_SHARE)
        speakers = (people if is_recorded else [s for s in speakers if s not in people]) or speakers
        person = cls(
            speaker=speakers[rng.integers(len(speakers))],
            looks=random_looks(rng),
            room=Room.sample(rng, echo),
            rate=float(rng.uniform(0.88, 1.14)),
            tract=float(rng.uniform(0.9, 1.12)),
        )
        if not lives:
            return person
        line = Line.sample(rng, material)
        return replace(
            person,
            room=room_of(person.room, line, rng),
            view=View.sample(rng, material, split),
            line=line,
            stretch=float(rng.uniform(1.0, LONGEST_STRETCH)),
            has_sound=bool(rng.random() >= NO_SOUND_SHARE),
        )


def delivered(word: Sound, melody: float, rate: float = 1.0) -> Sound:
    """``word`` at ``rate``, which moves to ``rate * melody`` from a quarter of it on: `END_GLIDE` or `GO_ON_GLIDE`."""
    return glide(word, rate, rate * melody, start=0.25)
