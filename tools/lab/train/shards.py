"""Shards as one data set in memory, and batches drawn from it."""

# N dialogues, U units of each, B batch, K units of a window

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ....runtime.errors import MediaError
from ....wan_core.flow import Latents
from ....wan_core.train.codecs import Clips
from ....wan_core.train.sequences import Sequences, prompt_track
from .data import SCENARIO_NAMES, DataSpec
from .labels import LISTENED
from .persona_prompt import TRAINED, persona_labels, prompt_tokens


def load(spec: DataSpec, folder: Path) -> dict[str, Tensor]:
    """All dialogues of a spec, [N, U, ...]; none that its last shard holds for a larger one.

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
    return {name: torch.cat([part[name] for part in parts])[: spec.dialogues] for name in parts[0]}


class Media:
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
        self.data, self.n_clips, self.units, self.agent_share, self.device = data, clips, units, agent_share, device
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

    def clips(self, generator: torch.Generator) -> Clips:
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
        """Weights by which windows are drawn, [N * starts]: small where nobody speaks."""
        loud = torch.stack([row.float().div(32767).square().mean(1).sqrt() for row in audio])
        return torch.where(loud.unfold(1, self.units, 1).amax(2) > 0.02, 1.0, 0.08).flatten().double()

    def _shares(self) -> tuple[tuple[str, int], tuple[str, int]]:
        agents = round(self.n_clips * self.agent_share)
        return ("agent", agents), ("user", self.n_clips - agents)


BASICS = ("digits", "pauses")
"""Scenarios of the first phase."""
CALM_UNITS = 4
"""A window may begin after so many units in which neither side says or types anything."""


MAX_GAP_UNITS = 2000
"""Fewer units than that lie between what an agent is told and the window that it learns on; often few, or none."""


class Tracks:
    """Sequences for the model: basics first, then everything, at last longer windows.

    Args:
        data: of `load`.
        rows: in a batch of windows of ``units``.
        units: of a window.
        long_units: of a window in the last phase, with fewer rows.
        device: where batches go.
        basics_until: share of all steps after which every scenario is drawn.
        long_share: last share of all steps, in which windows are long.
        prompt_share: share of the batches after the basics in which the agents are told who they are.
    """

    def __init__(
        self,
        data: dict[str, Tensor],
        rows: int,
        units: int,
        long_units: int,
        device: torch.device,
        basics_until: float = 0.0,
        long_share: float = 0.0,
        prompt_share: float = 0.0,
    ) -> None:
        self.data, self.device = data, device
        self.rows, self.units, self.long_units = rows, units, long_units
        self.basics_until, self.long_from, self.prompt_share = basics_until, 1 - long_share, prompt_share
        self._calm = _calm(data)
        self._is_basic = torch.tensor([name in BASICS for name in SCENARIO_NAMES])

    def draw(self, generator: torch.Generator, progress: float, difficulty: Tensor) -> Sequences:
        """A batch; see `interact.Draw`."""
        units = self.long_units if progress >= self.long_from else self.units
        rows = max(1, self.rows * self.units // units)
        is_prompted = progress >= self.basics_until and bool(torch.rand((), generator=generator) < self.prompt_share)
        weights = self._weights(progress, difficulty.detach().cpu().double(), is_prompted)
        if is_prompted:  # a world is dearer
            rows = max(1, rows // 2)
        chosen = torch.multinomial(weights, rows, replacement=True, generator=generator)
        windows = [(row, self._start(row, units, generator)) for row in chosen.tolist()]
        batch = self.windows(windows, units)
        if not is_prompted:
            return batch
        gap = int(MAX_GAP_UNITS ** float(torch.rand((), generator=generator))) - 1
        who = self.data["persona"][chosen].long()
        return replace(
            batch,
            prefix=prompt_track(prompt_tokens()[who].to(self.device)),
            labels={**batch.labels, "persona": persona_labels(who, rows, units).to(self.device)},
            gap_units=gap,
        )

    def _weights(self, progress: float, difficulty: Tensor, is_prompted: bool) -> Tensor:
        """Weights by which dialogues are drawn, [N]; agents without a persona prompt are the first persona."""
        scenario, persona = self.data["scenario"].long(), self.data["persona"].long()
        if progress < self.basics_until and bool(self._is_basic[scenario].any()):
            difficulty = difficulty * self._is_basic
        count = torch.bincount(persona, minlength=len(TRAINED)).clamp_min(1)
        shares = 1.0 / count if is_prompted else (torch.arange(len(TRAINED)) == 0).float()
        return difficulty[scenario] * shares[persona]

    def windows(self, windows: list[tuple[int, int]], units: int) -> Sequences:
        """Sequences of these (dialogue, first unit)."""

        def cut(name: str) -> Tensor:
            tensor = self.data[name]
            return torch.stack([tensor[row, start : start + units] for row, start in windows]).to(self.device)

        return Sequences(
            user_audio=cut("user_audio").float() / 32767,
            user_video=cut("user_frames").float(),
            user_text=cut("user_text").long(),
            agent=Latents(cut("agent_latents").float(), cut("agent_frames").float()),
            event=cut("event").long(),
            text=cut("agent_text").long(),
            is_loud=cut("agent_loudness") > 0.01,
            labels={
                **{name: cut(name).long() for name in LISTENED},
                "persona": persona_labels(None, len(windows), units).to(self.device),
            },
            holds=cut("holds").bool(),
            scenario=self.data["scenario"][[row for row, _ in windows]].long().to(self.device),
            absent={"u_video": cut("unseen").bool(), "u_audio": cut("unheard").bool()},
        )

    def _start(self, row: int, units: int, generator: torch.Generator) -> int:
        """0 half of the time, else a calm unit: nothing of what came before matters to what follows."""
        last = self._calm.shape[1] - units
        calm = self._calm[row, 1 : last + 1].nonzero().flatten()
        drawn = torch.rand(2, generator=generator)
        if last <= 0 or not len(calm) or drawn[0] < 0.5:
            return 0
        return 1 + int(calm[int(drawn[1] * len(calm))])


def _calm(data: dict[str, Tensor]) -> Tensor:
    """Units [N, U] that a window may begin with."""
    is_quiet = (data["speaking"] == 0) & (data["user_text"] == 0) & (data["event"][..., 0] == 0) & (data["card"] == 0)
    is_quiet &= (data["agent_loudness"] < 0.01) & (data["hand"] == 0)
    before = torch.zeros_like(is_quiet)
    before[:, CALM_UNITS:] = is_quiet.unfold(1, CALM_UNITS, 1).all(2)[:, :-1]
    return before
