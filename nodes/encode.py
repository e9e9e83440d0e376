"""From what the user shows and says to latents: causal encoders, one answer for each unit.

A lost unit is taken in as black or silence, so that the state stays in step with the stream. A late picture is
replaced by the last one standing still; late sound by silence. The state of our encoders follows from their last unit
alone, so catching up costs one unit, however many were missed; public ones remember further and catch up on a few.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..runtime.errors import CheckpointError
from ..runtime.node import NodeContext, Outputs, Unit
from ..runtime.packet import Array, Validity
from ..runtime.ports import Input, Output
from ..wan_core.checkpoint_header import preset_of
from ..wan_core.errors import ModelError
from .codecs import CodecNode, Inlet, shape_words
from .public import FAR_UNITS, AudioCodecNode, VideoCodecNode

if TYPE_CHECKING:
    from torch import Tensor

    from ..wan_core.mel import MelState
    from ..wan_core.streaming import State

PIXEL_SCALE = 1 / 127.5
BLACK = -1.0

Encode = Callable[["Tensor", Any], tuple["Tensor", Any]]
"""(one unit [1, 1, ...], state) -> latents [1, 1, ...], the state after it."""
After = Callable[["Tensor", Any], Any]
"""(one unit [1, 1, ...], state) -> the state after it."""


class Encoder(CodecNode):
    """What the encoders have in common: one input, one output, and a state that the last units determine.

    Class attributes:
        blank: the number that black, or silence, is made of.
    """

    blank: ClassVar[float] = 0.0

    def begin(
        self, ctx: NodeContext, inlet: Inlet, outlet: str, encode: Encode, after: After, remembers: int = 1
    ) -> None:
        """Keep what `step`, `absorb` and `gap` run; subclasses call it at the end of ``open``.

        Args:
            remembers: units that the state follows from.
        """
        self._ctx, self._inlet, self._outlet = ctx, inlet, outlet
        self._encode, self._after, self._remembers = encode, after, remembers

    def warm(self) -> None:
        """Encode two blank units: a fresh state and a later one may be compiled apart."""
        state = self.new_state()
        for _ in range(2):
            self._answer(state, self._inlet.fill(self.blank))

    def step(self, state: State, unit: Unit, **inputs: Array | None) -> Outputs:
        """Latents of one unit; black or silent where there is no payload."""
        return {self._outlet: self._answer(state, self.tensor(unit, inputs[self._inlet.port]))}

    def absorb(self, state: State, units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> None:
        """Only the last units are computed: they are all that the next one knows of the past."""
        for unit, inputs in units[-self._remembers :]:
            self._advance(state, self.tensor(unit, inputs[self._inlet.port]))

    def gap(self, state: State, units: Sequence[Unit]) -> None:
        """The lost units were black, or silent."""
        for _ in units[-self._remembers :]:
            self._advance(state, self._inlet.fill(self.blank))

    def tensor(self, unit: Unit, array: Array | None) -> Tensor:
        """The input as the model takes it."""
        return self._inlet.fill(self.blank) if array is None else self._inlet.take(array)

    def _answer(self, state: State, x: Tensor) -> Array:
        import torch

        with torch.inference_mode():
            latents, later = self._encode(x, state)
        slot = self._ctx.empty(self._outlet, tuple(latents.shape[2:]), "float32")
        np.copyto(slot, latents[0, 0].cpu().numpy())
        state.adopt(later)
        return slot

    def _advance(self, state: State, x: Tensor) -> None:
        import torch

        with torch.inference_mode():
            state.adopt(self._after(x, state))


class EncodeVideo(VideoCodecNode, Encoder):
    """Pictures of one unit -> one small latent picture."""

    frames = Input("video", "F H W 3", "uint8", late="hold", help="RGB pictures, of the preset's size")
    latents = Output("latent", "h w C", "float32", help="normalised, about N(0, 1)")

    blank: ClassVar[float] = BLACK

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the codec's sizes."""
        video = cls.config(params)
        if video is None:
            return cls.inputs, cls.outputs
        frames = replace(cls.frames, shape=f"{video.frames} {video.height} {video.width} 3")
        return {"frames": frames}, {"latents": replace(cls.latents, shape=shape_words(video.latent_shape))}

    def open(self, ctx: NodeContext) -> None:
        """Load the codec."""
        codec, config = self.load_codec(ctx)
        self._codec = codec
        inlet = Inlet("frames", (config.frames, config.height, config.width, 3), "uint8", ctx.device)
        remembers = 1 if config.kind == "own" else FAR_UNITS
        self.begin(ctx, inlet, "latents", codec.encode, codec.encoder_after, remembers)

    def new_state(self) -> Any:
        """Nothing seen yet."""
        return self._codec.new_encoder_state()

    def tensor(self, unit: Unit, array: Array | None) -> Tensor:
        """Pictures in -1..1; those of a repeated unit stand still, for the unit again would be its motion again."""
        if array is None:
            return self._inlet.fill(self.blank)
        packet = unit.packets.get("frames")
        if packet is not None and packet.validity is Validity.REPEATED:
            array = np.broadcast_to(array[-1:], array.shape)
        return self._inlet.take(array, PIXEL_SCALE, BLACK)


class EncodeAudio(AudioCodecNode, Encoder):
    """Sound of one unit -> codec latents, 20 ms each."""

    samples = Input("audio", "S", "float32", rate_hz=16000, late="empty", help="mono samples in -1..1")
    latents = Output("latent", "N C", "float32", help="normalised, about N(0, 1)")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the codec's sizes."""
        audio = cls.config(params)
        if audio is None:
            return cls.inputs, cls.outputs
        samples = replace(cls.samples, shape=str(audio.samples), rate_hz=audio.rate_hz)
        return {"samples": samples}, {"latents": replace(cls.latents, shape=shape_words(audio.latent_shape))}

    def open(self, ctx: NodeContext) -> None:
        """Load the codec."""
        codec, config = self.load_codec(ctx)
        self._codec = codec
        inlet = Inlet("samples", (config.samples,), "float32", ctx.device)
        remembers = 1 if config.kind == "own" else FAR_UNITS
        self.begin(ctx, inlet, "latents", codec.encode, codec.encoder_after, remembers)

    def new_state(self) -> Any:
        """Nothing heard yet."""
        return self._codec.new_encoder_state()


class EncodeMel(Encoder):
    """Sound of one unit -> log-mel frames, 10 ms each: what the thinker hears. Has no weights."""

    samples = Input("audio", "S", "float32", rate_hz=16000, late="empty", help="mono samples in -1..1")
    mel = Output("latent", "N M", "float32", help="log magnitudes")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the preset's sizes."""
        preset = cls.preset(params)
        if preset is None:
            return cls.inputs, cls.outputs
        config = preset.mel
        samples = replace(cls.samples, shape=str(config.hops * config.hop), rate_hz=config.rate_hz)
        return {"samples": samples}, {"mel": replace(cls.mel, shape=shape_words(config.shape))}

    def open(self, ctx: NodeContext) -> None:
        """Make the filters."""
        from ..wan_core.mel import LogMel

        try:
            config = preset_of(self.checkpoint).mel
        except ModelError as error:
            raise CheckpointError(str(error)) from error
        self._front_end = front_end = LogMel(config).to(ctx.device)
        inlet = Inlet("samples", (config.hops * config.hop,), "float32", ctx.device)
        self.begin(ctx, inlet, "mel", front_end, front_end.advance)

    def new_state(self) -> MelState:
        """Nothing heard yet."""
        return self._front_end.new_state()
