"""What the thinker sends for each unit: the keys and values of one slice, and its place in the chain.

# B batch, L layers, KV key-value heads, N tokens of a slice, D head width
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import ModelError

DIGEST_BYTES = 8
NO_DIGEST = bytes(DIGEST_BYTES)
"""The digest before the first slice."""


@dataclass(frozen=True)
class KVSlice:
    """One unit of the context log.

    Attributes:
        unit: k; the slice is ``[y_{k-1}, u_k, s_k]``.
        start: tokens in the log before it.
        keys: [B, L, KV, N, D], not rotated; who receives them rotates them.
        values: [B, L, KV, N, D].
        digest: of this slice and of all before it.
        answers: whether the performer shall answer; False for units that were absorbed or lost.
    """

    unit: int
    start: int
    keys: Tensor
    values: Tensor
    digest: bytes
    answers: bool = True


def chained_digest(previous: bytes, slice_: KVSlice) -> bytes:
    """Digest of everything in a slice and of the digest before it."""
    head = f"{slice_.unit} {slice_.start} {int(slice_.answers)} {list(slice_.keys.shape)}".encode()
    digest = hashlib.blake2b(previous + head, digest_size=DIGEST_BYTES)
    for tensor in (slice_.keys, slice_.values):
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.digest()


def check_follows(slice_: KVSlice, unit: int, start: int, previous: bytes) -> None:
    """Pass if the slice is the next one of a log that holds ``start`` tokens and ends in ``previous``.

    Raises:
        ModelError: another unit, start or digest: something was lost, repeated, or changed on the way.
    """
    if (slice_.unit, slice_.start) != (unit, start):
        raise ModelError(
            f"context: found slice of unit {slice_.unit} at token {slice_.start} "
            f"(expected unit {unit} at token {start}), slices were lost or repeated: send the log again from there"
        )
    expected = chained_digest(previous, slice_)
    if slice_.digest != expected:
        raise ModelError(
            f"context: unit {unit}: found digest {slice_.digest.hex()} (expected {expected.hex()}), "
            "the two histories differ: send the log again from an earlier unit"
        )
