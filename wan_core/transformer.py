"""The backbone: pre-norm blocks of attention and SwiGLU.

# B batch, T tokens
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .attention import Attention, Memory
from .config import BackboneConfig


class SwiGLU(nn.Module):
    """[B, T, width] -> [B, T, width]: ``down(silu(gate) * up)``."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Each token by itself."""
        gate, up = self.gate_up(x).chunk(2, -1)
        y: Tensor = self.down(F.silu(gate) * up)
        return y


class Block(nn.Module):
    """Attention, then feed-forward, each on the normalised stream and added to it."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, config.rms_eps)
        self.attention = Attention(config)
        self.ffn_norm = nn.RMSNorm(config.width, config.rms_eps)
        self.ffn = SwiGLU(config.width, config.ffn_width)
        for linear in (self.attention.out, self.ffn.down):
            # the stream's variance then does not grow with depth
            nn.init.normal_(linear.weight, std=(2 * config.layers * linear.in_features) ** -0.5)

    def forward(self, x: Tensor, memory: Memory, layer: int) -> Tensor:
        """[B, T, width] -> the same."""
        x = x + self.attention(self.attention_norm(x), memory, layer)
        y: Tensor = x + self.ffn(self.ffn_norm(x))
        return y


class Transformer(nn.Module):
    """All blocks and the final norm; what the tokens see is the business of ``memory``."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, config.rms_eps)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """[B, T, width] embeddings -> [B, T, width] hidden states."""
        for layer, block in enumerate(self.blocks):
            x = block(x, memory, layer)
        y: Tensor = self.norm(x)
        return y
