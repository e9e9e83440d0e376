from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.streaming import State


@dataclass
class Layer(State):
    past: Tensor


@dataclass
class Whole(State):
    layers: tuple[Layer, ...]
    head: Layer
    position: int = 0


def whole(fill: float, position: int = 0) -> Whole:
    return Whole(
        tuple(Layer(torch.full((3, 2), fill + i)) for i in range(2)), Layer(torch.full((3, 4), fill + 9)), position
    )


def test_a_saved_state_is_a_flat_dict_with_dotted_names():
    saved = whole(1.0, position=7).save()
    assert sorted(saved) == ["head.past", "layers.0.past", "layers.1.past", "position"]
    assert int(saved["position"]) == 7


def test_a_restored_state_equals_the_saved_one():
    state = whole(0.0)
    state.restore(whole(5.0, position=3).save())
    assert state.position == 3
    assert all(torch.equal(a, b) for a, b in zip(state.save().values(), whole(5.0, 3).save().values(), strict=True))


def test_what_was_saved_does_not_change_with_the_session():
    state = whole(1.0)
    saved = state.save()
    state.head.past += 1
    assert torch.equal(saved["head.past"], torch.full((3, 4), 10.0))


def test_a_restored_state_does_not_write_into_what_was_saved():
    saved, state = whole(1.0).save(), whole(0.0)
    state.restore(saved)
    state.head.past += 1
    assert torch.equal(saved["head.past"], torch.full((3, 4), 10.0))


def test_reset_of_some_rows_leaves_the_others_and_the_positions():
    state = whole(1.0, position=5)
    state.reset([0, 2])
    assert state.head.past[:, 0].tolist() == [0.0, 10.0, 0.0]
    assert state.layers[1].past[:, 0].tolist() == [0.0, 2.0, 0.0]
    assert state.position == 5


def test_reset_of_all_rows_is_a_fresh_state():
    state = whole(1.0, position=5)
    state.reset()
    assert state.position == 0
    assert all(not tensor.any() for tensor in state.save().values())


def test_reset_does_not_reach_states_that_share_tensors():
    state, other = whole(0.0), whole(1.0)
    state.adopt(whole(2.0))
    earlier = state.head.past
    state.reset([0])
    assert earlier[0, 0] == 11.0 and other.head.past[0, 0] == 10.0


def test_adopting_moves_the_session_on():
    state, later = whole(0.0), whole(2.0, position=1)
    state.adopt(later)
    assert state.position == 1
    assert torch.equal(state.layers[0].past, later.layers[0].past)


def test_a_state_of_another_shape_is_refused_and_nothing_changes():
    state, saved = whole(0.0), whole(1.0).save()
    saved["head.past"] = torch.zeros(3, 5)
    expected = "state of Whole: 'head.past' is [3, 5] (expected [3, 4])"
    with pytest.raises(ModelError, match=f"^{re.escape(expected)}$"):
        state.restore(saved)
    assert not state.layers[0].past.any()


def test_a_state_of_another_module_is_refused():
    expected = "state of Layer: names differ: future, past (expected past)"
    with pytest.raises(ModelError, match=f"^{re.escape(expected)}$"):
        Layer(torch.zeros(1)).restore({"future": torch.zeros(1)})
