"""Sinks, window and prefix, against attention by definition: an explicit einsum, one joint softmax, at every layer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dialogue_toys import TIME, Dialogue, dialogue, offline, streamed, worst
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from wangraph.wan_core.backbone import anchored
from wangraph.wan_core.backbone.mask import visible
from wangraph.wan_core.backbone.rope import rotate, rotation
from wangraph.wan_core.cache import kvcache
from wangraph.wan_core.config import CacheConfig, preset
from wangraph.wan_core.embed import AgentTrack, DecisionTrack, PrefixTrack, UserTrack
from wangraph.wan_core.exchange import PrefixUnit, UserUnit
from wangraph.wan_core.flow import Latents
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.performer import Performer
from wangraph.wan_core.thinker import Thinker

NANO = preset("nano")
UNITS = 30
WINDOW, SINKS, PREFIX_REACH = 7, 3, 4


class ByDefinition:
    """A `Memory` of a whole sequence, slice by slice: each sees the keys where they stand for it."""

    def __init__(self, geometry, config, tokens, origin, *_):
        self.geometry, self.config, self.tokens, self.origin = geometry, config, tokens, origin

    def attend(self, layer, qk, v):
        kv, groups = self.geometry.kv_heads, self.geometry.groups
        q, k = qk[:, :, :-kv], qk[:, :, -kv:].repeat_interleave(groups, 2)
        y = torch.zeros(*q.shape)
        for slice_ in self.tokens.slices.unique():
            mine = self.tokens.slices == slice_
            y[:, mine] = self.one_slice(int(slice_), q[:, mine], k, v.repeat_interleave(groups, 2), mine)
        return y.flatten(2)

    def one_slice(self, slice_, q, k, v, mine):
        config, tokens = self.config, self.tokens
        units, slices = tokens.unit, tokens.slices
        n_sinks = config.sink_units if config.policy == "window" else 0
        age, k_age = slice_ - self.origin, slices - self.origin
        is_prefix, is_sink = k_age < 0, (k_age >= 0) & (k_age < n_sinks)
        reach = torch.where(is_prefix, config.prefix_reach_units, config.sink_units + config.window_units)
        follows = (is_prefix | is_sink) & (k_age < age)
        stands = torch.where(follows, units + (age - reach).clamp_min(0), units)
        theta, width = self.geometry.theta, self.geometry.head_dim
        scores = (
            torch.einsum(
                "bqhd,bkhd->bhqk",
                rotate(q, rotation(units[mine], width, theta)),
                rotate(k, rotation(stands, width, theta)),
            )
            / width**0.5
        )
        near = torch.where(follows, slice_, units)
        slopes = self.geometry.slopes.flatten()[:, None, None]
        scores = scores - slopes * (units[mine][:, None] - near[None])
        seen = visible(self.some(mine), tokens)
        past = config.window_units - 1 if config.policy == "window" else config.cap_units
        seen &= (k_age >= age - past) | is_prefix | is_sink
        seen &= self.is_held(mine)
        return torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(~seen, float("-inf")).softmax(-1), v)

    def is_held(self, mine):
        """Which keys are those of a prefix that these queries were told; all, where there is one prefix."""
        return torch.tensor(True)

    def some(self, which):
        return type(self.tokens)(*(field[which] for field in self.tokens))


@pytest.fixture
def windowed(randomise):
    def build(window=WINDOW, sinks=SINKS, policy="window", backbone=NANO.backbone, cap=3750):
        cache = CacheConfig(cap_units=cap, policy=policy, window_units=window, sink_units=sinks, chunk_units=4,
                            prefix_reach_units=PREFIX_REACH)  # fmt: skip
        return randomise(DuplexModel(replace(NANO, cache=cache, backbone=backbone)))

    return build


def by_definition(model, given, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            DuplexModel,
            "_memory",
            lambda self, tokens, origin, *_: ByDefinition(self.geometry, self.preset.cache, tokens, origin),
        )
        return offline(model, given)


@pytest.mark.parametrize(("window", "sinks"), [(7, 3), (2, 1), (5, 0), (2, 0), (4, 12), (50, 3)])
def test_sinks_and_window_are_attention_by_definition(windowed, monkeypatch, window, sinks):
    model, given = windowed(window, sinks), dialogue(batch=2, units=UNITS)
    expected = by_definition(model, given, monkeypatch)
    assert worst(offline(model, given), expected) < 1e-4
    assert worst(streamed(model, given), expected) < 1e-4


@pytest.mark.parametrize("cap", [1, 4, 11, 29])
def test_a_capped_history_is_attention_by_definition(windowed, monkeypatch, cap):
    model, given = windowed(policy="full", cap=cap), dialogue(batch=2, units=UNITS)
    expected = by_definition(model, given, monkeypatch)
    assert worst(offline(model, given), expected) < 1e-4
    assert worst(streamed(model, given), expected) < 1e-4


def test_grouped_heads_with_sinks_and_window_are_attention_by_definition(windowed, monkeypatch):
    slopes = preset("tiny").backbone.alibi_slopes
    backbone = replace(NANO.backbone, heads=6, kv_heads=2, head_dim=16, alibi_slopes=slopes)
    model, given = windowed(backbone=backbone), dialogue(batch=1, units=UNITS)
    expected = by_definition(model, given, monkeypatch)
    assert worst(offline(model, given), expected) < 1e-4
    assert worst(streamed(model, given), expected) < 1e-4


@pytest.mark.parametrize("first_unit", [1, 33, 1_000_000])
def test_unit_numbers_do_not_matter_to_sinks_and_window(windowed, first_unit):
    model, given = windowed(), dialogue(batch=1, units=UNITS)
    assert worst(streamed(model, given, first_unit=first_unit), streamed(model, given)) < 1e-4


@pytest.mark.parametrize("bug", ["reach", "frozen", "alibi", "window", "ring", "sinks"])
def test_a_cache_with_a_wrong_rule_is_found_out(windowed, monkeypatch, bug):
    """The planted bugs: sinks saturate one unit late, or never follow, or decay, the window is one unit longer, the
    ring replaces another slice than the oldest, the sinks are forgotten with the others."""
    model, given = windowed(), dialogue(batch=1, units=UNITS)
    expected, cache = by_definition(model, given, monkeypatch), model.cache
    if bug == "reach":
        cache.sink_reach += 1
    elif bug == "frozen":
        monkeypatch.setattr(kvcache.KVCache, "_turn", lambda *_: None)
    elif bug == "alibi":
        monkeypatch.setattr(kvcache.KVCache, "_place_anchors", lambda *_: None)
    elif bug == "window":
        cache.ring_units += 1
    elif bug == "ring":
        monkeypatch.setattr(kvcache.KVCache, "_place", lambda self, slices: (slices + 1) % self.ring_units)
    else:
        cache.n_sinks = 0
    assert worst(streamed(model, given), expected) > 3e-4


def test_a_training_pass_with_another_rule_is_found_out(windowed, monkeypatch):
    """The planted bug: anchors decay in training and not in streaming."""
    model, given = windowed(), dialogue(batch=1, units=UNITS)
    expected = streamed(model, given)
    bias = anchored._bias
    monkeypatch.setattr(anchored, "_bias", lambda g, c, t, age, anchors: bias(g, c, t, age, anchors & False))
    assert worst(offline(model, given), expected) > 1e-3


def test_memory_and_keys_per_pass_end_with_the_window(windowed):
    model, given = windowed(), dialogue(batch=1, units=UNITS)
    states = Thinker(model).new_state(), Performer(model).new_state()
    sizes = []
    for k in range(UNITS):
        streamed(model, given, [k], states=states)
        sizes.append((states[1].cache.used, states[1].cache.keys.shape[-2]))
    full = (SINKS + WINDOW - 1) * NANO.slots.clean
    assert set(sizes[SINKS + WINDOW :]) == {(full, max(size for _, size in sizes))}


def test_absorbing_across_the_window_is_taking_units_in_one_by_one(windowed):
    model, given = windowed(), dialogue(batch=1, units=UNITS)
    one, other = (Thinker(model).new_state() for _ in range(2))
    thinker = Thinker(model)
    users, responses = [given.user_unit(k) for k in range(UNITS)], [given.response(k - 1) for k in range(UNITS)]
    together = thinker.absorb(one, users, responses)
    for k, slice_ in enumerate(together):
        (alone,) = thinker.absorb(other, users[k : k + 1], responses[k : k + 1])
        torch.testing.assert_close(slice_.keys, alone.keys, atol=1e-4, rtol=0)


def test_a_restored_window_goes_on_bit_by_bit(windowed):
    model, given = windowed(), dialogue(batch=1, units=UNITS)
    states = Thinker(model).new_state(), Performer(model).new_state()
    streamed(model, given, range(20), states=states)
    copies = Thinker(model).new_state(), Performer(model).new_state()
    for copy, state in zip(copies, states, strict=True):
        copy.restore(state.save())
    rest = [streamed(model, given, range(20, UNITS), states=each) for each in (states, copies)]
    assert worst(*rest) == 0


@pytest.mark.parametrize("joins", [1, 2, 11])
def test_a_row_that_begins_later_has_sinks_of_its_own(windowed, joins):
    model, given = windowed(), dialogue(batch=2, units=UNITS)
    states = Thinker(model).new_state(2), Performer(model).new_state(2)
    undisturbed = streamed(model, given)
    before = streamed(model, given, range(joins), states=states)
    for state in states:
        state.reset([1], 500)
    after = streamed(model, given, range(joins, UNITS), states=states)
    assert worst([x[:1] for x in before + after], [x[:1] for x in undisturbed]) < 1e-4
    part = slice(joins, None)
    anew = Dialogue(
        UserTrack(given.user.video[1:, part], given.user.mel[1:, part], given.user.text[1:, part]),
        AgentTrack(given.agent.audio[1:, part], given.agent.video[1:, part]),
        DecisionTrack(*(x[1:, part] for x in (given.decisions.event, given.decisions.text, given.decisions.unplayed))),
        Latents(given.noisy.audio[1:, part], given.noisy.video[1:, part]),
    )
    assert worst([x[1:] for x in after], streamed(model, anew)) < 1e-4


def test_what_left_the_window_is_forgotten_and_the_sinks_are_not(windowed):
    model = windowed(window=4, sinks=2)
    given = dialogue(batch=1, units=40)

    def last_after(changed_unit):
        thinker = Thinker(model)
        state = thinker.new_state()
        for k in range(40):
            user = UserUnit(video=given.user.video[:, k] + (k == changed_unit))
            thought = thinker.step(state, user, decision=given.decision(k))
        return thought.text_logits

    # two layers, so that a unit is felt through what the next 2 * (window - 1) units took from it
    assert worst([last_after(0)], [last_after(-1)]) > 1e-6, "a sink is remembered"


@settings(max_examples=20, deadline=None)
@drawn(
    st.integers(2, 9), st.integers(0, 5), st.integers(0, 4), st.integers(1, 24), st.integers(0, 5), st.integers(0, 10**6)
)  # fmt: skip
def test_streaming_equals_one_pass_whatever_the_sizes(window, sinks, told, units, reach, seed):
    cache = CacheConfig(policy="window", window_units=window, sink_units=sinks, chunk_units=2, prefix_reach_units=reach)
    torch.manual_seed(seed)
    model = DuplexModel(replace(NANO, cache=cache)).eval().requires_grad_(False)
    given, prefix = dialogue(1, units, seed), dialogue(1, max(1, told), seed + 1)
    thinker, performer = Thinker(model), Performer(model)
    states = thinker.new_state(1, seed), performer.new_state(1, seed)
    for slice_ in thinker.set_prefix(states[0], [PrefixUnit(agent=prefix.response(k)) for k in range(told)]):
        performer.append(states[1], slice_)
    t = torch.full(given.shape, TIME)
    track = PrefixTrack(UserTrack(), prefix.agent) if told else None
    with torch.inference_mode():
        out = model(given.user, given.agent, given.decisions, given.noisy, t, seed, prefix=track)
    parts = (out.state_logits, out.gesture_logits, out.text_logits, *out.clean)
    expected = [torch.cat([x[:, k].flatten(1) for x in parts], 1) for k in range(units)]
    assert worst(streamed(model, given, states=states), expected) < 1e-4
