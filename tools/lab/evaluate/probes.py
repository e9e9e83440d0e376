"""Dialogues that are held to measure one thing each, many of them with a twin that differs in this one thing alone.

Twins have the same seed: the same person, room, words and noise, up to the moment that is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..world.persona import PERSONAS
from ..world.script import SCENARIOS, Act, Reaction, fixed
from ..world.voices import Speaker
from ..world.words import BACKCHANNELS, CLOSING, COLOURS, DIGITS
from .talk import FIRST_SEED, DialogueSpec

Which = int | range
"""So many dialogues, the first ones; or these, by number: `PER_PROBE` there are."""

PER_PROBE = 10_000

Draw = Callable[[np.random.Generator, Speaker], tuple[Act, ...]]
"""What a user with this voice does; recorded people know digits only."""


@dataclass(frozen=True)
class Probe:
    """Dialogues to be held.

    Attributes:
        name: what is measured.
        specs: of the users.
        twins: of their twins; empty where there are none.
        units: how long each takes.
    """

    name: str
    specs: tuple[DialogueSpec, ...]
    twins: tuple[DialogueSpec, ...]
    units: int


def asks(speakers: Sequence[Speaker], dialogues: Which, name: str = "asks") -> Probe:
    """Digits spoken as questions, three turns each, nobody interferes."""
    return _probe(name, speakers, dialogues, 84, _asks)


def pauses(speakers: Sequence[Speaker], dialogues: Which) -> Probe:
    """Turns with a pause inside, which is not their end."""

    def draw(rng: np.random.Generator, _: Speaker) -> tuple[Act, ...]:
        return tuple(
            Act("ask", _rest(rng), (_digits(rng, 1), _digits(rng, 1, 2)), int(rng.uniform(480, 1300))) for _ in range(2)
        )

    return _probe("pauses", speakers, dialogues, 72, draw)


def typed(speakers: Sequence[Speaker], dialogues: Which) -> Probe:
    """Digits typed."""
    return _probe(
        "typed",
        speakers,
        dialogues,
        50,
        lambda rng, _: tuple(Act("type", _rest(rng), (_digits(rng, 2),)) for _ in "12"),
    )


def interruptions(speakers: Sequence[Speaker], dialogues: Which) -> Probe:
    """The agent's answer of four words is interrupted by other digits; not so in the twin."""

    def reaction(rng: np.random.Generator) -> Reaction:
        return Reaction("interrupt", _soon(rng), (_digits(rng, 2),))

    return _reactions("interruptions", speakers, dialogues, reaction)


def backchannels(speakers: Sequence[Speaker], dialogues: Which) -> Probe:
    """The user says "mm-hmm" or "okay" into the answer; nothing in the twin."""

    def reaction(rng: np.random.Generator) -> Reaction:
        return Reaction("backchannel", _soon(rng), ((str(rng.choice(BACKCHANNELS)),),))

    able = [speaker for speaker in speakers if speaker.synthesiser != "people"]  # recorded people say digits only
    return _reactions("backchannels", able, dialogues, reaction)


def hands(speakers: Sequence[Speaker], dialogues: Which) -> Probe:
    """The user silently raises a hand during the answer; not so in the twin."""
    return _reactions("hands", speakers, dialogues, lambda rng: Reaction("hand", _soon(rng)))


def stops(speakers: Sequence[Speaker], dialogues: Which) -> Probe:
    """The user presses stop during the answer; not so in the twin."""
    return _reactions("stops", speakers, dialogues, lambda rng: Reaction("press", _soon(rng)))


def asides(speakers: Sequence[Speaker], dialogues: Which) -> Probe:
    """Digits for somebody else, with the gaze away; the twin says them to the agent."""

    def act(rng: np.random.Generator, is_aside: bool) -> tuple[Act, ...]:
        words, rest = _digits(rng, 1, 2), _rest(rng)
        return (Act("aside", rest, (words,)) if is_aside else Act("ask", rest + 400, (words,)),)

    specs = _specs("asides", speakers, dialogues, lambda rng, _: act(rng, True))
    twins = _specs("asides", speakers, dialogues, lambda rng, _: act(rng, False))
    return Probe("asides", specs, twins, 34)


def cards(speakers: Sequence[Speaker], dialogues: Which) -> Probe:
    """A coloured card, then a question about it: is it this colour?"""

    def draw(rng: np.random.Generator, _: Speaker) -> tuple[Act, ...]:
        colour = str(rng.choice(COLOURS))
        named = colour if rng.random() < 0.5 else str(rng.choice([other for other in COLOURS if other != colour]))
        return (Act("card", _rest(rng), ((named,),), colour=colour),)

    able = [speaker for speaker in speakers if speaker.synthesiser != "people"]
    return _probe("cards", able, dialogues, 44, draw)


def free(speakers: Sequence[Speaker], dialogues: Which, units: int = 180) -> Probe:
    """Everything that users do, at length: the agent's behaviour where nothing is probed."""
    specs = _specs("free", speakers, dialogues, None)
    return Probe("free", tuple(replace(c, scenario=SCENARIOS["everything"]) for c in specs), (), units)


def persona(speakers: Sequence[Speaker], dialogues: Which) -> Probe:
    """Agents with each persona's prompt in turn, asked for digits."""
    probe = asks(speakers, dialogues, "persona")
    names = list(PERSONAS)
    specs = tuple(
        replace(spec, persona=PERSONAS[names[row % len(names)]], is_prompted=True)
        for row, spec in enumerate(probe.specs)
    )
    return replace(probe, specs=specs)


def _reactions(
    name: str, speakers: Sequence[Speaker], dialogues: Which, reaction: Callable[[np.random.Generator], Reaction]
) -> Probe:
    """A question of four digits and what the user does during the answer; the twin hears the answer out."""

    def draw(rng: np.random.Generator, _: Speaker) -> tuple[Act, ...]:
        return (Act("ask", _rest(rng), (_digits(rng, 4),), reaction=reaction(rng)),)

    def alone(rng: np.random.Generator, speaker: Speaker) -> tuple[Act, ...]:
        return tuple(replace(act, reaction=None) for act in draw(rng, speaker))

    specs = _specs(name, speakers, dialogues, draw)
    twins = _specs(name, speakers, dialogues, alone)
    return Probe(name, specs, twins, 52)


def _probe(name: str, speakers: Sequence[Speaker], dialogues: Which, units: int, draw: Draw) -> Probe:
    return Probe(name, _specs(name, speakers, dialogues, draw), (), units)


def _specs(name: str, speakers: Sequence[Speaker], dialogues: Which, draw: Draw | None) -> tuple[DialogueSpec, ...]:
    """Users with the speakers in turn; their seeds depend on the name and their number alone."""
    first = FIRST_SEED + PER_PROBE * NAMES.index(name)
    specs = []
    for number in range(dialogues) if isinstance(dialogues, int) else dialogues:
        seed = first + number
        speaker = speakers[number % len(speakers)]
        acts = () if draw is None else draw(np.random.default_rng((seed, 42)), speaker)
        specs.append(DialogueSpec(seed, speaker, None if draw is None else fixed(*acts)))
    return tuple(specs)


NAMES = ("asks", "pauses", "typed", "interruptions", "backchannels", "hands", "asides", "cards", "free", "persona",
         "asks-flite", "asks-person", "stops")  # fmt: skip
"""Every probe; the order decides the seeds."""


def _asks(rng: np.random.Generator, speaker: Speaker) -> tuple[Act, ...]:
    """Three questions of one to three digits, a quarter of which end with a closing word."""
    acts = []
    for _ in range(3):
        words, closes = _digits(rng, 1, 3), rng.random() < 0.25
        words = (*words, CLOSING) if closes and speaker.synthesiser != "people" else words
        acts.append(Act("ask", _rest(rng), (words,)))
    return tuple(acts)


def _digits(rng: np.random.Generator, least: int, most: int = 0) -> tuple[str, ...]:
    """``least`` digits, or from ``least`` to ``most``."""
    count = int(rng.integers(least, max(least, most) + 1))
    return tuple(str(word) for word in rng.choice(DIGITS, count))


def _soon(rng: np.random.Generator) -> int:
    """Milliseconds of the answer before the reaction: later, too little would be left of it to be broken off."""
    return int(rng.uniform(160, 480))


def _rest(rng: np.random.Generator) -> int:
    return int(rng.uniform(300, 1300))
