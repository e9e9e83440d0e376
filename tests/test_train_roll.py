from dataclasses import replace

import pytest
import torch
from train_toys import sequences

from wangraph.tools.lab.train.context import digest_of_weights
from wangraph.tools.lab.train.labels import HEADS
from wangraph.wan_core.config import preset
from wangraph.wan_core.exchange import UserUnit
from wangraph.wan_core.flow import Latents, Solver
from wangraph.wan_core.media.audio import AudioCodec
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.train.interact import InteractTask, Learner
from wangraph.wan_core.train.roll import Meeting, RollTask, roll_out
from wangraph.wan_core.train.sequences import prompt_track

NANO = preset("nano")
UNITS = 5


class Recorded:
    """Partners who say what is written, whatever they hear; they remember what they heard."""

    rows = 2

    def __init__(self, prefix=None):
        self.batch, self.prefix, self.heard = sequences(2, UNITS), prefix, []

    def begin(self, generator):
        self.heard.clear()
        return self.prefix

    def step(self, said):
        unit = len(self.heard)
        self.heard.append(None if said is None else said.clone())
        batch = self.batch
        user = UserUnit(batch.user_video[:, unit], batch.user_audio[:, unit], batch.user_text[:, unit])
        ideal = Latents(batch.agent.audio[:, unit], batch.agent.video[:, unit])
        return Meeting(user, ideal, batch.event[:, unit], batch.text[:, unit])

    def sequences(self):
        return replace(self.batch, prefix=self.prefix)


@pytest.fixture
def learner(randomise):
    torch.manual_seed(0)
    return Learner(randomise(DuplexModel(NANO)), scenarios=1, heads=HEADS)


@pytest.fixture
def audio(randomise):
    return randomise(AudioCodec(NANO.audio))


def rolled(learner, audio, partners, is_near, seed=0):
    return roll_out(learner.model, partners, audio, UNITS, Solver(), is_near, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("is_near", [False, True])
def test_partners_hear_the_models_own_sound_a_unit_later(learner, audio, is_near):
    partners = Recorded()
    rollout = rolled(learner, audio, partners, is_near)
    said, _ = audio.decode(rollout.own.audio, audio.new_decoder_state(2))
    assert partners.heard[0] is None
    torch.testing.assert_close(torch.stack(partners.heard[1:], 1), said[:, :-1].detach(), atol=1e-4, rtol=1e-4)


def test_near_rollouts_decide_as_the_ideal_agent_and_free_ones_by_themselves(learner, audio):
    partners = Recorded()
    near, free = (rolled(learner, audio, partners, is_near) for is_near in (True, False))
    assert torch.equal(near.event, partners.batch.event) and torch.equal(near.text, partners.batch.text)
    assert not torch.equal(free.text, partners.batch.text)


def test_a_rollout_is_a_function_of_its_seed(learner, audio):
    one, two = (rolled(learner, audio, Recorded(), is_near=False) for _ in range(2))
    assert torch.equal(one.own.audio, two.own.audio) and torch.equal(one.text, two.text)
    assert not torch.equal(one.own.audio, rolled(learner, audio, Recorded(), is_near=False, seed=1).own.audio)


def test_the_digest_of_weights_tells_other_values_and_other_names(learner):
    weights = learner.state_dict()
    digest, name = digest_of_weights(weights), "model.embed.told"
    assert len(digest) == 12 and digest == digest_of_weights(dict(reversed(weights.items())))
    weights["elsewhere"] = weights.pop(name)
    assert digest_of_weights(weights) != digest
    weights = learner.state_dict()
    weights[name].flatten()[0] += 1e-3
    assert digest_of_weights(weights) != digest


def test_what_is_told_changes_what_is_done(learner, audio):
    prefixes = (prompt_track(torch.full((2, 3), token)) for token in (4, 5))
    one, two = (rolled(learner, audio, Recorded(prefix), is_near=False) for prefix in prefixes)
    assert not torch.allclose(one.own.video, two.own.video, atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_a_step_of_rolling_teaches_every_part_of_the_model(learner, audio, seed):
    partners = Recorded(prompt_track(torch.full((2, 3), 4)))
    recorded = InteractTask(learner, lambda generator, progress, weights: sequences(2, UNITS))
    loss = RollTask(recorded, partners, audio, UNITS, speaking=[2, 3]).loss(torch.Generator().manual_seed(seed), 0.5)
    loss.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in learner.parameters())
    assert loss.parts["rolled_text"] > 0 and 0 < loss.parts["rolled_in_step"] <= 1
