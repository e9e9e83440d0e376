"""A thinker that loses everything before some units; loaded by path in every process of a run."""

from __future__ import annotations

from wangraph import Param
from wangraph.nodes.thinker import ThinkerNode


class Restarting(ThinkerNode):
    """Begins with a fresh state before these units, as a restarted process would."""

    restarts: list = Param([])

    def step(self, state, unit, **inputs):
        if unit.index in self.restarts:
            fresh = self.new_state()
            state.model, state.log, state.need = fresh.model, fresh.log, fresh.need
        return super().step(state, unit, **inputs)
