"""Flow time by modulation of the blocks: the identity at load, and nothing to tokens that have no flow time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dialogue_toys import TIME, dialogue, offline, streamed, worst

from wangraph.wan_core import embed
from wangraph.wan_core.backbone import modulation
from wangraph.wan_core.backbone.modulation import PLACES, FlowModulation, Modulation
from wangraph.wan_core.config import CacheConfig, preset
from wangraph.wan_core.embed import PrefixTrack, UserTrack
from wangraph.wan_core.model import DuplexModel

NANO = preset("nano")
MODULATED = replace(NANO, flow_time="modulation")
WINDOWED = replace(MODULATED, cache=CacheConfig(policy="window", window_units=5, sink_units=2, chunk_units=3))


@torch.inference_mode()
def predicted(model, said, time, **options):
    return model(said.user, said.agent, said.decisions, said.noisy, torch.full(said.shape, time), **options)


def test_at_load_flow_time_does_nothing():
    torch.manual_seed(0)
    model, said = DuplexModel(MODULATED).eval(), dialogue(batch=2, units=6)
    early, late = (predicted(model, said, time).clean for time in (0.9, 0.1))
    assert all(map(torch.equal, early, late))


def test_at_load_the_blocks_are_those_of_a_model_without_it():
    """So a language model that fills the backbone says what it said."""
    torch.manual_seed(0)
    model, x = DuplexModel(MODULATED).eval(), torch.randn(1, 4, NANO.backbone.width)
    flow = Modulation(model.embed.modulation(torch.randn(1, 1, NANO.backbone.width))[0].unsqueeze(2), 0, 4)
    block = model.backbone.blocks[0]

    class Nothing:
        def attend(self, layer, qk, v):
            return qk[:, :, : NANO.backbone.heads].flatten(2)

    with torch.inference_mode():
        assert torch.equal(block(x, Nothing(), 0, flow), block(x, Nothing(), 0))


def test_once_trained_the_answer_depends_on_flow_time_and_decisions_do_not(randomise):
    model, said = randomise(DuplexModel(MODULATED)), dialogue(batch=2, units=6)
    early, late = predicted(model, said, 0.9), predicted(model, said, 0.1)
    assert min(float((a - b).abs().max()) for a, b in zip(early.clean, late.clean, strict=True)) > 1e-3
    assert torch.equal(early.text_logits, late.text_logits) and torch.equal(early.user_hidden, late.user_hidden)


@pytest.mark.parametrize("shapes", [MODULATED, WINDOWED], ids=["full", "window"])
def test_streaming_equals_one_pass(randomise, shapes):
    model, said = randomise(DuplexModel(shapes)), dialogue(batch=2, units=20)
    assert worst(streamed(model, said), offline(model, said)) < 1e-4


@pytest.mark.parametrize("bug", ["clean tokens too", "another unit's time"])
def test_a_stream_that_is_modulated_otherwise_than_training_is_found_out(randomise, monkeypatch, bug):
    """The planted bugs: training modulates clean tokens as well, or takes the flow time of the first unit for all."""
    model, said = randomise(DuplexModel(MODULATED)), dialogue(batch=1, units=8)
    t = torch.linspace(0.2, 0.9, 8)[None]
    expected = trained(model, said, t)
    if bug == "clean tokens too":
        made = modulation.modulations
        monkeypatch.setattr(embed, "modulations", lambda layers, clean, per_unit: made(layers, 0, per_unit))
    else:
        forward = FlowModulation.forward
        monkeypatch.setattr(FlowModulation, "forward", lambda self, time: forward(self, time[:, :1].expand_as(time)))
    assert worst(trained(model, said, t), expected) > 1e-3


@torch.inference_mode()
def trained(model, said, t):
    return list(model(said.user, said.agent, said.decisions, said.noisy, t).clean)


def test_what_is_told_before_the_session_is_not_modulated(randomise):
    model, said = randomise(DuplexModel(MODULATED)), dialogue(batch=1, units=4)
    prefix = PrefixTrack(UserTrack(), dialogue(batch=1, units=3, seed=1).agent)
    early, late = (predicted(model, said, time, prefix=prefix) for time in (TIME, 0.1))
    assert torch.equal(early.text_logits, late.text_logits) and not torch.equal(early.clean.audio, late.clean.audio)


def test_the_large_presets_have_it_and_the_shipped_ones_do_not():
    assert {preset(name).flow_time for name in ("paper-0.5b", "paper-7b")} == {"modulation"}
    assert {preset(name).flow_time for name in ("nano", "tiny", "small")} == {"added"}
    with torch.device("meta"):
        table = DuplexModel(MODULATED).embed.modulation.tables
    assert tuple(table.shape) == (NANO.backbone.layers, PLACES, NANO.backbone.width)
    assert modulation.FEED_FORWARD + modulation.GATE == PLACES - 1
