"""Shards as one data set in memory, and batches drawn from it."""

# N dialogues, U units of each, B batch, K units of a window

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ...runtime.errors import MediaError
from ...wan_core.train.codecs import Clips
from .data import DataSpec


def load(spec: DataSpec, folder: Path) -> dict[str, Tensor]:
    """All dialogues of a spec, [N, U, ...].

    Raises:
        MediaError: a shard is damaged.
    """
    parts = []
    for shard in range(spec.shards):
        path = spec.path(folder, shard)
        try:
            parts.append(load_file(path))
        except Exception as error:  # the reader tells of damage in its own ways
            raise MediaError(f"{path}: cannot be read ({error}), remove it to have it made again") from error
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


class Films:
    """Clips for the codecs.

    Args:
        data: of `load`.
        clips: in a batch.
        units: of a clip.
        agent_share: how many of the clips show, or are spoken by, the agent.
        device: where batches go.
    """

    def __init__(
        self, data: dict[str, Tensor], clips: int, units: int, agent_share: float, device: torch.device
    ) -> None:
        self.data, self.clips, self.units, self.agent_share, self.device = data, clips, units, agent_share, device
        self._weights = {side: self._speech(data[f"{side}_audio"]) for side in ("user", "agent")}

    def sounds(self, generator: torch.Generator) -> Tensor:
        """Samples [B, K, S] in -1..1; most of them with speech in them."""
        parts = []
        for side, wanted in self._shares():
            weights = self._weights[side]
            chosen = torch.searchsorted(weights.cumsum(0), torch.rand(wanted, generator=generator) * weights.sum())
            audio = self.data[f"{side}_audio"]
            starts = audio.shape[1] - self.units + 1
            for index in chosen.clamp_max(len(weights) - 1).tolist():
                row, start = divmod(index, starts)
                parts.append(audio[row, start : start + self.units])
        return torch.stack(parts).to(self.device).float() / 32767

    def films(self, generator: torch.Generator) -> Clips:
        """Pictures and poses of clips."""
        frames, poses = [], []
        for side, wanted in self._shares():
            video = self.data[f"{side}_video"]
            rows = torch.randint(len(video), (wanted,), generator=generator)
            starts = torch.randint(video.shape[1] - self.units + 1, (wanted,), generator=generator)
            for row, start in zip(rows.tolist(), starts.tolist(), strict=True):
                frames.append(video[row, start : start + self.units])
                poses.append(self.data[f"{side}_pose"][row, start : start + self.units])
        pictures = torch.stack(frames).to(self.device).float() / 127.5 - 1
        return Clips(pictures, torch.stack(poses).to(self.device).float())

    def _speech(self, audio: Tensor) -> Tensor:
        """How often each window is drawn, [N * starts]: seldom where nobody speaks."""
        loud = torch.stack([row.float().div(32767).square().mean(1).sqrt() for row in audio])
        return torch.where(loud.unfold(1, self.units, 1).amax(2) > 0.02, 1.0, 0.08).flatten().double()

    def _shares(self) -> tuple[tuple[str, int], tuple[str, int]]:
        agents = round(self.clips * self.agent_share)
        return ("agent", agents), ("user", self.clips - agents)
