from __future__ import annotations

import re

import pytest
import torch

from wangraph.wan_core.config import AudioCodecConfig, preset
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.media.audio import AudioCodec

CONFIG = preset("nano").audio


@pytest.fixture
def codec(randomise):
    return randomise(AudioCodec(CONFIG))


@pytest.fixture(params=["encode", "decode"])
def way(request, codec, stream):
    generator = torch.Generator().manual_seed(1)
    if request.param == "encode":
        x = torch.randn(2, 6, CONFIG.samples, generator=generator) * 0.1
        return stream(codec.encode, codec.new_encoder_state, x)
    return stream(codec.decode, codec.new_decoder_state, torch.randn(2, 6, *CONFIG.latent_shape, generator=generator))


def test_both_ways_keep_every_streaming_law(law, way):
    law(way)


def test_a_planted_bug_breaks_its_law(law, twin, way):
    with pytest.raises(AssertionError):
        law(twin(way))


def first_change(step, new_state, x, index):
    """Flat position per row of the first output that an input at ``index`` changes."""
    other = x.clone()
    other.view(-1)[index] += 1.0
    changed = (step(other, new_state(1))[0] - step(x, new_state(1))[0]).abs() > 1e-6
    return int(changed.flatten().nonzero()[0])


@pytest.mark.parametrize("sample", [0, 319, 320, 2559, 2560, 5000])
def test_a_sample_changes_no_latent_before_its_hop(codec, sample):
    x = torch.zeros(1, 3, CONFIG.samples)
    first = first_change(codec.encode, codec.new_encoder_state, x, sample)
    assert first // CONFIG.channels == sample // CONFIG.hop


@pytest.mark.parametrize("latent", [0, 1, 7, 8, 20])
def test_a_latent_sounds_from_the_first_sample_of_its_hop(codec, latent):
    z = torch.zeros(1, 3, *CONFIG.latent_shape)
    first = first_change(codec.decode, codec.new_decoder_state, z, latent * CONFIG.channels)
    assert first == latent * CONFIG.hop


def test_one_sample_of_look_ahead_is_noticed(codec):
    x = torch.zeros(1, 3, CONFIG.samples)

    def peeking(samples, state):
        return codec.encode(samples.roll(-1, 2), state)

    assert first_change(peeking, codec.new_encoder_state, x, 320) // CONFIG.channels == 0


@pytest.mark.parametrize("units", [1, 2, 5])
def test_the_state_after_many_units_is_found_from_the_last(codec, units):
    samples, latents = torch.randn(2, units, CONFIG.samples) * 0.1, torch.randn(2, units, *CONFIG.latent_shape)
    heard = codec.encode(torch.randn(2, 2, CONFIG.samples), codec.new_encoder_state(2))[1]
    spoken = codec.decode(torch.randn(2, 2, *CONFIG.latent_shape), codec.new_decoder_state(2))[1]
    for short, long in (
        (codec.encoder_after(samples, heard), codec.encode(samples, heard)[1]),
        (codec.decoder_after(latents, spoken), codec.decode(latents, spoken)[1]),
    ):
        for name, tensor in long.save().items():
            torch.testing.assert_close(short.save()[name], tensor, atol=1e-5, rtol=0, msg=name)


def test_the_posterior_is_what_training_needs(codec):
    posterior, _ = codec.posterior(torch.randn(2, 3, CONFIG.samples), codec.new_encoder_state(2))
    assert posterior.mean.shape == posterior.logvar.shape == (2, 3, *CONFIG.latent_shape)
    draws = [posterior.sample(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert posterior.kl() > 0


def test_fitted_latents_have_zero_mean_and_unit_spread(codec):
    samples = torch.randn(4, 8, CONFIG.samples)
    raw = codec.posterior(samples, codec.new_encoder_state(4))[0].mean.detach()
    codec.scale.fit(raw, min_std=0.0)
    latents = codec.encode(samples, codec.new_encoder_state(4))[0].detach().flatten(0, 2)
    torch.testing.assert_close(latents.mean(0), torch.zeros(CONFIG.channels), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std(0), torch.ones(CONFIG.channels), atol=1e-4, rtol=0)
    torch.testing.assert_close(codec.scale.denormalise(codec.scale.normalise(raw)), raw, atol=1e-4, rtol=0)


def test_every_parameter_learns():
    codec = AudioCodec(CONFIG)
    posterior, _ = codec.posterior(torch.randn(2, 2, CONFIG.samples) * 0.1, codec.new_encoder_state(2))
    samples, _ = codec.decode(posterior.sample(), codec.new_decoder_state(2))
    (samples.square().mean() + posterior.kl()).backward()
    assert [name for name, p in codec.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            torch.zeros(1, 2, 2559),
            "audio codec: samples: found shape [1, 2, 2559] (expected [B, U, 2560]), resize it or change the preset",
        ),
        (
            torch.zeros(1, 0, 2560),
            "audio codec: samples: found shape [1, 0, 2560] (expected [B, U, 2560]), resize it or change the preset",
        ),
        (
            torch.full((1, 1, 2560), torch.nan),
            "audio codec: samples: found NaN or infinity (expected finite numbers), check what produced it",
        ),
        (
            torch.zeros(2, 1, 2560),
            "audio codec: samples: found 2 rows (expected 1, as in the state), one state per batch",
        ),
    ],
)
def test_what_cannot_be_encoded_is_told_in_words(codec, samples, message):
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        codec.encode(samples, codec.new_encoder_state(1))


def test_latents_of_another_preset_are_refused(codec):
    message = "audio codec: latents: found shape [1, 1, 8, 32] (expected [B, U, 8, 16]), resize it or change the preset"
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        codec.decode(torch.zeros(1, 1, 8, 32), codec.new_decoder_state(1))


def test_a_unit_too_short_to_determine_the_state_is_refused():
    with pytest.raises(ModelError, match=r"^audio codec: found 4 latents per unit \(expected 6 or more\)$"):
        AudioCodec(AudioCodecConfig(latents=4, width=8))
