"""The backbone: pre-norm blocks of attention and SwiGLU.

# B batch, T tokens
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..config import BackboneConfig
from .attention import Attention, Memory
from .modulation import ATTENTION, FEED_FORWARD, Modulation


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

    def forward(self, x: Tensor, memory: Memory, layer: int, flow: Modulation | None = None) -> Tensor:
        """[B, T, width] -> the same; ``flow`` is what flow time does to the noisy ones of the tokens."""
        qk, v = self.project(x, flow)
        return self.finish(x, memory.attend(layer, qk, v), flow)

    def project(self, x: Tensor, flow: Modulation | None) -> tuple[Tensor, Tensor]:
        """The stream [B, T, width] -> what goes to the memory."""
        normal = self.attention_norm(x)
        return self.attention.project(normal if flow is None else flow.before(normal, ATTENTION))

    def finish(self, x: Tensor, found: Tensor, flow: Modulation | None) -> Tensor:
        """The stream, and what the memory gave [B, T, H * D] -> the stream after this block."""
        y = self.attention.out(found)
        x = x + (y if flow is None else flow.after(y, ATTENTION))
        normal = self.ffn_norm(x)
        y = self.ffn(normal if flow is None else flow.before(normal, FEED_FORWARD))
        return x + (y if flow is None else flow.after(y, FEED_FORWARD))


class Transformer(nn.Module):
    """All blocks and the final norm; what the tokens see is the business of ``memory``."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, config.rms_eps)

    def forward(self, x: Tensor, memory: Memory, flow: Sequence[Modulation] | None = None) -> Tensor:
        """[B, T, width] embeddings -> [B, T, width] hidden states; ``flow`` is what flow time does in each block."""
        for layer, block in enumerate(self.blocks):
            x = block(x, memory, layer, None if flow is None else flow[layer])
        y: Tensor = self.norm(x)
        return y
