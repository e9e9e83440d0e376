"""Keys and values of a prefix: what is told before the first unit, or between two units in place of another.

They follow from the prefix alone, so that they are made apart from the session and put in the place of what it holds.

# B batch, P units of the prefix, L layers, H heads, KV key-value heads, N tokens of a slice, D head width
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .backbone.anchored import AnchoredSequence
from .backbone.attention import Memory, WholeSequence
from .backbone.mask import Tokens, tokens_of
from .exchange import PrefixUnit, prefix_track
from .model import DuplexModel


@torch.inference_mode()
def prefix_of(model: DuplexModel, prefix: Sequence[PrefixUnit], batch: int) -> tuple[Tensor, Tensor]:
    """Un-rotated keys and values of these units, [B, L, KV, P*N, D] each, in one pass.

    Raises:
        ModelError: shapes that do not fit, NaN or infinity.
    """
    layers, kv_heads, per_unit, head_dim = model.preset.slice_shape
    if not prefix:
        nothing = model.embed.null.new_zeros(batch, layers, kv_heads, 0, head_dim)
        return nothing, nothing
    x = model.embed.prefix(prefix_track(prefix), batch, len(prefix))
    tokens = tokens_of(model.slots, -len(prefix), len(prefix), position=model.preset.backbone.position)
    memory = _Recorder(_memory(model, tokens, per_unit), kv_heads)
    model.backbone(x.flatten(1, 2), memory)
    keys, values = (torch.stack(parts, 1).transpose(2, 3).contiguous() for parts in (memory.keys, memory.values))
    return keys, values


def _memory(model: DuplexModel, tokens: Tokens, per_unit: int) -> Memory:
    """Memory among the units of a prefix: the earlier ones are as near as the present one to ALiBi."""
    if bool(model.geometry.slopes.any()):
        return AnchoredSequence(model.geometry, model.preset.cache, tokens, 0, model.embed.null)
    # the same without ALiBi, and its masks do not grow with the heads: slices of public models are long
    return WholeSequence(model.geometry, tokens, per_unit, model.embed.null)


class _Recorder:
    """A `Memory` that keeps what every layer gives to another one.

    Attributes:
        keys: by layer, un-rotated [B, T, KV, D].
        values: the same.
    """

    def __init__(self, memory: Memory, kv_heads: int) -> None:
        self._memory, self._kv_heads = memory, kv_heads
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def attend(self, layer: int, qk: Tensor, v: Tensor) -> Tensor:
        """See `attention.Memory`."""
        self.keys.append(qk[:, :, -self._kv_heads :])
        self.values.append(v)
        return self._memory.attend(layer, qk, v)
