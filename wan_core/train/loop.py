"""The loop: one optimiser step after the other, the same for every task; it can be stopped and gone on with exactly."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .schedule import AVERAGE_STEPS, Average, Recipe


class Loss(NamedTuple):
    """Loss of a task on one batch: the number to make small, and what to write down of it."""

    total: Tensor
    parts: dict[str, Tensor]


class Task(Protocol):
    """Something to learn.

    Attributes:
        module: everything that is trained, in its `state_dict`.
    """

    module: nn.Module

    def loss(self, generator: torch.Generator, progress: float) -> Loss:
        """On a batch that the generator draws; progress is the share of all steps taken, 0..1."""
        ...


def generator_on(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """A generator for tensors on a device: the given one on the CPU, else one whose seed it draws."""
    if device.type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def is_bf16_fast(device: torch.device) -> bool:
    """True if products of bfloat16 are worth it: a processor without AVX-512 takes thirty times as long for them."""
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


class Loop:
    """A task, its optimiser, the average of its weights and its random numbers.

    Whatever is drawn comes from one generator, so `state` is all there is: a loop restored from it takes the very
    same steps.

    Args:
        task: what to learn.
        recipe: how.
        total: steps to take in all; it may be changed on the way.
        seed: of the batches.
    """

    def __init__(self, task: Task, recipe: Recipe, total: int, seed: int) -> None:
        self.task, self.recipe, self.total, self.step_count = task, recipe, total, 0
        self.generator = torch.Generator().manual_seed(seed)
        parameters = [p for p in task.module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": recipe.decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        self._parameters = parameters
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.rate, betas=recipe.betas, fused=True)
        self.average = Average(task.module)

    @property
    def is_done(self) -> bool:
        """True if all steps are taken."""
        return self.step_count >= self.total

    def step(self) -> dict[str, float]:
        """Take one step; returns the parts of the loss, its norm of gradient and its rate.

        Raises:
            ModelError: the loss is not a number; nothing is changed then.
        """
        recipe, module = self.recipe, self.task.module
        rate = recipe.rate_at(self.step_count, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        module.train()
        device = self._parameters[0].device
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16 and is_bf16_fast(device)):
            loss = self.task.loss(self.generator, self.step_count / max(1, self.total))
        if not torch.isfinite(loss.total):
            raise ModelError(
                f"training: found loss {loss.total.item()} at step {self.step_count} (expected a finite number), "
                "resume from the last checkpoint or lower the rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters, recipe.clip)
        self.optimizer.step()
        self.step_count += 1
        if self.step_count % AVERAGE_STEPS == 0:
            self.average.update(module, recipe.keep_at(self.total))
        parts = {name: value.item() for name, value in loss.parts.items()}
        return {"loss": loss.total.item(), **parts, "gradient": norm.item(), "rate": rate}

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        return {
            "module": self.task.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.tensors,
            "updates": self.average.updates,
            "generator": self.generator.get_state(),
            "step": self.step_count,
            "total": self.total,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave.

        Raises:
            ModelError: it is of a module with other shapes.
        """
        try:
            self.task.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise ModelError(f"training: the state does not fit the model ({reason}), train anew") from error
        self.average.restore(state["average"], state["updates"])
        self.generator.set_state(state["generator"])
        self.step_count, self.total = state["step"], state["total"]

    def use_average(self) -> None:
        """Put the averaged weights into the module, for good; nothing before the first average."""
        if self.average.updates:
            self.task.module.load_state_dict(self.average.tensors)
