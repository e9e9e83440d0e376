from __future__ import annotations

import re

import pytest
import torch

from wangraph.wan_core.config import VideoCodecConfig, preset
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.media.video import VideoCodec

CONFIG = preset("nano").video
FRAMES = (CONFIG.frames, CONFIG.height, CONFIG.width, 3)


@pytest.fixture
def codec(randomise):
    return randomise(VideoCodec(CONFIG))


@pytest.fixture(params=["encode", "decode"])
def way(request, codec, stream):
    generator = torch.Generator().manual_seed(1)
    if request.param == "encode":
        return stream(codec.encode, codec.new_encoder_state, torch.rand(2, 6, *FRAMES, generator=generator) * 2 - 1)
    return stream(codec.decode, codec.new_decoder_state, torch.randn(2, 6, *CONFIG.latent_shape, generator=generator))


def test_both_ways_keep_every_streaming_law(law, way):
    law(way)


def test_a_planted_bug_breaks_its_law(law, twin, way):
    with pytest.raises(AssertionError):
        law(twin(way))


def test_every_pixel_and_every_frame_of_a_unit_is_seen(codec):
    frames = torch.zeros(1, 1, *FRAMES, requires_grad=True)
    codec.encode(frames, codec.new_encoder_state())[0].square().sum().backward()
    assert frames.grad.abs().amax(-1).gt(0).float().mean() > 0.99


def test_the_layout_is_frames_then_rows_then_columns_then_colour(codec):
    frames = torch.rand(1, 1, *FRAMES) * 2 - 1
    planes = frames[0, 0].permute(0, 3, 1, 2).reshape(1, -1, CONFIG.height, CONFIG.width)
    expected = codec.encoder.down[0](planes)
    seen = {}
    codec.encoder.down[0].register_forward_hook(lambda _module, _args, output: seen.update(output=output))
    codec.encode(frames, codec.new_encoder_state())
    torch.testing.assert_close(seen["output"], expected)


def test_a_corner_of_the_latent_leaves_the_opposite_corner_of_the_picture_alone(randomise):
    codec = randomise(VideoCodec(VideoCodecConfig(height=128, width=128, widths=(4, 4, 4, 4))))
    z = torch.zeros(1, 1, *codec.config.latent_shape)
    other = z.clone()
    other[0, 0, 0, -1] += 1.0
    change = codec.decode(other, codec.new_decoder_state())[0] - codec.decode(z, codec.new_decoder_state())[0]
    assert change[0, 0, :, :16, -16:].abs().min(-1).values.gt(0).any() and not change[0, 0, :, -48:, :48].any()


@pytest.mark.parametrize("units", [1, 2, 5])
def test_the_state_after_many_units_is_found_from_the_last(codec, units):
    frames, latents = torch.rand(2, units, *FRAMES), torch.randn(2, units, *CONFIG.latent_shape)
    seen = codec.encode(torch.rand(2, 2, *FRAMES), codec.new_encoder_state(2))[1]
    shown = codec.decode(torch.randn(2, 2, *CONFIG.latent_shape), codec.new_decoder_state(2))[1]
    for short, long in (
        (codec.encoder_after(frames, seen), codec.encode(frames, seen)[1]),
        (codec.decoder_after(latents, shown), codec.decode(latents, shown)[1]),
    ):
        for name, tensor in long.save().items():
            torch.testing.assert_close(short.save()[name], tensor, atol=1e-5, rtol=0, msg=name)


def test_every_parameter_learns():
    codec = VideoCodec(CONFIG)
    posterior, _ = codec.posterior(torch.rand(2, 2, *FRAMES), codec.new_encoder_state(2))
    frames, _ = codec.decode(posterior.sample(), codec.new_decoder_state(2))
    assert frames.shape == (2, 2, *FRAMES)
    (frames.square().mean() + posterior.kl()).backward()
    assert [name for name, p in codec.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", ["nano", "tiny"])
def test_untrained_weights_give_pictures_with_contrast(name):
    torch.manual_seed(0)
    codec = VideoCodec(preset(name).video)
    latents = torch.randn(1, 4, *codec.config.latent_shape)
    assert 0.1 < codec.decode(latents, codec.new_decoder_state())[0].std() < 1.0


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (
            torch.zeros(1, 1, 4, 64, 64, 3),
            "video codec: frames: found shape [1, 1, 4, 64, 64, 3] (expected [B, U, 4, 32, 32, 3]), "
            "resize it or change the preset",
        ),
        (
            torch.full((1, 1, *FRAMES), torch.inf),
            "video codec: frames: found NaN or infinity (expected finite numbers), check what produced it",
        ),
        (
            torch.zeros(3, 1, *FRAMES),
            "video codec: frames: found 3 rows (expected 1, as in the state), one state per batch",
        ),
    ],
)
def test_what_cannot_be_encoded_is_told_in_words(codec, frames, message):
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        codec.encode(frames, codec.new_encoder_state(1))


def test_latents_with_nan_are_refused(codec):
    message = "video codec: latents: found NaN or infinity (expected finite numbers), check what produced it"
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        codec.decode(torch.full((1, 1, *CONFIG.latent_shape), torch.nan), codec.new_decoder_state())


def test_a_size_that_cannot_be_halved_so_often_is_refused():
    message = "video codec: found 48x40 over 16 (expected multiples of 16, one halving for each of 4 widths)"
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        VideoCodec(VideoCodecConfig(height=48, width=40))
