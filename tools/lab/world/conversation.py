"""Dialogues that somebody held with users of the world: what both sides said and showed, unit by unit."""

# U units, H W size in pixels

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from string import punctuation
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ....runtime.packet import Array
from ....wan_core.vocabulary import PAD, STOP, UNKNOWN
from .cues import Cue, UserUnit
from .node import UserConfig
from .signal import FRAMES, UNIT, Sound
from .tokens import VOCABULARY
from .user import World
from .voices import Bank

Arrival: TypeAlias = Callable[[int], World]
"""Makes a user, before the first unit, given the side of the pictures in pixels (0: none are drawn)."""


@dataclass(frozen=True)
class Conversation:
    """One dialogue.

    Attributes:
        user: the user's units, as the agent got them, with their cues; without pictures where it takes none.
        samples: [U, 2560] float32, the agent's voice.
        frames: [U, 4, H, W, 3] uint8, the agent's pictures; None: it shows none.
        text: [U] tokens of the world's vocabulary, the agent's words; None: it writes none.
        delay: units by which the user heard the agent later than in the unit after it spoke.
        waited_ms: [U] how long each unit's answer took on the clock; None: not measured.
        unknown: what the agent wrote that is no word of the world, each once; in ``text`` it is UNKNOWN.
    """

    user: tuple[UserUnit, ...]
    samples: Sound
    frames: NDArray[np.uint8] | None = None
    text: NDArray[np.int64] | None = None
    delay: int = 0
    waited_ms: NDArray[np.float64] | None = None
    unknown: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.user)

    @property
    def cues(self) -> tuple[Cue, ...]:
        """The user's, in order of time."""
        return tuple(cue for unit in self.user for cue in unit.cues)


def arrivals(configs: Iterable[UserConfig]) -> list[Arrival]:
    """Makers of each user; voices are read once for users that share them."""
    banks: dict[tuple[object, ...], Bank] = {}

    def arrival(config: UserConfig) -> Arrival:
        key = (config.voices, config.hold_out)
        if key not in banks:
            banks[key] = config.bank()
        return lambda size: replace(config, size=size).world(banks[key])

    return [arrival(config) for config in configs]


def written(texts: Iterable[str | None]) -> NDArray[np.int64]:
    """Text of an agent as one token a unit [U]: further words of a unit come in those that follow."""
    waiting: list[int] = []
    tokens = []
    for text in texts:
        for piece in (text or "").split():
            waiting += _CONTROL.get(piece) or VOCABULARY.tokens_of(piece)
        tokens.append(waiting.pop(0) if waiting else PAD)
    return np.asarray(tokens, np.int64)


_CONTROL = {VOCABULARY.word_of(token): [token] for token in (STOP, UNKNOWN)}


def unknown_in(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Words that `written` makes UNKNOWN of, in order, each once."""
    words = dict.fromkeys(piece.strip(punctuation).lower() for text in texts for piece in (text or "").split())
    return tuple(word for word in words if UNKNOWN in VOCABULARY.tokens_of(word))


def warning_of(where: str, unknown: Sequence[str]) -> str:
    """Warning about an agent that writes such words."""
    more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
    return (
        f"{where}: found {', '.join(map(repr, unknown[:_NAMED]))}{more} in the agent's text (expected words of "
        "the world, see docs/benchmark.md), write those: each other is read as <unknown> and counts as a wrong word"
    )


_NAMED = 8
"""So many words are named."""


def warn_of_unknown(where: str, talks: Iterable[Conversation]) -> None:
    """Say once, of all these dialogues, which words the world does not know."""
    unknown = list(dict.fromkeys(word for talk in talks for word in talk.unknown))
    if unknown:
        logging.getLogger("wangraph.world").warning(warning_of(where, unknown))


def shown(pictures: Sequence[Array | None]) -> NDArray[np.uint8] | None:
    """Pictures of all units [U, 4, H, W, 3]; a unit without shows the last one again. None where there are none."""
    first = next((p for p in pictures if p is not None), None)
    if first is None:
        return None
    whole = np.zeros((len(pictures), FRAMES, *first.shape[1:]), np.uint8)
    for unit, picture in enumerate(pictures):
        if picture is not None:
            whole[unit] = picture
        elif unit:
            whole[unit] = whole[unit - 1, -1]
    return whole


def spoken(sounds: Sequence[Array | None]) -> Sound:
    """Sounds of all units [U, 2560]; a unit without is silent."""
    return np.stack([np.zeros(UNIT, np.float32) if s is None else np.asarray(s, np.float32) for s in sounds])
