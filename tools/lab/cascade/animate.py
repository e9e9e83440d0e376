"""A face to a voice: the mouth follows the loudness, the rest is habit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....runtime.node import Node, Outputs, Param, Unit
from ....runtime.ports import Input, Output
from ..world.face import render
from ..world.motion import Mover
from ..world.persona import PERSONAS
from ..world.signal import FRAMES, RATE, UNIT, Sound

BLINK_UNITS = 22
"""A blink about every so many units."""


class Animate(Node):
    """Draw the persona, speaking. It does not listen with its face: it has nothing but the voice to go by."""

    samples = Input("audio", str(UNIT), "float32", rate_hz=RATE, late="empty", help="the agent's voice")
    frames = Output("video", f"{FRAMES} H W 3", "uint8", help="RGB pictures")

    persona: str = Param("iris", choices=tuple(PERSONAS), help="whose face")
    size: int = Param(64, min=16, max=1024, help="pixels, each side")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the picture's size in numbers."""
        size = params.get("size", 64)
        frames = Output("video", f"{FRAMES} {size} {size} 3", "uint8", help=cls.outputs["frames"].help)
        return cls.inputs, {"frames": frames}

    def new_state(self) -> Mover:
        """A face at rest."""
        mover = Mover(np.random.default_rng(0))
        mover.aim(smile=0.3)
        return mover

    def step(self, state: Mover, unit: Unit, samples: Sound | None = None) -> Outputs:
        """The unit's pictures [4, S, S, 3]."""
        if unit.rng().random() < 1 / BLINK_UNITS:
            state.blink()
        voice = np.zeros(UNIT, np.float32) if samples is None else samples
        return {"frames": render(state.take(voice), PERSONAS[self.persona].looks, self.size)}

    def gap(self, state: Mover, units: Sequence[Unit]) -> None:
        """The face goes on, silent."""
        for _ in units:
            state.take(np.zeros(UNIT, np.float32))
