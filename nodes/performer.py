"""The performer in a graph: it reads the context log and makes voice and face of it.

How it gets slices that it misses, and gives back those that the thinker lost: see `thinker` and `recovery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from ..runtime.node import NodeContext, Outputs, Param, Unit
from ..runtime.packet import Array
from ..runtime.ports import Input, Output
from ..wan_core.config import Preset
from .checkpoint import known_preset
from .context import RESYNC_UNITS, Context, context_input, packed, returned_output, unpacked
from .listening import BackboneNode
from .on_device import given
from .unit_tensor import shape_words

if TYPE_CHECKING:
    from ..wan_core.cache.kvslice import KVSlice
    from ..wan_core.cache.resync import ContextLog
    from ..wan_core.flow import Latents, Solver
    from ..wan_core.model import DuplexModel
    from ..wan_core.performer import PerformerState


STEPS = Param(2, min=1, max=64, help="solver steps, where the ladder says nothing else")
METHOD = Param("euler", choices=("euler", "heun"), help="the same; heun takes nearly twice as long")
AUDIO_TEMPERATURE = Param(1.0, min=0.0, max=2.0, help="the same: scale of the noise that a voice begins with")
"""What answers: see `flow.Solver`."""


@dataclass
class PerformerSession:
    """State of `PerformerNode`.

    Attributes:
        log: what the thinker may ask back.
    """

    model: PerformerState
    log: ContextLog


class PerformerNode(BackboneNode):
    """Reads the context, solves the flow for the agent's voice and face of the unit."""

    inputs: ClassVar[Mapping[str, Input]] = {
        "context": context_input(None, ""),
        "lost": Input(
            "tokens", "1", "int64", late="empty", optional=True, help="where in the log the thinker has lost a slice"
        ),
    }
    outputs: ClassVar[Mapping[str, Output]] = {
        "video": Output("latent", "h w C", "float32", device="node", help="clean latents, for decode.video"),
        "audio": Output("latent", "N C", "float32", device="node", help="clean latents, for decode.audio"),
        "need": Output("tokens", "1", "int64", help="where in the log it misses a slice; empty: it misses nothing"),
        "log": returned_output(None, 0, ""),
    }

    steps: int = STEPS
    solver: str = METHOD
    audio_temperature: float = AUDIO_TEMPERATURE
    resync_units: int = Param(RESYNC_UNITS, min=1, max=4096, help="slices that it can send back besides its newest")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the preset's sizes."""
        preset = known_preset(params)
        if preset is None:
            return cls.inputs, cls.outputs
        dtype = cls.precision(params, preset)
        most = params.get("resync_units", cls.params["resync_units"].default)
        return (
            {**cls.inputs, "context": context_input(preset, dtype)},
            {**response_outputs(cls.outputs, preset), "log": returned_output(preset, most, dtype)},
        )

    def open(self, ctx: NodeContext) -> None:
        """Load the weights; for a thinker that cannot ask, nothing of the log is kept."""
        super().open(ctx)
        self._keeps_log = "lost" in ctx.connected_inputs

    def setup(self, model: DuplexModel) -> None:
        """A performer."""
        from ..wan_core.performer import Performer

        self._model, self._performer = model, Performer(model)

    def warm(self) -> None:
        """Answer two slices of absence."""
        from ..wan_core.thinker import Thinker

        thinker = Thinker(self._model)
        state = self._performer.new_state()
        for slice_ in thinker.gap(thinker.new_state(), 2):
            self._performer.append(state, slice_)
            self._performer.generate(state, slice_.unit, solver_of(self))

    def new_state(self) -> PerformerSession:
        """An empty log."""
        from ..wan_core.cache.resync import ContextLog

        return PerformerSession(self._performer.new_state(), ContextLog(self._model.cache))

    def step(self, state: PerformerSession, unit: Unit, context: Context | None, lost: Array | None = None) -> Outputs:
        """One slice in, one response out; none where the thinker did not answer, or while slices are missing."""
        slices = self._slices(context)
        need = self._follow(state, slices, unit)
        sent = [] if lost is None else state.log.slices_up_to_newest(int(lost[0]), self.resync_units)
        outputs: Outputs = {"log": packed(sent)} if sent else {}
        if need is not None:
            return {**outputs, "need": np.array([need], np.int64)}
        if not slices or not slices[-1].answers:
            return outputs
        solver = solver_of(self, unit.level)
        latents = self._performer.generate(state.model, unit.index, solver, unit.seed, [unit.session])
        return {**outputs, **spoken(latents)}

    def absorb(self, state: PerformerSession, units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> None:
        """Every slice belongs to the history, answered or not."""
        for unit, inputs in units:
            self._follow(state, self._slices(inputs["context"]), unit)

    def gap(self, state: PerformerSession, units: Sequence[Unit]) -> None:
        """Nothing to do: the slice that comes next will not follow the last one."""

    def _follow(self, state: PerformerSession, slices: Sequence[KVSlice], unit: Unit) -> int | None:
        need = self._performer.follow(state.model, slices, unit.index)
        if self._keeps_log:
            state.log.keep(slices, state.model.last_digest)
        return need

    def _slices(self, context: Context | None) -> list[KVSlice]:
        return [] if context is None else unpacked(context, self.device)


class Solves(Protocol):
    """A node with parameters of a solver."""

    steps: int
    solver: str
    audio_temperature: float


def solver_of(node: Solves, level: Mapping[str, Any] = MappingProxyType({})) -> Solver:
    """Solver of a node on a level of its ladder: parameters are for what the level does not say."""
    from ..wan_core.flow import Solver

    return Solver(
        level.get("steps", node.steps),
        level.get("solver", node.solver),
        level.get("audio_temperature", node.audio_temperature),
    )


def spoken(latents: Latents) -> dict[str, Any]:
    """A response as it travels."""
    return {"video": given(latents.video[0]), "audio": given(latents.audio[0])}


def response_outputs(outputs: Mapping[str, Output], preset: Preset) -> dict[str, Output]:
    """The ports of a response, with the preset's sizes."""
    video = replace(outputs["video"], shape=shape_words(preset.video.latent_shape))
    audio = replace(outputs["audio"], shape=shape_words(preset.audio.latent_shape))
    return {**outputs, "video": video, "audio": audio}
