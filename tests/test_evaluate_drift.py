"""Long dialogues, minute by minute, and how far back a model remembers."""

import json
import math

import pytest
from click.testing import CliRunner

from wangraph.tools.lab.evaluate import drift, memory
from wangraph.tools.lab.evaluate.agents import Weights
from wangraph.tools.lab.evaluate.drift import CONTINUOUS, RATES, LongRun, Minute, changes, long_run
from wangraph.tools.lab.evaluate.figures import share
from wangraph.tools.lab.evaluate.memory import Memory
from wangraph.tools.lab.evaluate.rows import Setting
from wangraph.tools.verbs.evaluate import command


def minute(level, hits):
    return Minute(dict.fromkeys(CONTINUOUS, level), dict.fromkeys(RATES, share([True] * hits + [False] * (10 - hits))))


def test_levels_change_by_a_share_of_the_first_minute_and_rates_by_a_difference():
    found = changes([minute(2.0, 9), minute(5.0, 1), minute(2.1, 8)])
    assert all(found[name] == pytest.approx(0.05) for name in CONTINUOUS)
    assert all(found[name] == pytest.approx(-0.1) for name in RATES)


def test_memory_reaches_as_far_as_an_effect_is_felt():
    assert Memory({1: 0.4, 8: 0.03, 64: 0.021, 256: 0.019}).span == 64


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(drift, "UNITS_PER_MINUTE", 8)
    monkeypatch.setattr(memory, "DISTANCES", (1, 4))


@pytest.mark.slow
def test_a_past_that_is_not_exchanged_leaves_the_present_as_it_was(short):
    from wangraph.tools.lab.evaluate.rows import tools

    weights, made = Weights.load("nano"), tools(Setting("nano"))
    one, other = (
        memory._user(spec, 12, weights, made.voices.bank) for spec in memory.probes.free(made.voices.synthetic, 2).specs
    )
    same, exchanged = (memory._effects(weights, one, user) for user in (one, other))
    assert all(effect < 1e-5 for effect in same.values()) and all(effect > 1e-3 for effect in exchanged.values())


@pytest.mark.slow
def test_long_dialogues_give_all_figures_for_every_minute(short):
    minutes, remembered = long_run(LongRun(Setting("nano"), dialogues=4, minutes=2))
    assert len(minutes) == 2 and set(remembered.effects) == {1, 4}
    assert all(set(m.levels) == set(CONTINUOUS) and set(m.rates) == set(RATES) for m in minutes)
    assert all(math.isfinite(m.levels["sharpness"]) for m in minutes)


@pytest.mark.slow
def test_drift_is_told_as_json_and_drawn(short, tmp_path):
    result = CliRunner().invoke(
        command,
        ["drift", "nano", "--dialogues", "2", "--processes", "1", "--json", "--plots", str(tmp_path)],
    )
    assert result.exit_code == 0, result.exception
    told = json.loads(result.stdout)
    assert len(told["minutes"]) == 5 and set(told["change"]) == {*CONTINUOUS, *RATES}
    assert told["memory span"] in (1, 4)
    assert (tmp_path / "drift.png").stat().st_size > 1000
