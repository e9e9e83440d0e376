"""Base of nodes with weights: a checkpoint that names a preset, and the one part of it that they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..runtime.errors import CheckpointError
from ..runtime.node import NodeContext, Param
from ..wan_core.checkpoint_header import check_part, preset_of
from ..wan_core.config import Preset
from ..wan_core.errors import ModelError
from .on_device import torch_device

if TYPE_CHECKING:
    from torch import nn

    Part = TypeVar("Part", bound=nn.Module)

CHECKPOINT: Any = Param("tiny", path="input", help="preset name, .safetensors file or folder of them")
COMPILE: Any = Param(
    "none",
    choices=("none", "inductor"),
    help="inductor: torch.compile what runs each unit; starts slowly, gains little on CPUs",
)
"""How what a node computes each unit is run: operators one by one, or kernels made of many."""


def checkpoint_of(params: Mapping[str, Any]) -> str:
    """The checkpoint that is named by a node's parameters, of which some may be missing."""
    return str(params.get("checkpoint", CHECKPOINT.default))


def known_preset(params: Mapping[str, Any]) -> Preset | None:
    """The preset behind a node's parameters; None where there is none: `check_checkpoint` says why."""
    try:
        return preset_of(checkpoint_of(params))
    except ModelError:
        return None


def check_checkpoint(params: Mapping[str, Any], part: str = "") -> None:
    """Pass if the checkpoint's header is whole, of a known preset, and has the part in it, if one is named.

    Raises:
        CheckpointError: it is not.
    """
    try:
        if part:
            check_part(checkpoint_of(params), part)
        else:
            preset_of(checkpoint_of(params))
    except ModelError as error:
        raise CheckpointError(str(error)) from error


def load_weights(ctx: NodeContext, checkpoint: str, part: str, build: Callable[[Preset], Part]) -> Part:
    """Build a part with its weights, and say in the run's summary where they come from.

    Raises:
        CheckpointError: the checkpoint cannot be used.
    """
    from ..wan_core.checkpoint import load_part

    try:
        loaded = load_part(checkpoint, part, build, ctx.seed, torch_device(ctx.device))
    except ModelError as error:
        raise CheckpointError(str(error)) from error
    ctx.report("weights", f"{part}: {loaded.description}")
    return loaded.module
