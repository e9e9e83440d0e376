"""Causal video codec: the pictures of one unit <-> one small latent picture, 16 times smaller each way.

The pictures of a unit are stacked as channels, so that motion inside a unit is seen at once; between units, both
halves see the unit before. Nothing waits for a later one.

# B batch, U units, F frames per unit, H x W pixels, h x w latent pixels, Z latent channels
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checks import check_input, check_rows
from ..config import VideoCodecConfig
from ..errors import ModelError
from ..streaming import State
from .conv import Past, causal_taps
from .latent import LatentScale, Posterior


@dataclass
class VideoEncoderState(State):
    """State of the encoder: the features of the unit before, ``features.steps`` [B, 1, D, h, w]."""

    features: Past


@dataclass
class VideoDecoderState(State):
    """State of the decoder: the raw latent of the unit before, ``latents.steps`` [B, 1, h, w, Z]."""

    latents: Past


class VideoEncoder(nn.Module):
    """Strided convolutions, then mean and logvar from this unit's features and the last one's."""

    def __init__(self, config: VideoCodecConfig) -> None:
        super().__init__()
        self.config = config
        widths = (3 * config.frames, *config.widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.mix = nn.Conv2d(2 * widths[-1], widths[-1], 1)
        self.statistics = nn.Conv2d(widths[-1], 2 * config.channels, 1)

    def new_state(self, batch: int) -> VideoEncoderState:
        """The beginning: no features."""
        h, w, _ = self.config.latent_shape
        return VideoEncoderState(Past(self.mix.weight.new_zeros(batch, 1, self.config.widths[-1], h, w)))

    def features(self, frames: Tensor) -> Tensor:
        """[B, U, F, H, W, 3] -> [B, U, D, h, w], each unit by itself."""
        x = frames.permute(0, 1, 3, 4, 2, 5).flatten(4).flatten(0, 1).permute(0, 3, 1, 2)
        for layer in self.down:
            x = functional.silu(layer(x))
        return x.reshape(*frames.shape[:2], *x.shape[1:])

    def forward(self, frames: Tensor, state: VideoEncoderState) -> tuple[Posterior, VideoEncoderState]:
        """[B, U, F, H, W, 3] -> posterior over [B, U, h, w, Z]."""
        pairs, past = causal_taps(self.features(frames), state.features, 2)
        statistics = self.statistics(functional.silu(self.mix(pairs.flatten(0, 1))))
        statistics = statistics.permute(0, 2, 3, 1)
        statistics = statistics.reshape(*frames.shape[:2], *statistics.shape[1:])
        return Posterior.of(statistics, 4), VideoEncoderState(past)


class VideoDecoder(nn.Module):
    """This unit's latent and the last one's -> pictures, by convolution and pixel shuffle."""

    def __init__(self, config: VideoCodecConfig) -> None:
        super().__init__()
        self.config = config
        widths = tuple(reversed(config.widths))
        self.input = nn.Conv2d(2 * config.channels, widths[0], 3, padding=1)
        self.mix = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        self.up = nn.ModuleList(nn.Conv2d(a, 4 * b, 3, padding=1) for a, b in pairwise(widths))
        self.output = nn.Conv2d(widths[-1], 4 * 3 * config.frames, 3, padding=1)

    def new_state(self, batch: int) -> VideoDecoderState:
        """The beginning: a latent of zeros."""
        return VideoDecoderState(Past(self.mix.weight.new_zeros(batch, 1, *self.config.latent_shape)))

    def forward(self, raw: Tensor, state: VideoDecoderState) -> tuple[Tensor, VideoDecoderState]:
        """[B, U, h, w, Z] -> [B, U, F, H, W, 3]."""
        pairs, past = causal_taps(raw, state.latents, 4)
        x = functional.silu(self.input(pairs.flatten(0, 1).permute(0, 3, 1, 2)))
        x = x + functional.silu(self.mix(x))
        for layer in self.up:
            x = functional.silu(functional.pixel_shuffle(layer(x), 2))
        x = functional.pixel_shuffle(self.output(x), 2)
        frames = x.reshape(*raw.shape[:2], self.config.frames, 3, *x.shape[2:])
        return frames.permute(0, 1, 2, 4, 5, 3), VideoDecoderState(past)


class VideoCodec(nn.Module):
    """Encoder, decoder and the scale of the latents between them. Pictures are floats in -1..1.

    Streaming: ``encode`` and ``decode`` with their states. Training: ``posterior``, ``Posterior.sample``, ``decode``
    with `scale` still the identity; then ``scale.fit``.
    """

    def __init__(self, config: VideoCodecConfig) -> None:
        super().__init__()
        steps = 2 ** len(config.widths)
        if config.downsample != steps or config.height % steps or config.width % steps:
            raise ModelError(
                f"video codec: found {config.height}x{config.width} over {config.downsample} "
                f"(expected multiples of {steps}, one halving for each of {len(config.widths)} widths)"
            )
        self.config = config
        self.encoder = VideoEncoder(config)
        self.decoder = VideoDecoder(config)
        self.scale = LatentScale(config.channels)
        self._initialise()
        # pictures come with the colour last
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)

    def new_encoder_state(self, batch: int = 1) -> VideoEncoderState:
        """The encoder's beginning."""
        return self.encoder.new_state(batch)

    def new_decoder_state(self, batch: int = 1) -> VideoDecoderState:
        """The decoder's beginning."""
        return self.decoder.new_state(batch)

    def posterior(self, frames: Tensor, state: VideoEncoderState) -> tuple[Posterior, VideoEncoderState]:
        """[B, U, F, H, W, 3] in -1..1 -> posterior over raw latents [B, U, h, w, Z].

        Raises:
            ModelError: wrong shape, NaN, or another batch than the state's.
        """
        self._check_frames(frames, state)
        posterior: tuple[Posterior, VideoEncoderState] = self.encoder(frames, state)
        return posterior

    def encode(self, frames: Tensor, state: VideoEncoderState) -> tuple[Tensor, VideoEncoderState]:
        """[B, U, F, H, W, 3] in -1..1 -> normalised latents [B, U, h, w, Z]. Raises as `posterior`."""
        posterior, state = self.posterior(frames, state)
        return self.scale.normalise(posterior.mean), state

    def decode(self, latents: Tensor, state: VideoDecoderState) -> tuple[Tensor, VideoDecoderState]:
        """Normalised latents [B, U, h, w, Z] -> pictures [B, U, F, H, W, 3], about -1..1 and not clamped.

        Raises:
            ModelError: wrong shape, NaN, or another batch than the state's.
        """
        self._check_latents(latents, state)
        decoded: tuple[Tensor, VideoDecoderState] = self.decoder(self.scale.denormalise(latents), state)
        return decoded

    def encoder_after(self, frames: Tensor, state: VideoEncoderState) -> VideoEncoderState:
        """The encoder's state after [B, U, F, H, W, 3]: the features of the last unit."""
        self._check_frames(frames, state)
        return VideoEncoderState(Past(self.encoder.features(frames[:, -1:])))

    def decoder_after(self, latents: Tensor, state: VideoDecoderState) -> VideoDecoderState:
        """The decoder's state after [B, U, h, w, Z]: the last latent; nothing is computed."""
        self._check_latents(latents, state)
        return VideoDecoderState(Past(self.scale.denormalise(latents[:, -1:])))

    def _initialise(self) -> None:
        """Keep the variance from layer to layer: pictures have contrast, and learning a signal, from the first step."""
        ends = (self.encoder.statistics, self.decoder.output)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if layer in ends else "relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def _check_frames(self, frames: Tensor, state: VideoEncoderState) -> None:
        config = self.config
        check_input("video codec: frames", frames, ("B", "U", config.frames, config.height, config.width, 3))
        check_rows("video codec: frames", frames, state.features.steps.shape[0])

    def _check_latents(self, latents: Tensor, state: VideoDecoderState) -> None:
        check_input("video codec: latents", latents, ("B", "U", *self.config.latent_shape))
        check_rows("video codec: latents", latents, state.latents.steps.shape[0])
