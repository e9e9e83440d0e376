"""The thinker in a graph, and what it shares with the performer: the context log between them.

The thinker hears, sees and reads the user and writes one slice of keys and values per unit into the context log; the
performer reads the log and makes voice and face of it; they come back to the thinker as ``response_*`` one unit later.

A log has no holes: units that the thinker absorbs, or that are lost, give a slice as well, and no answer. A performer
that misses slices all the same, or holds others, says which it ``need``s and answers again when it has them. A thinker
that has lost its past gets it back the same way: see `recovery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..runtime.node import NodeContext, Outputs, Param, Unit
from ..runtime.ports import Input, Output
from .checkpoint import known_preset
from .context import RESYNC_UNITS, Context, context_output, packed, returned_input, unpacked
from .listening import AUDIO, EVENT, PLAYED, TEXT, VIDEO, WORD, Listener, ListeningNode, sized, user_inputs
from .recovery import PATIENCE_UNITS, catch_up, record_lost

if TYPE_CHECKING:
    from ..wan_core.cache.kvslice import KVSlice
    from ..wan_core.cache.resync import ContextLog
    from ..wan_core.exchange import ResponseUnit
    from ..wan_core.model import DuplexModel
    from ..wan_core.thinker import ThinkerState


@dataclass
class ThinkerSession:
    """State of `ThinkerNode`.

    Attributes:
        log: what was sent, and what the performer has not been sent yet.
        need: the place in the log that the next packet begins at, besides the slice of its own unit.
        attempts: times that it has asked for its past since something came, this one included; 0: it need not.
    """

    model: ThinkerState
    log: ContextLog
    listener: Listener
    need: int | None = None
    attempts: int = 0


class ThinkerNode(ListeningNode):
    """Takes the user and the agent's last response in, decides event and word, and adds a slice to the context."""

    inputs: ClassVar[Mapping[str, Input]] = {
        "video": VIDEO,
        "audio": AUDIO,
        "text": TEXT,
        "response_video": Input(
            "latent", "h w C", "float32", late="empty", device="node", help="the agent's picture of unit k - 1"
        ),
        "response_audio": Input(
            "latent", "N C", "float32", late="empty", device="node", help="the agent's voice of unit k - 1"
        ),
        "played": PLAYED,
        "need": Input(
            "tokens", "1", "int64", late="empty", optional=True, help="where in the log the performer misses a slice"
        ),
        "log": returned_input(None, ""),
    }
    outputs: ClassVar[Mapping[str, Output]] = {
        "context": context_output(None, 0, ""),
        "lost": Output("tokens", "1", "int64", help="where in the log it has lost a slice; empty: it has lost nothing"),
        "text": WORD,
        "event": EVENT,
    }

    resync_units: int = Param(RESYNC_UNITS, min=1, max=4096, help="slices that a packet can carry besides its own")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the preset's sizes."""
        preset = known_preset(params)
        if preset is None:
            return cls.inputs, cls.outputs
        inputs = {
            **user_inputs(cls.inputs, preset),
            "response_video": sized(cls.inputs["response_video"], preset.video.latent_shape),
            "response_audio": sized(cls.inputs["response_audio"], preset.audio.latent_shape),
            "log": returned_input(preset, cls.precision(params, preset)),
        }
        resync_units = params.get("resync_units", cls.params["resync_units"].default)
        return inputs, {**cls.outputs, "context": context_output(preset, resync_units, cls.precision(params, preset))}

    def open(self, ctx: NodeContext) -> None:
        """Load the weights; without a performer that asks, nothing of the log is kept."""
        super().open(ctx)
        self._can_recover = "log" in ctx.connected_inputs
        self._keeps_log = self._can_recover or "need" in ctx.connected_inputs

    def setup(self, model: DuplexModel) -> None:
        """A thinker."""
        from ..wan_core.thinker import Thinker

        self._model, self._thinker = model, Thinker(model)

    def warm(self) -> None:
        """Think two units of absence, then absorb two."""
        from ..wan_core.exchange import UserUnit

        state = self._thinker.new_state()
        for _ in range(2):
            self._thinker.step(state, UserUnit())
        self._thinker.gap(state, 2)

    def new_state(self, first_unit: int = 0) -> ThinkerSession:
        """Nothing seen yet, but told who to be."""
        return self._begin(self.new_listener(), first_unit)

    def _begin(self, listener: Listener, first_unit: int) -> ThinkerSession:
        from ..wan_core.cache.resync import ContextLog

        log = ContextLog(self._model.cache, None if self._keeps_log else 0)
        session = ThinkerSession(self._thinker.new_state(1, first_unit), log, listener)
        listener.is_persona_set = False
        self._set_persona(session)
        return session

    def _set_persona(self, state: ThinkerSession) -> None:
        """Tell the model who the agent is, unless it knows, and let the next packet tell the performer."""
        if state.listener.is_persona_set:
            return
        first = state.model.place
        for slice_ in self._thinker.set_prefix(state.model, self.prefix(state.listener.persona)):
            state.log.append(slice_)
        state.need = first if state.need is None else min(first, state.need)
        state.listener.is_persona_set = True

    def step(self, state: ThinkerSession, unit: Unit, **inputs: Any) -> Outputs:
        """One unit: commit the response, take the user in, decide; or ask for a past that it has lost."""
        if self._is_lost(state, unit):
            need = self._recover(state, unit, inputs.get("log"))
            if need is not None:
                state.listener.typed.type(inputs.get("text") or "")
                return {"lost": np.array([need], np.int64)}
        self._set_persona(state)
        user = self.user_unit(state.listener, unit, inputs)
        response = self._response(state.listener, unit, inputs)
        thought = self._thinker.step(state.model, user, response, seed=unit.seed, sessions=[unit.session])
        return {"context": self._packet(state, thought.slice, inputs), **self.answer_outputs(state.listener, thought)}

    def _is_lost(self, state: ThinkerSession, unit: Unit) -> bool:
        return self._can_recover and state.model.unit < unit.index

    def _recover(self, state: ThinkerSession, unit: Unit, log: Context | None) -> int | None:
        """Take up the past that came; the place in the log of what is still needed, None when it can go on."""
        # what comes unasked was sent to the thinker before this one, and may be older than what was said since
        slices = [] if log is None or not state.attempts else unpacked(log, self.device)
        need = catch_up(self._thinker, state.model, state.log, slices)
        state.attempts = 1 if slices else state.attempts + 1
        if state.attempts > PATIENCE_UNITS:
            anew = self._begin(state.listener, unit.index)
            state.model, state.log, state.need, state.attempts = anew.model, anew.log, anew.need, 0
            return None
        if need is None:
            # the performer too has only a part of a persona that was being told
            state.listener.is_persona_set &= not state.model.cache.is_coming
            state.need, state.attempts = record_lost(self._thinker, state.model, state.log, unit.index), 0
        return need

    def absorb(self, state: ThinkerSession, units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> list[Outputs]:
        """Several units in one pass: their slices, no decisions; none of them while the past is lost."""
        if self._is_lost(state, units[0][0]):
            for _, inputs in units:
                state.listener.typed.type(inputs.get("text") or "")
            return [{} for _ in units]
        self._set_persona(state)
        users = [self.user_unit(state.listener, unit, inputs) for unit, inputs in units]
        responses = [self._response(state.listener, unit, inputs) for unit, inputs in units]
        slices = self._thinker.absorb(state.model, users, responses)
        return [
            {"context": self._packet(state, slice_, inputs)} for slice_, (_, inputs) in zip(slices, units, strict=True)
        ]

    def gap(self, state: ThinkerSession, units: Sequence[Unit]) -> list[Outputs]:
        """Lost units: everything in them is absent."""
        if self._is_lost(state, units[0]):
            return [{} for _ in units]
        self._set_persona(state)
        return [{"context": self._packet(state, s, {})} for s in self._thinker.gap(state.model, len(units))]

    def _packet(self, state: ThinkerSession, slice_: KVSlice, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The slice of a unit, behind those that the performer needs."""
        wanted = inputs.get("need")
        needs = [need for need in (state.need, None if wanted is None else int(wanted[0])) if need is not None]
        state.need = None
        older = state.log.slices_since(min(needs), self.resync_units) if needs else []
        state.log.append(slice_)
        return packed([*older, slice_])

    def _response(self, listener: Listener, unit: Unit, inputs: Mapping[str, Any]) -> ResponseUnit:
        from ..wan_core.exchange import ResponseUnit

        audio, video = inputs.get("response_audio"), inputs.get("response_video")
        if audio is not None or video is not None:
            listener.responses.add(unit.index - 1)
        return ResponseUnit(self.tensor(audio), self.tensor(video))
