from __future__ import annotations

import math
import re

import pytest
import torch

from wangraph.wan_core.config import MelConfig
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.media.mel import FLOOR, LogMel, mel_filters

CONFIG = MelConfig()
SAMPLES = CONFIG.hops * CONFIG.hop


@pytest.fixture
def mel():
    return LogMel(CONFIG)


@pytest.fixture
def encoding(mel, stream):
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, 6, SAMPLES, generator=generator) * torch.linspace(0.01, 0.1, 6 * SAMPLES).view(6, -1)
    noise[:, 2] = torch.linspace(0, 0.5, SAMPLES)
    return stream(mel, mel.new_state, noise)


def test_the_front_end_keeps_every_streaming_law(law, encoding):
    law(encoding)


def test_a_planted_bug_breaks_its_law(law, twin, encoding):
    with pytest.raises(AssertionError):
        law(twin(encoding))


def test_a_louder_past_changes_the_present(encoding):
    louder = encoding.inputs.clone()
    louder[:, 2] *= 3
    changed = (encoding.whole(louder) - encoding.whole(encoding.inputs)).abs().amax((0, 2, 3))
    assert changed[3] > 1e-2 and changed[4] < 1e-6


@pytest.mark.parametrize("sample", [0, 159, 160, 2559, 2560])
def test_a_sample_changes_no_frame_before_its_own(mel, sample):
    x = torch.zeros(1, 2, SAMPLES)
    click = x.clone()
    click.view(-1)[sample] = 1.0
    changed = (mel(click, mel.new_state())[0] - mel(x, mel.new_state())[0]).abs().amax(-1).flatten() > 1e-6
    first = int(changed.nonzero()[0])
    assert sample // CONFIG.hop <= first <= sample // CONFIG.hop + 1  # the window begins and ends at zero


def test_a_tone_is_loudest_in_its_own_band(mel):
    for hz in (200, 1000, 3000, 6000):
        tone = 0.5 * torch.sin(2 * math.pi * hz / CONFIG.rate_hz * torch.arange(2 * SAMPLES)).view(1, 2, -1)
        band = int(mel(tone, mel.new_state())[0][0, 1].mean(0).argmax())
        bins = mel.bands.filters[:, band].nonzero().flatten() * CONFIG.rate_hz / mel.bands.fft_size
        assert bins.min() - 32 <= hz <= bins.max() + 32


def test_silence_is_the_floor_in_every_band(mel):
    silence = mel(torch.zeros(1, 1, SAMPLES), mel.new_state())[0]
    assert silence.shape == (1, 1, *CONFIG.shape)
    torch.testing.assert_close(silence, torch.full_like(silence, math.log(FLOOR) + 2.0))


def test_no_band_is_empty():
    assert mel_filters(512, 40, 16_000).sum(0).min() > 0.3


def test_it_has_no_weights(mel):
    assert not mel.state_dict()


@pytest.mark.parametrize("units", [1, 4])
def test_the_state_after_many_units_is_found_from_the_last(mel, units):
    samples, state = torch.randn(2, units, SAMPLES), mel.new_state(2)
    assert torch.equal(mel.advance(samples, state).samples, mel(samples, state)[1].samples)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            torch.zeros(1, 1, 1280),
            "log-mel: samples: found shape [1, 1, 1280] (expected [B, U, 2560]), resize it or change the preset",
        ),
        (
            torch.full((1, 1, SAMPLES), -torch.inf),
            "log-mel: samples: found NaN or infinity (expected finite numbers), check what produced it",
        ),
    ],
)
def test_what_cannot_be_heard_is_told_in_words(mel, samples, message):
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        mel(samples, mel.new_state())
