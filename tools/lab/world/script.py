"""Script of a user: acts, one after the other, and what the user does while the agent answers each of them.

A script knows nothing of the agent. When an act begins, and whether its reaction happens at all, is for `user` to
find out from what the agent really says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ....runtime.errors import UserError, did_you_mean, listing
from .words import ASIDES, BACKCHANNELS, CLOSING, COLOURS, DIGITS

ActKind = Literal["ask", "type", "card", "aside", "hand", "backchannel", "glance", "chatter"]
ReactionKind = Literal["interrupt", "backchannel", "hand", "press"]


@dataclass(frozen=True)
class Reaction:
    """Reaction of the user ``after_ms`` of the agent's answer, if it is still going on; ``phrases`` are its words."""

    kind: ReactionKind
    after_ms: int
    phrases: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Act:
    """One thing the user does.

    Attributes:
        kind: ``ask`` aloud, ``type`` a line, show a ``card`` (and perhaps ask about it), speak an ``aside`` to somebody
            else, raise a ``hand``, give a ``backchannel`` or ``glance`` away while nobody speaks; ``chatter`` of
            things that the agent has no answer to.
        rest_ms: quiet before it.
        phrases: words; between phrases the user pauses without having come to an end.
        pause_ms: length of these pauses.
        colour: of the card.
        reaction: while the agent answers.
    """

    kind: ActKind
    rest_ms: int
    phrases: tuple[tuple[str, ...], ...] = ()
    pause_ms: int = 600
    colour: str | None = None
    reaction: Reaction | None = None

    @property
    def is_answered(self) -> bool:
        """True if the agent has something to say to it."""
        return self.kind in ("ask", "type", "card")


@dataclass(frozen=True)
class Scenario:
    """Scenario: how often users do what; ``acts`` are relative weights, the others probabilities."""

    acts: dict[ActKind, float] = field(default_factory=lambda: {"ask": 1.0})
    interrupt: float = 0.0
    backchannel: float = 0.0
    hand: float = 0.0
    press: float = 0.0
    pause: float = 0.0
    closing: float = 0.25
    longest: int = 3
    echo: bool = False
    asks_cards: bool = True


SCENARIOS: dict[str, Scenario] = {
    "digits": Scenario({"ask": 0.85, "type": 0.15}, interrupt=0.25),
    "pauses": Scenario({"ask": 1.0}, pause=0.7, longest=4),
    "overlap": Scenario({"ask": 0.9, "backchannel": 0.1}, interrupt=0.4, backchannel=0.4, longest=4),
    "sight": Scenario({"ask": 0.45, "card": 0.35, "hand": 0.2}, hand=0.5, longest=4),
    "asides": Scenario({"ask": 0.45, "aside": 0.45, "glance": 0.1}, longest=2),
    "everything": Scenario(
        {"ask": 0.5, "type": 0.1, "card": 0.16, "aside": 0.14, "hand": 0.05, "backchannel": 0.05, "glance": 0.05},
        interrupt=0.3,
        backchannel=0.2,
        hand=0.3,
        pause=0.3,
        longest=4,
    ),
}


def scenario(name: str) -> Scenario:
    """The scenario called ``name``.

    Raises:
        UserError: there is none.
    """
    if name not in SCENARIOS:
        raise UserError(f"scenario: found '{name}' (available: {listing(SCENARIOS)}){did_you_mean(name, SCENARIOS)}")
    return SCENARIOS[name]


Script = Callable[[int], Act | None]
"""The act number 0, 1, 2...; None when the user has nothing more to say."""


def fixed(*acts: Act) -> Script:
    """A script of just these acts."""
    return lambda number: acts[number] if number < len(acts) else None


def drawn(scenario: Scenario, seed: int, vocabulary: Collection[str]) -> Script:
    """An endless script drawn from a scenario, of words of ``vocabulary`` only; an act depends on its number alone."""
    kinds = {kind: weight for kind, weight in scenario.acts.items() if _can(kind, vocabulary)}
    names = list(kinds)
    weights = np.asarray([kinds[name] for name in names]) / sum(kinds.values())

    def act(number: int) -> Act:
        rng = np.random.default_rng((seed, 11, number))
        kind = names[rng.choice(len(names), p=weights)]
        rest = int(rng.uniform(200, 1400))
        if kind in ("hand", "glance", "chatter"):
            return Act(kind, rest)
        if kind == "backchannel":
            return Act(kind, rest, ((_pick(rng, BACKCHANNELS, vocabulary),),))
        if kind == "aside":
            return Act(kind, rest, (_aside(rng, scenario, vocabulary),))
        if kind == "card":
            colour = str(rng.choice(COLOURS))
            asks = bool(set(COLOURS) <= set(vocabulary)) and rng.random() < 0.4 and scenario.asks_cards
            named = colour if rng.random() < 0.5 else str(rng.choice(COLOURS))
            return Act(kind, rest, ((named,),) if asks else (), colour=colour)
        reacts = _reaction_kind(rng, scenario, vocabulary)
        words = _digits(rng, scenario.longest, least=2 if reacts else 1)
        reaction = _reaction(rng, reacts, vocabulary, len(words)) if reacts else None
        if kind == "type":
            return Act(kind, rest, (words,), reaction=reaction)
        phrases = _phrases(rng, scenario, vocabulary, words)
        return Act(kind, rest, phrases, int(rng.uniform(480, 1300)), reaction=reaction)

    return act


def _can(kind: ActKind, vocabulary: Collection[str]) -> bool:
    return kind != "backchannel" or any(word in vocabulary for word in BACKCHANNELS)


def _pick(rng: np.random.Generator, words: Collection[str], vocabulary: Collection[str]) -> str:
    return str(rng.choice([word for word in words if word in vocabulary]))


def _digits(rng: np.random.Generator, longest: int, least: int = 1) -> tuple[str, ...]:
    weights = 0.8 ** np.arange(least, max(longest, least) + 1)
    count = least + rng.choice(len(weights), p=weights / weights.sum())
    return tuple(str(word) for word in rng.choice(DIGITS, count))


def _aside(rng: np.random.Generator, scenario: Scenario, vocabulary: Collection[str]) -> tuple[str, ...]:
    words = list(_digits(rng, scenario.longest))
    others = [word for word in ASIDES if word in vocabulary]
    if others and rng.random() < 0.4:
        words[rng.integers(len(words))] = str(rng.choice(others))
    return tuple(words)


def _phrases(
    rng: np.random.Generator, scenario: Scenario, vocabulary: Collection[str], words: tuple[str, ...]
) -> tuple[tuple[str, ...], ...]:
    """``words`` as a turn: perhaps with a closing word, perhaps with a pause inside."""
    if rng.random() < scenario.closing and CLOSING in vocabulary:
        words = (*words, CLOSING)
    if rng.random() >= scenario.pause:
        return (words,)
    if len(words) < 2:
        words = (*_digits(rng, 1), *words)
    cut = int(rng.integers(1, len(words)))
    return words[:cut], words[cut:]


def _reaction_kind(rng: np.random.Generator, scenario: Scenario, vocabulary: Collection[str]) -> ReactionKind | None:
    chances: dict[ReactionKind, float] = {
        "interrupt": scenario.interrupt,
        "backchannel": scenario.backchannel if _can("backchannel", vocabulary) else 0.0,
        "hand": scenario.hand,
        "press": scenario.press,
    }
    drawn = rng.random()
    for kind, chance in chances.items():
        if drawn < chance:
            return kind
        drawn -= chance
    return None


def _reaction(rng: np.random.Generator, kind: ReactionKind, vocabulary: Collection[str], words: int) -> Reaction:
    """A reaction to an answer of so many words, early enough to meet it."""
    after = int(rng.uniform(160, 380 * words - 200))
    if kind == "interrupt":
        return Reaction(kind, after, (_digits(rng, 2),))
    if kind == "backchannel":
        return Reaction(kind, after, ((_pick(rng, BACKCHANNELS, vocabulary),),))
    return Reaction(kind, after)
