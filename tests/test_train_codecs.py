import math

import pytest
import torch

from wangraph.wan_core.config import preset
from wangraph.wan_core.media.audio import AudioCodec
from wangraph.wan_core.media.video import VideoCodec
from wangraph.wan_core.train.codecs import (
    AUDIO_RECIPE,
    VIDEO_RECIPE,
    AudioTask,
    Clips,
    VideoTask,
    begin_audio,
    fit_audio_scale,
    fit_video_scale,
    probe,
)
from wangraph.wan_core.train.loop import Loop
from wangraph.wan_core.train.losses import snr_db

NANO = preset("nano")


def tones(generator):
    pitch = 100 + 300 * torch.rand(4, 1, generator=generator)
    seconds = torch.arange(3 * NANO.audio.samples) / NANO.audio.rate_hz
    return (0.3 * torch.sin(2 * torch.pi * pitch * seconds)).view(4, 3, -1)


def discs(generator):
    """A disc whose place is its pose."""
    place = 2 * torch.rand(4, 3, 2, generator=generator) - 1
    axis = torch.linspace(-1, 1, 32)
    apart = (axis - place[..., 0, None]).square()[:, :, None] + (axis - place[..., 1, None]).square()[..., None]
    frames = torch.where(apart < 0.2, 0.8, -0.6)[:, :, None, :, :, None].expand(-1, -1, 4, -1, -1, 3)
    return Clips(frames, place)


def learned(task, recipe, steps):
    loop = Loop(task, recipe, steps, seed=0)
    return [loop.step() for _ in range(steps)]


@pytest.fixture
def audio():
    torch.manual_seed(0)
    codec = AudioCodec(NANO.audio)
    begin_audio(codec)
    return codec


def test_the_audio_codec_begins_as_a_low_pass_filter(audio):
    sounds = tones(torch.Generator().manual_seed(0))
    latents, _ = audio.encode(sounds, audio.new_encoder_state(4))
    heard, _ = audio.decode(latents, audio.new_decoder_state(4))
    assert snr_db(heard, sounds) > 8  # its 16 bands end at 400 Hz
    silence, _ = audio.decode(torch.zeros_like(latents), audio.new_decoder_state(4))
    assert silence.abs().max() == 0


def test_the_audio_codec_learns_tones(audio):
    rows = learned(AudioTask(audio, tones), AUDIO_RECIPE, 60)
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.5
    assert rows[-1]["mel"] < rows[0]["mel"] - 0.5


def test_the_video_codec_learns_discs_and_where_they_are():
    torch.manual_seed(0)
    rows = learned(VideoTask(VideoCodec(NANO.video), discs, torch.ones(32, 32), 2), VIDEO_RECIPE, 100)
    assert rows[-1]["psnr_db"] > rows[0]["psnr_db"] + 2
    assert rows[-1]["pose"] < rows[0]["pose"]


def test_fitted_latents_are_about_standard_normal():
    torch.manual_seed(0)
    chance = torch.Generator().manual_seed(0)
    audio, video = AudioCodec(NANO.audio), VideoCodec(NANO.video)
    sounds, frames = 5 * tones(chance), discs(chance).frames
    fit_audio_scale(audio, sounds)
    fit_video_scale(video, frames)
    heard, _ = audio.encode(sounds, audio.new_encoder_state(4))
    seen, _ = video.encode(frames, video.new_encoder_state(4))
    for latents in (heard, seen):
        flat = latents.flatten(0, -2)
        assert flat.mean(0).abs().max() < 1e-4 and flat.std(0).max() < 1 + 1e-4


def test_a_probe_tells_what_the_latents_hold_and_guesses_what_they_do_not():
    chance = torch.Generator().manual_seed(0)
    latents = torch.randn(4000, 8, generator=chance)
    classes = (latents[:, 3] > 1.3).long()  # one in ten
    is_test = torch.arange(4000) % 4 == 0
    found = probe("there", latents, classes, is_test)
    assert found.accuracy > 0.9 and sum(found.counts) == 1000
    other = torch.randint(2, (4000,), generator=chance)
    assert probe("not there", latents, other, is_test).accuracy == pytest.approx(0.5, abs=0.06)


def test_a_probe_with_one_class_to_test_tells_nothing():
    classes = torch.zeros(100, dtype=torch.int64)
    classes[:10] = 1
    found = probe("rare", torch.randn(100, 4), classes, torch.arange(100) >= 50)
    assert math.isnan(found.accuracy) and found.counts == (50, 0)
