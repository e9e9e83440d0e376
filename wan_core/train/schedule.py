"""Size of a step, and the average of the weights over the last steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """Recipe by which a task is optimised (AdamW).

    Attributes:
        rate: learning rate between warm-up and cool-down.
        warmup_steps: over which it rises from 0; no more than a tenth of all steps.
        cooldown: last share of the steps, over which it falls linearly to ``floor``.
        floor: share of the rate that is left at the end.
        decay: of matrices; vectors have none.
        clip: largest norm of a gradient.
        betas: of the moments.
        average: share of all steps that the averaged weights look back on; most of it lies in the cool-down.
        bf16: whether matrix products are taken in bfloat16, where the machine is fast at it.
    """

    rate: float
    warmup_steps: int = 100
    cooldown: float = 0.45
    floor: float = 0.02
    decay: float = 0.05
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    average: float = 0.03
    bf16: bool = False

    def rate_at(self, step: int, total: int) -> float:
        """Learning rate of step 0, 1 ... total - 1."""
        warmup = max(1, min(self.warmup_steps, total // 10))
        left = (total - step) / max(1.0, self.cooldown * total)
        return self.rate * min(1.0, (step + 1) / warmup) * min(1.0, max(self.floor, left))

    def keep_at(self, total: int) -> float:
        """Share that the averaged weights keep of themselves every `AVERAGE_STEPS` steps."""
        return 1 - AVERAGE_STEPS / max(AVERAGE_STEPS, min(self.average * total, LONGEST_AVERAGE))


AVERAGE_STEPS = 4
"""Steps between two updates of the averaged weights."""
LONGEST_AVERAGE = 800
"""Steps that they look back on at most."""


class Average:
    """Moving average of a module's floating-point state; it follows quickly at first."""

    def __init__(self, module: nn.Module) -> None:
        self.updates = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, keep: float) -> None:
        """Take in the module as it is now, keeping that much of what was."""
        self.updates += 1
        keep = min(keep, self.updates / (10 + self.updates))
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - keep)
            else:
                self.tensors[name].copy_(tensor)

    def restore(self, tensors: dict[str, Tensor], updates: int) -> None:
        """Go on from a saved average."""
        self.updates = updates
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
