"""Sequences of noise and checkpoints that learned nothing, for tests that need no world and no training."""

from __future__ import annotations

import torch

from wangraph.tools.lab.train.labels import HEADS
from wangraph.wan_core.checkpoint import save, untrained
from wangraph.wan_core.config import Preset, preset
from wangraph.wan_core.flow import Latents
from wangraph.wan_core.media.audio import AudioCodec
from wangraph.wan_core.media.video import VideoCodec
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.train.interact import Understanding
from wangraph.wan_core.train.sequences import Sequences


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
        labels={name: classes(head.classes) for name, head in HEADS.items()},
        holds=classes(4) == 0,
        scenario=torch.zeros(rows, dtype=torch.int64),
    )


def save_untrained(path):
    """A whole checkpoint of ``nano``, as a training writes it, with random weights."""
    shapes = preset("nano")
    parts = {
        "model": untrained(shapes, "model", DuplexModel),
        "understanding": untrained(
            shapes,
            "understanding",
            lambda s: Understanding(s.backbone.width, {name: head.classes for name, head in HEADS.items()}),
        ),
        "audio_codec": untrained(shapes, "audio_codec", lambda s: AudioCodec(s.audio)),
        "video_codec": untrained(shapes, "video_codec", lambda s: VideoCodec(s.video)),
    }
    save(path, parts, "nano", {"trained": "not at all"})
    return path
