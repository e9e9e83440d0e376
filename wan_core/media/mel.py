"""Log-mel front end: what the thinker hears. Causal, no weights.

# B batch, U units, S samples per unit, N frames
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..checks import check_input, check_rows
from ..config import MelConfig
from ..streaming import State

LOWEST_HZ = 60.0
HIGHEST_HZ = 7600.0
FLOOR = 1e-2
"""Added to the mel magnitudes before the logarithm: recording noise stays near the bottom of the scale."""


@dataclass
class MelState(State):
    """The samples before the present unit.

    Attributes:
        samples: [B, window - hop].
    """

    samples: Tensor


class MelBands(nn.Module):
    """Windowed frames -> log-mel, about zero mean on speech: [..., window] -> [..., bands]."""

    window: Tensor
    filters: Tensor

    def __init__(self, window: int, bands: int, rate_hz: int) -> None:
        super().__init__()
        self.fft_size = 1 << (window - 1).bit_length()
        # made anew from the configuration, so not part of a checkpoint
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", mel_filters(self.fft_size, bands, rate_hz), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Log-mel of frames that are already cut; silence gives ``log(FLOOR) + 2``."""
        spectrum = torch.fft.rfft(frames * self.window, self.fft_size).abs()
        return torch.log(spectrum @ self.filters + FLOOR) + 2.0


class LogMel(nn.Module):
    """[B, U, S] samples -> [B, U, hops, bands]; frame n ends with hop n, so nothing waits."""

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.bands = MelBands(config.window, config.bands, config.rate_hz)

    def new_state(self, batch: int = 1) -> MelState:
        """The beginning: silence."""
        return MelState(self.bands.window.new_zeros(batch, self.config.window - self.config.hop))

    def forward(self, samples: Tensor, state: MelState) -> tuple[Tensor, MelState]:
        """Log-mel of U units that follow ``state``.

        Raises:
            ModelError: wrong shape, NaN, or another batch than the state's.
        """
        config = self.config
        check_input("log-mel: samples", samples, ("B", "U", config.hops * config.hop))
        check_rows("log-mel: samples", samples, state.samples.shape[0])
        joined = torch.cat([state.samples, samples.flatten(1)], 1)
        mel = self.bands(joined.unfold(1, config.window, config.hop))
        kept = state.samples.shape[1]
        return mel.unflatten(1, (-1, config.hops)), MelState(joined[:, -kept:].clone())

    def advance(self, samples: Tensor, state: MelState) -> MelState:
        """The state after these units, without their frames."""
        kept = state.samples.shape[1]
        check_input("log-mel: samples", samples, ("B", "U", self.config.hops * self.config.hop))
        return MelState(samples.flatten(1)[:, -kept:].clone())


def mel_of(hz: Tensor) -> Tensor:
    """Places of frequencies on the mel scale, ``2595 log10(1 + f / 700)``."""
    return 2595.0 * (1.0 + hz / 700.0).log10()


def hz_of(mel: Tensor) -> Tensor:
    """Frequencies of places on the mel scale."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def mel_range(rate_hz: int) -> tuple[float, float]:
    """The mel scale's part that is heard at a sampling rate."""
    ends = torch.tensor([LOWEST_HZ, min(HIGHEST_HZ, 0.475 * rate_hz)], dtype=torch.float64)
    low, high = mel_of(ends).tolist()
    return low, high


def mel_filters(fft_size: int, bands: int, rate_hz: int) -> Tensor:
    """Triangles, evenly spaced on the mel scale: [fft_size / 2 + 1, bands].

    Every band holds at least one bin: where a triangle falls between two bins, it is widened to one bin's distance.
    """
    corners = hz_of(torch.linspace(*mel_range(rate_hz), bands + 2, dtype=torch.float64))
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    bins = torch.linspace(0.0, rate_hz / 2, fft_size // 2 + 1, dtype=torch.float64)[:, None]
    width = rate_hz / fft_size
    rising = (bins - left) / (centre - left).clamp_min(width)
    falling = (right - bins) / (right - centre).clamp_min(width)
    return torch.minimum(rising, falling).clamp(0.0, 1.0).float()
