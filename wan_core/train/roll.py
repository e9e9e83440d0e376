"""Learning from its own past: the model talks with users who react to it, and is corrected by the ideal agent.

Two kinds of rollout, drawn for each batch:

- *free*: decisions and responses are the model's own. Corrected are its decisions, in units up to which it is in step
  with the ideal agent. What it sounds and looks like is not: voice, breath and blinks are drawn by chance, and the
  ideal agent's draw is another.
- *near*: decisions are the ideal agent's, and each response is solved from the ideal one, half lost in noise. The
  draw is then the ideal agent's, the errors are the model's own: sound and picture are corrected too.

# R rows, U units, S samples of a unit
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from ..cache.kvstate import KVState
from ..embed import AgentTrack, DecisionTrack, PrefixTrack
from ..exchange import Decision, PrefixUnit, ResponseUnit, UserUnit
from ..flow import Latents, Solver, euler, interpolate, training_times
from ..media.audio import AudioCodec
from ..media.mel import LogMel
from ..model import DuplexModel
from ..performer import predict_clean, solve
from ..thinker import Thinker
from .interact import (
    InteractTask,
    decision_losses,
    flow_losses,
    noised,
    shares_right,
    understanding_loss,
)
from .loop import Loss, generator_on
from .schedule import Recipe
from .sequences import Corruption, Corruptor, Sequences

ROLL_RECIPE = Recipe(rate=3e-4, warmup_steps=20, cooldown=0.8, bf16=True)

NEAR_TIMES = (0.4, 0.95)
"""Flow times at which a near rollout begins."""

_ROLLED = replace(Corruption(), history_noise=0.0, forget_response=0.0, forget_decision=0.0)


@dataclass(frozen=True)
class Meeting:
    """One unit of the users, and what the ideal agents answer.

    Attributes:
        user: audio as samples [R, S], not as log-mel.
        ideal: codec latents [R, ...].
        event: [R, 2], and text: [R].
    """

    user: UserUnit
    ideal: Latents
    event: Tensor
    text: Tensor


class Partners(Protocol):
    """Users to talk with, each with an ideal agent who sees the same."""

    rows: int

    def begin(self, generator: torch.Generator) -> PrefixTrack | None:
        """New users, drawn by the generator; returns what the model is told before unit 0."""
        ...

    def step(self, sound_out: Tensor | None) -> Meeting:
        """The next unit, the users having heard samples [R, S]; None: nothing yet."""
        ...

    def sequences(self) -> Sequences:
        """All units since the beginning, as the ideal agents answered them."""
        ...


@dataclass(frozen=True)
class Rollout:
    """Doings of the model, beside those of the ideal agents.

    Attributes:
        ideal: the dialogue, with the ideal agents' answers.
        own: the model's latents [R, U, ...].
        event: the model's [R, U, 2], and text: [R, U].
    """

    ideal: Sequences
    own: Latents
    event: Tensor
    text: Tensor


class RollTask:
    """Rolling out and correcting, beside a batch of recorded dialogues, so that nothing is forgotten.

    Args:
        recorded: what was learned before; its learner goes on.
        partners: to talk with.
        audio: makes the model's latents audible to the partners.
        units: of a rollout.
        speaking: numbers of the states in which an agent speaks.
        solver: how responses are solved.
    """

    def __init__(
        self,
        recorded: InteractTask,
        partners: Partners,
        audio: AudioCodec,
        units: int,
        speaking: Sequence[int],
        solver: Solver = Solver(),  # noqa: B008 - a constant
    ) -> None:
        self.recorded, self.partners, self.audio, self.units, self.solver = recorded, partners, audio, units, solver
        self.learner, self.speaking = recorded.learner, tuple(speaking)
        self.module: nn.Module = recorded.learner
        self.corruptor = Corruptor(recorded.corruptor.mel, _ROLLED)

    def loss(self, generator: torch.Generator, progress: float) -> Loss:
        """See `loop.Task`."""
        model = self.learner.model
        is_near = bool(torch.rand((), generator=generator) < 0.5)
        with torch.autocast(model.device.type, enabled=False):
            rollout = roll_out(model, self.partners, self.audio, self.units, self.solver, is_near, generator)
        recorded = self.recorded.loss(generator, progress)
        chance = generator_on(model.device, generator)
        batch, where = rollout.ideal, in_step(rollout, self.speaking)
        t = training_times(torch.randn(batch.shape, generator=chance, device=model.device))
        predictions = model(
            self.corruptor.user(batch, chance),
            AgentTrack(rollout.own.audio, rollout.own.video),
            DecisionTrack(rollout.event, rollout.text),
            noised(batch.agent, t, chance) if is_near else None,
            t,
            attention_dtype=torch.float32,
            prefix=batch.prefix,
        )
        parts = decision_losses(predictions, batch, where)
        parts["understood"] = understanding_loss(self.learner, predictions, batch)
        if is_near:
            parts |= flow_losses(predictions, batch, t)
        with torch.no_grad():
            shares = {**shares_right(predictions, batch), "in_step": where.float().mean()}
        blank = torch.full((), torch.nan)
        figures = {
            f"rolled_{name}": value for name, value in {"audio": blank, "video": blank, **parts, **shares}.items()
        }
        return Loss(recorded.total + sum(parts.values()), {**recorded.parts, **figures})


def in_step(rollout: Rollout, speaking: Sequence[int]) -> Tensor:
    """Units [R, U] before which the model has said, since both were silent last, what the ideal agent has said."""
    ideal, own = (_is_in(event, speaking) for event in (rollout.ideal.event, rollout.event))
    same = (ideal == own) & (rollout.ideal.text == rollout.text)
    flag = torch.ones_like(same[:, 0])
    flags = []
    for unit in range(same.shape[1]):
        flags.append(flag)
        flag = (flag & same[:, unit]) | ~(ideal[:, unit] | own[:, unit])
    return torch.stack(flags, 1)


def roll_out(
    model: DuplexModel,
    partners: Partners,
    audio: AudioCodec,
    units: int,
    solver: Solver,
    is_near: bool,
    generator: torch.Generator,
) -> Rollout:
    """Let the model talk with new partners for some units; see the module's words for ``is_near``."""
    was_training = model.training
    model.eval()
    prefix = partners.begin(generator)
    seed = int(torch.randint(2**31, (), generator=generator))
    times = torch.empty(units).uniform_(*NEAR_TIMES, generator=generator).tolist()
    with torch.inference_mode():
        rows, device = partners.rows, model.device
        thinker, mel = Thinker(model), LogMel(model.preset.mel).to(device)
        state, audio_state = thinker.new_state(rows), mel.new_state(rows)
        speech = audio.new_decoder_state(rows)
        if prefix is not None:
            thinker.set_prefix(state, _in_units(prefix))
        sound_out: Tensor | None = None
        response: ResponseUnit | None = None
        own: list[tuple[Tensor, ...]] = []
        for unit in range(units):
            meeting = partners.step(sound_out)
            assert meeting.user.audio is not None, "partners without sound"
            mel_unit, audio_state = mel(meeting.user.audio[:, None], audio_state)
            user = replace(meeting.user, audio=mel_unit[:, 0])
            decision = Decision(meeting.event, meeting.text) if is_near else None
            thought = thinker.step(state, user, response, decision, seed)
            if is_near:
                latents = _solve_near(model, state.cache, unit, meeting.ideal, times[unit], solver, generator)
            else:
                latents = solve(model, state.cache, unit, solver, seed)
            sound, speech = audio.decode(latents.audio[:, None], speech)
            sound_out, response = sound[:, 0], ResponseUnit(latents.audio, latents.video)
            own.append((latents.audio, latents.video, thought.event, thought.text))
    model.train(was_training)
    # copies, since tensors of the inference mode cannot be learned from
    sound_, picture, event, text = (torch.stack(parts, 1).clone() for parts in zip(*own, strict=True))
    return Rollout(partners.sequences(), Latents(sound_, picture), event, text)


def _in_units(prefix: PrefixTrack) -> list[PrefixUnit]:
    """A prefix of typed words, unit by unit."""
    assert prefix.user.text is not None, "a prefix without words"
    return [PrefixUnit(UserUnit(text=tokens)) for tokens in prefix.user.text.unbind(1)]


def _solve_near(
    model: DuplexModel,
    cache: KVState,
    unit: int,
    ideal: Latents,
    begin: float,
    solver: Solver,
    generator: torch.Generator,
) -> Latents:
    """Latents of ``unit`` [R, ...], from the ideal ones at flow time ``begin``, by Euler's steps."""
    chance = generator_on(model.device, generator)
    t = ideal.audio.new_full((len(ideal.audio), 1), begin)
    z = Latents(
        *(
            interpolate(x[:, None], torch.randn(x[:, None].shape, generator=chance, device=x.device), t)
            for x in (ideal.audio, ideal.video)
        )
    )
    for now, then in pairwise(begin * time for time in solver.times):
        x = predict_clean(model, cache, unit, z, now)
        z = Latents(euler(z.audio, x.audio, now, then), euler(z.video, x.video, now, then))
    return Latents(z.audio[:, 0], z.video[:, 0])


def _is_in(event: Tensor, states: Sequence[int]) -> Tensor:
    return torch.isin(event[..., 0], torch.tensor(states, device=event.device))
