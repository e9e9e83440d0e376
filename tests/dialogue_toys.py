"""A conversation that is given, and what a model makes of it: in one pass, and unit by unit."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wangraph.wan_core.config import preset
from wangraph.wan_core.embed import AgentTrack, DecisionTrack, UserTrack
from wangraph.wan_core.exchange import Decision, ResponseUnit, UserUnit
from wangraph.wan_core.flow import Latents
from wangraph.wan_core.performer import Performer, predict_clean
from wangraph.wan_core.thinker import Thinker

NANO = preset("nano")
TIME = 0.6


@dataclass
class Dialogue:
    """A conversation that is given: every field is [B, U, ...]."""

    user: UserTrack
    agent: AgentTrack
    decisions: DecisionTrack
    noisy: Latents

    @property
    def shape(self):
        return self.user.text.shape

    def user_unit(self, k):
        user, unplayed = self.user, self.decisions.unplayed
        return UserUnit(user.video[:, k], user.mel[:, k], user.text[:, k], unplayed[:, k])

    def response(self, k):
        return ResponseUnit(self.agent.audio[:, k], self.agent.video[:, k]) if k >= 0 else ResponseUnit()

    def decision(self, k):
        return Decision(self.decisions.event[:, k], self.decisions.text[:, k])

    def z(self, k):
        return Latents(self.noisy.audio[:, k : k + 1], self.noisy.video[:, k : k + 1])


def dialogue(batch, units, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape):
        return torch.randn(batch, units, *shape, generator=generator)

    def tokens(size):
        return torch.randint(0, size, (batch, units), generator=generator)

    return Dialogue(
        UserTrack(numbers(*NANO.video.latent_shape), numbers(*NANO.mel.shape), tokens(64)),
        AgentTrack(numbers(*NANO.audio.latent_shape), numbers(*NANO.video.latent_shape)),
        DecisionTrack(torch.stack([tokens(5), tokens(3)], -1), tokens(64), tokens(2).bool()),
        Latents(numbers(*NANO.audio.latent_shape), numbers(*NANO.video.latent_shape)),
    )


@torch.inference_mode()
def offline(model, given):
    """Teacher-forced predictions for every unit, in one pass."""
    out = model(given.user, given.agent, given.decisions, given.noisy, torch.full(given.shape, TIME))
    return [
        torch.cat([x[:, k].flatten(1) for x in (out.state_logits, out.gesture_logits, out.text_logits, *out.clean)], 1)
        for k in range(given.shape[1])
    ]


def streamed(model, given, units=None, commit_first=lambda k: k % 2, states=None, first_unit=0):
    """The same, unit by unit, by a thinker and a performer that share nothing but slices."""
    thinker, performer = Thinker(model), Performer(model)
    batch = given.shape[0]
    thinking, performing = states or (thinker.new_state(batch, first_unit), performer.new_state(batch, first_unit))
    results = []
    for k in range(given.shape[1]) if units is None else units:
        response = given.response(k - 1)
        if commit_first(k):
            thinker.commit(thinking, response.audio, response.video)
            response = None
        thought = thinker.step(thinking, given.user_unit(k), response, given.decision(k))
        performer.append(performing, thought.slice)
        clean = predict_clean(model, performing.cache, thought.slice.unit, given.z(k), TIME)
        parts = (thought.state_logits, thought.gesture_logits, thought.text_logits, *clean)
        results.append(torch.cat([x.flatten(1) for x in parts], 1))
    return results


def worst(one, other):
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))
