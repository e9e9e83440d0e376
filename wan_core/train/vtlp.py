"""Vocal tract length perturbation of a voice (VTLP, Jaitly and Hinton 2013), and another timbre.

A model that hears a few dozen speakers should understand all others; the length of the vocal tract moves the formants,
and rooms and microphones tilt the spectrum.

# B batch, U units, N frames of a unit
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import MelConfig
from ..media.mel import FLOOR, hz_of, mel_of, mel_range


def perturbed(mel: Tensor, factor: Tensor, tilt: Tensor, config: MelConfig) -> Tensor:
    """Log-mel with all frequencies stretched and its spectrum tilted.

    Args:
        mel: of `LogMel`, [B, U, N, bands].
        factor: by which frequencies are multiplied, [B].
        tilt: natural logarithm of the gain of the highest band; that of the lowest is its inverse, [B].
        config: of the front end.

    Returns:
        [B, U, N, bands]; silence stays silence.
    """
    bands = mel.shape[-1]
    low, high = mel_range(config.rate_hz)
    centres = torch.linspace(low, high, bands + 2, device=mel.device)[1:-1]
    come_from = mel_of(hz_of(centres) / factor[:, None])
    place = ((come_from - centres[0]) / (centres[1] - centres[0])).clamp(0, bands - 1)
    share = (1 - (place[..., None] - torch.arange(bands, device=mel.device)).abs()).clamp_min(0)  # [B, to, from]
    moved = torch.einsum("bunf,btf->bunt", mel, share)
    gain = (tilt[:, None] * torch.linspace(-1, 1, bands, device=mel.device)).exp()
    magnitudes = ((moved - 2.0).exp() - FLOOR).clamp_min(0) * gain[:, None, None]
    tilted: Tensor = (magnitudes + FLOOR).log() + 2.0
    return tilted
