"""From the agent's latents to what is seen and heard: causal decoders, one answer for each unit, at once.

A lost unit is answered by nothing (playout conceals it) and the decoder goes on from the last one it had: the next
picture follows that picture. Only the sound still ringing from it, 20 ms, is dropped: it belonged to the moment lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.node import NodeContext, Outputs, Unit
from ..runtime.packet import Array
from ..runtime.ports import Input, Output
from .codecs import Inlet, shape_words
from .public import FAR_UNITS, AudioCodecNode, VideoCodecNode

if TYPE_CHECKING:
    from torch import Tensor

    from ..wan_core.streaming import State

Units = Sequence[tuple[Unit, Mapping[str, Any]]]


class DecodeVideo(VideoCodecNode):
    """One small latent picture -> the pictures of one unit."""

    latents = Input("latent", "h w C", "float32", help="normalised, as encode.video gives them")
    frames = Output("video", "F H W 3", "uint8", help="RGB pictures")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the codec's sizes."""
        video = cls.config(params)
        if video is None:
            return cls.inputs, cls.outputs
        frames = replace(cls.frames, shape=f"{video.frames} {video.height} {video.width} 3")
        return {"latents": replace(cls.latents, shape=shape_words(video.latent_shape))}, {"frames": frames}

    def open(self, ctx: NodeContext) -> None:
        """Load the codec."""
        self._ctx = ctx
        self._codec, config = self.load_codec(ctx)
        self._inlet = Inlet("latents", config.latent_shape, "float32", ctx.device)
        self._remembers = 1 if config.kind == "own" else FAR_UNITS

    def warm(self) -> None:
        """Decode two units of zeros: a fresh state and a later one may be compiled apart."""
        state = self.new_state()
        for _ in range(2):
            self._decode(state, self._inlet.fill(0.0))

    def new_state(self) -> Any:
        """Nothing shown yet."""
        return self._codec.new_decoder_state()

    def step(self, state: State, unit: Unit, latents: Array | None) -> Outputs:
        """Pictures of one unit; nothing where there is no latent."""
        return {} if latents is None else {"frames": self._decode(state, self._inlet.take(latents))}

    def absorb(self, state: State, units: Units) -> None:
        """Remember the last latent, of which our codec computes nothing; a public one goes through the last few."""
        import torch

        given = [inputs["latents"] for _, inputs in units if inputs["latents"] is not None]
        for latents in given[-self._remembers :]:
            with torch.inference_mode():
                state.adopt(self._codec.decoder_after(self._inlet.take(latents), state))

    def gap(self, state: State, units: Sequence[Unit]) -> None:
        """The next unit follows the last one that there was."""

    def _decode(self, state: State, latents: Tensor) -> Array:
        import torch

        with torch.inference_mode():
            frames, later = self._codec.decode(latents, state)
            pictures = frames[0, 0].mul_(127.5).add_(127.5).clamp_(0.0, 255.0).round_().cpu().numpy()
        slot = self._ctx.empty("frames", pictures.shape, "uint8")
        np.copyto(slot, pictures, casting="unsafe")
        state.adopt(later)
        return slot


class DecodeAudio(AudioCodecNode):
    """Codec latents, 20 ms each -> sound of one unit."""

    latents = Input("latent", "N C", "float32", help="normalised, as encode.audio gives them")
    samples = Output("audio", "S", "float32", rate_hz=16000, help="mono samples in -1..1")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the codec's sizes."""
        audio = cls.config(params)
        if audio is None:
            return cls.inputs, cls.outputs
        samples = replace(cls.samples, shape=str(audio.samples), rate_hz=audio.rate_hz)
        return {"latents": replace(cls.latents, shape=shape_words(audio.latent_shape))}, {"samples": samples}

    def open(self, ctx: NodeContext) -> None:
        """Load the codec."""
        self._ctx = ctx
        self._codec, config = self.load_codec(ctx)
        self._samples = config.samples
        self._inlet = Inlet("latents", config.latent_shape, "float32", ctx.device)
        self._remembers = 1 if config.kind == "own" else FAR_UNITS

    def warm(self) -> None:
        """Decode two units of zeros: a fresh state and a later one may be compiled apart."""
        state = self.new_state()
        for _ in range(2):
            self._decode(state, self._inlet.fill(0.0))

    def new_state(self) -> Any:
        """Nothing said yet."""
        return self._codec.new_decoder_state()

    def step(self, state: State, unit: Unit, latents: Array | None) -> Outputs:
        """Sound of one unit; nothing where there are no latents."""
        if latents is None:
            self.gap(state, [unit])
            return {}
        return {"samples": self._decode(state, self._inlet.take(latents))}

    def absorb(self, state: State, units: Units) -> None:
        """Only the last units are computed: they are all that the next one knows of the past."""
        import torch

        given = [inputs["latents"] for _, inputs in units if inputs["latents"] is not None]
        for latents in given[-self._remembers :]:
            with torch.inference_mode():
                state.adopt(self._codec.decoder_after(self._inlet.take(latents), state))
        if units[-1][1]["latents"] is None:
            self.gap(state, [units[-1][0]])

    def gap(self, state: State, units: Sequence[Unit]) -> None:
        """The voice goes on from where it was; of our codec, without the sound still ringing from before."""
        import torch

        from ..wan_core.audio import AudioDecoderState

        if isinstance(state, AudioDecoderState):
            state.tail = torch.zeros_like(state.tail)

    def _decode(self, state: State, latents: Tensor) -> Array:
        import torch

        with torch.inference_mode():
            samples, later = self._codec.decode(latents, state)
        slot = self._ctx.empty("samples", (self._samples,), "float32")
        np.clip(samples[0, 0].cpu().numpy(), -1.0, 1.0, out=slot)
        state.adopt(later)
        return slot
