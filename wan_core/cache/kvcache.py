"""The rules by which keys and values of the past are kept, in a `KVState`: growth, the cap, the anchors, one pass.

# B batch, L layers, KV key-value heads, C capacity in tokens, T new tokens, D head width, E = D + extra channels
# N tokens of a slice, S sink units, P units of the prefix
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..backbone.attention import HIDDEN, HIDDEN_CHANNEL, UNIT_CHANNEL, Geometry
from ..backbone.mask import TailMask, tokens_of
from ..backbone.rope import Rotation, rotate
from ..config import CACHE_CHANNELS, Preset
from .kvstate import KVState, base_of, lengthened


def _turned(keys: Tensor, by: Rotation) -> Tensor:
    """Keys [B, L, KV, T, D], rotated in all layers."""
    batch, layers, kv_heads, length, width = keys.shape
    heads = keys.permute(0, 3, 1, 2, 4).reshape(batch, length, layers * kv_heads, width)
    return rotate(heads, by).view(batch, length, layers, kv_heads, width).permute(0, 2, 3, 1, 4)


class KVCache:
    """The rules of a `KVState`: sizes, growth, the cap, the anchors. Holds no tensors of a session."""

    def __init__(self, preset: Preset, geometry: Geometry) -> None:
        self.geometry, config = geometry, preset.cache
        self.layers, self.kv_heads, self.per_unit, self.head_dim = preset.slice_shape
        self.noisy = preset.slots.noisy
        self.n_sinks, self.ring_units = config.n_sinks, config.ring_units
        self.sink_reach, self.prefix_reach = config.sink_reach, config.prefix_reach_units
        self.chunk_tokens = config.chunk_units * self.per_unit
        self.stride = geometry.stride
        self._offsets = tokens_of(preset.slots, 0, 1, position=preset.backbone.position).position

    def new_state(self, batch: int, like: Tensor, first_unit: int | Sequence[int] = 0) -> KVState:
        """An empty cache with the device and precision of ``like``; rows may begin at different units."""
        sinks = self.n_sinks * self.per_unit
        first = sinks + min(self.chunk_tokens, self.ring_units * self.per_unit) + self.per_unit + self.noisy
        room = (batch, self.layers, self.kv_heads)
        unit = torch.zeros(batch, dtype=torch.int64) + torch.tensor(first_unit)
        state = KVState(
            like.new_zeros(*room, first, self.head_dim + CACHE_CHANNELS),
            like.new_zeros(*room, first, self.head_dim + CACHE_CHANNELS),
            like.new_zeros(*room, sinks, self.head_dim),
            like.new_zeros(*room, 0, self.head_dim),
            unit,
            torch.zeros(batch, dtype=torch.int64),
            base_of(unit),
            like.new_zeros(*room, 0, self.head_dim),
            like.new_zeros(*room, 0, self.head_dim),
            used=sinks,
        )
        state.keys[..., :sinks, HIDDEN_CHANNEL] = HIDDEN
        return state

    def room(self, state: KVState) -> int:
        """Slices that one pass may take in: one where anchors move or a slice is replaced by each."""
        return 1 if state.anchored else max(1, self.ring_units - state.count)

    def reserve(self, state: KVState, tokens: int) -> None:
        """Make room for this many tokens behind what is filled; copies the history when memory must be taken."""
        capacity = state.keys.shape[-2]
        missing = state.filled + tokens - capacity
        if missing <= 0:
            return
        most = self._full(state) + self.per_unit + self.noisy
        growth = max(missing, min(-(-missing // self.chunk_tokens) * self.chunk_tokens, most - capacity))
        state.keys, state.values = lengthened(state.keys, growth), lengthened(state.values, growth)

    def positions(self, state: KVState, offsets: Tensor) -> Tensor:
        """Positions of tokens at these offsets [T] from the present slice: [T], or [B, T] where rows are elsewhere."""
        unit = state.unit
        return offsets + self.stride * (unit[0] if bool((unit == unit[0]).all()) else unit[:, None])

    def start_slice(self, state: KVState) -> None:
        """Before the first token of a slice: let the base of the unit channel follow, and the anchors.

        A function of units and ages alone, so that two caches with the same history stay equal bit by bit.
        """
        if state.lingering:
            self._replace_oldest(state)
        base = base_of(state.unit)
        if not torch.equal(base, state.base):
            moved = self.stride * (base - state.base).to(state.keys)[:, None, None, None]
            state.keys[..., : state.filled, UNIT_CHANNEL] -= moved
            state.base = base
        if state.anchored:
            self._place_anchors(state)

    def close_slices(self, state: KVState, fresh: Tensor) -> None:
        """The pending tokens are whole slices: let them join the history.

        Args:
            state: written in place.
            fresh: their un-rotated keys [B, L, KV, pending, D].
        """
        slices = state.pending // self.per_unit
        assert state.pending == slices * self.per_unit == fresh.shape[-2], (state.pending, fresh.shape)
        self._remember(state, fresh, slices)
        state.pending = 0
        state.unit = state.unit + slices
        state.slices += slices

    def set_prefix(self, state: KVState, keys: Tensor, values: Tensor) -> None:
        """Put a prefix in the place of the one that holds, between two slices.

        Args:
            state: written in place.
            keys: un-rotated [B, L, KV, P*N, D]; no tokens: there is no prefix any more.
            values: as many.
        """
        assert not state.pending, state.pending
        self._move(state, keys.shape[-2] - state.prefix.shape[-2])
        first = state.sinks.shape[-2]
        place = slice(first, first + keys.shape[-2])
        state.prefix, state.n_prefix = keys, keys.shape[-2] // self.per_unit
        state.values[..., place, : self.head_dim] = values
        state.keys[..., place, HIDDEN_CHANNEL] = 0.0  # also in rows that began after the last prefix was told
        state.keys[..., place, UNIT_CHANNEL] = self._present(state)
        moved = (state.age - self.prefix_reach).clamp_min(0)
        self._stand(state, keys, first, torch.arange(-state.n_prefix, 0), moved)
        state.coming_keys, state.coming_values = keys[..., :0, :], keys[..., :0, :]

    def add_to_prefix(self, state: KVState, keys: Tensor, values: Tensor, index: int, n_prefix: int) -> None:
        """Take slice ``index`` of the ``n_prefix`` ones of a prefix that comes; with the last one it holds."""
        if not index:
            state.coming_keys, state.coming_values = keys[..., :0, :], values[..., :0, :]
        state.coming_keys = torch.cat([state.coming_keys, keys], -2)
        state.coming_values = torch.cat([state.coming_values, values], -2)
        if index + 1 == n_prefix:
            self.set_prefix(state, state.coming_keys, state.coming_values)

    def _move(self, state: KVState, by: int) -> None:
        """Let everything behind the prefix lie so many tokens further back; negative: further forward."""
        if not by:
            return
        self.reserve(state, max(0, by))
        first, last = state.anchored, state.filled
        for tensor in (state.keys, state.values):
            for layer in tensor.unbind(1):  # one at a time: a copy of everything would take as much memory again
                layer[..., first + by : last + by, :] = layer[..., first:last, :].clone()
        state.used += by

    def skip(self, state: KVState, count: int) -> None:
        """Go on behind slice ``count - 1``, without slices that nobody remembers any more; the ring waits for others.

        What it then takes in stands where it would if nothing had been skipped.
        """
        state.lingering = 0
        self.reserve(state, self._full(state) + self.per_unit + self.noisy - state.filled)
        state.used = self._full(state)
        state.keys[..., state.anchored : state.used, HIDDEN_CHANNEL] = HIDDEN
        state.keys[..., state.anchored : state.used, UNIT_CHANNEL] = 0.0
        state.age = state.age + (count - state.count)
        state.unit = state.unit + (count - state.count)
        state.base = base_of(state.unit)
        state.count = count

    def _full(self, state: KVState) -> int:
        """Tokens of anchors and a full ring."""
        return state.anchored + self.ring_units * self.per_unit

    def write_channels(self, state: KVState, first: int, positions: Tensor) -> None:
        """Set the extra channels of the tokens from place ``first`` on, in all layers; positions are [T] or [B, T]."""
        span, base = state.keys[..., first : first + positions.shape[-1], :], self.stride * state.base
        distance = positions - base[0] if positions.dim() == 1 else (positions - base[:, None])[:, None, None]
        span[..., UNIT_CHANNEL] = distance.to(span)
        span[..., HIDDEN_CHANNEL] = 0.0

    def append(self, state: KVState, keys: Tensor, values: Tensor) -> None:
        """Add a slice that another cache has computed: un-rotated keys and values [B, L, KV, N, D]."""
        length, positions = keys.shape[-2], self.positions(state, self._offsets)
        rotated = _turned(keys, self.geometry.rotation(positions, keys))
        self.reserve(state, length + self.noisy)
        first = state.filled
        state.keys[..., first : first + length, : self.head_dim] = rotated
        state.values[..., first : first + length, : self.head_dim] = values
        self.write_channels(state, first, positions)
        state.pending += length

    def _remember(self, state: KVState, fresh: Tensor, slices: int) -> None:
        """Slices of the dialogue: into the sinks while a row is that young, and into the ring."""
        if bool((state.age < self.n_sinks).any()):
            self._keep_sink(state, fresh)
        if state.count >= self.n_sinks:
            if state.used < self._full(state):
                state.used += state.pending
            else:
                state.lingering = self.per_unit
        state.count += slices
        state.age = state.age + slices

    def _replace_oldest(self, state: KVState) -> None:
        assert (state.lingering, state.pending) == (self.per_unit, 0), (state.lingering, state.pending)
        source = slice(state.used, state.used + self.per_unit)
        first = state.anchored + self._place(state.count - 1 - self.n_sinks) * self.per_unit
        for tensor in (state.keys, state.values):
            tensor[..., first : first + self.per_unit, :] = tensor[..., source, :]
        state.lingering = 0

    def _place(self, slices: int) -> int:
        """Place in the ring of the slice that comes after so many."""
        return slices % self.ring_units

    def _keep_sink(self, state: KVState, fresh: Tensor) -> None:
        """Copy the pending slice to where young rows keep their first units; in the ring it is hidden from them."""
        assert state.pending == self.per_unit, (state.pending, self.per_unit)
        source = slice(state.used, state.used + self.per_unit)
        for row, age in enumerate(state.age.tolist()):
            if age < self.n_sinks:
                place = slice(age * self.per_unit, (age + 1) * self.per_unit)
                state.sinks[row, :, :, place] = fresh[row]
                for tensor in (state.keys, state.values):
                    tensor[row, :, :, place] = tensor[row, :, :, source]
                state.keys[row, :, :, source, HIDDEN_CHANNEL] = HIDDEN

    def _place_anchors(self, state: KVState) -> None:
        """Places of anchors while a slice is written.

        An anchor of unit j, counted from where its row began, stands at ``j + max(0, age - reach)``: its distance
        from the present unit is ``min(age, reach) - j``. To ALiBi it is as near as the present unit.
        """
        state.keys[..., : state.anchored, UNIT_CHANNEL] = self._present(state)
        self._turn(state, state.sinks, 0, torch.arange(self.n_sinks), self.sink_reach)
        self._turn(state, state.prefix, state.sinks.shape[-2], torch.arange(-state.n_prefix, 0), self.prefix_reach)

    def _present(self, state: KVState) -> Tensor:
        """The unit channel of the present slice, [B, 1, 1, 1]."""
        return self.stride * (state.unit - state.base).to(state.keys)[:, None, None, None]

    def _turn(self, state: KVState, keys: Tensor, first: int, units: Tensor, reach: int) -> None:
        """Rotate anchors anew; there is nothing to do before they have reached their distance."""
        moved = (state.age - reach).clamp_min(0)
        if bool(moved.any()):
            self._stand(state, keys, first, units, moved)

    def _stand(self, state: KVState, keys: Tensor, first: int, units: Tensor, moved: Tensor) -> None:
        """Write anchors of these units, rotated where they stand when they have ``moved`` [B] units from there."""
        if not keys.shape[-2]:
            return
        places = (self.stride * units[:, None] + self._offsets).flatten()
        at = self.stride * (state.unit - state.age + moved)[:, None] + places
        by = self.geometry.rotation(at[0] if state.batch == 1 else at, keys)
        state.keys[..., first : first + keys.shape[-2], : self.head_dim] = _turned(keys, by)


class CachePass:
    """One pass of new tokens over a cache: a `Memory` that writes their keys and values behind the history.

    Args:
        cache: the rules.
        state: written in place, all layers of it; `keep` makes the tokens part of the pending slice, else the next
            pass overwrites them.
        offsets: [T] position of each new token, counted from that of the present slice.
        mask: among the new tokens; None: all see each other. The history is visible to all.
        fresh: [B, L, KV, T, D], takes the un-rotated keys; None: not wanted.
    """

    def __init__(
        self,
        cache: KVCache,
        state: KVState,
        offsets: Tensor,
        mask: TailMask | None = None,
        fresh: Tensor | None = None,
    ) -> None:
        self.cache, self.state = cache, state
        self.length = len(offsets)
        cache.reserve(state, self.length)
        self.first, self.last = state.filled, state.filled + self.length
        positions = cache.positions(state, offsets)
        self.by = cache.geometry.rotation(positions, state.keys)
        cache.write_channels(state, self.first, positions)
        self.mask = None if mask is None else mask.over(self.last, state.keys.shape[-2], state.keys)
        # what each layer reads and where it writes, as [B, T, KV, D]: made once, for all layers
        keys, values, width = state.keys[..., : self.last, :], state.values[..., : self.last, :], cache.head_dim
        new_keys, new_values = (x[..., self.first :, :width].transpose(2, 3).unbind(1) for x in (keys, values))
        unrotated = [None] * cache.layers if fresh is None else fresh.transpose(2, 3).unbind(1)
        self.layers = list(zip(keys.unbind(1), values.unbind(1), new_keys, new_values, unrotated, strict=True))
        room = cache.geometry.room_for_queries(state.batch, self.length, state.keys)
        self.queries, self.folded = room[..., :width], room.flatten(2, 3)

    def attend(self, layer: int, qk: Tensor, v: Tensor) -> Tensor:
        """See `attention.Memory`."""
        geometry, kv_heads = self.cache.geometry, self.cache.kv_heads
        keys, values, new_keys, new_values, unrotated = self.layers[layer]
        q, k = torch.split(rotate(qk, self.by), [qk.shape[2] - kv_heads, kv_heads], 2)
        new_keys.copy_(k)
        new_values.copy_(v)
        if unrotated is not None:
            unrotated.copy_(qk[:, :, -kv_heads:])
        self.queries.copy_(geometry.grouped(q))
        return geometry.unfold(geometry.attend(self.folded, keys, values, self.mask), self.length)

    def keep(self) -> None:
        """After the last layer: the tokens belong to the pending slices."""
        self.state.pending += self.length
