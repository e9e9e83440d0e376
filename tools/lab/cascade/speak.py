"""Saying a reply in the persona's voice, and breaking off when the user talks into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ....runtime.node import Node, NodeContext, Outputs, Param, Unit
from ....runtime.ports import Input, Output
from ....wan_core.vocabulary import STOP
from ..world.persona import PERSONAS
from ..world.signal import MS, RATE, UNIT, Track
from ..world.tokens import VOCABULARY
from ..world.voices import Bank
from .detect import ENDED, TALK

GAP = 40 * MS
"""Between two words."""
STRENGTH = np.float32(0.9)


@dataclass
class Speech:
    """Sound that is being played.

    Attributes:
        track: sound to come.
        words: those whose sound has not begun, with the sample at which it will.
        until: sample at which the last one ends.
    """

    track: Track = field(default_factory=Track)
    words: list[tuple[int, str]] = field(default_factory=list)
    until: int = 0


class Speak(Node):
    """Say a reply, beginning where the turn was found to be over; stop when the user has talked for ``barge_in_ms``."""

    reply = Input("text", late="empty", help="words to say")
    voice = Input("tokens", "3", "int64", help="as cascade's Detect gives it")
    samples = Output("audio", str(UNIT), "float32", rate_hz=RATE, help="mono samples in -1..1")
    text = Output("text", help="the word whose sound begins in this unit, or a dash where it is broken off")

    persona: str = Param("iris", choices=tuple(PERSONAS), help="whose voice")
    barge_in_ms: int = Param(240, min=0, max=10_000, help="talk of the user that ends the speech; 0: none does")

    def open(self, ctx: NodeContext) -> None:
        """Make the voice.

        Raises:
            MissingExtra: the package that carries espeak-ng is not installed.
        """
        self._takes = Bank().takes(PERSONAS[self.persona].quick)

    def new_state(self) -> Speech:
        """Silence."""
        return Speech()

    def step(
        self, state: Speech, unit: Unit, reply: str | None = None, voice: NDArray[np.int64] | None = None
    ) -> Outputs:
        """The unit's sound [2560] and its word."""
        assert voice is not None
        start, text = state.track.unit * UNIT, None
        talked = int(voice[TALK]) - self.barge_in_ms
        if self.barge_in_ms and talked >= 0 and state.until > start:
            self._stop(state, max(start, start + UNIT - talked * MS))
            text = VOCABULARY.word_of(STOP)
        if reply is not None:
            self._begin(state, reply.split(), start + max(0, int(voice[ENDED])))
        if text is None and state.words and state.words[0][0] < start + UNIT:
            text = state.words.pop(0)[1]
        return {"samples": state.track.take(), "text": text}

    def gap(self, state: Speech, units: Sequence[Unit]) -> None:
        """Time goes on, and what would have been said is not."""
        for _ in units:
            state.track.take()

    def _begin(self, state: Speech, words: Sequence[str], at: int) -> None:
        """Say these words from sample ``at`` on, instead of what is being said."""
        self._stop(state, at)
        for word in words:
            sound = self._takes[word][0] * STRENGTH
            state.track.add(sound, at)
            state.words.append((at, word))
            state.until = at + len(sound)
            at = state.until + GAP

    @staticmethod
    def _stop(state: Speech, at: int) -> None:
        state.track.cut(at)
        state.words.clear()
        state.until = min(state.until, at)
