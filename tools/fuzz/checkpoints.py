"""Checkpoints: their headers, read as `wangraph check` and the model's loader do, and the tensors behind them."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

from ...wan_core.checkpoint import read
from ...wan_core.checkpoint_header import check_part, inspect, vocabulary_of
from ...wan_core.errors import ModelError
from .damage import spoilt, spoilt_bytes
from .reader import Reader

HEADER: dict[str, Any] = {
    "__metadata__": {"preset": "tiny", "version": "1", "hours": "3", "format": "1", "parts": "audio_codec"},
    "audio_codec.a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "audio_codec.a.bias": {"dtype": "F32", "shape": [3], "data_offsets": [24, 36]},
}
N_BYTES = 36
"""Of all tensors."""


class Checkpoint(NamedTuple):
    """A file, and how many bytes follow its header."""

    head: bytes
    n_bytes: int


class Checkpoints(Reader):
    """See the module."""

    declared = (ModelError,)

    def case(self, chance: random.Random) -> Checkpoint:
        """A header that says something else, or one whose bytes are spoilt, of a wrong length, and cut data."""
        n_bytes = N_BYTES if chance.random() < 0.9 else chance.randrange(2 * N_BYTES)
        if chance.random() < 0.6:
            header = HEADER
            for _ in range(chance.choice([1, 1, 2, 4])):
                header = spoilt(header, chance)
            data = json.dumps(header).encode()
            return Checkpoint(len(data).to_bytes(8, "little") + data, n_bytes)
        data = json.dumps(HEADER).encode()
        length = chance.choice([0, 1, 2**20, 2**40, 2**64 - 1, len(data)])
        return Checkpoint(length.to_bytes(8, "little") + spoilt_bytes(data, chance), n_bytes)

    def read(self, case: Checkpoint) -> None:
        """Read header, preset, vocabulary and hours, and the tensors."""
        path = self.folder / "c.safetensors"
        path.write_bytes(case.head + bytes(case.n_bytes))
        info = inspect(path)
        assert info.parts is not None and info.preset is not None
        check_part(path, "audio_codec")
        vocabulary_of(path)
        for tensor in read(path, info.tensors):
            tensor.sum()
