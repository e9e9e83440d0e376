"""The words of a turn, once it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ....runtime.node import Node, NodeContext, Outputs, Unit
from ....runtime.ports import Input, Output
from ..world.signal import MS, RATE, UNIT, Sound
from ..world.voices import Bank
from .detect import ENDED, TURN
from .words import WordModel

BEFORE = 250 * MS
"""Kept of what came before a turn was noticed: the beginning of its first word."""
LONGEST = 20 * RATE
"""Of a turn only so many samples are kept, the last ones."""


@dataclass
class Turn:
    """Sound of the turn so far."""

    sound: Sound = field(default_factory=lambda: np.zeros(0, np.float32))


class Listen(Node):
    """Hear a turn's words: a linear model of sound and the best chain of words. Learns voices when first opened."""

    samples = Input("audio", str(UNIT), "float32", rate_hz=RATE)
    voice = Input("tokens", "3", "int64", help="as cascade's Detect gives it")
    text = Output("text", help="the words of the turn that is over with this unit")

    def open(self, ctx: NodeContext) -> None:
        """Read the model, or make it: half a minute, once.

        Raises:
            MissingExtra: the package that carries espeak-ng is not installed.
        """
        self._model = WordModel.of(Bank())

    def warm(self) -> None:
        """Hear two seconds of silence."""
        self._model.words(np.zeros(2 * RATE, np.float32))

    def new_state(self) -> Turn:
        """Nothing heard."""
        return Turn()

    def step(
        self, state: Turn, unit: Unit, samples: Sound | None = None, voice: NDArray[np.int64] | None = None
    ) -> Outputs:
        """The words of a turn that ends in this unit; else nothing."""
        assert samples is not None and voice is not None
        sound, words = np.concatenate([state.sound, samples]), list[str]()
        if voice[ENDED] >= 0:
            end = len(sound) - UNIT + int(voice[ENDED])
            words, sound = self._model.words(sound[:end]), sound[end:]
        state.sound = sound[-LONGEST:] if voice[TURN] else sound[-BEFORE:]
        return {"text": " ".join(words) or None}

    def gap(self, state: Turn, units: Sequence[Unit]) -> None:
        """Lost units are not in the turn."""
