"""Causal audio codec: 160 ms of 16 kHz sound <-> 8 latents, one every 20 ms, without look-ahead.

A narrow Gaussian autoencoder. Beside the nonlinear paths run linear ones, samples -> latent and latent -> samples:
they carry the waveform, which the nonlinear paths alone are slow to learn.

# B batch, U units, S samples per unit, N hops (latents per unit x U), Z latent channels, W width
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checks import check_input, check_rows
from ..config import AudioCodecConfig
from ..errors import ModelError
from ..streaming import State
from .conv import CausalConv1d, Past
from .latent import LatentScale, Posterior
from .mel import MelBands

GAIN = 8.0
"""Samples are multiplied by this inside: speech then has about unit variance."""

MEL_BANDS = 40
MEMORY_HOPS = 6
"""The state depends on no more than this many last hops; a unit holds them, so one unit determines the state."""


@dataclass
class AudioEncoderState(State):
    """State of the encoder.

    Attributes:
        samples: the last hop, [B, hop].
        features: the last two hops' features.
    """

    samples: Tensor
    features: Past


@dataclass
class AudioDecoderState(State):
    """State of the decoder.

    Attributes:
        hidden: the past of each convolution.
        tail: second half of the last frame, to be added to the next hop, [B, hop].
    """

    hidden: tuple[Past, Past, Past]
    tail: Tensor


class AudioEncoder(nn.Module):
    """Frames of two hops (the last and the present), their log-mel beside them -> mean and logvar."""

    def __init__(self, config: AudioCodecConfig) -> None:
        super().__init__()
        frame, width, self.hop = 2 * config.hop, config.width, config.hop
        self.mel = MelBands(frame, MEL_BANDS, config.rate_hz)
        self.input = nn.Linear(frame + MEL_BANDS, width)
        self.mix = CausalConv1d(width, width, 3)
        self.statistics = nn.Linear(width, 2 * config.channels)
        self.linear = nn.Linear(frame, config.channels, bias=False)

    def new_state(self, batch: int) -> AudioEncoderState:
        """The beginning: silence."""
        return AudioEncoderState(self.linear.weight.new_zeros(batch, self.hop), self.mix.new_state(batch))

    def forward(self, samples: Tensor, state: AudioEncoderState) -> tuple[Posterior, AudioEncoderState]:
        """[B, N * hop] -> posterior over [B, N, Z]."""
        joined = torch.cat([state.samples, samples], 1)
        frames = joined.unfold(1, 2 * self.hop, self.hop)
        loud = frames * GAIN
        hidden = functional.gelu(self.input(torch.cat([loud, self.mel(frames)], 2)))
        mixed, features = self.mix(hidden, state.features)
        posterior = Posterior.of(self.statistics(hidden + functional.gelu(mixed)), 2)
        posterior = posterior._replace(mean=posterior.mean + self.linear(loud))
        return posterior, AudioEncoderState(joined[:, -self.hop :].clone(), features)


class AudioDecoder(nn.Module):
    """Latents -> frames of two hops, overlapped and added: hop n is frame n's first half plus frame n-1's second."""

    def __init__(self, config: AudioCodecConfig) -> None:
        super().__init__()
        frame, width, self.hop = 2 * config.hop, config.width, config.hop
        self.first = CausalConv1d(config.channels, width, 3)
        self.second = CausalConv1d(width, width, 3)
        self.third = CausalConv1d(width, width, 2)
        self.output = nn.Linear(width, frame)
        self.linear = nn.Linear(config.channels, frame, bias=False)

    def new_state(self, batch: int) -> AudioDecoderState:
        """The beginning: no latents before, no tail."""
        past = (self.first.new_state(batch), self.second.new_state(batch), self.third.new_state(batch))
        return AudioDecoderState(past, self.linear.weight.new_zeros(batch, self.hop))

    def forward(self, raw: Tensor, state: AudioDecoderState) -> tuple[Tensor, AudioDecoderState]:
        """[B, N, Z] -> samples [B, N * hop]."""
        mixed, first = self.first(raw, state.hidden[0])
        hidden = functional.gelu(mixed)
        mixed, second = self.second(hidden, state.hidden[1])
        hidden = hidden + functional.gelu(mixed)
        mixed, third = self.third(hidden, state.hidden[2])
        hidden = hidden + functional.gelu(mixed)
        now, later = ((self.output(hidden) + self.linear(raw)) / GAIN).split(self.hop, 2)
        overlap = torch.cat([state.tail[:, None], later[:, :-1]], 1)
        return (now + overlap).flatten(1), AudioDecoderState((first, second, third), later[:, -1].clone())


class AudioCodec(nn.Module):
    """Encoder, decoder and the scale of the latents between them.

    Streaming: ``encode`` and ``decode`` with their states. Training: ``posterior``, ``Posterior.sample``, ``decode``
    with `scale` still the identity; then ``scale.fit``.
    """

    def __init__(self, config: AudioCodecConfig) -> None:
        super().__init__()
        if config.latents < MEMORY_HOPS:
            raise ModelError(f"audio codec: found {config.latents} latents per unit (expected {MEMORY_HOPS} or more)")
        self.config = config
        self.encoder = AudioEncoder(config)
        self.decoder = AudioDecoder(config)
        self.scale = LatentScale(config.channels)

    def new_encoder_state(self, batch: int = 1) -> AudioEncoderState:
        """The encoder's beginning: silence."""
        return self.encoder.new_state(batch)

    def new_decoder_state(self, batch: int = 1) -> AudioDecoderState:
        """The decoder's beginning."""
        return self.decoder.new_state(batch)

    def posterior(self, samples: Tensor, state: AudioEncoderState) -> tuple[Posterior, AudioEncoderState]:
        """[B, U, S] samples in -1..1 -> posterior over raw latents [B, U, latents, Z].

        Raises:
            ModelError: wrong shape, NaN, or another batch than the state's.
        """
        check_input("audio codec: samples", samples, ("B", "U", self.config.samples))
        check_rows("audio codec: samples", samples, state.samples.shape[0])
        (mean, logvar), state = self.encoder(samples.flatten(1), state)
        units = (-1, self.config.latents)
        return Posterior(mean.unflatten(1, units), logvar.unflatten(1, units)), state

    def encode(self, samples: Tensor, state: AudioEncoderState) -> tuple[Tensor, AudioEncoderState]:
        """[B, U, S] samples in -1..1 -> normalised latents [B, U, latents, Z]. Raises as `posterior`."""
        posterior, state = self.posterior(samples, state)
        return self.scale.normalise(posterior.mean), state

    def decode(self, latents: Tensor, state: AudioDecoderState) -> tuple[Tensor, AudioDecoderState]:
        """Normalised latents [B, U, latents, Z] -> samples [B, U, S], about -1..1 and not clamped.

        Raises:
            ModelError: wrong shape, NaN, or another batch than the state's.
        """
        check_input("audio codec: latents", latents, ("B", "U", *self.config.latent_shape))
        check_rows("audio codec: latents", latents, state.tail.shape[0])
        samples, state = self.decoder(self.scale.denormalise(latents).flatten(1, 2), state)
        return samples.unflatten(1, (-1, self.config.samples)), state

    def encoder_after(self, samples: Tensor, state: AudioEncoderState) -> AudioEncoderState:
        """The encoder's state after [B, U, S]: only the last unit is computed, which determines it."""
        return self.posterior(samples[:, -1:], state)[1]

    def decoder_after(self, latents: Tensor, state: AudioDecoderState) -> AudioDecoderState:
        """The decoder's state after [B, U, latents, Z]: only the last unit is computed, which determines it."""
        return self.decode(latents[:, -1:], state)[1]
