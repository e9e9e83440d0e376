"""A whole sequence with anchors and a window: what `kvcache` does unit by unit, in one pass, for training.

A token of slice k sees the anchors of earlier slices (the prefix; the sinks, under policy ``window``) at the distance
``min(age of k, reach) - j``, to ALiBi as near as unit k; and other tokens at their true distance, as far back as the
cache holds them.

Since rotation is relative, an anchor that follows is a query that stays behind: the queries are rotated once for each
kind of key, and the kinds lie side by side along the head width, so that it is still one softmax.

# B batch, T tokens, H heads, KV key-value heads, G = H / KV, D head width
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..config import CacheConfig
from .attention import Geometry
from .mask import Tokens, remembered, visible
from .rope import rotate


class AnchoredSequence:
    """Serves every layer of one forward pass; a `Memory`.

    Args:
        geometry: of the heads.
        config: policy, window, sinks and reaches.
        tokens: of the prefix and of the dialogue; their units may leave a gap between the two.
        origin: the unit in which the session began; slices before it are the prefix.
        like: device and precision of the weights.
        dtype: of the softmax products.
    """

    def __init__(
        self,
        geometry: Geometry,
        config: CacheConfig,
        tokens: Tokens,
        origin: int,
        like: Tensor,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.geometry, self.dtype = geometry, dtype or like.dtype
        age = tokens.slices - origin
        prefix, sink = age < 0, (age >= 0) & (age < config.n_sinks)
        kinds = [(~(prefix | sink), None), (prefix, config.prefix_reach_units), (sink, config.sink_reach)]
        kinds = [(keys, reach) for keys, reach in kinds if bool(keys.any())]
        self._by = geometry.rotation(tokens.position, like)
        self._kinds = [
            (
                keys.to(like.device)[:, None, None],
                self._by
                if reach is None
                else geometry.rotation(tokens.position - geometry.stride * (age - reach).clamp_min(0), like),
            )
            for keys, reach in kinds
        ]
        self._bias = _bias(geometry, config, tokens, age, prefix | sink).to(like.device, self.dtype)

    def attend(self, layer: int, qk: Tensor, v: Tensor) -> Tensor:
        """See `attention.Memory`."""
        geometry, length = self.geometry, qk.shape[1]
        qk = qk.to(self._by.cos.dtype)
        q, k = qk[:, :, : -geometry.kv_heads], rotate(qk[:, :, -geometry.kv_heads :], self._by)
        queries = torch.cat([rotate(q, by) for _, by in self._kinds], -1)
        keys = torch.cat([k * is_kind for is_kind, _ in self._kinds], -1)
        heads = queries.view(*queries.shape[:2], geometry.kv_heads, geometry.groups, -1).permute(0, 2, 3, 1, 4)
        with torch.autocast(qk.device.type, enabled=False):
            y = F.scaled_dot_product_attention(
                heads.flatten(2, 3).to(self.dtype),
                keys.transpose(1, 2).to(self.dtype),
                v.transpose(1, 2).to(self.dtype),
                attn_mask=self._bias,
                scale=geometry.scale,
            )
        return geometry.unfold(y, length)


def _bias(geometry: Geometry, config: CacheConfig, tokens: Tokens, age: Tensor, anchors: Tensor) -> Tensor:
    """Bias added to scores, [KV, G*T, T]: ALiBi, and minus infinity where nothing is seen."""
    seen = visible(tokens, tokens) & (anchors[None] | remembered(age, age, config.seen_units))
    near = anchors[None] & (age[None] < age[:, None])
    reference = torch.where(near, tokens.slices[:, None], tokens.unit[None])
    distance = tokens.unit[:, None] - reference
    bias = -geometry.slopes[..., None, None] * distance
    return bias.masked_fill(~seen, float("-inf")).flatten(1, 2)
