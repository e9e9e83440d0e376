from __future__ import annotations

import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.wan_core import flow
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.flow import METHODS, Latents, Solver, exits

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
    z = EPS
    for t, s in itertools.pairwise(Solver(steps).times):
        z = flow.euler(z, X, t, s)
        if s:
            torch.testing.assert_close(z, flow.interpolate(X, EPS, torch.full((2, 3), s)))
    assert torch.equal(z, X)


def test_an_euler_step_follows_the_velocity():
    t, s = 0.8, 0.5
    along = EPS + (s - t) * flow.velocity(EPS, X, torch.full((2, 3), t))
    torch.testing.assert_close(flow.euler(EPS, X, t, s), along)


def test_the_schedule_runs_from_noise_to_clean():
    assert Solver(1).times == (1.0, 0.0)
    assert Solver(4).times == pytest.approx((1.0, 0.875, 0.646, 0.350, 0.0), abs=5e-4)
    for steps in range(2, 20):
        lengths = [t - s for t, s in itertools.pairwise(Solver(steps).times)]
        assert lengths == sorted(lengths), "closer together near noise"


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


MEAN, SPREAD = 0.7, 0.4


def gaussian(z, t):
    """The best prediction of x ~ N(MEAN, SPREAD^2) from z; solved exactly, noise eps becomes MEAN + SPREAD * eps."""
    share = (1 - t) * SPREAD**2 / ((1 - t) ** 2 * SPREAD**2 + t**2)
    return Latents(*(MEAN + share * (part - (1 - t) * MEAN) for part in z))


def solved(steps, method):
    """How far from the exact solution."""
    eps = torch.linspace(-2, 2, 9, dtype=torch.float64)[None]
    *_, x = exits(gaussian, Latents(eps, eps), Solver(steps, method))
    return float((x.audio - (MEAN + SPREAD * eps)).abs().max())


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2)])
def test_twice_the_steps_divide_the_error_by_two_to_the_order(method, order):
    ratios = [solved(steps, method) / solved(2 * steps, method) for steps in (32, 64)]
    assert all(abs(ratio / 2**order - 1) < 0.1 for ratio in ratios), ratios


def test_heun_without_its_second_look_is_found_out(monkeypatch):
    """The planted bug."""
    monkeypatch.setattr(flow, "heun", lambda z, x, ahead, later, t, s: ahead)
    assert abs(solved(32, "heun") / solved(64, "heun") / 4 - 1) > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_every_step_is_a_valid_exit(method):
    """Each ends with what a prediction said, nearer and nearer to the answer; the first with that of one step."""
    eps = torch.linspace(-2, 2, 9, dtype=torch.float64)[None]
    answers = [x.audio for x in exits(gaussian, Latents(eps, eps), Solver(8, method))]
    errors = [float((x - answers[-1]).abs().max()) for x in answers]
    assert len(answers) == 8 and errors == sorted(errors, reverse=True)
    assert torch.equal(answers[0], next(exits(gaussian, Latents(eps, eps), Solver(1, method))).audio)


@pytest.mark.parametrize(("method", "predictions"), [("euler", 5), ("heun", 9)])
def test_what_a_solver_costs(method, predictions):
    seen = []
    eps = torch.zeros(1, 2)
    list(exits(lambda z, t: seen.append(t) or z, Latents(eps, eps), Solver(5, method)))
    assert len(seen) == predictions and min(seen) > 0


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"steps": 0}, "flow: found 0 solver steps (expected 1 or more)"),
        ({"method": "rk4"}, "flow: found solver 'rk4' (expected euler or heun)"),
        ({"audio_temperature": -0.5}, "flow: found audio_temperature -0.5 (expected 0 or more)"),
        ({"audio_temperature": float("nan")}, "flow: found audio_temperature nan (expected 0 or more)"),
    ],
)
def test_a_solver_that_cannot_be_is_refused(asked, problem):
    with pytest.raises(ModelError, match=f"^{re.escape(problem)}$"):
        Solver(**asked)
