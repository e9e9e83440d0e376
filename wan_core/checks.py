"""Looking at tensors where they enter the model, so that a mistake is told in words and not by a stack of operators."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import ModelError


def check_input(where: str, x: Tensor, shape: tuple[int | str, ...]) -> None:
    """Pass if x has this shape (a str is any size of 1 or more) and every number in it is finite.

    Raises:
        ModelError: another shape, or a NaN or infinity.
    """
    check_shape(where, x, shape)
    if not torch.isfinite(x).all():
        raise ModelError(f"{where}: found NaN or infinity (expected finite numbers), check what produced it")


def check_shape(where: str, x: Tensor, shape: tuple[int | str, ...]) -> None:
    """Pass if x has this shape (a str is any size of 1 or more).

    Raises:
        ModelError: another shape.
    """
    fits = x.dim() == len(shape) and all(
        found >= 1 if isinstance(size, str) else found == size for found, size in zip(x.shape, shape, strict=True)
    )
    if not fits:
        expected = ", ".join(map(str, shape))
        raise ModelError(
            f"{where}: found shape {list(x.shape)} (expected [{expected}]), resize it or change the preset"
        )


def widened(x: Tensor) -> Tensor:
    """x in float32 or better: what is sampled, compared and added up is not bf16, whatever the weights are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_rows(where: str, x: Tensor, state_rows: int) -> None:
    """Pass if the state has as many rows as x.

    Raises:
        ModelError: it has not.
    """
    if x.shape[0] != state_rows:
        raise ModelError(
            f"{where}: found {x.shape[0]} rows (expected {state_rows}, as in the state), one state per batch"
        )
