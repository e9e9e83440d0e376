"""Thinker and performer in one node, on one cache: the reference that the two nodes are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..runtime.node import Outputs, Unit
from ..runtime.ports import Input, Output
from .checkpoint import known_preset
from .listening import AUDIO, EVENT, PLAYED, TEXT, VIDEO, WORD, Listener, ListeningNode, user_inputs
from .performer import AUDIO_TEMPERATURE, METHOD, STEPS, PerformerNode, response_outputs, solver_of, spoken

if TYPE_CHECKING:
    from ..wan_core.model import DuplexModel
    from ..wan_core.reference import ReferenceState


@dataclass
class ReferenceSession:
    """State of `ReferenceNode`."""

    model: ReferenceState
    listener: Listener


class ReferenceNode(ListeningNode):
    """Thinker and performer in one node, on one cache: the reference. Its own response is its history."""

    inputs: ClassVar[Mapping[str, Input]] = {"video": VIDEO, "audio": AUDIO, "text": TEXT, "played": PLAYED}
    outputs: ClassVar[Mapping[str, Output]] = {
        "video": PerformerNode.outputs["video"], "audio": PerformerNode.outputs["audio"], "text": WORD, "event": EVENT
    }  # fmt: skip

    steps: int = STEPS
    solver: str = METHOD
    audio_temperature: float = AUDIO_TEMPERATURE

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the preset's sizes."""
        preset = known_preset(params)
        if preset is None:
            return cls.inputs, cls.outputs
        return user_inputs(cls.inputs, preset), response_outputs(cls.outputs, preset)

    def setup(self, model: DuplexModel) -> None:
        """Both halves."""
        from ..wan_core.reference import Reference

        self._reference = Reference(model)

    def warm(self) -> None:
        """Answer two units of absence."""
        from ..wan_core.exchange import UserUnit

        state = self._reference.new_state()
        for _ in range(2):
            self._reference.step(state, UserUnit(), solver_of(self))

    def new_state(self) -> ReferenceSession:
        """Nothing seen yet, but told who to be."""
        session = ReferenceSession(self._reference.new_state(), self.new_listener())
        self._set_persona(session)
        return session

    def _set_persona(self, state: ReferenceSession) -> None:
        """Tell the model who the agent is, unless it knows."""
        if not state.listener.is_persona_set:
            self._reference.set_prefix(state.model, self.prefix(state.listener.persona))
            state.listener.is_persona_set = True

    def step(self, state: ReferenceSession, unit: Unit, **inputs: Any) -> Outputs:
        """One unit in, its whole answer out."""
        self._set_persona(state)
        user = self.user_unit(state.listener, unit, inputs)
        solver = solver_of(self, unit.level)
        thought, latents = self._reference.step(state.model, user, solver, seed=unit.seed, sessions=[unit.session])
        state.listener.responses.add(unit.index)
        return {**spoken(latents), **self.answer_outputs(state.listener, thought)}

    def absorb(self, state: ReferenceSession, units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> None:
        """Several units in one pass, unanswered."""
        self._set_persona(state)
        self._reference.absorb(state.model, [self.user_unit(state.listener, unit, inputs) for unit, inputs in units])

    def gap(self, state: ReferenceSession, units: Sequence[Unit]) -> None:
        """Lost units: everything in them is absent."""
        self._set_persona(state)
        self._reference.gap(state.model, len(units))
