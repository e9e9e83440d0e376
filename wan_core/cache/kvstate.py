"""Memory of a session: keys and values of the past, preallocated.

Layout of the token axis:  ``[ sinks | prefix | ring | lingering | pending | room for noisy tokens ]``.

- *sinks*: the first units of the session (policy ``window`` only), and *prefix*: what is told before unit 0, or
  later in its place. These are the *anchors*: never replaced by what comes after them, without ALiBi, and never
  further away than their reach. They are kept un-rotated besides, and rotated anew once per unit.
- *ring*: whole slices, rotated at their absolute unit. Until it is full a slice joins it by a change of integers; then
  a closed slice lingers behind it until the next one starts, and is copied over the oldest. Attention does not care
  about the order of keys (each carries its own position), so the ring needs neither mask nor shifting.
- *pending*: the slice under construction.

Where a token lies follows from what is remembered, not from how it came to be there: a state that is filled again from
a log holds the same numbers in the same order, and every sum over them is the same. So when a prefix of another length
is told, what lies behind it is moved by one copy. (Room to spare would be read by every pass of every unit.)

Rows of a batch may be at different units; what a row must not see, in a place that others use, is hidden from it by a
channel of the key (see `attention`): that is the key mask of the row.

# B batch, L layers, KV key-value heads, C capacity in tokens, D head width, E = D + extra channels
# N tokens of a slice, S sink units, P units of the prefix, Q of them that have come
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..backbone.attention import HIDDEN, HIDDEN_CHANNEL, UNIT_CHANNEL
from ..streaming import State

REBASE_UNITS = 32
"""The unit channel counts from a base that follows the present at this distance: near keys keep float32's precision."""


@dataclass
class KVState(State):
    """Memory of a batch of sessions. Written in place by `KVCache`.

    Attributes:
        keys: [B, L, KV, C, E], rotated at their absolute unit (anchors: where they stand for the present unit).
        values: [B, L, KV, C, E], the extra channels 0.
        sinks: [B, L, KV, S*N, D], un-rotated keys of the sinks.
        prefix: [B, L, KV, P*N, D], un-rotated keys of the prefix.
        unit: [B] int64 on the CPU: the unit whose slice is under construction.
        age: [B] int64 on the CPU: units that each row has taken in since it began, the prefix apart.
        base: [B] int64 on the CPU: what the unit channel counts from.
        used: tokens of sinks, prefix and closed slices.
        lingering: tokens of a closed slice that will replace the oldest when the next one starts.
        pending: tokens of the slice under construction.
        coming_keys: [B, L, KV, Q*N, D], un-rotated keys of a prefix that comes slice by slice, as far as it has come.
        coming_values: [B, L, KV, Q*N, D], its values.
        count: slices closed since the batch began, the prefix apart.
        n_prefix: units of the prefix.
        slices: of the context log, taken in since the batch began: those of the dialogue and of every prefix.
    """

    keys: Tensor
    values: Tensor
    sinks: Tensor
    prefix: Tensor
    unit: Tensor
    age: Tensor
    base: Tensor
    coming_keys: Tensor
    coming_values: Tensor
    used: int = 0
    lingering: int = 0
    pending: int = 0
    count: int = 0
    n_prefix: int = 0
    slices: int = 0

    @property
    def filled(self) -> int:
        """Tokens that a query sees."""
        return self.used + self.lingering + self.pending

    @property
    def batch(self) -> int:
        """Rows."""
        return len(self.unit)

    @property
    def units(self) -> tuple[int, ...]:
        """The unit of each row."""
        return tuple(self.unit.tolist())

    @property
    def is_coming(self) -> bool:
        """True if a prefix has come in part, and the rest of it has not."""
        return self.coming_keys.shape[-2] > 0

    @property
    def anchored(self) -> int:
        """Tokens of sinks and prefix."""
        return self.sinks.shape[-2] + self.prefix.shape[-2]

    def reset(self, rows: Sequence[int] | None = None, first_unit: int = 0) -> None:
        """Forget everything; with rows, hide what these have seen, in place (the others stay where they are).

        Args:
            rows: None is all of them.
            first_unit: the number of the unit that comes next in these rows.
        """
        if rows is None:
            super().reset()
            self.prefix, self.coming_keys, self.coming_values = (
                x[..., :0, :] for x in (self.prefix, self.coming_keys, self.coming_values)
            )
            self.used = self.sinks.shape[-2]
        index = slice(None) if rows is None else list(rows)
        with torch.inference_mode():
            self.keys[index, :, :, : self.filled, HIDDEN_CHANNEL] = HIDDEN
            self.keys[index, :, :, : self.filled, UNIT_CHANNEL] = 0.0
            self.age[index] = 0
            self.unit[index] = first_unit
            self.base[index] = base_of(torch.tensor(first_unit))

    def _saved(self, key: str) -> Tensor | int:
        """Not the empty room."""
        value = super()._saved(key)
        return value[..., : self.filled, :] if isinstance(value, Tensor) and key in ("keys", "values") else value

    def _expected(self, key: str, found: list[int]) -> list[int]:
        """A history, and prefixes, of any length."""
        expected = super()._expected(key, found)
        if key not in ("keys", "values", "prefix", "coming_keys", "coming_values"):
            return expected
        return [*expected[:3], *found[3:4], expected[4]]

    def _restored(self, key: str, saved: Tensor) -> Tensor:
        """The history, and the room behind it that there is now, or none."""
        if key not in ("keys", "values"):
            return saved
        room: Tensor = getattr(self, key)
        return lengthened(saved, max(0, room.shape[-2] - saved.shape[-2]))


def base_of(unit: Tensor) -> Tensor:
    """Unit from which the unit channel counts at this unit."""
    return unit - unit % REBASE_UNITS


def lengthened(x: Tensor, tokens: int) -> Tensor:
    """x [..., C, E] with this many empty tokens behind it; x itself when there are none to add."""
    if not tokens:
        return x
    length = x.shape[-2]
    longer = x.new_empty(*x.shape[:-2], length + tokens, x.shape[-1])
    longer[..., :length, :] = x
    longer[..., length:, :] = 0
    return longer
