import math

import pytest
import torch

from wangraph.wan_core.codec_config import MelConfig
from wangraph.wan_core.media.mel import LogMel
from wangraph.wan_core.train.vtlp import perturbed

CONFIG = MelConfig()


def heard(samples):
    mel = LogMel(CONFIG)
    return mel(samples, mel.new_state(len(samples)))[0]


def tone(hz):
    return heard(0.3 * torch.sin(2 * math.pi * hz * torch.arange(2 * 2560) / 16_000).view(1, 2, 2560))


def loudest(mel):
    return int(mel[0, 1, 8].argmax())


@pytest.mark.parametrize("factor", [1.2, 1 / 1.2])
@pytest.mark.parametrize("hz", [500.0, 1000.0, 3000.0])
def test_frequencies_are_multiplied(hz, factor):
    moved = perturbed(tone(hz), torch.tensor([factor]), torch.zeros(1), CONFIG)
    assert abs(loudest(moved) - loudest(tone(hz * factor))) <= 1


def test_each_row_has_a_vocal_tract_of_its_own_and_a_factor_of_one_is_none():
    mel = tone(800.0).repeat(2, 1, 1, 1)
    same, moved = perturbed(mel, torch.tensor([1.0, 1.15]), torch.zeros(2), CONFIG)
    torch.testing.assert_close(same, mel[0], atol=1e-4, rtol=0)
    assert loudest(moved[None]) > loudest(mel)


def test_a_tilt_lifts_high_bands_lowers_low_ones_and_leaves_silence_alone():
    mel = heard(0.1 * torch.randn(1, 2, 2560, generator=torch.Generator().manual_seed(0)))
    change = (perturbed(mel, torch.ones(1), torch.ones(1), CONFIG) - mel)[0, 1].mean(0)
    assert change[0] == pytest.approx(-1, abs=0.1) and change[-1] == pytest.approx(1, abs=0.1)
    silence = heard(torch.zeros(1, 2, 2560))
    torch.testing.assert_close(perturbed(silence, torch.full((1,), 1.2), torch.ones(1), CONFIG), silence)
