"""Block-causal mask of who sees whom, from order keys.

Within unit i the groups are ordered ``u_i = 3i``, ``s_i = 3i + 1``, ``y_i = 3i + 2``. Tokens travel in *slices*:
slice k is ``[y_{k-1}, u_k, s_k]``, in training followed by the noisy tokens of y_k.

- A clean token sees the clean tokens of smaller order, and those of its own group: all of them inside u and inside y,
  only itself and earlier ones inside s.
- A noisy token of y_i sees the clean tokens of order <= 3i + 1, and the noisy tokens of its own unit: sound and picture
  together, or, where they are not generated jointly, each its own kind.
- Nothing else sees noisy tokens.

So y_{k-1} does not see u_k and may be committed before u_k exists.

# T tokens, Q queries, N keys
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..config import Position, SlotConfig


class Tokens(NamedTuple):
    """Places of some tokens.

    Attributes:
        unit: [T] unit they belong to.
        order: [T] order key.
        place: [T] place inside s, 0 elsewhere: tokens of one group see each other up to their own place.
        noisy: [T] 0 for clean ones; those being denoised see each other where the number is the same.
        position: [T] what they are rotated by: their unit, or their place in the sequence of tokens.
    """

    unit: Tensor
    order: Tensor
    place: Tensor
    noisy: Tensor
    position: Tensor

    @property
    def slices(self) -> Tensor:
        """[T] the slice each of them travels in: that of its unit, but clean y in the next one."""
        return self.unit + ((self.order % 3 == 2) & (self.noisy == 0))

    def part(self, first: int, last: int) -> Tokens:
        """Tokens first..last-1."""
        return Tokens(*(field[first:last] for field in self))


def joined(one: Tokens, other: Tokens) -> Tokens:
    """One after the other."""
    return Tokens(*(torch.cat(pair) for pair in zip(one, other, strict=True)))


def tokens_of(
    slots: SlotConfig,
    first_unit: int,
    units: int,
    with_noisy: bool = False,
    position: Position = "unit",
    is_joint: bool = True,
) -> Tokens:
    """The tokens of slices ``first_unit .. first_unit + units - 1``, in sequence.

    By ``position`` ``token``, noisy tokens stand where they will stand when they are clean: in the next slice. Unless
    they are joint, those of sound and of picture do not see each other.
    """
    groups = [(slots.y, -1, 2, 0), (slots.u, 0, 0, 0), (slots.s, 0, 1, 0)]
    groups += [(slots.y_audio, 0, 2, 1), (slots.y_video, 0, 2, 1 if is_joint else 2)] if with_noisy else []
    # rows of (unit - k, order - 3k, place, noisy), the same for every slice k
    rows = [
        (unit, 3 * unit + rank, place if rank == 1 else 0, noisy)
        for count, unit, rank, noisy in groups
        for place in range(count)
    ]
    table = torch.tensor(rows, dtype=torch.int64)
    k = torch.arange(first_unit, first_unit + units)[:, None]
    unit, order, place, noisy = table.unbind(-1)
    at = unit + k if position == "unit" else torch.arange(len(rows)) + slots.clean * k
    return Tokens(
        (unit + k).flatten(),
        (order + 3 * k).flatten(),
        place.repeat(units),
        noisy.repeat(units),
        at.flatten(),
    )


class TailMask:
    """Mask among the newest T tokens, behind a history of any length that all of them see.

    The mask of a pass is a view of one buffer, so that none is made per unit.

    Args:
        mask: [T, T] bool.
        repeats: how often the T queries are repeated (the groups of grouped-query attention).
    """

    def __init__(self, mask: Tensor, repeats: int) -> None:
        self._tail = torch.zeros(mask.shape).masked_fill_(~mask, float("-inf")).repeat(repeats, 1)
        self._buffer = self._tail

    def over(self, length: int, room: int, like: Tensor) -> Tensor:
        """[repeats * T, length] to be added to scores: 0 where visible, else minus infinity.

        Args:
            length: history and new tokens.
            room: the length that may soon be needed.
            like: device and precision.
        """
        buffer = self._buffer
        if buffer.shape[1] < length or buffer.device != like.device or buffer.dtype != like.dtype:
            buffer = like.new_zeros(len(self._tail), max(length, room))
            buffer[:, -self._tail.shape[1] :] = self._tail
            self._buffer = buffer
        return buffer[:, -length:]


def remembered(queries: Tensor, keys: Tensor, seen: int) -> Tensor:
    """[Q, N] bool: whether keys of slices [N] are among the last ``seen`` ones up to the slice of each query [Q]."""
    return keys[None] > queries[:, None] - seen


def visible(queries: Tokens, keys: Tokens) -> Tensor:
    """[Q, N] bool: whether each query sees each key."""
    q_order, k_order = queries.order[:, None], keys.order[None]
    earlier = (k_order < q_order) & (keys.noisy[None] == 0)
    same_group = (k_order == q_order) & (queries.noisy[:, None] == keys.noisy[None])
    return earlier | (same_group & (keys.place[None] <= queries.place[:, None]))
