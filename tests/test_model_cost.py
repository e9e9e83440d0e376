"""The cost's arithmetic against the modules themselves."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from wangraph.wan_core.config import (
    PRESETS,
    AudioCodecConfig,
    BackboneConfig,
    CacheConfig,
    SlotConfig,
    VideoCodecConfig,
    preset,
)
from wangraph.wan_core.cost import model_cost
from wangraph.wan_core.cost.devices import DEVICES, Device, fits, load
from wangraph.wan_core.cost.model_cost import ModelCost
from wangraph.wan_core.exchange import ResponseUnit, UserUnit
from wangraph.wan_core.flow import Latents
from wangraph.wan_core.media.audio import AudioCodec
from wangraph.wan_core.media.video import VideoCodec
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.performer import predict_clean
from wangraph.wan_core.thinker import Thinker

OWN = ("nano", "tiny", "small")


def size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def counted(run) -> int:
    """What torch counts; its fused attention is not in the tables, the plain one is."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.inference_mode():
        run()
    return counter.get_total_flops()


def a_unit(p) -> tuple[UserUnit, ResponseUnit]:
    audio, video = torch.zeros(1, *p.audio.latent_shape), torch.zeros(1, *p.video.latent_shape)
    return UserUnit(video, torch.zeros(1, *p.mel.shape), torch.zeros(1, dtype=torch.int64)), ResponseUnit(audio, video)


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_those_of_the_modules(name):
    p = preset(name)
    with torch.device("meta"):
        model = DuplexModel(p)
    parts = ModelCost(p).parameters
    assert parts["embeddings"] == size(model.embed)
    assert parts["backbone"] == size(model.backbone)
    assert parts["embeddings"] + parts["backbone"] + parts["heads"] == size(model) == ModelCost(p).model_parameters


@st.composite
def presets(draw):
    """Any shapes and flags that go together, small."""
    kv_heads = draw(st.integers(1, 3))
    heads = kv_heads * draw(st.integers(1, 3))
    by_token, local = draw(st.booleans()), draw(st.booleans())
    backbone = BackboneConfig(
        width=draw(st.integers(4, 40)),
        layers=draw(st.integers(1, 3)),
        heads=heads,
        kv_heads=kv_heads,
        ffn_width=draw(st.integers(1, 50)),
        head_dim=2 * draw(st.integers(1, 12)),
        alibi_slopes=() if by_token or draw(st.booleans()) else (0.5,) * heads,
        qk_norm=draw(st.sampled_from(["none", "gain"])),
        qkv_bias=draw(st.booleans()),
        position="token" if by_token else "unit",
    )
    rows, u_audio = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2, 4]))
    return replace(
        preset("nano"),
        backbone=backbone,
        video=VideoCodecConfig(64, 64, channels=draw(st.integers(1, 5))),
        audio=AudioCodecConfig(channels=draw(st.integers(1, 5))),
        slots=SlotConfig(y_audio=draw(st.sampled_from([1, 2, 4, 8])), y_video=rows, u_video=rows, u_audio=u_audio),
        n_words=draw(st.integers(5, 90)),
        n_states=draw(st.integers(1, 6)),
        n_gestures=draw(st.integers(1, 4)),
        text_decode="local" if local else "token",
        tie_embeddings=not local and draw(st.booleans()),
    )


@settings(deadline=None, max_examples=30)
@given(presets())
def test_parameters_and_operations_follow_any_shapes(p):
    model, cost = DuplexModel(p).eval(), ModelCost(p)
    assert size(model) == cost.model_parameters
    thinker = Thinker(model)
    state = thinker.new_state()
    thinker.gap(state, 2)
    held = state.cache.filled * p.backbone.layers * p.backbone.kv_heads * 2 * 4 * (p.backbone.head_dim + 2)
    assert held == 2 * cost.kv_bytes_per_unit(4)
    assert counted(lambda: thinker.step(state, *a_unit(p))) == cost.think_flops(2)
    z = Latents(torch.zeros(1, 1, *p.audio.latent_shape), torch.zeros(1, 1, *p.video.latent_shape))
    assert counted(lambda: predict_clean(model, state.cache, 2, z, 0.5)) == cost.step_flops(3)


@pytest.mark.parametrize("name", OWN)
def test_codec_parameters_are_those_of_the_modules(name):
    p = preset(name)
    parts = ModelCost(p).parameters
    assert parts["video codec"] == size(VideoCodec(p.video))
    assert parts["audio codec"] == size(AudioCodec(p.audio))


def narrow(name):
    """The preset's flags and tokens, on a backbone that fits into a test."""
    p = preset(name)
    backbone = replace(p.backbone, width=32, layers=2, heads=4, kv_heads=2, ffn_width=48, head_dim=8)
    return replace(p, backbone=backbone, n_words=101)


@pytest.mark.parametrize("name", PRESETS)
def test_operations_are_what_torch_counts(name):
    p = preset(name) if name in OWN else narrow(name)
    model, cost = DuplexModel(p).eval(), ModelCost(p)
    thinker = Thinker(model)
    state = thinker.new_state()
    for history in range(3):
        assert counted(lambda: thinker.step(state, *a_unit(p))) == cost.think_flops(history)
        z = Latents(torch.zeros(1, 1, *p.audio.latent_shape), torch.zeros(1, 1, *p.video.latent_shape))
        assert counted(lambda z=z, k=history: predict_clean(model, state.cache, k, z, 0.5)) == cost.step_flops(
            history + 1
        )


@pytest.mark.parametrize("name", OWN)
def test_codec_operations_are_what_torch_counts(name):
    p = preset(name)
    video, audio = VideoCodec(p.video), AudioCodec(p.audio)
    frames = torch.zeros(1, 1, p.video.frames, p.video.height, p.video.width, 3)
    picture, sound = torch.zeros(1, 1, *p.video.latent_shape), torch.zeros(1, 1, *p.audio.latent_shape)
    samples = torch.zeros(1, 1, p.audio.samples)
    assert model_cost.video_codec_flops(p.video) == (
        counted(lambda: video.encode(frames, video.new_encoder_state())),
        counted(lambda: video.decode(picture, video.new_decoder_state())),
    )
    assert model_cost.audio_codec_flops(p.audio) == (
        counted(lambda: audio.encode(samples, audio.new_encoder_state())),
        counted(lambda: audio.decode(sound, audio.new_decoder_state())),
    )


@pytest.mark.parametrize("name", ("nano", "tiny"))
def test_the_cache_grows_by_the_bytes_that_were_said(name):
    p = preset(name)
    thinker = Thinker(DuplexModel(p))
    state = thinker.new_state()
    units = 2 * p.cache.chunk_units
    grown = []
    for _ in range(2):
        thinker.model.cache.reserve(state.cache, p.slots.clean * units - state.cache.filled)
        grown.append(state.cache.keys.nbytes + state.cache.values.nbytes)
        units += p.cache.chunk_units
    assert grown[1] - grown[0] == p.cache.chunk_units * ModelCost(p).kv_bytes_per_unit(model_cost.FP32_BYTES)
    thinker.step(state, *a_unit(p))
    held = sum(
        t[..., : state.cache.filled, :].numel() * t.element_size() for t in (state.cache.keys, state.cache.values)
    )
    assert held == ModelCost(p).kv_bytes_per_unit(model_cost.FP32_BYTES)


def test_half_the_bytes_in_bf16():
    cost = ModelCost(preset("paper-7b"))
    assert 2 * cost.kv_bytes_per_unit(model_cost.BF16_BYTES) == cost.kv_bytes_per_unit(model_cost.FP32_BYTES)


def test_memory_grows_with_the_conversation_until_the_cap():
    cost = ModelCost(replace(preset("tiny"), cache=CacheConfig()))
    held = [load(cost, minutes, 2, 4).performer_bytes for minutes in (1, 5, cost.cap_minutes, 60)]
    assert held[0] < held[1] < held[2] == held[3]
    assert held[1] - held[0] == 4 * 375 * cost.kv_bytes_per_unit(4)


def test_every_solver_step_reads_weights_and_cache_once():
    cost = ModelCost(replace(preset("tiny"), cache=CacheConfig()))
    one, three = (load(cost, 1, steps, 4).solve for steps in (1, 3))
    assert (three.flops, three.bytes_read) == (3 * one.flops, 3 * one.bytes_read)
    assert one.bytes_read == 4 * cost.backbone_weights + 375 * cost.kv_bytes_per_unit(4)


def test_the_loop_has_one_unit_on_however_many_devices():
    cost = ModelCost(preset("paper-7b"))
    work = load(cost, 5, 2, 2)
    flops = (work.think.flops + work.solve.flops) / 0.4 / 0.16 / 1e12
    slow, fast = (Device("d", flops * factor, 1e6, 1e3, 2) for factor in (0.99, 1.01))
    assert [fit.verdict for fit in fits(cost, 5, 2, [slow, fast])] == ["no", "two"]


def test_memory_for_one_half_may_be_there_when_that_for_both_is_not():
    cost = ModelCost(preset("paper-7b"))
    thinker = load(cost, 5, 2, 2).thinker_bytes / 1e9
    devices = [Device("d", 1e4, 1e6, thinker * factor, 2) for factor in (0.99, 1.01, 2.0)]
    assert [fit.verdict for fit in fits(cost, 5, 2, devices)] == ["no", "two", "one"]


def test_devices_are_listed_from_the_slowest():
    assert [d.bandwidth_gb_s for d in DEVICES] == sorted(d.bandwidth_gb_s for d in DEVICES)


def test_the_cost_needs_no_torch():
    code = "import sys; from wangraph.wan_core.cost import devices, model_cost; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
