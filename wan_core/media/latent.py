"""Base of the codecs: a Gaussian over latents, and their scale as the model sees them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Posterior(NamedTuple):
    """A Gaussian over the latents of some units, before scaling; training samples it, streaming takes the mean.

    Attributes:
        mean: [B, U, ...].
        logvar: log of the variance, [B, U, ...], within -12..2.
    """

    mean: Tensor
    logvar: Tensor

    @classmethod
    def of(cls, statistics: Tensor, dim: int) -> Posterior:
        """Split mean and log-variance along ``dim``."""
        mean, logvar = statistics.chunk(2, dim)
        return cls(mean, logvar.clamp(-12.0, 2.0))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw, differentiable in mean and logvar."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        return self.mean + torch.exp(0.5 * self.logvar) * noise

    def kl(self) -> Tensor:
        """Divergence from the standard normal, mean over everything."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar).mean()


class LatentScale(nn.Module):
    """Per-channel mean and spread of a trained codec's latents, so that all others see about N(0, 1).

    Identity until `fit`. The statistics travel with the codec's weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    @torch.no_grad()
    def fit(self, latents: Tensor, min_std: float = 0.3) -> None:
        """Measure on raw latents [..., channels].

        Args:
            latents: as many as possible, raw posterior means.
            min_std: smallest spread; a collapsed channel would otherwise be amplified into noise.
        """
        flat = latents.reshape(-1, latents.shape[-1])
        self.mean.copy_(flat.mean(0))
        self.std.copy_(flat.std(0).clamp_min(min_std))

    def normalise(self, raw: Tensor) -> Tensor:
        """Raw latents [..., channels] -> about N(0, 1)."""
        return (raw - self.mean) / self.std

    def denormalise(self, latents: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return latents * self.std + self.mean
