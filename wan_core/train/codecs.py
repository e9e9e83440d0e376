"""Learning the codecs, and the gates that their latents must pass before a Transformer is built on them.

# B batch, U units, S samples per unit, F frames per unit, P numbers of a pose
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..media.audio import MEL_BANDS, AudioCodec
from ..media.video import VideoCodec
from .loop import Loss, generator_on
from .losses import picture_loss, psnr_db, snr_db, spectral_loss, waveform_loss
from .schedule import Recipe

AUDIO_RECIPE = Recipe(rate=2e-3, cooldown=0.8, decay=0.01)
VIDEO_RECIPE = Recipe(rate=1.5e-3, cooldown=0.8, decay=0.01)


class Clips(NamedTuple):
    """A batch of clips, each of one person.

    Attributes:
        frames: [B, U, F, H, W, 3] in -1..1.
        pose: [B, U, P] what the person does, each about -1..1.
    """

    frames: Tensor
    pose: Tensor


FIRST_LOGVAR = -6.0
"""Latents begin precise: with much noise on them the decoder first learns to be silent, and is slow to forget it."""


@torch.no_grad()
def begin_audio(codec: AudioCodec) -> None:
    """First weights: the linear paths are the lowest bands of a cosine transform of each hop, and its inverse.

    So the codec begins as a low-pass filter without delay, and all that it has to learn is the rest.
    """
    config, encoder, decoder = codec.config, codec.encoder, codec.decoder
    hop, band = config.hop, torch.arange(config.channels)[:, None]
    basis = (2 / hop) ** 0.5 * torch.cos(torch.pi / hop * (torch.arange(hop) + 0.5) * band)
    basis[0] /= 2**0.5
    for weights in (encoder.linear.weight.T, decoder.linear.weight):
        weights.zero_()
    encoder.linear.weight[:, hop:] = basis  # a frame is the last hop and the present one
    decoder.linear.weight[:hop] = basis.T  # and begins to sound with the present one
    encoder.statistics.bias[config.channels :] = FIRST_LOGVAR
    for layer in (encoder.statistics, decoder.output):
        layer.weight.zero_()
    decoder.output.bias.zero_()
    encoder.statistics.bias[: config.channels] = 0


class AudioTask:
    """Autoencoding sound: waveform, spectrum, a linear way from the latents to the log-mel, and a narrow latent.

    Args:
        codec: with its scale still the identity.
        draw: a batch of samples [B, U, S] in -1..1.
    """

    def __init__(self, codec: AudioCodec, draw: Callable[[torch.Generator], Tensor]) -> None:
        self.codec, self.draw = codec, draw
        self.probe = nn.Linear(codec.config.channels, MEL_BANDS)
        self.module: nn.Module = nn.ModuleDict({"audio_codec": codec, "probe": self.probe})

    def loss(self, generator: torch.Generator, progress: float) -> Loss:
        """See `loop.Task`."""
        codec, true = self.codec, self.draw(generator)
        posterior, _ = codec.posterior(true, codec.new_encoder_state(len(true)))
        raw = posterior.sample(generator_on(true.device, generator))
        found, _ = codec.decode(raw, codec.new_decoder_state(len(true)))
        samples, decoded = true.flatten(1), found.flatten(1)
        waveform, spectrum = waveform_loss(decoded, samples), spectral_loss(decoded, samples)
        mel = (self.probe(raw.flatten(1, 2)) - self._mel(samples)).abs().mean()
        kl = posterior.kl()
        total = 2 * waveform + spectrum + 0.5 * mel + 2e-3 * kl
        return Loss(total, {"snr_db": snr_db(decoded, samples), "spectrum": spectrum, "mel": mel, "kl": kl})

    def _mel(self, samples: Tensor) -> Tensor:
        """Log-mel of the encoder's own frames, [B, U * latents, MEL_BANDS]."""
        hop = self.codec.config.hop
        padded = nn.functional.pad(samples, (hop, 0))
        mel: Tensor = self.codec.encoder.mel(padded.unfold(1, 2 * hop, hop))
        return mel


class VideoTask:
    """Autoencoding pictures, most carefully where the weights are, with a linear way from the latents to the pose.

    Args:
        codec: with its scale still the identity.
        draw: a batch.
        weights: of the pixels, [H, W].
        pose_size: P.
    """

    def __init__(
        self, codec: VideoCodec, draw: Callable[[torch.Generator], Clips], weights: Tensor, pose_size: int
    ) -> None:
        self.codec, self.draw, self.weights = codec, draw, weights / weights.mean()
        self.probe = nn.Linear(codec.config.latent_size, pose_size)
        self.module: nn.Module = nn.ModuleDict({"video_codec": codec, "probe": self.probe})

    def loss(self, generator: torch.Generator, progress: float) -> Loss:
        """See `loop.Task`."""
        codec, (true, pose) = self.codec, self.draw(generator)
        posterior, _ = codec.posterior(true, codec.new_encoder_state(len(true)))
        raw = posterior.sample(generator_on(true.device, generator))
        found, _ = codec.decode(raw, codec.new_decoder_state(len(true)))
        seen, shown = (true + 1) / 2, (found + 1) / 2
        picture, kl = picture_loss(shown, seen, self.weights), posterior.kl()
        read = (self.probe(raw.flatten(2)) - pose).square().mean()
        total = picture + 0.2 * read + 2e-4 * kl
        return Loss(total, {"psnr_db": psnr_db(shown, seen), "picture": picture, "pose": read, "kl": kl})


@torch.no_grad()
def fit_audio_scale(codec: AudioCodec, samples: Tensor) -> None:
    """Measure the latents of clips [N, U, S]; from then on they are normalised."""
    parts = [codec.posterior(x, codec.new_encoder_state(len(x)))[0].mean for x in torch.split(samples, 8)]
    codec.scale.fit(torch.cat(parts))


@torch.no_grad()
def fit_video_scale(codec: VideoCodec, frames: Tensor) -> None:
    """Measure the latents of clips [N, U, F, H, W, 3]; from then on they are normalised."""
    parts = [codec.posterior(x, codec.new_encoder_state(len(x)))[0].mean for x in torch.split(frames, 8)]
    codec.scale.fit(torch.cat(parts))


@dataclass(frozen=True)
class Probe:
    """Score of a linear probe that tells classes apart, on latents that it was not fitted on.

    Attributes:
        name: what it tells.
        accuracy: balanced: the mean over classes of the share that is right; NaN where only one class is tested.
        counts: examples of each class among those tested.
    """

    name: str
    accuracy: float
    counts: tuple[int, ...]


def probe(name: str, latents: Tensor, classes: Tensor, is_test: Tensor, ridge: float = 1.0) -> Probe:
    """Fit a linear classifier by ridge regression, each class weighing the same, and test it.

    Args:
        name: what it tells.
        latents: [N, D], normalised.
        classes: [N] int64, 0 .. C - 1.
        is_test: [N] bool, what it is not fitted on.
        ridge: of the regression.
    """
    x = torch.cat([latents, torch.ones(len(latents), 1)], 1).double()
    n_classes = int(classes.max()) + 1
    goal = nn.functional.one_hot(classes, n_classes).double()
    fit = ~is_test
    weight = (goal / goal[fit].sum(0).clamp_min(1)).sum(1)[fit][:, None] * fit.sum() / n_classes
    a = x[fit].T @ (weight * x[fit]) + ridge * torch.eye(x.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(a, x[fit].T @ (weight * goal[fit]))
    right = (x[is_test] @ solution).argmax(1) == classes[is_test]
    counts = [int((classes[is_test] == c).sum()) for c in range(n_classes)]
    shares = [float(right[classes[is_test] == c].float().mean()) for c in range(n_classes) if counts[c]]
    return Probe(name, sum(shares) / len(shares) if len(shares) > 1 else math.nan, tuple(counts))
