"""Who a user is: looks, voice and the way it is bent, room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .face import random_looks
from .room import Room
from .signal import Plane, Sound, glide
from .voices import Bank, Speaker, Split

END_GLIDE = 0.86
"""Rate at the very end of a turn's last word: it falls. Every other word rises to `GO_ON_GLIDE`."""
GO_ON_GLIDE = 1.06

PEOPLE_SHARE = 0.4
"""How many users are recorded people, where there are some."""


@dataclass(frozen=True)
class Person:
    """Who the user is: looks, voice and how it is bent, room."""

    speaker: Speaker
    looks: Plane
    room: Room
    rate: float = 1.0
    tract: float = 1.0

    @classmethod
    def sample(cls, rng: np.random.Generator, bank: Bank, split: Split, echo: bool = False) -> Person:
        """A person drawn from one side of the bank's split; where there are recorded people, 40 % are of them."""
        speakers = bank.split(split)
        people = [speaker for speaker in speakers if speaker.synthesiser == "people"]
        is_recorded = rng.random() < PEOPLE_SHARE
        speakers = (people if is_recorded else [s for s in speakers if s not in people]) or speakers
        return cls(
            speaker=speakers[rng.integers(len(speakers))],
            looks=random_looks(rng),
            room=Room.sample(rng, echo),
            rate=float(rng.uniform(0.88, 1.14)),
            tract=float(rng.uniform(0.9, 1.12)),
        )


def delivered(word: Sound, melody: float, rate: float = 1.0) -> Sound:
    """``word`` at ``rate``, which moves to ``rate * melody`` from a quarter of it on: `END_GLIDE` or `GO_ON_GLIDE`."""
    return glide(word, rate, rate * melody, start=0.25)
