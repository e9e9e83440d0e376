"""What `encode` and `decode` have in common: a checkpoint that names a preset, and one part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from ..runtime.errors import CheckpointError
from ..runtime.node import Node, NodeContext, Param
from ..runtime.packet import Array
from ..wan_core.checkpoint_header import check_part, preset_of
from ..wan_core.config import Preset
from ..wan_core.errors import ModelError

COMPILE = ("none", "inductor")
"""What can run what a node computes each unit: operators one by one, or kernels made of many."""


def compile_param() -> Any:
    """How a node's model runs."""
    return Param(
        "none", choices=COMPILE, help="inductor: torch.compile what runs each unit; starts slowly, gains little on CPUs"
    )


if TYPE_CHECKING:
    from torch import Tensor, nn

    Part = TypeVar("Part", bound=nn.Module)


class CodecNode(Node):
    """A node that runs one part of a checkpoint, always on one unit of one session.

    Class attributes:
        part: name of the part in checkpoints; empty for a front end without weights.
    """

    part: ClassVar[str] = ""

    checkpoint: str = Param("tiny", path="input", help="preset name, .safetensors file or folder of them")

    @classmethod
    def preset(cls, params: Mapping[str, Any]) -> Preset | None:
        """The preset behind these parameters; None where there is none, `check` says why."""
        try:
            return preset_of(params.get("checkpoint", cls.params["checkpoint"].default))
        except ModelError:
            return None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """Look at the checkpoint's header: is it whole, of a known preset, with the part in it.

        Raises:
            CheckpointError: it is not.
        """
        checkpoint = params.get("checkpoint", cls.params["checkpoint"].default)
        try:
            if cls.part:
                check_part(checkpoint, cls.part)
            else:
                preset_of(checkpoint)
        except ModelError as error:
            raise CheckpointError(str(error)) from error

    def load(self, ctx: NodeContext, build: Callable[[Preset], Part]) -> Part:
        """Build the part with its weights, and say in the run's summary where they came from.

        Raises:
            CheckpointError: the checkpoint cannot be used.
        """
        from ..wan_core.checkpoint import load_part

        try:
            loaded = load_part(self.checkpoint, self.part, build, ctx.seed, ctx.device)
        except ModelError as error:
            raise CheckpointError(str(error)) from error
        ctx.report("weights", f"{self.part}: {loaded.description}")
        return loaded.module


class Inlet:
    """One unit on its way into the model: a float32 tensor [1, 1, *shape] that is filled anew for each unit.

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

    def take(self, array: Array, scale: float = 1.0, offset: float = 0.0) -> Tensor:
        """The array times ``scale`` plus ``offset``; one frame for all is repeated.

        Raises:
            ModelError: another shape or dtype than the port's.
        """
        if array.shape != self.shape or array.dtype.name != self.dtype:
            raise ModelError(
                f"input '{self.port}': found [{shape_words(array.shape)}] {array.dtype} "
                f"(expected [{shape_words(self.shape)}] {self.dtype}), convert it before this node"
            )
        np.multiply(array, np.float32(scale), out=self._view, dtype=np.float32)
        if offset:
            self._view += np.float32(offset)
        return self._tensor.to(self.device)


def shape_words(shape: tuple[int, ...]) -> str:
    """A shape as ports write it: ``4 4 16``."""
    return " ".join(map(str, shape))
