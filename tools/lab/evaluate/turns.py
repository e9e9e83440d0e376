"""Turns of a user in a dialogue, and the answers that are due: from the cues alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..world.cues import Cue
from ..world.oracle import REACTION_MS
from ..world.signal import MS, UNIT
from ..world.words import answer
from .talk import Talk

Kind = Literal["asked", "typed", "card"]

WORD_MS = 500
"""What a word of an answer may take."""


@dataclass(frozen=True)
class Turn:
    """One thing to be answered.

    Attributes:
        kind: asked aloud, typed, or a card that was shown.
        start: sample at which it began.
        end: sample at which it was complete.
        until: sample up to which the agent had the floor: the user's next doing, or the end of the dialogue.
        words: what should be answered.
        pauses: samples (from, to) inside it: the beginning of a silence, and the end of the word after it.
        is_whole: whether the answer was left alone: nobody spoke, or raised a hand, before the next turn.
    """

    kind: Kind
    start: int
    end: int
    until: int
    words: tuple[str, ...]
    pauses: tuple[tuple[int, int], ...]
    is_whole: bool

    @property
    def ideal_onset(self) -> int:
        """Sample of the first unit that may answer; the ideal agent begins with it."""
        return -(-(self.end + REACTION_MS * MS) // UNIT) * UNIT


def turns(talk: Talk) -> list[Turn]:
    """Every turn of the user that should be answered, in order; a last one that came too late for that is left out.

    However soon the user goes on: who gives a short answer to a long question has failed, and is not spared.
    """
    cues, found = talk.cues, list[Turn]()
    card: str | None = None
    start, words, pauses = 0, list[str](), list[tuple[int, int]]()
    for place, cue in enumerate(cues):
        if cue.kind == "card":
            card = cue.words[0]
        elif cue.kind == "card_away":
            card = None
        if cue.kind == "speech" and cue.manner in ("turn", "interruption"):
            start, words, pauses = cue.at, [], []
        elif cue.kind == "word":
            words.append(cue.words[0])
        elif cue.kind == "pause":
            pauses.append((cue.at, _next_word(cues, place, talk.duration)))
        kind = _kind(cue)
        if kind is None:
            continue
        turn_words = {"typed": cue.words, "asked": tuple(words), "card": ()}[kind]
        right = cue.words if kind == "card" else _answers(turn_words, card, talk)
        following = [other for other in cues[place + 1 :] if other.kind in _DOINGS]
        until = following[0].at if following else talk.duration
        is_left = not following or (following[0].kind not in ("hand", "pressed") and not _interrupts(following[0]))
        if right and (following or until - cue.at >= len(right) * WORD_MS * MS):
            found.append(Turn(kind, start if kind == "asked" else cue.at, cue.at, until, right, tuple(pauses), is_left))
        pauses = []
    return found


_DOINGS = ("speech", "typed", "pressed", "card", "hand")


def _kind(cue: Cue) -> Kind | None:
    if cue.kind == "end":
        return "asked"
    return "typed" if cue.kind == "typed" else "card" if cue.kind == "card" else None


def _answers(turn_words: Sequence[str], card: str | None, talk: Talk) -> tuple[str, ...]:
    rule = talk.spec.persona.rule
    return tuple(answer(word, card, rule) for word in turn_words if word != "please")


def _interrupts(cue: Cue) -> bool:
    return cue.kind == "speech" and cue.manner in ("interruption", "backchannel")


def _next_word(cues: Sequence[Cue], place: int, end: int) -> int:
    """Instant at which the user's next word after the pause at ``place`` is complete: before it an answer is early."""
    following = next((cue for cue in cues[place + 1 :] if cue.kind == "word"), None)
    return end if following is None else following.at
