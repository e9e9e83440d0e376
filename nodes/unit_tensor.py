"""One unit on its way into a model, and shapes as ports write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..runtime.payload import Payload
from ..wan_core.errors import ModelError
from .on_device import taken

if TYPE_CHECKING:
    from torch import Tensor


class UnitTensor:
    """A float32 tensor [1, 1, *shape] that is filled anew for each unit.

    Packets are read-only and belong to their stream; the model gets a copy, made without allocating.
    """

    def __init__(self, port: str, shape: tuple[int, ...], dtype: str, device: str = "cpu") -> None:
        import torch

        self.port, self.shape, self.dtype, self.device = port, shape, dtype, device
        self._tensor = torch.zeros(1, 1, *shape)
        self._view = self._tensor[0, 0].numpy()

    def fill(self, value: float) -> Tensor:
        """A unit of the same number everywhere."""
        self._view.fill(value)
        return self._tensor.to(self.device)

    def copy(self, array: Payload, scale: float = 1.0, offset: float = 0.0) -> Tensor:
        """The array times ``scale`` plus ``offset``; one frame for all is repeated.

        Raises:
            ModelError: another shape or dtype than the port's.
        """
        if array.shape != self.shape or array.dtype.name != self.dtype:
            raise ModelError(
                f"input '{self.port}': found [{shape_words(array.shape)}] {array.dtype} "
                f"(expected [{shape_words(self.shape)}] {self.dtype}), convert it before this node"
            )
        if not isinstance(array, np.ndarray):  # of the device
            return taken(array, self.device)[None, None].float().mul_(scale).add_(offset)
        np.multiply(array, np.float32(scale), out=self._view, dtype=np.float32)
        if offset:
            self._view += np.float32(offset)
        return self._tensor.to(self.device)


def shape_words(shape: tuple[int, ...]) -> str:
    """A shape as ports write it: ``4 4 16``."""
    return " ".join(map(str, shape))
