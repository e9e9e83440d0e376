"""Keys and values of the past, preallocated and written in place.

Layout of the token axis:  ``[ used | pending | room for noisy tokens ]``. *Used* holds whole slices; *pending* the
slice under construction, which joins *used* when it is closed. Until the cap is reached that is a change of two
integers. At the cap *used* is a ring of units: a closed slice is copied over the oldest one. Attention does not care
about the order of keys (each carries its own position), so the ring needs neither mask nor shifting.

# B batch, L layers, KV key-value heads, C capacity in tokens, T new tokens, D head width, E = D + extra channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .attention import HIDDEN, HIDDEN_CHANNEL, UNIT_CHANNEL, Geometry
from .config import CACHE_CHANNELS, Preset
from .mask import TailMask
from .rope import Rotation, rotate
from .streaming import State

REBASE_UNITS = 32
"""The unit channel counts from a base that follows the present at this distance: near keys keep float32's precision."""


@dataclass
class KVState(State):
    """What one session (or a batch of them, all at the same unit) remembers. Written in place by `KVCache`.

    Attributes:
        keys: [B, L, KV, C, E], rotated at their absolute unit.
        values: [B, L, KV, C, E], the extra channels 0.
        used: tokens of closed slices.
        pending: tokens of the slice under construction.
        oldest: at the cap, the slice that is replaced next.
        base: what the unit channel counts from.
    """

    keys: Tensor
    values: Tensor
    used: int = 0
    pending: int = 0
    oldest: int = 0
    base: int = 0

    @property
    def filled(self) -> int:
        """Tokens that a query sees."""
        return self.used + self.pending

    def _saved(self, key: str) -> Tensor | int:
        """Not the empty room."""
        value = super()._saved(key)
        return value[..., : self.filled, :] if isinstance(value, Tensor) else value

    def _expected(self, key: str, found: list[int]) -> list[int]:
        """A history of any length."""
        expected = super()._expected(key, found)
        return [*expected[:3], *found[3:4], expected[4]] if expected else expected

    def _restored(self, key: str, saved: Tensor) -> Tensor:
        """The history, and the room behind it that there is now, or none."""
        room: Tensor = getattr(self, key)
        return _lengthened(saved, max(0, room.shape[-2] - saved.shape[-2]))

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Forget everything, in place; with rows, hide what these have seen (the others stay where they are)."""
        if rows is None:
            super().reset()
            return
        with torch.inference_mode():
            self.keys[list(rows), :, :, : self.filled, HIDDEN_CHANNEL] = HIDDEN


def _lengthened(x: Tensor, tokens: int) -> Tensor:
    """x [..., C, E] with this many empty tokens behind it; x itself when there are none to add."""
    if not tokens:
        return x
    length = x.shape[-2]
    longer = x.new_empty(*x.shape[:-2], length + tokens, x.shape[-1])
    longer[..., :length, :] = x
    longer[..., length:, :] = 0
    return longer


class KVCache:
    """The rules of a `KVState`: sizes, growth, the cap. Holds no tensors of its own."""

    def __init__(self, preset: Preset, geometry: Geometry) -> None:
        self.geometry = geometry
        self.layers, self.kv_heads, self.per_unit, self.head_dim = preset.slice_shape
        self.noisy = preset.slots.noisy
        self.cap_tokens = preset.cache.cap_units * self.per_unit
        self.chunk_tokens = preset.cache.chunk_units * self.per_unit
        self.most_tokens = self.cap_tokens + self.per_unit + self.noisy

    def new_state(self, batch: int, like: Tensor) -> KVState:
        """An empty cache with the device and precision of ``like``."""
        first = min(self.chunk_tokens, self.cap_tokens) + self.per_unit + self.noisy
        shape = (batch, self.layers, self.kv_heads, first, self.head_dim + CACHE_CHANNELS)
        return KVState(like.new_zeros(shape), like.new_zeros(shape))

    def is_full(self, state: KVState) -> bool:
        """Whether the next slice replaces the oldest one."""
        return state.used >= self.cap_tokens

    def reserve(self, state: KVState, tokens: int) -> None:
        """Make room for this many tokens behind what is filled; copies the history when memory must be taken."""
        missing = state.filled + tokens - state.keys.shape[-2]
        if missing <= 0:
            return
        growth = -(-missing // self.chunk_tokens) * self.chunk_tokens
        growth = max(missing, min(growth, self.most_tokens - state.keys.shape[-2]))
        state.keys, state.values = _lengthened(state.keys, growth), _lengthened(state.values, growth)

    def start_slice(self, state: KVState, unit: int) -> None:
        """Before the first token of slice ``unit``: let the base of the unit channel follow.

        A function of the unit alone, so that two caches with the same history stay equal bit by bit.
        """
        base = unit - unit % REBASE_UNITS
        if base != state.base:
            state.keys[..., : state.filled, UNIT_CHANNEL] -= base - state.base
            state.base = base

    def close_slices(self, state: KVState) -> None:
        """The pending tokens are whole slices: let them join the history."""
        if state.used < self.cap_tokens:
            state.used += state.pending
        else:
            self._replace_oldest(state)
        state.pending = 0

    def _replace_oldest(self, state: KVState) -> None:
        assert state.pending == self.per_unit, (state.pending, self.per_unit)
        source = slice(state.used, state.used + self.per_unit)
        target = slice(state.oldest * self.per_unit, (state.oldest + 1) * self.per_unit)
        for tensor in (state.keys, state.values):
            tensor[..., target, :] = tensor[..., source, :]
        state.oldest = (state.oldest + 1) % (self.cap_tokens // self.per_unit)

    def write_channels(self, state: KVState, first: int, units: Tensor) -> None:
        """Set the extra channels of the tokens from position ``first`` on, in all layers."""
        span = state.keys[..., first : first + len(units), :]
        span[..., UNIT_CHANNEL] = (units - state.base).to(span)
        span[..., HIDDEN_CHANNEL] = 0.0

    def append(self, state: KVState, keys: Tensor, values: Tensor, units: Tensor) -> None:
        """Add tokens that another cache has computed: un-rotated keys and values [B, L, KV, T, D]."""
        length = keys.shape[-2]
        rotated = rotate(keys.transpose(-3, -2), self.geometry.rotation(units, keys)).transpose(-3, -2)
        self.reserve(state, length + self.noisy)
        first = state.filled
        state.keys[..., first : first + length, : self.head_dim] = rotated
        state.values[..., first : first + length, : self.head_dim] = values
        self.write_channels(state, first, units)
        state.pending += length


class CachePass:
    """One pass of new tokens over a cache: a `Memory` that writes their keys and values behind the history.

    Args:
        cache: the rules.
        state: written in place, all layers of it; `keep` makes the tokens part of the pending slice, else the next
            pass overwrites them.
        units: [T] unit of each new token.
        by: their rotation.
        mask: among the new tokens; None: all see each other. The history is visible to all.
        fresh: [B, L, KV, T, D], takes the un-rotated keys; None: not wanted.
    """

    def __init__(
        self,
        cache: KVCache,
        state: KVState,
        units: Tensor,
        by: Rotation,
        mask: TailMask | None = None,
        fresh: Tensor | None = None,
    ) -> None:
        self.cache, self.state, self.by, self.fresh = cache, state, by, fresh
        self.length = len(units)
        cache.reserve(state, self.length)
        self.first, self.last = state.filled, state.filled + self.length
        cache.write_channels(state, self.first, units)
        self.mask = None if mask is None else mask.over(self.last, state.keys.shape[-2], state.keys)

    def attend(self, layer: int, qk: Tensor, v: Tensor) -> Tensor:
        """As in `attention.Memory`."""
        geometry, width, kv_heads = self.cache.geometry, self.cache.head_dim, self.cache.kv_heads
        keys, values = self.state.keys[:, layer, :, : self.last], self.state.values[:, layer, :, : self.last]
        rotated = rotate(qk, self.by)
        keys[:, :, self.first :, :width] = rotated[:, :, -kv_heads:].transpose(1, 2)
        values[:, :, self.first :, :width] = v.transpose(1, 2)
        if self.fresh is not None:
            self.fresh[:, layer] = qk[:, :, -kv_heads:].transpose(1, 2)
        folded = geometry.fold(rotated[:, :, :-kv_heads])
        return geometry.unfold(geometry.attend(folded, keys, values, self.mask), self.length)

    def keep(self) -> None:
        """After the last layer: the tokens belong to the pending slices."""
        self.state.pending += self.length
