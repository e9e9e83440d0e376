from __future__ import annotations

import pytest
import torch

from wangraph.wan_core.backbone.mask import TailMask, tokens_of, visible
from wangraph.wan_core.config import SlotConfig

SLOTS = SlotConfig()
Y, U, S, N = slice(0, 4), slice(4, 9), slice(9, 12), slice(12, 16)
UNITS = 4


@pytest.fixture
def sees():
    tokens = tokens_of(SLOTS, 0, UNITS, with_noisy=True)
    mask = visible(tokens, tokens).view(UNITS, 16, UNITS, 16)
    return lambda qk, q, kk, k: mask[qk, q, kk, k]


def every(x):
    return bool(x.all())


def none(x):
    return not bool(x.any())


def test_a_slice_holds_the_last_response_then_the_user_then_the_decision():
    tokens = tokens_of(SLOTS, 7, 1, with_noisy=True)
    assert tokens.order.tolist() == [20] * 4 + [21] * 5 + [22] * 3 + [23] * 4
    assert tokens.unit.tolist() == [6] * 4 + [7] * 12
    assert tokens.noisy.tolist() == [0] * 12 + [1] * 4


def test_the_response_does_not_see_the_user_unit_it_travels_with(sees):
    assert none(sees(2, Y, 2, U)) and none(sees(2, Y, 2, S))
    assert every(sees(2, U, 2, Y))


def test_responses_and_user_units_see_themselves_whole(sees):
    assert every(sees(1, Y, 1, Y)) and every(sees(1, U, 1, U))


def test_decisions_are_causal_token_by_token(sees):
    assert torch.equal(sees(1, S, 1, S), torch.ones(3, 3).tril().bool())


def test_clean_tokens_see_the_whole_past_and_no_future(sees):
    for clean in (Y, U, S):
        for past in (Y, U, S):
            assert every(sees(2, clean, 1, past))
            assert none(sees(1, clean, 2, past))


def test_noisy_tokens_see_the_decision_of_their_unit_and_each_other(sees):
    assert every(sees(2, N, 2, slice(0, 12))) and every(sees(2, N, 2, N))
    assert none(sees(2, N, 3, slice(0, 16)))


def test_nothing_else_sees_noisy_tokens(sees):
    for later in range(UNITS):
        for query in (Y, U, S):
            assert none(sees(later, query, 1, N))
        if later != 1:
            assert none(sees(later, N, 1, N))


def test_every_token_sees_itself():
    tokens = tokens_of(SLOTS, 0, UNITS, with_noisy=True)
    assert every(visible(tokens, tokens).diagonal())


def test_the_mask_does_not_depend_on_unit_numbers():
    here, there = tokens_of(SLOTS, 0, 3, True), tokens_of(SLOTS, 1000, 3, True)
    assert torch.equal(visible(here, here), visible(there, there))


@pytest.mark.parametrize("length", [3, 10, 11, 40])
def test_the_mask_of_a_pass_shows_the_whole_history(length):
    among = torch.ones(3, 3).tril().bool()
    tail = TailMask(among, repeats=2)
    for room in (0, 20):
        scores = tail.over(length, room, torch.zeros(()))
        expected = torch.cat([torch.ones(3, length - 3).bool(), among], 1).repeat(2, 1)
        assert torch.equal(scores == 0, expected) and torch.equal(scores == float("-inf"), ~expected)


def test_noisy_sound_and_picture_see_only_their_own_kind_unless_joint():
    joint, apart = (tokens_of(SLOTS, 0, 2, True, is_joint=is_joint) for is_joint in (True, False))
    between = visible(joint, joint) & ~visible(apart, apart)
    assert not (visible(apart, apart) & ~visible(joint, joint)).any()
    is_noisy, is_picture = joint.noisy > 0, apart.noisy == 2
    same_unit = joint.unit[:, None] == joint.unit[None]
    kinds_differ = is_picture[:, None] != is_picture[None]
    assert torch.equal(between, is_noisy[:, None] & is_noisy[None] & same_unit & kinds_differ)
