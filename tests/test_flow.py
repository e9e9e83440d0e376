from __future__ import annotations

import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.wan_core import flow
from wangraph.wan_core.errors import ModelError

X, EPS = torch.randn(2, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).unbind(0)


def test_time_one_is_noise_and_time_zero_is_clean():
    assert torch.equal(flow.interpolate(X, EPS, torch.ones(2, 3)), EPS)
    assert torch.equal(flow.interpolate(X, EPS, torch.zeros(2, 3)), X)


def test_the_velocity_on_the_line_is_noise_minus_clean():
    t = torch.full((2, 3), 0.6)
    torch.testing.assert_close(flow.velocity(flow.interpolate(X, EPS, t), X, t), EPS - X)


def test_a_weighted_error_of_the_prediction_is_an_error_of_the_velocity():
    t, wrong = torch.full((2, 3), 0.4), X + 0.1
    z = flow.interpolate(X, EPS, t)
    error = (flow.velocity(z, wrong, t) - (EPS - X)).square()
    weighted = (wrong - X).square() * flow.loss_weight(t)[..., None, None]
    torch.testing.assert_close(error, weighted)


@settings(deadline=None)
@given(st.integers(1, 12))
def test_a_perfect_prediction_is_reached_in_any_number_of_steps(steps):
    times, z = flow.schedule(steps), EPS
    for t, s in itertools.pairwise(times):
        z = flow.euler(z, X, t, s)
        if s:
            torch.testing.assert_close(z, flow.interpolate(X, EPS, torch.full((2, 3), s)))
    assert torch.equal(z, X)


def test_an_euler_step_follows_the_velocity():
    t, s = 0.8, 0.5
    along = EPS + (s - t) * flow.velocity(EPS, X, torch.full((2, 3), t))
    torch.testing.assert_close(flow.euler(EPS, X, t, s), along)


def test_the_schedule_runs_from_noise_to_clean():
    assert flow.schedule(1) == (1.0, 0.0)
    assert flow.schedule(4) == (1.0, 0.75, 0.5, 0.25, 0.0)
    with pytest.raises(ModelError, match=re.escape("flow: found 0 solver steps (expected 1 or more)")):
        flow.schedule(0)


def test_training_times_stay_inside_and_lean_to_noise():
    t = flow.training_times(torch.randn(10_000, generator=torch.Generator().manual_seed(0)))
    assert float(t.min()) > 0 and float(t.max()) < 1
    assert 0.5 < float(t.mean()) < 0.65


def test_noise_is_a_function_of_seed_session_and_unit():
    once = flow.noise((5,), 3, [0, 1], 7)
    flow.noise((100,), 9, [4], 2)
    assert torch.equal(once, flow.noise((5,), 3, [0, 1], 7))
    assert torch.equal(once[1:], flow.noise((5,), 3, [1], 7))
    others = [flow.noise((5,), 4, [0], 7), flow.noise((5,), 3, [2], 7), flow.noise((5,), 3, [0], 8)]
    others.append(flow.noise((5,), 3, [0], 7, flow.GESTURE))
    assert all(not torch.equal(once[:1], other) for other in others)


def test_noise_is_the_same_on_every_machine():
    expected = torch.tensor([[-1.7939296, -0.1474562, 2.2511950, 0.5132566]])
    torch.testing.assert_close(flow.noise((4,), 1, [2], 3), expected, atol=1e-6, rtol=0)


def test_noise_is_standard_normal():
    drawn = torch.cat([flow.noise((1000,), 0, [0], unit) for unit in range(50)])
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1) < 0.02
