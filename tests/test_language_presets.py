"""The flags that language models need: each does what it says, in streaming as in training."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from dialogue_toys import dialogue, offline, streamed, worst
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.wan_core import thinker as thinker_module
from wangraph.wan_core.backbone.attention import Geometry
from wangraph.wan_core.backbone.mask import tokens_of
from wangraph.wan_core.config import PRESETS, BackboneConfig, CacheConfig, SlotConfig, preset
from wangraph.wan_core.embed import Embeddings
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.exchange import UserUnit
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.patches import from_patches, to_patches
from wangraph.wan_core.reference import Reference
from wangraph.wan_core.thinker import Thinker

NANO = preset("nano")
BACKBONE = replace(
    NANO.backbone, head_dim=24, alibi_slopes=(), qk_norm="none", qkv_bias=True, position="token", rope_theta=1e4
)
CACHES = {
    "full": CacheConfig(),
    "capped": CacheConfig(cap_units=6, chunk_units=2),
    "window": CacheConfig(policy="window", window_units=6, sink_units=2, chunk_units=3),
}


def like_qwen(cache="full", tied=True, **changes):
    flags = {"text_decode": "token", "tie_embeddings": tied, "slot_init": "zero", "flow_time": "modulation",
             "backbone": BACKBONE, **changes}  # fmt: skip
    return replace(NANO, cache=CACHES[cache], **flags)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cache", ["full", "window"])
def test_streaming_equals_one_pass(randomise, cache, tied):
    model, said = randomise(DuplexModel(like_qwen(cache, tied))), dialogue(batch=2, units=24)
    assert worst(streamed(model, said), offline(model, said)) < 1e-4


@pytest.mark.parametrize("cache", CACHES)
def test_unit_numbers_do_not_matter(randomise, cache):
    model, said = randomise(DuplexModel(like_qwen(cache))), dialogue(batch=1, units=16)
    assert worst(streamed(model, said, first_unit=10_000), streamed(model, said)) < 1e-3


@pytest.mark.parametrize("cache", CACHES)
def test_two_sides_equal_one_bit_by_bit(randomise, cache):
    model = randomise(DuplexModel(like_qwen(cache)))
    reference, said = Reference(model), dialogue(batch=1, units=12)
    state, answers = reference.new_state(), []
    for k in range(12):
        thought, latents = reference.step(state, said.user_unit(k))
        answers.append((thought.text, latents))
    from wangraph.wan_core.exchange import ResponseUnit
    from wangraph.wan_core.performer import Performer

    thinker, performer = Thinker(model), Performer(model)
    thinking, performing, last = thinker.new_state(), performer.new_state(), ResponseUnit()
    for k, (text, latents) in enumerate(answers):
        thought = thinker.step(thinking, said.user_unit(k), last)
        performer.append(performing, thought.slice)
        own = performer.generate(performing, k)
        assert torch.equal(thought.text, text)
        assert torch.equal(own.audio, latents.audio) and torch.equal(own.video, latents.video)
        last = ResponseUnit(own.audio, own.video)


@pytest.mark.parametrize("bug", ["unit positions", "noisy in their own slice", "word from the user"])
def test_a_stream_that_sees_something_else_than_training_is_found_out(randomise, monkeypatch, bug):
    """The planted bugs: the thinker rotates by units, noisy tokens stand a slice too early, the word is read before
    the event is known."""
    model, said = randomise(DuplexModel(like_qwen())), dialogue(batch=1, units=12)
    expected = offline(model, said)
    if bug == "unit positions":
        monkeypatch.setattr(thinker_module, "tokens_of", lambda *args, **_: tokens_of(*args))
    elif bug == "noisy in their own slice":
        model.noisy_offsets = model.noisy_offsets - model.slots.clean
    else:
        monkeypatch.setattr(Thinker, "_decide", early(Thinker._decide))
    assert worst(streamed(model, said), expected) > 1e-3


def early(decide):
    def decided(self, state, recorded, unplayed, span):
        if span is self._event:
            return decide(self, state, replace(recorded, event=None), unplayed, span)
        return decide(self, state, recorded, unplayed, span)

    return decided


def test_the_word_follows_the_event_that_was_recorded(randomise):
    model, said = randomise(DuplexModel(like_qwen())), dialogue(batch=1, units=2)
    thinker = Thinker(model)
    logits = []
    for event in ([[3, 0]], [[0, 2]]):
        decision = replace(said.decision(0), event=torch.tensor(event))
        thought = thinker.step(thinker.new_state(), said.user_unit(0), decision=decision)
        logits.append(thought.text_logits)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_a_unit_that_is_cut_short_is_done_again_as_if_it_had_not_been(randomise, monkeypatch):
    model, said = randomise(DuplexModel(like_qwen())), dialogue(batch=1, units=2)
    thinker = Thinker(model)
    state, other = thinker.new_state(), thinker.new_state()
    decide = Thinker._decide

    def failing(self, state, recorded, unplayed, span):
        if span is self._after_event:
            raise RuntimeError("cut short")
        return decide(self, state, recorded, unplayed, span)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match=r"^cut short$"):
        patch.setattr(Thinker, "_decide", failing)
        thinker.step(state, said.user_unit(0))
    one, again = (thinker.step(s, said.user_unit(0)) for s in (other, state))
    assert torch.equal(one.slice.keys, again.slice.keys)
    assert one.slice.digest == again.slice.digest


def test_by_token_noisy_latents_stand_where_they_are_committed():
    slots = SlotConfig()
    here, there = tokens_of(slots, 5, 1, True, "token"), tokens_of(slots, 6, 1, True, "token")
    assert torch.equal(here.position[slots.clean :], there.position[: slots.y])
    assert here.position.tolist() == list(range(5 * slots.clean, 5 * slots.clean + slots.clean + slots.noisy))
    assert torch.equal(tokens_of(slots, 5, 1).position, tokens_of(slots, 5, 1).unit)


def size(module):
    return sum(p.numel() for p in module.parameters())


def test_one_table_of_words_serves_all_and_reads_them_where_they_are_tied():
    flags = {"backbone": NANO.backbone, "flow_time": "added"}
    own, shared, tied = (DuplexModel(p) for p in (NANO, like_qwen(tied=False, **flags), like_qwen(**flags)))
    table = NANO.n_words * NANO.backbone.width
    assert size(own.embed) - size(shared.embed) == table
    assert size(shared) - size(tied) == table
    hidden = torch.randn(2, NANO.backbone.width)
    assert torch.equal(tied.read_words(hidden), hidden @ tied.embed.s_text.weight.T)


def test_slots_that_begin_as_zero_leave_content_as_it_is():
    torch.manual_seed(0)
    zero, noise = Embeddings(replace(NANO, slot_init="zero")), Embeddings(NANO)
    assert not zero.slot.any() and noise.slot.abs().min() > 0
    words = zero.decision(decisions := dialogue(1, 1).decisions, 1, 1)[0, 0, 1]
    assert torch.equal(words, zero.s_text(decisions.text)[0, 0])


@pytest.mark.parametrize(
    ("field", "value"),
    [("rope_theta", 5.0), ("rms_eps", 0.5), ("position", "token"), ("qk_norm", "none"), ("alibi_slopes", (0.5, 0.0))],
)
def test_a_flag_of_the_backbone_changes_what_it_says_without_changing_shapes_of_others(randomise, field, value):
    plain = replace(NANO.backbone, alibi_slopes=())
    models = [randomise(DuplexModel(replace(NANO, backbone=b))) for b in (plain, replace(plain, **{field: value}))]
    weights = {name: x for name, x in models[0].state_dict().items() if "qk_gain" not in name}
    models[1].load_state_dict(weights, strict=False)
    said = dialogue(batch=1, units=4)
    assert worst(offline(models[0], said), offline(models[1], said)) > 1e-4


def test_biases_and_head_widths_are_those_asked_for():
    attention = DuplexModel(like_qwen()).backbone.blocks[0].attention
    assert attention.qkv.bias is not None and attention.qk_gain is None
    assert attention.qkv.weight.shape == ((2 + 2) * 24, NANO.backbone.width)
    assert Geometry(BACKBONE).head_dim == 24


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_patches_are_put_together_again(rows, columns, a, b, channels):
    x = torch.randn(2, 3, rows * a, columns * b, channels)
    patches = to_patches(x, (a, b))
    assert patches.shape == (2, 3, rows * columns, a * b * channels)
    assert torch.equal(patches[:, :, 0], x[:, :, :a, :b].flatten(2))
    assert torch.equal(from_patches(patches, (a, b), tuple(x.shape[2:])), x)


def test_a_model_of_patches_streams(randomise):
    video = replace(NANO.video, patch=(1, 1))
    slots = replace(NANO.slots, y_video=4, u_video=4)
    model, said = randomise(DuplexModel(replace(NANO, video=video, slots=slots))), dialogue(batch=1, units=6)
    assert worst(streamed(model, said), offline(model, said)) < 1e-4


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_built(name):
    with torch.device("meta"):
        model = DuplexModel(preset(name))
    assert model.preset.slots.noisy == model.preset.slots.y


def test_a_small_unit_of_the_paper_presets_streams():
    """Their flags and token counts, on a narrow backbone."""
    paper = preset("paper-0.5b")
    backbone = replace(paper.backbone, width=32, layers=2, heads=4, kv_heads=2, ffn_width=48, head_dim=8)
    model = DuplexModel(replace(paper, backbone=backbone, n_words=101)).eval()
    reference = Reference(model)
    state = reference.new_state()
    for _ in range(2):
        thought, latents = reference.step(state, UserUnit())
    assert thought.slice.keys.shape == (1, 2, 2, 66, 8)
    assert latents.video.shape == (1, 24, 42, 16) and latents.audio.shape == (1, 2, 512)


def refused(message):
    return pytest.raises(ModelError, match=f"^{re.escape(message)}$")


def test_flags_that_do_not_go_together_are_told():
    with refused("backbone.alibi_slopes: found some with position 'token' (expected none), they count units"):
        replace(NANO.backbone, position="token")
    with refused(
        "nano.tie_embeddings: found text_decode 'local' (expected 'token'), another head has no matrix of the table's shape"
    ):
        replace(NANO, tie_embeddings=True)
    with refused(
        "nano.slots.y_video: found 2 tokens for a latent of 2x2 in patches of 1x1 (expected 4 and patches that divide it)"
    ):
        replace(NANO, video=replace(NANO.video, patch=(1, 1)))
    with refused("nano.slots.u_video: found 3 tokens for 2 latent rows (expected a divisor of 2)"):
        replace(NANO, slots=replace(NANO.slots, u_video=3))
    with refused("backbone.head_dim: found 7 (expected an even number), pairs are rotated"):
        BackboneConfig(width=14, layers=1, heads=2, kv_heads=1, ffn_width=8)
