"""``wangraph model``."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from wangraph.runtime.errors import UserError
from wangraph.tools.cli import cli
from wangraph.wan_core.config import PRESETS, preset
from wangraph.wan_core.cost.model_cost import ModelCost


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["model", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", PRESETS)
def test_the_json_card_holds_the_figures_of_the_card(name):
    card, found = ModelCost(preset(name)), json.loads(shown(name, "--json", "--minutes", "1", "--steps", "3"))
    assert found["parameters"]["total"] == sum(card.parameters.values())
    assert found["cache"]["bytes_per_unit"] == {"fp32": card.kv_bytes_per_unit(4), "bf16": card.kv_bytes_per_unit(2)}
    units = min(375, card.cap_units)
    assert found["at"] == {"minutes": 1.0, "units": units, "steps": 3}
    assert found["flops"]["think"] == card.think_flops(units)
    assert found["flops"]["solver_step"] == card.step_flops(units)
    assert found["needed"]["fp32"]["gb_s"] == pytest.approx(2 * found["needed"]["bf16"]["gb_s"])


def test_the_printed_card_says_what_it_assumes():
    text = shown("tiny")
    assert "video codec  1,307,664" in text
    assert (
        "cache: 39,168 bytes per unit in fp32, 19,584 in bf16; grows for 8 s, "
        "then forgets the oldest unit with every new one" in text
    )
    assert "masks: up to 83,520 bytes in fp32, 41,760 in bf16, shared by all sessions" in text
    assert "40% of the peak operations and 60% of the peak bandwidth" in text


def test_without_a_preset_all_are_listed():
    assert [line.split()[0] for line in shown().splitlines()[1:]] == list(PRESETS)
    assert [report["preset"] for report in json.loads(shown("--json"))] == list(PRESETS)


def test_an_unknown_preset_gets_a_suggestion():
    message = "preset: found 'tinny' (available: nano, tiny, small, paper-0.5b, paper-7b); did you mean 'tiny'?"
    with pytest.raises(UserError) as raised:
        CliRunner().invoke(cli, ["model", "tinny"], catch_exceptions=False)
    assert str(raised.value) == message


@pytest.mark.parametrize("minutes", ["inf", "nan"])
def test_minutes_that_never_come_are_refused(minutes):
    result = CliRunner().invoke(cli, ["model", "tiny", "--minutes", minutes])
    assert result.exit_code == 2
    assert result.output.endswith(f"Error: Invalid value for '--minutes': {minutes} is not a finite number.\n")


def test_the_card_is_printed_without_torch():
    code = (
        "import sys; from click.testing import CliRunner; from wangraph.tools.cli import cli; "
        "CliRunner().invoke(cli, ['model', 'paper-7b']); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
