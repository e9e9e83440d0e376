"""Sequences of noise, for tests of training that need no world."""

from __future__ import annotations

import torch

from wangraph.wan_core.config import Preset, preset
from wangraph.wan_core.flow import Latents
from wangraph.wan_core.train.sequences import UNDERSTOOD, Sequences


def sequences(rows: int = 2, units: int = 6, seed: int = 0, shapes: Preset | None = None) -> Sequences:
    shapes = shapes or preset("nano")
    chance = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(rows, units, *shape, generator=chance)

    def classes(size: int) -> torch.Tensor:
        return torch.randint(size, (rows, units), generator=chance)

    return Sequences(
        user_audio=0.1 * noise(shapes.audio.samples),
        user_video=noise(*shapes.video.latent_shape),
        user_text=classes(4),
        agent=Latents(noise(*shapes.audio.latent_shape), noise(*shapes.video.latent_shape)),
        event=torch.stack([classes(5), classes(3)], -1),
        text=classes(6),
        is_loud=classes(2) > 0,
        heard={name: classes(size) for name, size in UNDERSTOOD.items()},
        holds=classes(4) == 0,
        scenario=torch.zeros(rows, dtype=torch.int64),
    )
