"""The short clip of a user that is shipped with the graphs: turns, a pause, an interruption, a raised hand, a card."""

from __future__ import annotations

import numpy as np

from .dialogue import Dialogue, play
from .face import random_looks
from .person import Person
from .room import Room
from .script import Act, Reaction, fixed
from .voices import Bank

CLIP_UNITS = 78

_ACTS = (
    # four, six ... one: a pause inside the turn, which is not its end
    Act("ask", 500, (("four", "six"), ("one",)), pause_ms=700, reaction=Reaction("interrupt", 700, (("nine",),))),
    Act("ask", 300, (("two", "five", "eight"),), reaction=Reaction("hand", 500)),
    Act("card", 300, colour="blue"),
    Act("ask", 300, (("three", "please"),)),
)


def clip(seed: int, bank: Bank, size: int, units: int = CLIP_UNITS) -> Dialogue:
    """The user of the clip, who talks with the ideal agent; ``seed`` draws voice and looks from the held-out side."""
    rng = np.random.default_rng((seed, 31))
    speakers = [speaker for speaker in bank.split("held-out") if speaker.synthesiser == "espeak-ng"]
    person = Person(
        speaker=speakers[rng.integers(len(speakers))],
        looks=random_looks(rng),
        room=Room(reverb_s=0.25, wet=0.15, noise=4e-4),
    )
    return play(seed, units, bank, person=person, script=fixed(*_ACTS), size=size)
