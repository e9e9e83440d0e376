"""Flow time as the large presets take it: it shifts, scales and gates what the blocks do to noisy tokens.

One projection of the embedded flow time is shared by all blocks, and each block adds a table of its own to it, as in
Wan 2.1. All of it is zero at first, and gates are ``1 + g``: a language model that is loaded stays what it was. Clean
tokens have no flow time and are left alone.

# B batch, U units, T tokens of a unit's slice and its noisy ones, d width, L layers
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

SHIFT, SCALE, GATE = 0, 1, 2
"""Places in the half of a table that belongs to attention, and in the half that belongs to the feed-forward."""

ATTENTION, FEED_FORWARD = 0, 3
"""Where these halves begin."""

PLACES = 6


class Modulation(NamedTuple):
    """Modulation of the noisy tokens of one pass by one layer.

    Attributes:
        table: [B, U, 1, 6, d].
        clean: of the T tokens of each unit, how many come before the noisy ones.
        per_unit: T; what is in front of the last U * T tokens of a sequence is clean as well.
    """

    table: Tensor
    clean: int
    per_unit: int

    def before(self, x: Tensor, half: int) -> Tensor:
        """The normalised stream [B, N, d] on its way into half a block: scaled by ``1 + s`` and shifted."""
        return self._of_noisy(x, 1 + self.table[..., half + SCALE, :], self.table[..., half + SHIFT, :])

    def after(self, y: Tensor, half: int) -> Tensor:
        """Gate of what half a block adds to the stream, [B, N, d]: times ``1 + g``."""
        return self._of_noisy(y, 1 + self.table[..., half + GATE, :], None)

    def _of_noisy(self, x: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
        length = self.table.shape[1] * self.per_unit
        before, units = x[:, :-length], torch.unflatten(x[:, -length:], 1, (-1, self.per_unit))
        noisy = units[:, :, self.clean :] * scale
        changed = torch.cat([units[:, :, : self.clean], noisy if shift is None else noisy + shift], 2)
        return torch.cat([before, changed.flatten(1, 2)], 1)


def modulations(layers: Tensor, clean: int, per_unit: int) -> tuple[Modulation, ...]:
    """Those of every layer, from [L, B, U, 6, d]; see `Modulation`."""
    return tuple(Modulation(table.unsqueeze(2), clean, per_unit) for table in layers)


class FlowModulation(nn.Module):
    """Embedded flow time [B, U, d] -> what it does in every layer, [L, B, U, 6, d]."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, PLACES * width)
        self.tables = nn.Parameter(torch.zeros(layers, PLACES, width))
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, time: Tensor) -> Tensor:
        """One projection for all blocks, and to it the table of each."""
        shared = torch.unflatten(self.project(F.silu(time)), -1, (PLACES, -1))
        y: Tensor = shared + self.tables[:, None, None]
        return y
