from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wangraph.wan_core.backbone.attention import Geometry
from wangraph.wan_core.backbone.mask import tokens_of
from wangraph.wan_core.backbone.rope import rotate, rotation
from wangraph.wan_core.cache.kvcache import CachePass, KVCache
from wangraph.wan_core.config import CacheConfig, preset

NANO = preset("nano")
TOKENS = NANO.slots.clean
LAYERS, KV_HEADS, _, HEAD_DIM = NANO.slice_shape
HEADS = NANO.backbone.heads


def cache_of(cap_units=50, chunk_units=50):
    shapes = replace(NANO, cache=CacheConfig(cap_units, chunk_units))
    return KVCache(shapes, Geometry(shapes.backbone))


def slices(units, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (units, 2, batch, LAYERS, KV_HEADS, TOKENS, HEAD_DIM)
    return torch.randn(shape, generator=generator)


def filled(cache, history, first_unit=0, state=None):
    state = state or cache.new_state(history.shape[2], torch.zeros(()), first_unit)
    with torch.inference_mode():
        for keys, values in history:
            cache.start_slice(state)
            cache.append(state, keys, values)
            cache.close_slices(state, keys)
    return state


def asked(cache, state, unit, batch=1, layer=0, seed=1):
    """What three new tokens of ``unit`` find, and their queries, keys and values."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(batch, 3, HEADS, HEAD_DIM, generator=generator)
    k, v = torch.randn(2, batch, 3, KV_HEADS, HEAD_DIM, generator=generator).unbind(0)
    assert state.units == (unit,) * batch
    with torch.inference_mode():
        cache.start_slice(state)
        found = CachePass(cache, state, torch.zeros(3, dtype=torch.int64))
        return found.attend(layer, torch.cat([q, k], 2), v), (q, k, v)


def plainly(history, first_unit, unit, new, layer=0):
    """The same by definition: keys joined, rotated, heads repeated, biased, one softmax."""
    q, k, v = new
    batch = q.shape[0]
    keys = torch.cat([*history[:, 0, :, layer].transpose(2, 3), k], 1)
    values = torch.cat([*history[:, 1, :, layer].transpose(2, 3), v], 1)
    past = torch.arange(first_unit, first_unit + len(history))[:, None] + tokens_of(NANO.slots, 0, 1).unit
    units = torch.cat([past.flatten(), unit * torch.ones(3)])
    theta, slopes = NANO.backbone.rope_theta, torch.tensor(NANO.backbone.alibi_slopes)
    q = rotate(q, rotation(torch.full((3,), unit), HEAD_DIM, theta))
    keys = rotate(keys, rotation(units, HEAD_DIM, theta)).repeat_interleave(HEADS // KV_HEADS, 2)
    scores = torch.einsum("bthd,bnhd->bhtn", q, keys) / HEAD_DIM**0.5
    weights = (scores - slopes[:, None, None] * (unit - units)).softmax(-1)
    y = torch.einsum("bhtn,bnhd->bthd", weights, values.repeat_interleave(HEADS // KV_HEADS, 2))
    return y.reshape(batch, 3, -1)


@pytest.mark.parametrize("first_unit", [0, 31, 100_000])
def test_attention_over_the_cache_is_attention_by_definition(first_unit):
    cache, history = cache_of(), slices(40, batch=2)
    state = filled(cache, history, first_unit)
    for layer in range(LAYERS):
        found, new = asked(cache, state, first_unit + 40, batch=2, layer=layer)
        torch.testing.assert_close(found, plainly(history, first_unit, first_unit + 40, new, layer), atol=1e-5, rtol=0)


def test_a_base_that_does_not_follow_the_present_would_show():
    """The planted bug: keys whose unit channel counts from elsewhere."""
    cache, history = cache_of(), slices(40)
    state = filled(cache, history)
    with torch.inference_mode():
        state.keys[..., : 10 * TOKENS, -2] += 32
    found, new = asked(cache, state, 40)
    assert (found - plainly(history, 0, 40, new)).abs().max() > 1e-3


def test_growing_by_chunks_changes_nothing():
    history = slices(30)
    at_once, by_chunks = cache_of(50, 50), cache_of(50, 4)
    grown = filled(by_chunks, history)
    assert torch.equal(asked(at_once, filled(at_once, history), 30)[0], asked(by_chunks, grown, 30)[0])
    assert grown.keys.shape[-2] < 35 * TOKENS


def test_memory_ends_at_the_cap():
    cache = cache_of(cap_units=8, chunk_units=3)
    state = filled(cache, slices(8))
    most = 8 * TOKENS + TOKENS + NANO.slots.noisy
    filled(cache, slices(40), first_unit=8, state=state)
    assert state.keys.shape[-2] <= most and state.used == 8 * TOKENS


@pytest.mark.parametrize("units", [8, 9, 15, 16, 17, 40])
def test_at_the_cap_the_newest_units_are_remembered(units):
    cache, history = cache_of(cap_units=8, chunk_units=3), slices(units)
    state = filled(cache, history)
    found, new = asked(cache, state, units)
    torch.testing.assert_close(found, plainly(history[-8:], units - 8, units, new), atol=1e-5, rtol=0)


def test_a_pass_that_is_not_kept_leaves_no_trace():
    cache, history = cache_of(), slices(5)
    state = filled(cache, history)
    first, _ = asked(cache, state, 5)
    asked(cache, state, 5, seed=9)
    assert state.filled == 5 * TOKENS and torch.equal(asked(cache, state, 5)[0], first)


@pytest.mark.parametrize("units", [3, 11])
def test_a_restored_cache_goes_on_bit_by_bit(units):
    cache, history = cache_of(cap_units=8, chunk_units=2), slices(units + 6)
    state = filled(cache, history[:units])
    copy = cache.new_state(1, torch.zeros(()))
    copy.restore(state.save())
    for each in (state, copy):
        filled(cache, history[units:], units, each)
    assert torch.equal(asked(cache, state, units + 6)[0], asked(cache, copy, units + 6)[0])


def test_a_saved_cache_holds_no_empty_room():
    state = filled(cache_of(), slices(3))
    assert state.save()["keys"].shape[-2] == 3 * TOKENS


def test_a_row_that_is_reset_forgets_and_the_others_do_not():
    cache, history = cache_of(), slices(6, batch=2)
    state = filled(cache, history)
    before, new = asked(cache, state, 6, batch=2)
    state.reset([0], first_unit=6)
    after, _ = asked(cache, state, 6, batch=2)
    assert torch.equal(after[1], before[1])
    alone = plainly(history[:0], 0, 6, new)
    torch.testing.assert_close(after[0], alone[0], atol=1e-5, rtol=0)


def test_the_bytes_per_unit_are_what_the_tensors_take():
    cache = cache_of()
    state = filled(cache, slices(2))
    per_unit = sum(x[..., :TOKENS, :].numel() * x.element_size() for x in (state.keys, state.values))
    assert NANO.cache_bytes_per_unit == per_unit
