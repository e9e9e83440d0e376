"""Learning to see: for a real picture, the latent that the codec gives for a plain drawing of the same doings.

# B batch, U units, P numbers of a pose, L numbers of a latent
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..media.eyes import Eyes
from .loop import Loss, generator_on
from .schedule import Recipe

EYES_RECIPE = Recipe(rate=6e-4, warmup_steps=100, cooldown=0.7, decay=0.02, bf16=True)

POSE_WEIGHT = 2.0
"""How much a pose that is read from the latents counts, beside the latents themselves."""


class Views(NamedTuple):
    """A batch of users before cameras.

    Attributes:
        frames: [B, U, F, H, W, 3] in -1..1.
        latents: of plain drawings that do the same, [B, U, h, w, Z].
        pose: what the users do, [B, U, P]; NaN where it is not known.
    """

    frames: Tensor
    latents: Tensor
    pose: Tensor


class Reader(nn.Module):
    """The linear way from latents to the pose, as it is for drawings: what the model reads, the eyes must write."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    @classmethod
    def fitted(cls, latents: Tensor, pose: Tensor, ridge: float = 1.0) -> Reader:
        """By ridge regression of poses [N, P] without NaN on latents [N, L]."""
        x = torch.cat([latents, torch.ones(len(latents), 1)], 1).double()
        gram = x.T @ x + ridge * torch.eye(x.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(gram, x.T @ pose.double()).float()
        return cls(solution[:-1].T.contiguous(), solution[-1].contiguous())

    def forward(self, latents: Tensor) -> Tensor:
        """[..., L] -> [..., P]."""
        return nn.functional.linear(latents, self.weight, self.bias)


class EyesTask:
    """Regression of latents, and of what is read from them.

    Args:
        eyes: what is trained.
        draw: a batch.
        reader: of the codec's latents.
        scale: how much each number of a pose varies [P]: rare and small doings count as much as the others.
    """

    def __init__(self, eyes: Eyes, draw: Callable[[torch.Generator], Views], reader: Reader, scale: Tensor) -> None:
        self.eyes, self.draw, self.reader, self.scale = eyes, draw, reader, scale
        self.module: nn.Module = nn.ModuleDict({"eyes": eyes})

    def loss(self, generator: torch.Generator, progress: float) -> Loss:
        """See `loop.Task`."""
        frames, latents, pose = self.draw(generator)
        frames = self._disturbed(frames, generator)
        found, _ = self.eyes.encode(frames, self.eyes.new_encoder_state(len(frames)))
        found = found.float()
        is_known = ~pose.isnan()
        all_known = is_known.all(-1)
        apart = (found - latents).square().mean((2, 3, 4))
        latent = (apart * all_known).sum() / all_known.sum().clamp_min(1)
        read = self.reader(found.flatten(2))
        wrong = torch.where(is_known, (read - pose.nan_to_num()) / self.scale, 0.0).square()
        doings = wrong.sum() / is_known.sum().clamp_min(1)
        return Loss(latent + POSE_WEIGHT * doings, {"latent": latent, "pose": doings})

    @staticmethod
    def _disturbed(frames: Tensor, generator: torch.Generator) -> Tensor:
        """Brighter or darker, of another tint, moved by a few pixels: once for each row."""
        rows, chance = len(frames), generator_on(frames.device, generator)
        drawn = torch.rand(rows, 4, generator=chance, device=frames.device)
        gain = (0.75 + 0.5 * drawn[:, :1]) * (0.94 + 0.12 * drawn[:, 1:4])
        lit = (frames + 1) * gain[:, None, None, None, None, :] - 1
        shifts = torch.randint(-3, 4, (rows, 2), generator=chance, device=frames.device).tolist()
        moved = [torch.roll(row, shift, (2, 3)) for row, shift in zip(lit, shifts, strict=True)]
        return torch.stack(moved).clamp(-1, 1)
