"""Many durations in little memory: exact while they are few, within 1 % for ever after."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.runtime.observe import distribution
from wangraph.runtime.observe.distribution import ERROR, EXACT, RECENT, Distribution, quantiles
from wangraph.runtime.units import MS

DAY_NS = 24 * 3600 * 1_000_000_000
QS = (0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 1.0)


def assert_within_an_error(values: list[int]) -> None:
    ordered, found = sorted(values), Distribution(values)
    for q in QS:
        position = q * (len(ordered) - 1)
        neighbours = ordered[math.floor(position)], ordered[math.ceil(position)]
        low = min(min(v * (1 - ERROR), v * (1 + ERROR)) for v in neighbours)
        high = max(max(v * (1 - ERROR), v * (1 + ERROR)) for v in neighbours)
        assert low - 1e-6 <= found.quantile(q) <= high + 1e-6, (q, neighbours)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-DAY_NS, DAY_NS), min_size=1, max_size=200))
def test_quantiles_read_from_buckets_are_within_1_percent_of_a_value(values):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "EXACT", 3)
        assert_within_an_error(values)


def test_the_law_catches_buckets_that_are_too_wide(monkeypatch):
    monkeypatch.setattr(distribution, "EXACT", 3)
    monkeypatch.setattr(distribution, "_GAMMA", 1.1)
    monkeypatch.setattr(distribution, "_LOG_GAMMA", math.log(1.1))
    with pytest.raises(AssertionError):
        assert_within_an_error([MS + k * 10_007 for k in range(500)])


def test_few_values_are_exact_and_one_more_turns_all_of_them_into_buckets():
    values = [MS + k * 997 for k in range(EXACT)]
    found = Distribution(values)
    assert found.quantiles() == quantiles(values)
    found.add(MS)
    assert found.quantiles() != quantiles([*values, MS])
    assert found.quantiles()["p50"] == pytest.approx(quantiles(values)["p50"], rel=ERROR)


def test_least_and_greatest_value_stay_exact(monkeypatch):
    monkeypatch.setattr(distribution, "EXACT", 3)
    values = [7 * MS + 123, *range(10 * MS, 11 * MS, 10_000), 40 * MS + 7]
    found = Distribution(values)
    assert (found.quantile(0.0), found.quantile(1.0)) == (values[0], values[-1])
    assert found.quantiles(low=True)["min"] == round(values[0] / MS, 3)


def test_what_is_added_to_a_copy_is_not_added_to_the_other(monkeypatch):
    for exact in (2, 100):
        monkeypatch.setattr(distribution, "EXACT", exact)
        one = Distribution([1, 2, 3, 4])
        other = one.copy()
        other.add(9)
        assert (len(one), len(other)) == (4, 5)
        assert (one.quantile(1.0), other.quantile(1.0)) == (4, 9)
        assert (list(one.recent), list(other.recent)) == ([1, 2, 3, 4], [1, 2, 3, 4, 9])


def test_the_newest_values_are_kept_as_they_are():
    assert list(Distribution(range(EXACT + RECENT)).recent) == list(range(EXACT, EXACT + RECENT))


def test_quantiles_are_interpolated_and_empty_without_values():
    assert quantiles([]) == Distribution().quantiles() == {}
    assert quantiles([v * MS for v in (1, 2, 3, 4, 5)]) == {"p50": 3.0, "p95": 4.8, "p99": 4.96, "max": 5.0}
    assert quantiles([5 * MS], low=True) == {"p50": 5.0, "p5": 5.0, "p1": 5.0, "min": 5.0}
    assert quantiles([5 * MS], with_max=False) == {"p50": 5.0, "p95": 5.0, "p99": 5.0}


def test_a_value_beyond_64_bits_counts_as_the_farthest_there_is():
    distribution = Distribution([5, 10**30, -(10**30)])
    assert distribution.recent == [5, 2**63 - 1, -(2**63 - 1)]
