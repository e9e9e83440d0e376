"""Losses. Each is a mean over what it is given; weights are normalised where it says so.

# B batch, U units, S samples, C classes
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

STFT_SIZES = (320, 1024)


def waveform_loss(found: Tensor, true: Tensor) -> Tensor:
    """Squared error of each clip [B, S] over its own energy: 1 / SNR, soft in silence."""
    error = (found - true).square().sum(1)
    return (error / (true.square().sum(1) + 0.5)).mean()


def spectral_loss(found: Tensor, true: Tensor) -> Tensor:
    """Distance of magnitudes and of log-magnitudes of [B, S], at two resolutions."""
    total = found.new_zeros(())
    for size in STFT_SIZES:
        window = torch.hann_window(size, device=found.device)
        a, b = (torch.stft(x, size, size // 4, window=window, return_complex=True).abs() for x in (found, true))
        total = total + 0.3 * (a - b).abs().mean() + 0.5 * ((a + 1e-2).log() - (b + 1e-2).log()).abs().mean()
    return total


def picture_loss(found: Tensor, true: Tensor, weights: Tensor) -> Tensor:
    """``|e| + 8 e^2`` of pictures [..., H, W, 3] in 0..1, weighted by pixel [H, W]; weights of any mean."""
    error = found - true
    return ((error.abs() + 8 * error.square()) * weights[..., None]).mean()


def snr_db(found: Tensor, true: Tensor) -> Tensor:
    """Signal over error, of everything together."""
    return 10 * torch.log10(true.square().mean() / (found - true).square().mean().clamp_min(1e-12))


def psnr_db(found: Tensor, true: Tensor) -> Tensor:
    """Peak signal, 1, over error."""
    return -10 * torch.log10((found - true).square().mean().clamp_min(1e-12))


def weighted_cross_entropy(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy of logits [..., C] and classes [...], mean by weights [...]."""
    each = F.cross_entropy(logits.float().flatten(0, -2), target.flatten(), reduction="none")
    return (each * weights.flatten()).sum() / weights.sum().clamp_min(1e-6)


def accuracy(logits: Tensor, target: Tensor, where: Tensor) -> Tensor:
    """Share of classes that are right among those [...] where ``where`` holds; NaN if there are none."""
    return (logits.argmax(-1) == target)[where].float().mean()


def flow_loss(found: Tensor, true: Tensor, weights: Tensor) -> Tensor:
    """Squared error of predicted clean latents [B, U, ...], weighted by unit [B, U]."""
    each = (found.float() - true).square().flatten(2).mean(2)
    return (each * weights).mean()
