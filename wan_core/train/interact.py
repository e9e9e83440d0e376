"""Learning to converse: the ideal agent's decisions and responses, each from the past that the model would have.

Decisions by cross entropy, sound and picture by flow matching, and, in training only, what a listener should have
understood of the user's last token.

# B batch, U units
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoint import load_part
from ..checkpoint_header import find, inspect
from ..embed import AgentTrack
from ..flow import Latents, interpolate, loss_weight, training_times
from ..media.mel import LogMel
from ..model import DuplexModel, Predictions
from ..vocabulary import NO_GESTURE, PAD
from .loop import Loss, generator_on
from .losses import accuracy, flow_loss, weighted_cross_entropy
from .schedule import Recipe
from .sequences import NOTHING, Corruption, Corruptor, Sequences

INTERACT_RECIPE = Recipe(rate=1.5e-3, warmup_steps=150, bf16=True)

CHANGE_WEIGHT = 8.0
"""How much a unit counts in which the agent's state changes, or in which it is right to do nothing although it looks
like the moment: "as before" is right in nearly all the others."""
WORD_WEIGHT = 4.0
"""How much a unit counts in which a word begins."""
GESTURE_WEIGHT = 4.0
"""How much the picture counts in a unit with a gesture: a blink is over within one."""
OPENING_WEIGHT = 16.0
"""How much the picture counts in the first unit of agents that were told who they are: later, their remembered face
tells them, their voice and their rule as well, and nothing else would teach them to heed what they were told."""
QUIET, LOUD = 0.5, 3.0
"""How much silence and speech count in the flow of sound."""


@dataclass(frozen=True)
class Head:
    """An auxiliary head: something that a listener should have understood of each unit.

    Attributes:
        classes: that it tells apart.
        weight: of its cross entropy in the sum of all losses.
    """

    classes: int
    weight: float = 0.05


class Understanding(nn.Module):
    """Auxiliary heads on the hidden state of the user's last token: [B, U, d] -> classes of each.

    Args:
        width: d.
        sizes: numbers of classes by name.
    """

    def __init__(self, width: int, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        """Logits by name."""
        return {name: head(hidden) for name, head in self.heads.items()}


def load_understanding(checkpoint: str | Path, heads: Mapping[str, Head]) -> Understanding:
    """The heads that a checkpoint has, which may lack some of ``heads``; these, at random, of a preset without weights.

    Raises:
        ModelError: it has none, is damaged, or of other shapes.
    """
    path = find(checkpoint)
    tensors = {} if path is None else inspect(path).part("understanding")
    sizes = {name.split(".")[1]: tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".weight")}
    sizes = sizes or {name: head.classes for name, head in heads.items()}
    return load_part(checkpoint, "understanding", lambda shapes: Understanding(shapes.backbone.width, sizes)).module


class Difficulty(nn.Module):
    """Error of the decisions in each kind of dialogue lately; harder ones are drawn more often."""

    error: Tensor

    def __init__(self, scenarios: int) -> None:
        super().__init__()
        self.register_buffer("error", torch.ones(scenarios))

    @torch.no_grad()
    def update(self, scenario: Tensor, error: Tensor, keep: float = 0.98) -> None:
        """Take in the errors [B] of dialogues of these scenarios [B]."""
        for number, value in zip(scenario.tolist(), error.tolist(), strict=True):
            self.error[number] = keep * self.error[number] + (1 - keep) * value

    def weights(self) -> Tensor:
        """Weight of each scenario, one on the mean: half even, half by error."""
        return 0.5 + 0.5 * self.error / self.error.mean().clamp_min(1e-6)


class Learner(nn.Module):
    """Everything that is trained: the model, its auxiliary heads, and how hard each scenario is."""

    def __init__(self, model: DuplexModel, scenarios: int, heads: Mapping[str, Head]) -> None:
        super().__init__()
        self.model, self.heads = model, dict(heads)
        sizes = {name: head.classes for name, head in heads.items()}
        self.understanding = Understanding(model.preset.backbone.width, sizes)
        self.difficulty = Difficulty(scenarios)


Draw = Callable[[torch.Generator, float, Tensor], Sequences]
"""A batch, by generator, progress and the weights of the scenarios."""


class InteractTask:
    """Teacher forcing on dialogues with the ideal agent.

    Args:
        learner: what is trained.
        draw: batches.
        corruption: of what the model is given.
    """

    def __init__(self, learner: Learner, draw: Draw, corruption: Corruption | None = None) -> None:
        self.learner, self.draw = learner, draw
        self.module: nn.Module = learner
        mel = LogMel(learner.model.preset.mel).to(learner.model.device)
        self.corruptor = Corruptor(mel, corruption or Corruption())

    def loss(self, generator: torch.Generator, progress: float) -> Loss:
        """See `loop.Task`."""
        with torch.autocast("cpu", enabled=False):  # it cannot stack the data's float16
            batch = self.draw(generator, progress, self.learner.difficulty.weights())
        chance = generator_on(self.learner.model.device, generator)
        t = training_times(torch.randn(batch.shape, generator=chance, device=batch.text.device))
        noisy = noised(batch.agent, t, chance)
        history = self.corruptor.history(batch, chance)
        predictions = self.learner.model(
            self.corruptor.user(batch, chance),
            history,
            self.corruptor.decisions(batch, chance),
            noisy,
            t,
            attention_dtype=torch.float32,
            prefix=batch.prefix,
            gap_units=batch.gap_units,
        )
        decisions = decision_losses(predictions, batch)
        self.learner.difficulty.update(batch.scenario, decision_error(predictions, batch))
        flow = flow_losses(predictions, batch, t, is_open=forgotten_before(history))
        understood = understanding_loss(self.learner, predictions, batch)
        total = torch.stack([*decisions.values(), *flow.values(), understood]).sum()
        with torch.no_grad():
            shares = shares_right(predictions, batch)
        return Loss(total, {**decisions, **flow, "understood": understood, **shares})


def noised(clean: Latents, t: Tensor, generator: torch.Generator) -> Latents:
    """Clean latents [B, U, ...] at flow times t [B, U]."""
    audio, video = (
        interpolate(x, torch.randn(x.shape, generator=generator, device=x.device), t)
        for x in (clean.audio, clean.video)
    )
    return Latents(audio, video)


def changes(event: Tensor) -> Tensor:
    """Units [B, U] in which the state is another than in the unit before."""
    state = event[..., 0]
    return torch.cat([torch.zeros_like(state[:, :1], dtype=torch.bool), state[:, 1:] != state[:, :-1]], 1)


def decision_losses(found: Predictions, batch: Sequences, where: Tensor | None = None) -> dict[str, Tensor]:
    """Cross entropies of text, state and gesture; ``where`` [B, U] are weights of the units.

    Gestures are sampled when the model runs, so that their units weigh alike: the odds must be true.
    """
    weights = torch.ones(batch.shape, device=batch.text.device) if where is None else where.float()
    state = weights * (1 + (CHANGE_WEIGHT - 1) * (changes(batch.event) | batch.holds))
    text = weights * (1 + (WORD_WEIGHT - 1) * (batch.text != PAD))
    return {
        "text": weighted_cross_entropy(found.text_logits, batch.text, text),
        "state": weighted_cross_entropy(found.state_logits, batch.event[..., 0], state),
        "gesture": weighted_cross_entropy(found.gesture_logits, batch.event[..., 1], weights),
    }


@torch.no_grad()
def decision_error(found: Predictions, batch: Sequences) -> Tensor:
    """Error of each row [B]: mean cross entropies of the state where it changes and of the words; 0 where none is."""
    wanted = (
        (found.state_logits, batch.event[..., 0], changes(batch.event)),
        (found.text_logits, batch.text, batch.text != PAD),
    )
    error = torch.zeros(len(batch.text), device=batch.text.device)
    for logits, classes, where in wanted:
        each = nn.functional.cross_entropy(logits.float().transpose(1, 2), classes, reduction="none")
        error += (each * where).sum(1) / where.sum(1).clamp_min(1)
    return error


def forgotten_before(history: AgentTrack) -> Tensor | None:
    """Units [B, U] whose last response is not remembered: how a word goes on that had begun cannot be known there.

    A row that remembers nothing at all is of a model that never does: it must learn its sound without.
    """
    if "y_audio" not in history.absent:
        return None
    absent = history.absent["y_audio"]
    return torch.cat([torch.zeros_like(absent[:, :1]), absent[:, :-1]], 1) & ~absent.all(1, keepdim=True)


def flow_losses(
    found: Predictions, batch: Sequences, t: Tensor, where: Tensor | None = None, is_open: Tensor | None = None
) -> dict[str, Tensor]:
    """Losses of sound and picture, as errors of the velocity.

    Args:
        found: of the model.
        batch: true latents.
        t: flow times [B, U].
        where: weights of the units [B, U].
        is_open: units [B, U] whose sound is not learned from: what it follows is unknown.
    """
    assert found.clean is not None, "predictions without noisy latents"
    weights = loss_weight(t)
    weights = weights / weights.mean()
    weights = weights if where is None else weights * where
    spoken = torch.where(batch.is_loud, LOUD, QUIET)
    if is_open is not None:
        spoken = spoken.masked_fill(is_open, 0.0)
    shown = 1 + (GESTURE_WEIGHT - 1) * (batch.event[..., 1] != NO_GESTURE)
    if batch.prefix is not None:
        shown[:, 0] = OPENING_WEIGHT
    return {
        "audio": flow_loss(found.clean.audio, batch.agent.audio, weights * spoken),
        "video": flow_loss(found.clean.video, batch.agent.video, weights * shown),
    }


def understanding_loss(learner: Learner, found: Predictions, batch: Sequences) -> Tensor:
    """Weighted sum of the auxiliary heads' cross entropies, in which what is rare counts four times."""
    logits = learner.understanding(found.user_hidden)
    losses = [
        learner.heads[name].weight * weighted_cross_entropy(logits[name], classes, 1 + 3.0 * (classes != 0))
        for name, classes in batch.labels.items()
    ]
    return torch.stack(losses).sum()


def shares_right(found: Predictions, batch: Sequences) -> dict[str, Tensor]:
    """Shares of words, and of changes of state, that are the ideal agent's."""
    return {
        "words_right": accuracy(found.text_logits, batch.text, batch.text != PAD),
        "changes_right": accuracy(found.state_logits, batch.event[..., 0], changes(batch.event)),
    }


@torch.inference_mode()
def validate(learner: Learner, batch: Sequences, seed: int = 0) -> dict[str, float]:
    """Teacher-forced figures on undisturbed sequences: shares right, and errors of one step from pure noise."""
    learner.eval()
    chance = torch.Generator(batch.text.device).manual_seed(seed)
    corruptor = Corruptor(LogMel(learner.model.preset.mel).to(batch.text.device), NOTHING)
    t = torch.ones(batch.shape, device=batch.text.device)
    found = learner.model(
        corruptor.user(batch, chance),
        corruptor.history(batch, chance),
        corruptor.decisions(batch, chance),
        noised(batch.agent, t, chance),
        t,
        prefix=batch.prefix,
        gap_units=batch.gap_units,
    )
    understood = learner.understanding(found.user_hidden)
    figures = {**shares_right(found, batch), **flow_losses(found, batch, t)}
    figures |= {
        f"{name}_right": accuracy(logits, batch.labels[name], batch.labels[name] != 0)
        for name, logits in understood.items()
    }
    return {name: float(value) for name, value in figures.items()}
