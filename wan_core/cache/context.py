"""The context log as both sides hold it: keys and values, and the digest that says that they are the same.

# B batch, L layers, KV key-value heads, N tokens of a slice, D head width
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_input, check_shape
from ..errors import ModelError
from ..streaming import State
from .kvcache import KVCache
from .kvslice import DIGEST_BYTES, NO_DIGEST, KVSlice, chained_digest
from .kvstate import KVState


@dataclass
class ContextState(State):
    """Everything committed so far, in a session or a batch of them.

    Attributes:
        cache: keys and values.
        digest: [8] uint8, of the last slice.
    """

    cache: KVState
    digest: Tensor

    @property
    def unit(self) -> int:
        """The unit that comes next, in the first row."""
        return self.cache.units[0]

    @property
    def place(self) -> int:
        """The place in the log of the slice that comes next."""
        return self.cache.slices

    @property
    def batch(self) -> int:
        """Rows."""
        return self.cache.batch

    @property
    def last_digest(self) -> bytes:
        """Digest of the last slice."""
        return self.digest.numpy().tobytes()

    def reset(self, rows: Sequence[int] | None = None, first_unit: int = 0) -> None:
        """Begin anew, in place; with rows, these forget what they have seen and the others go on."""
        if rows is None:
            super().reset()
        self.cache.reset(rows, first_unit)


def no_digest() -> Tensor:
    """The digest before the first slice, as states hold it."""
    return torch.zeros(DIGEST_BYTES, dtype=torch.uint8)


def append_slice(cache: KVCache, state: ContextState, slice_: KVSlice) -> None:
    """Take the next slice of the log that somebody else has computed; the state is written in place.

    Raises:
        ModelError: not the next one, changed on the way, or of another model; the state is then as before.
    """
    check_fits(cache, state, slice_)
    check_follows(cache, state, slice_)
    take_slice(cache, state, slice_)


@torch.inference_mode()
def take_slice(cache: KVCache, state: ContextState, slice_: KVSlice) -> None:
    """Take a slice that fits and follows; see `append_slice`.

    Raises:
        ModelError: it holds NaN or infinity, as its writer computed them; the state is then as before.
    """
    check_input("context keys", slice_.keys, tuple(slice_.keys.shape))
    check_input("context values", slice_.values, tuple(slice_.values.shape))
    held = state.cache
    if slice_.is_prefix:
        if not held.count:  # nothing else has said yet where the session begins
            held.unit = torch.tensor(slice_.units) + slice_.n_prefix - slice_.count
        cache.add_to_prefix(held, slice_.keys, slice_.values, slice_.count, slice_.n_prefix)
    else:
        if not slice_.n_prefix and (held.n_prefix or held.is_coming):
            cache.set_prefix(held, slice_.keys[..., :0, :], slice_.values[..., :0, :])
        if slice_.count > held.count:
            cache.skip(held, slice_.count)
        held.unit = torch.tensor(slice_.units)
        cache.start_slice(held)
        cache.append(held, slice_.keys, slice_.values)
        cache.close_slices(held, slice_.keys)
    held.slices = slice_.place + 1
    state.digest = torch.frombuffer(bytearray(slice_.digest), dtype=torch.uint8)


def check_fits(cache: KVCache, state: ContextState, slice_: KVSlice) -> None:
    """Pass if the slice has the shapes and the precision of this cache.

    Raises:
        ModelError: it is of another model.
    """
    shape = (state.batch, cache.layers, cache.kv_heads, cache.per_unit, cache.head_dim)
    for name, tensor in (("keys", slice_.keys), ("values", slice_.values)):
        check_shape(f"context {name}", tensor, shape)
        if tensor.dtype != state.cache.keys.dtype:
            raise ModelError(
                f"context {name}: found {tensor.dtype} (expected {state.cache.keys.dtype}), "
                "give both sides the same dtype"
            )


def check_follows(cache: KVCache, state: ContextState, slice_: KVSlice) -> None:
    """Pass if the slice is whole, and the next one of the log.

    Raises:
        ModelError: it was changed, or something was lost or repeated before it.
    """
    held, previous = state.cache, state.last_digest
    start, units = held.slices * cache.per_unit, held.units
    if slice_.is_prefix:
        before = slice_.n_prefix - slice_.count
        units = tuple(unit - age - before for unit, age in zip(units, held.age.tolist(), strict=True))
    if slice_.start != start or (slice_.units != units and held.slices):
        raise ModelError(
            f"context: found slice of unit {slice_.unit} at token {slice_.start} (expected unit {units[0]} at token "
            f"{start}), slices were lost or repeated: send the log again from there"
        )
    if slice_.previous != (previous if start else NO_DIGEST):
        raise ModelError(
            f"context: unit {slice_.unit}: found a slice after {slice_.previous.hex()} (expected {previous.hex()}), "
            "the two histories differ: send the log again from its beginning"
        )
    expected = chained_digest(slice_)
    if slice_.digest != expected:
        raise ModelError(
            f"context: unit {slice_.unit}: found digest {slice_.digest.hex()} (expected {expected.hex()}), "
            "the slice was changed on the way: send it again"
        )
