from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.wan_core.backbone.rope import rotate, rotation

HEAD_DIM, THETA = 8, 300.0


def turned(x, unit):
    return rotate(x, rotation(torch.full((x.shape[-3],), unit), HEAD_DIM, THETA))


@settings(deadline=None)
@given(st.integers(-5, 10**6), st.integers(-5, 10**6), st.integers(0, 10**6))
def test_products_depend_on_the_distance_of_units_only(query_unit, key_unit, shift):
    generator = torch.Generator().manual_seed(query_unit % 97)
    q, k = torch.randn(2, 1, 1, 1, HEAD_DIM, generator=generator).unbind(0)
    here = (turned(q, query_unit) * turned(k, key_unit)).sum()
    there = (turned(q, query_unit + shift) * turned(k, key_unit + shift)).sum()
    torch.testing.assert_close(here, there, atol=1e-5, rtol=0)


def test_products_change_with_the_distance():
    q, k = torch.randn(2, 1, 1, 1, HEAD_DIM).unbind(0)
    assert not torch.allclose((turned(q, 5) * turned(k, 5)).sum(), (turned(q, 5) * turned(k, 3)).sum())


def test_angles_in_float32_would_break_the_law_late_in_a_session():
    """The planted bug: what the angles are computed in."""
    unit = 10**7 + 1
    frequencies = THETA ** -(torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    coarse = (torch.tensor([float(unit)]) * frequencies).cos()
    fine = rotation(torch.tensor([unit]), HEAD_DIM, THETA).cos[0, 0, : HEAD_DIM // 2]
    assert (coarse - fine).abs().max() > 1e-2


def test_rotation_keeps_lengths():
    x = torch.randn(3, 2, 4, HEAD_DIM)
    torch.testing.assert_close(turned(x, 12345).norm(dim=-1), x.norm(dim=-1))


def test_rotating_tokens_apart_or_together_is_bit_equal():
    x = torch.randn(1, 12, 3, HEAD_DIM)
    units = torch.arange(12) + 777
    together = rotate(x, rotation(units, HEAD_DIM, THETA))
    apart = [rotate(x[:, i : i + 1], rotation(units[i : i + 1], HEAD_DIM, THETA)) for i in range(12)]
    assert torch.equal(together, torch.cat(apart, 1))
