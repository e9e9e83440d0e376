"""From what the user shows and says to latents: causal encoders, one answer for each unit.

A lost unit is taken in as black or silence, so that the state stays in step with the stream. A late picture is
replaced by the last one standing still; late sound by silence. Where there is no picture of a user at all the latents
are empty, too: who cannot be seen is not a black picture. The state of our encoders follows from their last unit alone,
so catching up costs one unit, however many were missed; third-party ones remember further and catch up on a few.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.errors import CheckpointError
from ..runtime.node import Node, NodeContext, Outputs, Param, Unit
from ..runtime.packet import Array, Validity
from ..runtime.ports import Input, Output
from ..wan_core.checkpoint_header import preset_of
from ..wan_core.errors import ModelError
from .checkpoint import CHECKPOINT, COMPILE, check_checkpoint, known_preset
from .codecs import (
    AUDIO,
    AUDIO_CODEC,
    CODEC_FOLDER,
    HEIGHT,
    VIDEO,
    VIDEO_CODEC,
    WIDTH,
    pictures_shape,
    remembered_units,
)
from .on_device import given, torch_device
from .unit_tensor import UnitTensor, shape_words

if TYPE_CHECKING:
    from torch import Tensor

    from ..wan_core.media.mel import MelState
    from ..wan_core.streaming import State

PIXEL_SCALE = 1 / 127.5
BLACK, SILENCE = -1.0, 0.0

Units = Sequence[tuple[Unit, Mapping[str, Any]]]


@dataclass
class UnitEncoder:
    """Encoding of a unit; nodes have one, from ``open`` on.

    Attributes:
        ctx: of the node.
        inlet: what units are copied into.
        outlet: output port of the latents.
        blank: the number that black, or silence, is made of.
        tensor: a unit's payload as the model takes it.
        encode: (one unit [1, 1, ...], state) -> latents [1, 1, ...], the state after it.
        after: (one unit [1, 1, ...], state) -> the state after it.
        remembers: units that the state follows from.
    """

    ctx: NodeContext
    inlet: UnitTensor
    outlet: str
    blank: float
    tensor: Callable[[Unit, Array], Tensor]
    encode: Callable[[Tensor, Any], tuple[Tensor, Any]]
    after: Callable[[Tensor, Any], Any]
    remembers: int = 1

    def warm(self, state: State) -> None:
        """Encode two blank units: a fresh state and a later one may be compiled apart."""
        for _ in range(2):
            self._answer(state, self.inlet.fill(self.blank))

    def step(self, state: State, unit: Unit, array: Array | None) -> Outputs:
        """Latents of one unit; black or silent where there is no payload."""
        return {self.outlet: self._answer(state, self._taken_in(unit, array))}

    def absorb(self, state: State, units: Units) -> None:
        """Compute only the last units: they are all that the next one knows of the past."""
        for unit, inputs in units[-self.remembers :]:
            self._advance(state, self._taken_in(unit, inputs[self.inlet.port]))

    def gap(self, state: State, units: Sequence[Unit]) -> None:
        """Take the lost units as black, or silent."""
        for _ in units[-self.remembers :]:
            self._advance(state, self.inlet.fill(self.blank))

    def _taken_in(self, unit: Unit, array: Array | None) -> Tensor:
        return self.inlet.fill(self.blank) if array is None else self.tensor(unit, array)

    def _answer(self, state: State, x: Tensor) -> Array | Tensor:
        import torch

        with torch.inference_mode():
            latents, later = self.encode(x, state)
        if latents.device.type != "cpu":
            state.adopt(later)
            return given(latents[0, 0].clone())
        slot = self.ctx.empty(self.outlet, tuple(latents.shape[2:]), "float32")
        np.copyto(slot, latents[0, 0].numpy())
        state.adopt(later)
        return slot

    def _advance(self, state: State, x: Tensor) -> None:
        import torch

        with torch.inference_mode():
            state.adopt(self.after(x, state))


class EncodeVideo(Node):
    """Pictures of one unit -> one small latent picture."""

    frames = Input("video", "F H W 3", "uint8", late="hold", help="RGB pictures, of the preset's size")
    latents = Output("latent", "h w C", "float32", device="node", help="normalised, about N(0, 1)")

    checkpoint: str = CHECKPOINT
    codec: str = VIDEO_CODEC
    path: str = CODEC_FOLDER
    compile: str = COMPILE
    width: int = WIDTH
    height: int = HEIGHT

    eyes: bool = Param(
        True, help="see a user: with the checkpoint's eyes, where it has some; false: latents that decode.video undoes"
    )

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the codec's sizes."""
        video = VIDEO.config(params)
        if video is None:
            return cls.inputs, cls.outputs
        frames = replace(cls.frames, shape=shape_words(pictures_shape(video)))
        return {"frames": frames}, {"latents": replace(cls.latents, shape=shape_words(video.latent_shape))}

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """See that the codec can be used."""
        VIDEO.check(params)

    def open(self, ctx: NodeContext) -> None:
        """Load the codec."""
        codec, config = VIDEO.load(self.values, ctx)
        self._codec: Any = self._load_eyes(ctx) or codec
        self._inlet = UnitTensor("frames", pictures_shape(config), "uint8", torch_device(ctx.device))
        self._encoder = UnitEncoder(
            ctx,
            self._inlet,
            "latents",
            BLACK,
            self._scaled,
            self._codec.encode,
            self._codec.encoder_after,
            remembered_units(config),
        )

    def warm(self) -> None:
        """Encode two black units."""
        self._encoder.warm(self.new_state())

    def _load_eyes(self, ctx: NodeContext) -> Any:
        """The checkpoint's eyes; None where the codec sees.

        Raises:
            CheckpointError: they cannot be used.
        """
        if not self.eyes or self.codec != "own":
            return None
        from ..wan_core.media.eyes import load_eyes_of

        try:
            return load_eyes_of(self.checkpoint, torch_device(ctx.device))
        except ModelError as error:
            raise CheckpointError(str(error)) from error

    def new_state(self) -> Any:
        """Nothing seen yet."""
        return self._codec.new_encoder_state()

    def step(self, state: State, unit: Unit, frames: Array | None) -> Outputs:
        """The latent picture of one unit; where there are no pictures, of a user none, else of a black one."""
        if self.eyes and frames is None:
            self._encoder.absorb(state, [(unit, {"frames": None})])
            return {"latents": None}
        return self._encoder.step(state, unit, frames)

    def absorb(self, state: State, units: Units) -> None:
        """Take in the last units."""
        self._encoder.absorb(state, units)

    def gap(self, state: State, units: Sequence[Unit]) -> None:
        """The lost units were black."""
        self._encoder.gap(state, units)

    def _scaled(self, unit: Unit, frames: Array) -> Tensor:
        """Pictures in -1..1; those of a repeated unit stand still, for the unit again would be its motion again."""
        packet = unit.packets.get("frames")
        if packet is not None and packet.validity is Validity.REPEATED:
            frames = np.broadcast_to(frames[-1:], frames.shape)
        return self._inlet.copy(frames, PIXEL_SCALE, BLACK)


class EncodeAudio(Node):
    """Sound of one unit -> codec latents, 20 ms each."""

    samples = Input("audio", "S", "float32", rate_hz=16000, late="empty", help="mono samples in -1..1")
    latents = Output("latent", "N C", "float32", device="node", help="normalised, about N(0, 1)")

    checkpoint: str = CHECKPOINT
    codec: str = AUDIO_CODEC
    path: str = CODEC_FOLDER
    compile: str = COMPILE

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the codec's sizes."""
        audio = AUDIO.config(params)
        if audio is None:
            return cls.inputs, cls.outputs
        samples = replace(cls.samples, shape=str(audio.samples), rate_hz=audio.rate_hz)
        return {"samples": samples}, {"latents": replace(cls.latents, shape=shape_words(audio.latent_shape))}

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """See that the codec can be used."""
        AUDIO.check(params)

    def open(self, ctx: NodeContext) -> None:
        """Load the codec."""
        self._codec, config = AUDIO.load(self.values, ctx)
        inlet = UnitTensor("samples", (config.samples,), "float32", torch_device(ctx.device))
        self._encoder = UnitEncoder(
            ctx,
            inlet,
            "latents",
            SILENCE,
            lambda unit, samples: inlet.copy(samples),
            self._codec.encode,
            self._codec.encoder_after,
            remembered_units(config),
        )

    def warm(self) -> None:
        """Encode two silent units."""
        self._encoder.warm(self.new_state())

    def new_state(self) -> Any:
        """No sound yet."""
        return self._codec.new_encoder_state()

    def step(self, state: State, unit: Unit, samples: Array | None) -> Outputs:
        """Latents of one unit; of silence where there is no sound."""
        return self._encoder.step(state, unit, samples)

    def absorb(self, state: State, units: Units) -> None:
        """Take in the last units."""
        self._encoder.absorb(state, units)

    def gap(self, state: State, units: Sequence[Unit]) -> None:
        """The lost units were silent."""
        self._encoder.gap(state, units)


class EncodeMel(Node):
    """Sound of one unit -> log-mel frames, 10 ms each: the thinker's input. Has no weights."""

    samples = Input("audio", "S", "float32", rate_hz=16000, late="empty", help="mono samples in -1..1")
    mel = Output("latent", "N M", "float32", device="node", help="log magnitudes")

    checkpoint: str = CHECKPOINT

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the preset's sizes."""
        preset = known_preset(params)
        if preset is None:
            return cls.inputs, cls.outputs
        config = preset.mel
        samples = replace(cls.samples, shape=str(config.hops * config.hop), rate_hz=config.rate_hz)
        return {"samples": samples}, {"mel": replace(cls.mel, shape=shape_words(config.shape))}

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """See that the preset is known."""
        check_checkpoint(params)

    def open(self, ctx: NodeContext) -> None:
        """Make the filters."""
        from ..wan_core.media.mel import LogMel

        try:
            config = preset_of(self.checkpoint).mel
        except ModelError as error:
            raise CheckpointError(str(error)) from error
        self._front_end = front_end = LogMel(config).to(torch_device(ctx.device))
        inlet = UnitTensor("samples", (config.hops * config.hop,), "float32", torch_device(ctx.device))
        self._encoder = UnitEncoder(
            ctx, inlet, "mel", SILENCE, lambda unit, samples: inlet.copy(samples), front_end, front_end.advance
        )

    def warm(self) -> None:
        """Encode two silent units."""
        self._encoder.warm(self.new_state())

    def new_state(self) -> MelState:
        """No sound yet."""
        return self._front_end.new_state()

    def step(self, state: MelState, unit: Unit, samples: Array | None) -> Outputs:
        """Log-mel frames of one unit; of silence where there is no sound."""
        return self._encoder.step(state, unit, samples)

    def absorb(self, state: MelState, units: Units) -> None:
        """Take in the last units."""
        self._encoder.absorb(state, units)

    def gap(self, state: MelState, units: Sequence[Unit]) -> None:
        """The lost units were silent."""
        self._encoder.gap(state, units)
