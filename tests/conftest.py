"""Fixtures that the law tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn


def _randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Fill every parameter with noise and every learned statistic with a positive number.

    Zero-initialised gates and outputs would hide a broken mask or a look-ahead behind a product with zero.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = max(parameter[0].numel(), 1) if parameter.dim() > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * fan_in**-0.5)
        for name in module.state_dict():
            if name.endswith(("std", "scale")) and name not in dict(module.named_parameters()):
                buffer = module.state_dict()[name]
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module.eval()


@pytest.fixture
def randomise() -> Callable[..., nn.Module]:
    """``randomise(module, seed=0)``: fills all its parameters with noise, returns it in eval mode."""
    return _randomise


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Equal thread counts in every test: bit-equality is only promised at equal counts."""
    torch.set_num_threads(1)
