"""Figures and their intervals."""

import math

import numpy as np
import pytest

from wangraph.tools.lab.evaluate.figures import NOTHING, average, difference, mean, quantile, ratio, share, share_of
from wangraph.tools.lab.evaluate.report import MEASURES, Measure


def test_wilsons_interval_is_the_textbook_one():
    found = share([True] * 8 + [False] * 2)
    assert found.value == 0.8 and found.n == 10
    assert found.low == pytest.approx(0.4902, abs=1e-4) and found.high == pytest.approx(0.9433, abs=1e-4)


def test_all_hits_are_not_certain():
    found = share([True] * 40)
    assert found.value == found.high == 1.0 and found.low == pytest.approx(40 / (40 + 1.959964**2), abs=1e-3)


@pytest.mark.parametrize("n", [1, 7, 24, 96, 144])
def test_the_value_is_never_outside_of_its_interval(n):
    for hits in (0, n // 2, n):
        found = share([True] * hits + [False] * (n - hits))
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_hits_that_are_alike_within_a_dialogue_are_worth_as_many_as_there_are_dialogues():
    alike = [[i % 5 > 0] * 3 for i in range(50)]
    found, alone = share_of(alike), share([hits[0] for hits in alike])
    assert (found.value, found.n) == (0.8, 150)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
    singles, plain = share_of([[hit] for hit in [True] * 8 + [False] * 2]), share([True] * 8 + [False] * 2)
    assert (singles.low, singles.high) == pytest.approx((plain.low, plain.high))


def test_the_share_of_alike_hits_holds_the_true_one_about_as_often_as_it_says():
    rng = np.random.default_rng(3)

    def is_held(of):
        levels = rng.beta(4.5, 0.5, 48)  # 0.9, and a correlation of 1/6 within a dialogue
        found = of([list(rng.random(3) < level) for level in levels])
        return found.low <= 0.9 <= found.high

    together = sum(is_held(share_of) for _ in range(400)) / 400
    apart = sum(is_held(lambda rows: share([hit for row in rows for hit in row])) for _ in range(400)) / 400
    assert together >= 0.92 and together > apart


def test_what_was_never_seen_may_happen_all_the_same():
    found = ratio([[(0.0, 0.5)]] * 12, "per minute")
    assert (found.value, found.low, found.high) == (0.0, 0.0, pytest.approx(3.689 / 6, abs=1e-3))


def test_what_never_happened_counts_in_a_quantile():
    found = quantile([[100.0, math.inf], [math.inf]])
    assert math.isinf(found.value) and found.text() == "never [100, never]"


def test_an_interval_of_dialogues_is_wider_than_one_of_single_values():
    rng = np.random.default_rng(0)
    dialogues = [[level + 0.01 * rng.standard_normal() for _ in range(50)] for level in rng.standard_normal(12)]
    alone = [[value] for row in dialogues for value in row]
    by_dialogue, by_value = mean(dialogues), mean(alone)
    assert by_dialogue.value == pytest.approx(by_value.value)
    assert by_dialogue.high - by_dialogue.low > 3 * (by_value.high - by_value.low)


def test_a_bootstrap_holds_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = sum(f.low <= 0.0 <= f.high for f in (mean([[x] for x in rng.standard_normal(30)]) for _ in range(100)))
    assert 85 <= hits <= 100


def test_a_ratio_is_of_sums():
    assert ratio([[(1.0, 2.0)], [(3.0, 3.0)]]).value == pytest.approx(4 / 5)


def test_a_difference_has_a_wider_interval_than_either():
    one, other = share([True] * 30 + [False] * 10), share([False] * 35 + [True] * 5)
    found = difference(one, other)
    assert found.value == pytest.approx(0.625)
    assert found.low < one.low - other.value and found.high > one.high - other.value
    assert average(one, other).value == pytest.approx(0.4375)


def test_nothing_measured_is_no_figure():
    assert share([]) == mean([]) == difference(NOTHING, share([True])) == NOTHING
    assert NOTHING.text() == "-" and NOTHING.plain()["value"] is None


def test_a_goal_is_met_by_the_worse_end_of_the_interval():
    high = Measure("x", "high", 0.9)
    assert high.is_met(share([True] * 100), None) is True
    assert high.is_met(share([True] * 10), None) is False  # 1.0, but it might be 0.72
    low = Measure("x", "low", 40.0, "plus")
    assert low.is_met(quantile([[130.0]] * 9), quantile([[100.0]] * 9)) is True
    assert low.is_met(quantile([[150.0]] * 9), quantile([[100.0]] * 9)) is False
    assert low.is_met(NOTHING, quantile([[100.0]])) is False, "it left nothing to be measured"
    assert Measure("x").is_met(share([True]), None) is None, "there is no goal"


def test_every_measure_has_a_name_of_its_own():
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)


def test_dialogues_without_a_mistake_are_not_certain_and_one_tells_nothing_of_others():
    right = ratio([[(3.0, 3.0), (1.0, 1.0)]] * 10)
    assert right.value == right.high == 1.0 and right.low == share([True] * 20).low
    alone = mean([[0.9]])
    assert math.isnan(alone.low) and alone.text() == "0.900 [-]"
    assert Measure("lips", "high", 0.5).is_met(alone, None) is False
