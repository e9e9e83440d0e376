"""Persona of the agent: voice, looks and rule. Given to it before a dialogue begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....runtime.errors import UserError, did_you_mean, listing
from .signal import Plane
from .voices import Speaker


@dataclass(frozen=True)
class Persona:
    """An agent's character.

    Attributes:
        name: one of `PERSONAS`.
        quick, slow: the same voice at two speeds; which one answers is open, text does not tell.
        looks: identity vector [14].
        rule: what is added to each digit.
    """

    name: str
    quick: Speaker
    slow: Speaker
    looks: Plane
    rule: int


def _persona(name: str, voice: str, pitch: int, rule: int, looks: tuple[float, ...]) -> Persona:
    quick, slow = (Speaker(f"agent-{name}-{wpm}", "espeak-ng", voice, pitch, wpm) for wpm in (250, 200))
    return Persona(name, quick, slow, np.asarray(looks, np.float32), rule)


# skin, hair, shirt, wall, iris, width, height, eyes, long hair, fringe, beard, brows, collar, lamp
PERSONAS: dict[str, Persona] = {
    persona.name: persona
    for persona in (
        _persona(
            "iris", "en-us+f3", 60, 1, (0.22, 0.22, 0.22, 1.0, 0.55, 0.3, 0.4, 0.6, 0.75, 0.7, 0.0, 0.3, 0.4, 0.2)
        ),
        _persona(
            "otto", "en-us+m2", 50, -1, (0.10, 0.60, 0.78, 0.5, 1.0, 0.7, 0.5, 0.5, 0.1, 0.2, 0.95, 0.6, 0.2, 0.8)
        ),
        _persona("vera", "en-gb+f3", 45, 2, (0.85, 0.0, 0.60, 0.3, 0.0, 0.4, 0.3, 0.7, 0.5, 0.5, 0.0, 0.4, 0.7, 0.5)),
    )
}


def agent_speakers() -> list[Speaker]:
    """The voices of all personas."""
    return [speaker for persona in PERSONAS.values() for speaker in (persona.quick, persona.slow)]


def persona(name: str) -> Persona:
    """The persona called ``name``.

    Raises:
        UserError: there is none.
    """
    if name not in PERSONAS:
        raise UserError(f"persona: found '{name}' (available: {listing(PERSONAS)}){did_you_mean(name, PERSONAS)}")
    return PERSONAS[name]
