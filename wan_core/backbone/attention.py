"""Grouped-query attention, the same for a whole sequence and for a cache.

The module makes queries, keys and values; a `Memory` says what the queries meet: `WholeSequence` in training,
`kvcache.CachePass` in streaming. Both go through `attend`.

Keys carry two channels beyond the head width, so that the steady state needs no mask:

- *unit*: the key's unit minus a base. The query holds ``slope * sqrt(D)`` there, so that the product is ALiBi,
  ``-slope * (unit of query - unit of key)``, up to a constant per query, which softmax ignores.
- *hidden*: 0, or `HIDDEN` for a token that nobody may see any more. The query holds ``sqrt(D)``.

# B batch, T new tokens, N keys, H heads, KV key-value heads, G = H / KV, D head width, E = D + CACHE_CHANNELS
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..config import CACHE_CHANNELS, BackboneConfig
from .mask import Tokens, remembered, visible
from .rope import Rotation, rotate, rotation

UNIT_CHANNEL, HIDDEN_CHANNEL = -2, -1
HIDDEN = -1e4
"""Score of a hidden key: its weight underflows to exactly 0."""


class Memory(Protocol):
    """Keys and values that the queries of one pass meet."""

    def attend(self, layer: int, qk: Tensor, v: Tensor) -> Tensor:
        """Un-rotated queries and keys [B, T, H + KV, D] and values [B, T, KV, D] of a layer -> [B, T, H * D]."""
        ...


class Attention(nn.Module):
    """Learned part of attention: `project`, then a `Memory`, then ``out``, [B, T, H * D] -> [B, T, width]."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.rms_eps = config.rms_eps
        self.qkv = nn.Linear(config.width, (self.heads + 2 * self.kv_heads) * self.head_dim, bias=config.qkv_bias)
        self.out = nn.Linear(self.heads * self.head_dim, config.width, bias=False)
        gain = torch.ones(self.heads + self.kv_heads, self.head_dim)
        self.qk_gain = nn.Parameter(gain) if config.qk_norm == "gain" else None

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, width] -> un-rotated queries and keys [B, T, H + KV, D], values [B, T, KV, D]."""
        batch, length, _ = x.shape
        heads = self.qkv(x).view(batch, length, self.heads + 2 * self.kv_heads, self.head_dim)
        qk, v = heads[:, :, : -self.kv_heads], heads[:, :, -self.kv_heads :]
        if self.qk_gain is not None:
            qk = F.rms_norm(qk, (self.head_dim,), eps=self.rms_eps) * self.qk_gain
        return qk, v


class Geometry:
    """Folding of heads and the channels they carry; made once per model from its configuration.

    Args:
        config: of the backbone.
        stride: positions from one unit to the next.
    """

    def __init__(self, config: BackboneConfig, stride: int = 1) -> None:
        self.stride = stride
        self.kv_heads, self.head_dim = config.kv_heads, config.head_dim
        self.groups = config.heads // config.kv_heads
        self.theta = config.rope_theta
        self.scale = config.head_dim**-0.5
        self.slopes = torch.tensor(config.alibi_slopes or (0.0,) * config.heads).view(self.kv_heads, self.groups)
        slopes = self.slopes[..., None, None]
        constant = torch.cat([slopes, torch.ones_like(slopes)], -1) / self.scale
        self._constant: Tensor = constant  # [KV, G, 1, CACHE_CHANNELS]: the queries' side of the extra channels

    def rotation(self, positions: Tensor, like: Tensor) -> Rotation:
        """Factors for tokens at these positions, [T] or [B, T], where ``like`` is, in its precision or float32."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return rotation(positions.to(like.device), self.head_dim, self.theta, dtype)

    def fold(self, q: Tensor) -> Tensor:
        """Rotated q [B, T, H, D]: add the channels, lay the G queries of a key head end to end: [B, KV, G*T, E]."""
        constant = self._channels(q).expand(len(q), -1, -1, q.shape[1], -1)
        return torch.cat([self.grouped(q), constant], -1).flatten(2, 3)

    def room_for_queries(self, batch: int, length: int, like: Tensor) -> Tensor:
        """[B, KV, G, T, E] with the channels set; the queries of every layer of a pass can be written into it."""
        room = like.new_empty(batch, self.kv_heads, self.groups, length, self.head_dim + CACHE_CHANNELS)
        room[..., self.head_dim :] = self._channels(like)
        return room

    def _channels(self, like: Tensor) -> Tensor:
        """The queries' side of the extra channels, where ``like`` is."""
        if self._constant.device != like.device or self._constant.dtype != like.dtype:
            self._constant = self._constant.to(like)
        return self._constant

    def grouped(self, q: Tensor) -> Tensor:
        """[B, T, H, D] seen as [B, KV, G, T, D]."""
        return torch.unflatten(q, 2, (self.kv_heads, self.groups)).permute(0, 2, 3, 1, 4)

    def unfold(self, y: Tensor, length: int) -> Tensor:
        """[B, KV, G*T, E] -> [B, T, H * D]."""
        heads = y[..., : self.head_dim].reshape(len(y), self.kv_heads, self.groups, length, self.head_dim)
        return heads.permute(0, 3, 1, 2, 4).reshape(len(y), length, -1)

    def attend(self, folded: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Softmax attention of [B, KV, G*T, E] over [B, KV, N, E]; the mask is [G*T, N], True or 0 where visible."""
        return F.scaled_dot_product_attention(folded, keys, values, attn_mask=mask, scale=self.scale)


class _Chunk(NamedTuple):
    """Queries first..last-1 and the keys oldest..last-1 that they meet, under a mask [G * queries, keys]."""

    oldest: int
    first: int
    last: int
    mask: Tensor


class WholeSequence:
    """All tokens of a sequence at once, under the block-causal mask. Serves every layer of one forward pass.

    Queries are cut into chunks of whole units, each meeting only the keys from the oldest that it remembers to its own
    end: most of what the mask would throw away is never computed.

    Args:
        geometry: of the heads.
        tokens: of whole slices.
        per_unit: how many a slice has.
        like: device and precision of the weights.
        dtype: of the softmax products.
        seen: slices that a token sees, its own among them; None: all.
    """

    def __init__(
        self,
        geometry: Geometry,
        tokens: Tokens,
        per_unit: int,
        like: Tensor,
        dtype: torch.dtype | None = None,
        seen: int | None = None,
    ) -> None:
        self.geometry = geometry
        self.dtype = dtype or like.dtype
        self.rotation = geometry.rotation(tokens.position, like)
        base = int(tokens.unit[-1])
        channels = torch.stack([tokens.unit - base, torch.zeros_like(tokens.unit)], -1)
        self.channels = channels.to(like.device, like.dtype)  # [T, CACHE_CHANNELS]
        units = len(tokens.unit) // per_unit
        n_chunks = min(units, 4)
        cuts = [units * i // n_chunks for i in range(n_chunks + 1)]
        spans = [(0 if seen is None else max(0, a - seen + 1), a, b) for a, b in pairwise(cuts)]
        self.chunks = [self._mask(tokens, seen, *(per_unit * unit for unit in span)) for span in spans]

    def attend(self, layer: int, qk: Tensor, v: Tensor) -> Tensor:
        """See `Memory`. Rotates in the precision of the weights; bf16 softmax products are slower on CPUs."""
        rotated = rotate(qk.to(self.rotation.cos.dtype), self.rotation)
        q, k = rotated[:, :, : -self.geometry.kv_heads], rotated[:, :, -self.geometry.kv_heads :].transpose(1, 2)
        keys = torch.cat([k, self.channels.expand(*k.shape[:2], -1, -1)], -1).to(self.dtype)
        values = F.pad(v.transpose(1, 2), (0, CACHE_CHANNELS)).to(self.dtype)
        return torch.cat([self._chunk(q, keys, values, chunk) for chunk in self.chunks], 1)

    def _mask(self, tokens: Tokens, seen: int | None, oldest: int, first: int, last: int) -> _Chunk:
        queries, keys = tokens.part(first, last), tokens.part(oldest, last)
        mask = visible(queries, keys)
        if seen is not None:
            mask &= remembered(queries.slices, keys.slices, seen)
        return _Chunk(oldest, first, last, mask.repeat(self.geometry.groups, 1).to(self.channels.device))

    def _chunk(self, q: Tensor, keys: Tensor, values: Tensor, chunk: _Chunk) -> Tensor:
        folded = self.geometry.fold(q[:, chunk.first : chunk.last])
        met = slice(chunk.oldest, chunk.last)
        with torch.autocast(q.device.type, enabled=False):
            y = self.geometry.attend(folded.to(self.dtype), keys[:, :, met], values[:, :, met], chunk.mask)
        return self.geometry.unfold(y, chunk.last - chunk.first)
