"""What the thinker sends for each unit: the keys and values of one slice, and its place in the chain.

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
        units: the unit k of each row of the batch; the slice is ``[y_{k-1}, u_k, s_k]``.
        start: tokens in the log before it.
        keys: [B, L, KV, N, D], not rotated; who receives them rotates them.
        values: [B, L, KV, N, D].
        previous: digest of all before it.
        digest: of this slice and of all before it.
        answers: whether the performer shall answer; False for units that were absorbed or lost.
        is_world: told before the first unit.
        resumes: slices before it were left out, since no cache remembers them any more; not part of the digest.
    """

    units: tuple[int, ...]
    start: int
    keys: Tensor
    values: Tensor
    previous: bytes = NO_DIGEST
    digest: bytes = NO_DIGEST
    answers: bool = True
    is_world: bool = False
    resumes: bool = False

    @property
    def unit(self) -> int:
        """The unit of the first row, in batches of one the unit."""
        return self.units[0]


def sealed(slice_: KVSlice) -> KVSlice:
    """The slice with its digest."""
    return replace(slice_, digest=chained_digest(slice_))


def chained_digest(slice_: KVSlice) -> bytes:
    """Digest of everything in a slice and of the digest before it."""
    flags = f"{int(slice_.answers)} {int(slice_.is_world)}"
    head = f"{slice_.units} {slice_.start} {flags} {list(slice_.keys.shape)} {slice_.keys.dtype}".encode()
    digest = hashlib.blake2b(slice_.previous + head, digest_size=DIGEST_BYTES)
    for tensor in (slice_.keys, slice_.values):
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.digest()
