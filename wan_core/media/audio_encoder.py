"""Encoder of the user's sound: causal convolutions on log-mel, trained jointly with the backbone.

User audio is never generated, so it needs no codec, only what matters for answering.

# B batch, U units
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..config import MelConfig
from ..streaming import State
from .conv import CausalConv1d, Past


@dataclass
class UserAudioState(State):
    """The inputs that the convolutions still need, one `Past` per layer."""

    layers: tuple[Past, ...]


class UserAudioEncoder(nn.Module):
    """[B, U, hops, bands] log-mel -> [B, U, tokens, width]; sees about 100 ms before the unit.

    Each layer joins some frames and looks one joined step back, until ``tokens`` are left.
    """

    def __init__(self, config: MelConfig, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.joins = (2, 2, config.hops // (4 * tokens))
        sizes = (config.bands, width // 2, width, width)
        self.layers = nn.ModuleList(
            CausalConv1d(join * a, b, kernel=2) for join, a, b in zip(self.joins, sizes[:-1], sizes[1:], strict=True)
        )

    def new_state(self, batch: int = 1) -> UserAudioState:
        """The beginning: zeros."""
        return UserAudioState(tuple(_conv(layer).new_state(batch) for layer in self.layers))

    def forward(self, mel: Tensor, state: UserAudioState) -> tuple[Tensor, UserAudioState]:
        """Hear U units that follow ``state``."""
        batch, units = mel.shape[:2]
        x, pasts = mel.flatten(1, 2), list[Past]()
        for join, layer, past in zip(self.joins, self.layers, state.layers, strict=True):
            x = x.reshape(batch, x.shape[1] // join, -1)
            x, past = layer(F.silu(x) if pasts else x, past)
            pasts.append(past)
        return x.view(batch, units, self.tokens, -1), UserAudioState(tuple(pasts))


def _conv(layer: nn.Module) -> CausalConv1d:
    assert isinstance(layer, CausalConv1d), layer
    return layer
