"""A thinker whose packets have accidents on their way; loaded by path in every process of a run."""

from __future__ import annotations

import numpy as np

from wangraph import Param
from wangraph.nodes.thinker import ThinkerNode


class Lossy(ThinkerNode):
    """Sends nothing, the packet of the unit before, or a damaged one, at these units."""

    dropped: list = Param([])
    repeated: list = Param([])
    damaged: list = Param([])

    def step(self, state, unit, **inputs):
        outputs = dict(super().step(state, unit, **inputs))
        sent, self._before = outputs["context"], outputs["context"] if unit.index == 0 else self._before
        if unit.index in self.dropped:
            del outputs["context"]
        elif unit.index in self.repeated:
            outputs["context"] = self._before
        elif unit.index in self.damaged:
            keys = np.array(sent["keys"])
            keys.reshape(-1)[3] += 1
            outputs["context"] = {**sent, "keys": keys}
        self._before = sent
        return outputs
