"""Latent pictures as tokens: rectangles of latent pixels, row by row.

# B batch, U units, h x w latent pixels, Z channels, a x b a patch
"""

from __future__ import annotations

from torch import Tensor


def to_patches(x: Tensor, patch: tuple[int, int]) -> Tensor:
    """[B, U, h, w, Z] -> [B, U, h/a * w/b, a * b * Z]. Whole rows are only seen differently, not moved."""
    batch, units, h, w, _ = x.shape
    a, b = patch
    if b != w:
        x = x.reshape(batch, units, h // a, a, w // b, b, -1).transpose(3, 4)
    return x.reshape(batch, units, (h // a) * (w // b), -1)


def from_patches(x: Tensor, patch: tuple[int, int], shape: tuple[int, int, int]) -> Tensor:
    """The inverse of `to_patches`, to latents [B, U, *shape]."""
    batch, units = x.shape[:2]
    (h, w, channels), (a, b) = shape, patch
    if b != w:
        x = x.reshape(batch, units, h // a, w // b, a, b, channels).transpose(3, 4)
    return x.reshape(batch, units, *shape)
