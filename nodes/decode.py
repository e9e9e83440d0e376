"""From the agent's latents to what is seen and heard: causal decoders, one answer for each unit, at once.

A lost unit is answered by nothing (playout conceals it) and the decoder goes on from the last one it had: the next
picture follows that picture. Only the sound still ringing from it, 20 ms, is dropped: it belonged to the moment lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.node import Node, NodeContext, Outputs, Unit
from ..runtime.packet import Array
from ..runtime.ports import Input, Output
from .checkpoint import CHECKPOINT, COMPILE
from .codecs import (
    AUDIO,
    AUDIO_CODEC,
    CODEC_FOLDER,
    HEIGHT,
    VIDEO,
    VIDEO_CODEC,
    WIDTH,
    Codec,
    pictures_shape,
    remembered_units,
)
from .on_device import torch_device
from .unit_tensor import UnitTensor, shape_words

if TYPE_CHECKING:
    from torch import Tensor

    from ..wan_core.streaming import State

Units = Sequence[tuple[Unit, Mapping[str, Any]]]


@dataclass
class UnitDecoder:
    """Decoding of a unit; nodes have one, from ``open`` on.

    Attributes:
        codec: with its weights.
        inlet: what latents are copied into.
        remembers: units that the state follows from.
    """

    codec: Codec
    inlet: UnitTensor
    remembers: int

    def decoded(self, state: State, latents: Array | None) -> Tensor:
        """One unit [...]; without latents, that of zeros."""
        import torch

        x = self.inlet.fill(0.0) if latents is None else self.inlet.copy(latents)
        with torch.inference_mode():
            made, later = self.codec.decode(x, state)
        state.adopt(later)
        return made[0, 0]

    def absorb(self, state: State, units: Units) -> None:
        """Take in the last latents: they are all that the next unit knows of the past."""
        import torch

        given = [inputs["latents"] for _, inputs in units if inputs["latents"] is not None]
        for latents in given[-self.remembers :]:
            with torch.inference_mode():
                state.adopt(self.codec.decoder_after(self.inlet.copy(latents), state))


class DecodeVideo(Node):
    """One small latent picture -> the pictures of one unit."""

    latents = Input("latent", "h w C", "float32", device="node", help="normalised, as encode.video gives them")
    frames = Output("video", "F H W 3", "uint8", help="RGB pictures")

    checkpoint: str = CHECKPOINT
    codec: str = VIDEO_CODEC
    path: str = CODEC_FOLDER
    compile: str = COMPILE
    width: int = WIDTH
    height: int = HEIGHT

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the codec's sizes."""
        video = VIDEO.config(params)
        if video is None:
            return cls.inputs, cls.outputs
        frames = replace(cls.frames, shape=shape_words(pictures_shape(video)))
        return {"latents": replace(cls.latents, shape=shape_words(video.latent_shape))}, {"frames": frames}

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """See that the codec can be used."""
        VIDEO.check(params)

    def open(self, ctx: NodeContext) -> None:
        """Load the codec."""
        self._ctx = ctx
        codec, config = VIDEO.load(self.values, ctx)
        inlet = UnitTensor("latents", config.latent_shape, "float32", torch_device(ctx.device))
        self._decoder = UnitDecoder(codec, inlet, remembered_units(config))

    def warm(self) -> None:
        """Decode two units of zeros: a fresh state and a later one may be compiled apart."""
        state = self.new_state()
        for _ in range(2):
            self._pictures(state, None)

    def new_state(self) -> Any:
        """Nothing shown yet."""
        return self._decoder.codec.new_decoder_state()

    def step(self, state: State, unit: Unit, latents: Array | None) -> Outputs:
        """Pictures of one unit; nothing where there is no latent."""
        return {} if latents is None else {"frames": self._pictures(state, latents)}

    def absorb(self, state: State, units: Units) -> None:
        """Remember the last latent, of which our codec computes nothing; another one goes through the last few."""
        self._decoder.absorb(state, units)

    def gap(self, state: State, units: Sequence[Unit]) -> None:
        """The next unit follows the last one that there was."""

    def _pictures(self, state: State, latents: Array | None) -> Array:
        import torch

        frames = self._decoder.decoded(state, latents)
        with torch.inference_mode():
            pictures = frames.mul_(127.5).add_(127.5).clamp_(0.0, 255.0).round_().cpu().numpy()
        slot = self._ctx.empty("frames", pictures.shape, "uint8")
        np.copyto(slot, pictures, casting="unsafe")
        return slot


class DecodeAudio(Node):
    """Codec latents, 20 ms each -> sound of one unit."""

    latents = Input("latent", "N C", "float32", device="node", help="normalised, as encode.audio gives them")
    samples = Output("audio", "S", "float32", rate_hz=16000, help="mono samples in -1..1")

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
        return {"latents": replace(cls.latents, shape=shape_words(audio.latent_shape))}, {"samples": samples}

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """See that the codec can be used."""
        AUDIO.check(params)

    def open(self, ctx: NodeContext) -> None:
        """Load the codec."""
        self._ctx = ctx
        codec, config = AUDIO.load(self.values, ctx)
        self._n_samples = config.samples
        inlet = UnitTensor("latents", config.latent_shape, "float32", torch_device(ctx.device))
        self._decoder = UnitDecoder(codec, inlet, remembered_units(config))

    def warm(self) -> None:
        """Decode two units of zeros: a fresh state and a later one may be compiled apart."""
        state = self.new_state()
        for _ in range(2):
            self._sound(state, None)

    def new_state(self) -> Any:
        """No sound yet."""
        return self._decoder.codec.new_decoder_state()

    def step(self, state: State, unit: Unit, latents: Array | None) -> Outputs:
        """Sound of one unit; nothing where there are no latents."""
        if latents is None:
            self.gap(state, [unit])
            return {}
        return {"samples": self._sound(state, latents)}

    def absorb(self, state: State, units: Units) -> None:
        """Take in the last latents; what rings from before a unit without any is dropped."""
        self._decoder.absorb(state, units)
        if units[-1][1]["latents"] is None:
            self.gap(state, [units[-1][0]])

    def gap(self, state: State, units: Sequence[Unit]) -> None:
        """The voice goes on from where it was; of our codec, without the sound still ringing from before."""
        import torch

        from ..wan_core.media.audio import AudioDecoderState

        if isinstance(state, AudioDecoderState):
            state.tail = torch.zeros_like(state.tail)

    def _sound(self, state: State, latents: Array | None) -> Array:
        samples = self._decoder.decoded(state, latents)
        slot = self._ctx.empty("samples", (self._n_samples,), "float32")
        np.clip(samples.cpu().numpy(), -1.0, 1.0, out=slot)
        return slot
