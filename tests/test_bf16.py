"""Weights and cache in bf16: how far from fp32, and what must stay equal all the same."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from dialogue_toys import dialogue, streamed, worst
from test_backbone_nodes import opened, response, unit, user

from wangraph.nodes.performer import PerformerNode
from wangraph.nodes.reference import ReferenceNode
from wangraph.nodes.thinker import ThinkerNode
from wangraph.runtime.node_runner import NodeRunner
from wangraph.wan_core.backbone import attention
from wangraph.wan_core.config import preset
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.performer import Performer
from wangraph.wan_core.reference import Reference
from wangraph.wan_core.thinker import Thinker

NANO = preset("nano")
UNITS = 60


@pytest.fixture(scope="module")
def models():
    """The same weights in fp32 and in bf16; a model as it begins, whose logits spread about as those of a trained one."""
    torch.manual_seed(0)
    fp32 = DuplexModel(NANO).eval().requires_grad_(False)
    return fp32, deepcopy(fp32).to(torch.bfloat16)


def error(models, first_unit=0):
    """Root mean square of the difference, in shares of the fp32 numbers."""
    given = dialogue(batch=1, units=UNITS)
    one, other = (torch.stack(streamed(model, given, first_unit=first_unit)) for model in models)
    return float((one - other).square().mean().sqrt() / one.square().mean().sqrt())


def test_the_error_is_that_of_bf16_and_does_not_depend_on_the_unit(models, record_property):
    errors = [error(models, first_unit) for first_unit in (0, 100_003)]
    record_property("relative error of bf16", errors)
    assert max(errors) < 0.012


def test_rotating_in_bf16_is_found_out(models, monkeypatch):
    """The planted bug: the angles are counted in bf16."""
    fp32, bf16 = models
    given, turned = dialogue(batch=1, units=UNITS), attention.rotation
    expected = torch.stack(streamed(fp32, given, first_unit=100_003))
    coarse = lambda positions, *rest: turned(positions.to(torch.bfloat16), *rest)  # noqa: E731
    monkeypatch.setattr(attention, "rotation", coarse)
    found = torch.stack(streamed(bf16, given, first_unit=100_003))
    assert float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt()) > 0.02


def test_tokens_are_equal_where_they_are_clear(models):
    given, clear = dialogue(batch=1, units=UNITS), 0
    thinkers = [Thinker(model) for model in models]
    states = [thinker.new_state() for thinker in thinkers]
    for k in range(UNITS):
        thoughts = [
            thinker.step(state, given.user_unit(k), given.response(k - 1), given.decision(k))
            for thinker, state in zip(thinkers, states, strict=True)
        ]
        for name in ("text_logits", "state_logits"):
            one, other = (getattr(thought, name)[0] for thought in thoughts)
            first, second = one.topk(2).values
            if first - second > 0.1:
                clear += 1
                assert one.argmax() == other.argmax(), (k, name)
    assert clear > UNITS / 2


def test_two_sides_equal_one_bit_by_bit(models):
    given, (_, model) = dialogue(batch=1, units=UNITS), models
    reference, thinker, performer = Reference(model), Thinker(model), Performer(model)
    together, thinking, performing = reference.new_state(), thinker.new_state(), performer.new_state()
    latents = None
    for k in range(UNITS):
        thought = thinker.step(thinking, given.user_unit(k), latents and type(given.response(0))(*latents))
        performer.append(performing, thought.slice)
        latents = performer.generate(performing, k)
        assert all(map(torch.equal, latents, reference.step(together, given.user_unit(k))[1])), k
        assert latents.audio.dtype == torch.float32
    assert performing.cache.keys.dtype == torch.bfloat16


def test_a_restored_session_goes_on_bit_by_bit(models):
    given, reference = dialogue(batch=1, units=UNITS), Reference(models[1])
    state, copy = reference.new_state(), reference.new_state()
    for k in range(40):
        reference.step(state, given.user_unit(k))
    copy.restore(state.save())
    for k in range(40, UNITS):
        latents = [reference.step(each, given.user_unit(k))[1] for each in (state, copy)]
        assert worst(*[[x.audio] for x in latents]) == 0


def test_nodes_in_bf16_equal_one_node_in_bf16():
    reference, thinker, performer = (
        opened(kind, dtype="bfloat16") for kind in (ReferenceNode, ThinkerNode, PerformerNode)
    )
    together, thinking, performing, answer = reference.new_state(), thinker.new_state(), performer.new_state(), {}
    for k in range(8):
        thought = thinker.step(thinking, unit(k), **user(k), **response(answer))
        assert thought["context"]["keys"].dtype == np.uint16
        answer = performer.step(performing, unit(k), context=thought["context"])
        assert np.array_equal(reference.step(together, unit(k), **user(k))["video"], answer["video"]), k


def test_bf16_slices_keep_their_contract():
    with NodeRunner(ThinkerNode(checkpoint="nano", dtype="bfloat16")) as thinker:
        given = {**user(0), "response_video": None, "response_audio": None}
        assert thinker.step(**given)["context"]["values"].dtype == np.uint16


def test_half_the_bytes_are_told():
    facts = [ThinkerNode.facts({"checkpoint": "nano", "dtype": dtype}) for dtype in ("", "bfloat16")]
    assert [f["cache bytes per unit"] for f in facts] == [NANO.cache_bytes_per_unit, NANO.cache_bytes_per_unit // 2]
