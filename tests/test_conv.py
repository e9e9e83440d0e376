from __future__ import annotations

import pytest
import torch

from wangraph.wan_core.media.conv import CausalConv1d, Past, causal_taps


@pytest.fixture
def conv(randomise):
    return randomise(CausalConv1d(3, 5, kernel=4))


@pytest.fixture
def convolution(conv, stream):
    x = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1))
    return stream(conv, conv.new_state, x)


def test_a_causal_convolution_keeps_every_streaming_law(law, convolution):
    law(convolution)


def test_a_planted_bug_breaks_its_law(law, twin, convolution):
    with pytest.raises(AssertionError):
        law(twin(convolution))


def test_it_equals_an_ordinary_convolution_padded_on_the_left(conv):
    x = torch.randn(2, 9, 3)
    weight = conv.taps.weight.view(5, 4, 3).transpose(1, 2)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (3, 0))
    expected = torch.nn.functional.conv1d(padded, weight, conv.taps.bias).transpose(1, 2)
    torch.testing.assert_close(conv(x, conv.new_state(2))[0], expected)


def test_taps_come_oldest_first():
    taps, past = causal_taps(torch.tensor([[[3.0], [4.0]]]), Past(torch.tensor([[[1.0], [2.0]]])), 2)
    assert taps.tolist() == [[[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]]
    assert past.steps.flatten().tolist() == [3.0, 4.0]


def test_the_state_owns_its_numbers_and_leaves_the_given_one_alone(conv):
    x, state = torch.randn(1, 6, 3), conv.new_state()
    later = conv(x, state)[1]
    x.zero_()
    assert later.steps.any() and not state.steps.any()
