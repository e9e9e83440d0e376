"""An encoder that gives numbers that are none; loaded by path in every process of a run."""

from __future__ import annotations

import numpy as np

from wangraph import Param
from wangraph.nodes.encode import EncodeVideo


class Spoilt(EncodeVideo):
    """Infinite latents at unit ``at``."""

    at: int = Param(0)

    def step(self, state, unit, **inputs):
        outputs = dict(super().step(state, unit, **inputs))
        if unit.index == self.at:
            outputs["latents"] = np.full_like(outputs["latents"], np.inf)
        return outputs
