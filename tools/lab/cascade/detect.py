"""Detection of the user's voice, from loudness alone, and of a turn's end: after a silence of so many milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....runtime.node import Node, Outputs, Param, Unit
from ....runtime.ports import Input, Output
from ..world.signal import MS, RATE, UNIT, Sound, loudness

FRAME_MS = 10
TALK, TURN, ENDED = 0, 1, 2
"""What stands where in ``voice``."""

_QUIET = 0.006  # root mean square below which nothing is a voice, however still the room
_OVER_FLOOR = 3.0  # a voice is so many times as loud as the room
_FALL, _RISE = 0.3, 1.003  # how the room's loudness is followed, per frame: down quickly, up slowly
_LOUDEST_FLOOR = 0.02
_BEGIN_MS = 50  # a voice for so long begins a turn
_PAUSE_MS = 160  # a silence for so long, and the user no longer talks, although the turn may go on


@dataclass
class Listening:
    """Knowledge of the user's voice up to a frame.

    Attributes:
        floor: loudness of the room.
        talk_ms: from the beginning of the talk to when it was last heard.
        silent_ms: since it was last heard.
        is_turn: whether a turn has begun and is not over.
    """

    floor: float = 0.004
    talk_ms: int = 0
    silent_ms: int = 0
    is_turn: bool = False

    def update(self, level: float, timeout_ms: int) -> bool:
        """The next frame; True where the turn is over with it."""
        voiced = level > max(_QUIET, _OVER_FLOOR * self.floor)
        follows = self.floor + _FALL * (level - self.floor) if level < self.floor else self.floor * _RISE
        self.floor = min(follows, _LOUDEST_FLOOR)
        if voiced:
            self.talk_ms += FRAME_MS + (self.silent_ms if self.talk_ms else 0)
            self.silent_ms = 0
            self.is_turn |= self.talk_ms >= _BEGIN_MS
            return False
        self.silent_ms += FRAME_MS
        if self.silent_ms >= _PAUSE_MS:
            self.talk_ms = 0
        if self.is_turn and self.silent_ms >= timeout_ms:
            self.is_turn, self.talk_ms = False, 0
            return True
        return False


class Detect(Node):
    """Voice activity: does the user talk, for how long, and is the turn over.

    The turn is over when nothing was heard for ``timeout_ms``: a short time answers into pauses, a long one late.
    """

    samples = Input("audio", str(UNIT), "float32", rate_hz=RATE)
    voice = Output(
        "tokens", "3", "int64",
        help="ms of talk so far (0: silent), whether a turn goes on, sample of the unit at which one ended (-1: none)",
    )  # fmt: skip

    timeout_ms: int = Param(640, min=FRAME_MS, max=10_000, help="silence that ends a turn")

    def new_state(self) -> Listening:
        """Silence."""
        return Listening()

    def step(self, state: Listening, unit: Unit, samples: Sound | None = None) -> Outputs:
        """Give what is known at the end of the unit: ``voice`` [3]."""
        assert samples is not None
        ended = -1
        for number, level in enumerate(loudness(samples, FRAME_MS * MS)):
            if state.update(float(level), self.timeout_ms):
                ended = (number + 1) * FRAME_MS * MS
        voice: NDArray[np.int64] = np.array([state.talk_ms, state.is_turn, ended], np.int64)
        return {"voice": voice}

    def gap(self, state: Listening, units: Sequence[Unit]) -> None:
        """Lost units change nothing."""
