"""Rotary position on the unit index: all tokens of a unit share one angle.

# B batch, T tokens, D head width

Angles are computed in float64: in float32 unit 100,000 (4.4 hours) would already be off by 0.004 radians.
Queries meet keys by the difference of their angles only, so keys may be stored rotated at their absolute unit.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Factors for some tokens: ``x * cos + swap(x) * sin``, with the sign of the first half folded into ``sin``.

    Attributes:
        cos: [T, 1, D], or [B, T, 1, D] where rows are at different units; the 1 stands for the heads.
        sin: the same.
    """

    cos: Tensor
    sin: Tensor


def rotation(units: Tensor, head_dim: int, theta: float, dtype: torch.dtype = torch.float32) -> Rotation:
    """The rotation of tokens that belong to these units.

    Args:
        units: [T] or [B, T] whole numbers, negative ones welcome.
        head_dim: D, even.
        theta: base of the frequencies ``theta ** (-2 i / D)``.
        dtype: of the result.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64, device=units.device) / head_dim
    angles = units.to(torch.float64)[..., None] * theta**-exponents
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    return Rotation(torch.cat([cos, cos], -1).unsqueeze(-2), torch.cat([-sin, sin], -1).unsqueeze(-2))


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turn the pairs (i, i + D/2) of x [..., T, heads, D].

    Products and sum are separate operations on purpose: a fused multiply-add would round differently in the tail of
    a vector register, and a receiver that rotates other shapes would no longer be bit-equal to the sender. They are
    done in the precision of the factors; the result has that of x.
    """
    swapped = x.roll(x.shape[-1] // 2, -1)
    return (x * by.cos + swapped * by.sin).to(x.dtype)
