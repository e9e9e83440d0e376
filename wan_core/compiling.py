"""`torch.compile` for what runs once a unit: fewer and larger kernels, the same numbers but for rounding.

Compiled are those passes through the blocks that every unit makes, and one unit of the codecs. Passes of other lengths
(catching up, prefill) stay as they are, or every new length would be compiled while somebody waits. The cache is never
inside: its history grows by a unit each time, and a compiled write to a part of it copies all of it. For the same
reason there are no CUDA graphs, which want the same shapes and the same addresses each time.

What it gains is time between small kernels. On a processor, calls of compiled functions cost about as much as the
operators that they replace: compare ``wangraph bench model`` with and without ``--compile``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from .backbone.transformer import Block
from .config import SlotConfig
from .errors import ModelError
from .model import DuplexModel

Codec = TypeVar("Codec", bound=nn.Module)


def compiled(model: DuplexModel) -> DuplexModel:
    """The model, its blocks compiled in place, each pass when it is first made.

    Raises:
        ModelError: there is no compiler for the device that it is on.
    """
    check_compiler(model.device.type)
    lengths = unit_lengths(model.slots)
    # functions of the class, so that all layers share what was compiled
    project, finish = torch.compile(Block.project, dynamic=False), torch.compile(Block.finish, dynamic=False)
    blocks: list[Any] = list(model.backbone.blocks)
    for block in blocks:
        block.project = _for_lengths(block, project, Block.project, lengths)
        block.finish = _for_lengths(block, finish, Block.finish, lengths)
    return model


def compiled_codec(codec: Codec) -> Codec:
    """One of our codecs, its two halves compiled in place, each when it first runs.

    Raises:
        ModelError: there is no compiler for the device that it is on.
    """
    check_compiler(next(codec.parameters()).device.type)
    for half in ("encoder", "decoder"):
        codec.get_submodule(half).compile(dynamic=False)
    return codec


def unit_lengths(slots: SlotConfig) -> frozenset[int]:
    """Tokens in each of the passes that a unit makes, under either way of reading words."""
    return frozenset({slots.y, slots.u, slots.y + slots.u, slots.s, 1, slots.s - 1, slots.noisy})


def check_compiler(device: str) -> None:
    """Pass if inductor can build for this kind of device.

    Raises:
        ModelError: on a processor it needs a C++ compiler, and there is none.
    """
    if device != "cpu":
        return
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ModelError(
            "compile: found no C++ compiler (expected one, as g++, to compile for a processor), "
            "install it or set compile: none"
        ) from error


def _for_lengths(
    block: Any, compiled_: Callable[..., Any], plain: Callable[..., Any], lengths: frozenset[int]
) -> Callable[..., Any]:
    def run(x: torch.Tensor, *rest: Any) -> Any:
        return (compiled_ if x.shape[1] in lengths else plain)(block, x, *rest)

    return run
