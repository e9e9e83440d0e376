"""What is told before unit 0: streamed as in one pass, seen at any distance, kept whatever happens."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from dialogue_toys import TIME, dialogue, streamed, worst
from test_window import ByDefinition

from wangraph.wan_core import model as model_module
from wangraph.wan_core.cache import kvcache
from wangraph.wan_core.config import CacheConfig, preset
from wangraph.wan_core.embed import PrefixTrack
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.exchange import PrefixUnit, UserUnit, persona_prompt
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.performer import Performer
from wangraph.wan_core.reference import Reference
from wangraph.wan_core.thinker import Thinker
from wangraph.wan_core.vocabulary import ENTER, vocabulary

NANO = preset("nano")
WORDS = vocabulary("toy_world")
TOLD, UNITS, REACH = 5, 24, 4
CACHES = {
    "full": CacheConfig(prefix_reach_units=REACH),
    "capped": CacheConfig(cap_units=6, chunk_units=2, prefix_reach_units=REACH),
    "window": CacheConfig(policy="window", window_units=6, sink_units=2, chunk_units=3, prefix_reach_units=REACH),
}


@pytest.fixture(params=CACHES)
def model(request, randomise):
    return randomise(DuplexModel(replace(NANO, cache=CACHES[request.param])))


@pytest.fixture
def full(randomise):
    return randomise(DuplexModel(replace(NANO, cache=CACHES["full"])))


def told(batch, seed=7):
    given = dialogue(batch, TOLD, seed)
    units = [PrefixUnit(replace(given.user_unit(k), unplayed=None), given.response(k)) for k in range(TOLD)]
    return PrefixTrack(given.user, given.agent), units


def prefilled(model, prefix, batch, first_unit=0):
    """Thinker and performer that have been told, the one through the other."""
    thinker, performer = Thinker(model), Performer(model)
    states = thinker.new_state(batch, first_unit), performer.new_state(batch)
    for slice_ in thinker.set_prefix(states[0], prefix):
        assert slice_.is_prefix and not slice_.answers
        performer.append(states[1], slice_)
    return states


@torch.inference_mode()
def offline(model, given, prefix, gap_units=0):
    out = model(given.user, given.agent, given.decisions, given.noisy, torch.full(given.shape, TIME),
                prefix=prefix, gap_units=gap_units)  # fmt: skip
    parts = (out.state_logits, out.gesture_logits, out.text_logits, *out.clean)
    return [torch.cat([x[:, k].flatten(1) for x in parts], 1) for k in range(given.shape[1])]


def test_a_told_prefix_is_attention_by_definition(randomise, monkeypatch):
    for name in ("full", "window"):
        model = randomise(DuplexModel(replace(NANO, cache=CACHES[name])))
        given, (track, units) = dialogue(batch=2, units=UNITS), told(2)
        with monkeypatch.context() as patch:
            patch.setattr(model_module, "AnchoredSequence", ByDefinition)
            expected = offline(model, given, track)
        assert worst(offline(model, given, track), expected) < 1e-4, name
        assert worst(streamed(model, given, states=prefilled(model, units, 2)), expected) < 1e-4, name


@pytest.mark.parametrize("bug", ["untold", "reach", "order", "embedding"])
def test_a_prefix_that_is_told_otherwise_is_found_out(full, monkeypatch, bug):
    """The planted bugs: it is not told, it never follows, its units change places, it looks like the present."""
    given, (track, units) = dialogue(batch=1, units=UNITS), told(1)
    expected = offline(full, given, track)
    if bug == "reach":
        monkeypatch.setattr(kvcache.KVCache, "_turn", lambda *_: None)
    elif bug == "order":
        units = units[::-1]
    elif bug == "embedding":
        with torch.no_grad():
            full.embed.told.zero_()
    states = prefilled(full, [] if bug == "untold" else units, 1)
    assert worst(streamed(full, given, states=states), expected) > 1e-3


def test_a_prefix_is_as_near_after_five_minutes_as_after_ten_seconds(full):
    given, (track, _) = dialogue(batch=1, units=UNITS), told(1)
    seconds, minutes = (offline(full, given, track, gap_units=round(s / NANO.unit_seconds)) for s in (10, 300))
    assert worst(seconds, minutes) < 1e-4
    other, _ = told(1, seed=8)
    assert (
        min(float((a - b).abs().max()) for a, b in zip(offline(full, given, other, 1875), minutes, strict=True)) > 1e-3
    )


def test_its_share_of_attention_does_not_decay(randomise):
    """The weight that a matching key of the prefix gets, with the same window of history behind the query."""
    model = randomise(DuplexModel(replace(NANO, cache=CACHES["window"])))
    cache, shape = model.cache, (1, *NANO.slice_shape)
    generator = torch.Generator().manual_seed(0)
    cycle = [torch.randn(2, *shape, generator=generator) for _ in range(7)]

    def found(units):
        state = cache.new_state(1, torch.zeros(()))
        with torch.inference_mode():
            prefix = torch.cat([cycle[k % 7][0] for k in range(-TOLD, 0)], -2)
            cache.set_prefix(state, prefix, torch.ones_like(prefix))
            for k in range(units):
                keys, values = cycle[k % 7]
                cache.start_slice(state)
                cache.append(state, keys, torch.zeros_like(values))
                cache.close_slices(state, keys)
            cache.start_slice(state)
            memory = kvcache.CachePass(cache, state, torch.zeros(1, dtype=torch.int64))
            query = torch.randn(1, 1, 3, 32, generator=torch.Generator().manual_seed(1))
            return memory.attend(0, query, torch.zeros(1, 1, 1, 32))[..., 0::32].flatten()

    share, later = found(63), found(63 + 7 * 259)
    torch.testing.assert_close(later, share, atol=1e-5, rtol=0)
    assert (share > 0.01).all()


def test_the_oldest_unit_of_a_capped_history_goes_and_the_prefix_stays(model):
    given, (_, units) = dialogue(batch=1, units=UNITS), told(1)
    states, others = prefilled(model, units, 1), prefilled(model, told(1, seed=8)[1], 1)
    pairs = zip(streamed(model, given, states=states), streamed(model, given, states=others), strict=True)
    assert min(float((a - b).abs().max()) for a, b in pairs) > 1e-3
    assert states[0].cache.prefix.shape[-2] == TOLD * NANO.slots.clean


@pytest.mark.parametrize("first_unit", [17, 1_000_000])
def test_unit_numbers_do_not_matter(model, first_unit):
    given, (_, units) = dialogue(batch=1, units=UNITS), told(1)
    there, here = (streamed(model, given, states=prefilled(model, units, 1, first)) for first in (first_unit, 0))
    assert worst(there, here) < 1e-4


def test_a_told_session_is_restored_bit_by_bit(model):
    given, (_, units) = dialogue(batch=1, units=UNITS), told(1)
    states = prefilled(model, units, 1)
    streamed(model, given, range(9), states=states)
    copies = Thinker(model).new_state(), Performer(model).new_state()
    for copy, state in zip(copies, states, strict=True):
        copy.restore(state.save())
    rest = [streamed(model, given, range(9, UNITS), states=each) for each in (states, copies)]
    assert worst(*rest) == 0


def test_two_sides_that_were_told_equal_one_bit_by_bit(model):
    given, (_, units) = dialogue(batch=1, units=UNITS), told(1)
    reference, thinker, performer = Reference(model), Thinker(model), Performer(model)
    states, together = prefilled(model, units, 1), reference.new_state()
    reference.set_prefix(together, units)
    latents = None
    for k in range(UNITS):
        response = None if latents is None else type(given.response(0))(*latents)
        thought = thinker.step(states[0], given.user_unit(k), response)
        performer.append(states[1], thought.slice)
        latents = performer.generate(states[1], k)
        assert all(map(torch.equal, latents, reference.step(together, given.user_unit(k))[1])), k


def test_a_reset_forgets_the_prefix(model):
    given, (_, units) = dialogue(batch=2, units=8), told(2)
    states = prefilled(model, units, 2)
    with_prefix = streamed(model, given, states=states)
    for state in states:
        state.reset()
    assert worst(streamed(model, given, states=states), streamed(model, given)) == 0
    states = prefilled(model, units, 2)
    for state in states:
        state.reset([1])
    after = streamed(model, given, states=states)
    assert worst([x[:1] for x in after], [x[:1] for x in with_prefix]) < 1e-4
    assert worst([x[1:] for x in after], [x[1:] for x in streamed(model, given)]) < 1e-4


def test_words_are_told_as_the_user_would_type_them():
    prefix = persona_prompt("You see a red card.\nSay yes", WORDS, batch=2)
    words = [WORDS.tokens[w] for w in ("you", "see", "a", "red", "card")] + [
        ENTER,
        WORDS.tokens["say"],
        WORDS.tokens["yes"],
        ENTER,
    ]
    assert [unit.user.text.tolist() for unit in prefix] == [[token, token] for token in words]


def test_a_prefix_is_set_between_two_units(full):
    thinker, (_, units) = Thinker(full), told(1)
    state = thinker.new_state()
    thinker.step(state, UserUnit())
    thinker.commit(state)
    with pytest.raises(ModelError, match=re.escape(
        "thinker: unit 1: found a committed response (expected a whole slice), set the prefix after step"
    )):  # fmt: skip
        thinker.set_prefix(state, units)


def test_a_prefix_that_does_not_fit_leaves_no_trace(full):
    thinker, state = Thinker(full), Thinker(full).new_state()
    wrong = [PrefixUnit(UserUnit(video=torch.full((1, 2, 2, 16), torch.nan)))]
    with pytest.raises(ModelError, match=r"^user video: found NaN or infinity \(expected finite numbers\), "):
        thinker.set_prefix(state, wrong)
    assert state.unit == 0 and state.cache.filled == 0
