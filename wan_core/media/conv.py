"""Causal convolution over time, with its past as an explicit state.

# B batch, T time steps, C channels, K kernel: taps on the present step and the K - 1 before it
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..streaming import State


@dataclass
class Past(State):
    """The last steps a module has seen.

    Attributes:
        steps: [B, K-1, ...].
    """

    steps: Tensor


def causal_taps(x: Tensor, past: Past, dim: int) -> tuple[Tensor, Past]:
    """Every step beside the K - 1 before it, oldest first, joined along ``dim``; K - 1 is the length of the past.

    Args:
        x: [B, T, ...], T of 1 or more.
        past: the steps before x.
        dim: a dimension of x after T; it becomes K times as long.
    """
    joined = torch.cat([past.steps, x], 1)
    length, before = x.shape[1], past.steps.shape[1]
    taps = torch.cat([joined[:, tap : tap + length] for tap in range(before + 1)], dim)
    return taps, Past(joined[:, length:].clone())


class CausalConv1d(nn.Module):
    """Convolution over T: [B, T, C_in] -> [B, T, C_out]; step t sees steps t-K+1..t, zeros before the beginning.

    Written as one matrix product over the taps: a unit has 8 steps, too few for a convolution kernel to pay.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.channels_in, self.kernel = channels_in, kernel
        self.taps = nn.Linear(kernel * channels_in, channels_out)

    def new_state(self, batch: int = 1) -> Past:
        """The beginning: zeros."""
        return Past(self.taps.weight.new_zeros(batch, self.kernel - 1, self.channels_in))

    def forward(self, x: Tensor, state: Past) -> tuple[Tensor, Past]:
        """Convolve T steps that follow ``state``."""
        taps, state = causal_taps(x, state, 2)
        return self.taps(taps), state
