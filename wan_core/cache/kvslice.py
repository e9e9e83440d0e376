"""Slice of keys and values that the thinker sends for each unit, and for each unit of a prefix, with its place.

# B batch, L layers, KV key-value heads, N tokens of a slice, D head width
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

DIGEST_BYTES = 8
NO_DIGEST = bytes(DIGEST_BYTES)
"""The digest before the first slice."""


@dataclass(frozen=True)
class KVSlice:
    """One unit of the context log.

    Attributes:
        units: the unit k of each row of the batch; the slice is ``[y_{k-1}, u_k, s_k]``. Those of a prefix stand right
            before the first unit of the session, whenever it is told.
        start: tokens in the log before it.
        keys: [B, L, KV, N, D], not rotated; who receives them rotates them.
        values: [B, L, KV, N, D].
        previous: digest of all before it.
        digest: of this slice and of all before it.
        count: slices of the dialogue before it; of a prefix, those of this prefix.
        n_prefix: slices of the prefix that holds from here on; a prefix holds when its last slice is there.
        answers: whether the performer shall answer; False for units that were absorbed or lost.
        is_prefix: part of a prefix, not of the dialogue.
        resumes: slices before it were left out, since no cache remembers them any more; not part of the digest.
    """

    units: tuple[int, ...]
    start: int
    keys: Tensor
    values: Tensor
    previous: bytes = NO_DIGEST
    digest: bytes = NO_DIGEST
    count: int = 0
    n_prefix: int = 0
    answers: bool = True
    is_prefix: bool = False
    resumes: bool = False

    @property
    def unit(self) -> int:
        """The unit of the first row, in batches of one the unit."""
        return self.units[0]

    @property
    def place(self) -> int:
        """Slices in the log before it."""
        return self.start // self.keys.shape[-2]


def sealed(slice_: KVSlice) -> KVSlice:
    """The slice with its digest."""
    return replace(slice_, digest=chained_digest(slice_))


def chained_digest(slice_: KVSlice) -> bytes:
    """Digest of everything in a slice and of the digest before it."""
    flags = f"{slice_.count} {slice_.n_prefix} {int(slice_.answers)} {int(slice_.is_prefix)}"
    head = f"{slice_.units} {slice_.start} {flags} {list(slice_.keys.shape)} {slice_.keys.dtype}".encode()
    digest = hashlib.blake2b(slice_.previous + head, digest_size=DIGEST_BYTES)
    for tensor in (slice_.keys, slice_.values):
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.digest()
