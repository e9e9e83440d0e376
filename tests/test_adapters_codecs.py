"""Public codecs: loaded from a folder by the real code, every streaming law kept, equal to their own offline pass."""

from __future__ import annotations

import json
import re

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from public_weights import save_mimi, save_wan_vae

from wangraph.wan_core.adapters.folder import audio_config, kind_of, video_config
from wangraph.wan_core.adapters.mimi import load_mimi
from wangraph.wan_core.adapters.wan_vae import load_wan_vae
from wangraph.wan_core.config import preset
from wangraph.wan_core.cost.model_cost import (
    MIMI_FLOPS,
    MIMI_PARAMETERS,
    WAN_VAE_FLOPS_PER_PIXEL,
    WAN_VAE_PARAMETERS,
)
from wangraph.wan_core.errors import ModelError

HEIGHT, WIDTH = 16, 24


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    wan, mimi = tmp_path_factory.mktemp("wan"), tmp_path_factory.mktemp("mimi")
    save_wan_vae(wan)
    save_mimi(mimi)
    return {"wan2.1": wan, "mimi": mimi}


@pytest.fixture(scope="module")
def codecs(folders):
    return {"wan2.1": load_wan_vae(folders["wan2.1"], HEIGHT, WIDTH), "mimi": load_mimi(folders["mimi"])}


def units_of(codec, count, rows=2, way="encode"):
    generator = torch.Generator().manual_seed(5)
    config = codec.config
    if way == "decode":
        return torch.randn(rows, count, *config.latent_shape, generator=generator)
    if config.kind == "mimi":
        return torch.randn(rows, count, config.samples, generator=generator) * 0.2
    return torch.rand(rows, count, config.frames, config.height, config.width, 3, generator=generator) * 2 - 1


@pytest.fixture(params=["wan2.1 encode", "wan2.1 decode", "mimi encode", "mimi decode"])
def way(request, codecs, stream):
    kind, direction = request.param.split()
    codec = codecs[kind]
    new_state = codec.new_encoder_state if direction == "encode" else codec.new_decoder_state
    return stream(getattr(codec, direction), new_state, units_of(codec, 6, way=direction))


def test_public_codecs_keep_every_streaming_law(law, way):
    law(way)


def test_a_planted_bug_breaks_its_law(law, twin, way):
    with pytest.raises(AssertionError):
        law(twin(way))


def test_a_row_that_is_reset_begins_anew_and_the_others_go_on(way):
    state = way.step(way.inputs[:, :3], way.new_state(2))[1]
    on = way.step(way.inputs[:, 3:5], state)[0]
    state.reset([1])
    y = way.step(way.inputs[:, 3:5], state)[0]
    torch.testing.assert_close(y[0], on[0], atol=1e-5, rtol=0)
    anew = way.step(way.inputs[1:, 3:5], way.new_state(1))[0]
    torch.testing.assert_close(y[1], anew[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("units", [1, 4])
def test_wan_latents_are_those_of_the_model_behind_five_black_frames(codecs, units):
    codec = codecs["wan2.1"]
    frames = units_of(codec, units)
    video = frames.permute(0, 5, 1, 2, 3, 4).flatten(2, 3)
    black = torch.full((2, 3, 5, HEIGHT, WIDTH), -1.0)
    with torch.no_grad():
        latents = codec.vae.encode(torch.cat([black, video], 2)).latent_dist.mode()
        pictures = codec.vae.decode(latents).sample
    ours, _ = codec.encode(frames, codec.new_encoder_state(2))
    mean, std = (torch.tensor(getattr(codec.vae.config, f"latents_{name}")) for name in ("mean", "std"))
    expected = (latents[:, :, 2:].permute(0, 2, 3, 4, 1) - mean) / std
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
    shown, _ = codec.decode(ours, codec.new_decoder_state(2))
    expected = pictures[:, :, 5:].unflatten(2, (units, 4)).permute(0, 2, 3, 4, 5, 1)
    torch.testing.assert_close(shown.clamp(-1, 1), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("units", [1, 5])
def test_mimi_latents_and_sound_are_those_of_the_model(codecs, units):
    codec = codecs["mimi"]
    samples = units_of(codec, units)
    ours, _ = codec.encode(samples, codec.new_encoder_state(2))
    spoken, _ = codec.decode(ours, codec.new_decoder_state(2))
    with torch.no_grad():
        latents = codec.mimi.encoder(samples.flatten(1)[:, None]).latents
        sound = codec.mimi.decoder(latents).audio_values[:, 0]
    torch.testing.assert_close(ours.flatten(1, 2), latents.transpose(1, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(spoken.flatten(1), sound, atol=1e-4, rtol=0)


def test_mimi_latents_are_what_the_model_quantises(codecs):
    codec = codecs["mimi"]
    samples = units_of(codec, 2)
    ours, _ = codec.encode(samples, codec.new_encoder_state(2))
    with torch.no_grad():
        codes = codec.mimi.encode(samples.flatten(1)[:, None]).audio_codes
        again = codec.mimi.quantizer.encode(ours.flatten(1, 2).transpose(1, 2)).transpose(0, 1)
    assert torch.equal(codes, again)


def test_sizes_are_read_from_the_configuration(folders):
    assert {name: kind_of(folder) for name, folder in folders.items()} == {name: name for name in folders}
    assert video_config(folders["wan2.1"], HEIGHT, WIDTH).latent_shape == (2, 3, 4)
    audio = audio_config(folders["mimi"])
    assert (audio.rate_hz, audio.samples, audio.latent_shape) == (24_000, 3840, (2, 16))


def test_the_large_presets_have_the_shapes_of_the_published_codecs(tmp_path):
    from diffusers import AutoencoderKLWan
    from transformers import MimiConfig

    with torch.device("meta"):
        (tmp_path / "wan").mkdir()
        (tmp_path / "mimi").mkdir()
        config = {key: value for key, value in AutoencoderKLWan().config.items() if not key.startswith("_")}
    (tmp_path / "wan/config.json").write_text(json.dumps({**config, "_class_name": "AutoencoderKLWan"}))
    MimiConfig().save_pretrained(tmp_path / "mimi")
    p = preset("paper-0.5b")
    video = video_config(tmp_path / "wan", p.video.height, p.video.width)
    assert (video.frames, video.latent_shape) == (p.video.frames, p.video.latent_shape)
    audio = audio_config(tmp_path / "mimi")
    assert (audio.rate_hz, audio.samples, audio.latent_shape) == (24_000, p.audio.samples, p.audio.latent_shape)


def test_the_cost_counts_the_published_codecs():
    from diffusers import AutoencoderKLWan
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import MimiConfig, MimiModel

    def flops(run):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run()
        return counter.get_total_flops()

    with torch.device("meta"):
        vae, mimi = AutoencoderKLWan().eval(), MimiModel(MimiConfig())
        frames, latents = torch.empty(1, 3, 9, 192, 336), torch.empty(1, 16, 3, 24, 42)
    assert sum(p.numel() for p in vae.parameters()) == WAN_VAE_PARAMETERS
    assert sum(p.numel() for half in (mimi.encoder, mimi.decoder) for p in half.parameters()) == MIMI_PARAMETERS
    encoding = flops(lambda: vae.encode(frames)) - flops(lambda: vae.encode(frames[:, :, :5]))
    decoding = flops(lambda: vae.decode(latents)) - flops(lambda: vae.decode(latents[:, :, :2]))
    assert [round(x * 192 * 336) for x in WAN_VAE_FLOPS_PER_PIXEL] == [encoding, decoding]
    assert all(x > 8e8 for x in MIMI_FLOPS)


def refused(message):
    return pytest.raises(ModelError, match=f"^{re.escape(message)}$")


def test_what_is_not_a_folder_of_weights_is_told(tmp_path, folders):
    with refused(f"weights {tmp_path}/no: no such folder (expected one with config.json and .safetensors files)"):
        kind_of(tmp_path / "no")
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae/config.json").write_text('{"model_type": "mimmi"}')
    message = f"weights {tmp_path}: no config.json (expected a folder as save_pretrained writes it)"
    with refused(f"{message}; did you mean {tmp_path}/vae?"):
        kind_of(tmp_path)
    known = "AutoencoderKLWan, mimi, qwen2, qwen3"
    with refused(f"weights {tmp_path}/vae: found 'mimmi' (expected one of: {known}); did you mean 'mimi'?"):
        kind_of(tmp_path / "vae")
    with refused(f"weights {folders['mimi']}: found 'mimi' (expected 'wan2.1'), name the folder of that part"):
        load_wan_vae(folders["mimi"], HEIGHT, WIDTH)


def test_wrong_sizes_and_versions_are_told(tmp_path, folders):
    wan = folders["wan2.1"]
    with refused(f"weights {wan}: found pictures of 30x16 (expected multiples of 8)"):
        load_wan_vae(wan, 16, 30)
    config = json.loads((wan / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "is_residual": True}))
    with refused(f"weights {tmp_path}: found the codec of Wan 2.2 (expected Wan 2.1), its units are not 4 frames"):
        load_wan_vae(tmp_path, 16, 24)
    codec = load_wan_vae(wan, HEIGHT, WIDTH)
    shape = [1, 1, 4, HEIGHT, WIDTH + 8, 3]
    with refused(
        f"video codec: frames: found shape {shape} (expected [B, U, 4, 16, 24, 3]), resize it or change the preset"
    ):
        codec.encode(torch.zeros(shape), codec.new_encoder_state())


@pytest.mark.parametrize("kind", ["wan2.1", "mimi"])
def test_damaged_weights_are_told(kind, folders, tmp_path):
    (file,) = folders[kind].glob("*.safetensors")
    (tmp_path / "config.json").write_text((folders[kind] / "config.json").read_text())
    (tmp_path / file.name).write_bytes(file.read_bytes()[:-1000])

    def load():
        return load_wan_vae(tmp_path, HEIGHT, WIDTH) if kind == "wan2.1" else load_mimi(tmp_path)

    with pytest.raises(
        ModelError, match=rf"^weights {re.escape(str(tmp_path))}: cannot be loaded \(.*\), copy them again$"
    ):
        load()
    (tmp_path / file.name).unlink()
    with pytest.raises(
        ModelError, match=rf"^weights {re.escape(str(tmp_path))}: cannot be loaded \(.*\), copy them again$"
    ):
        load()


@pytest.mark.parametrize("kind", ["wan2.1", "mimi"])
def test_missing_tensors_and_nan_are_told(kind, folders, tmp_path):
    from safetensors.torch import load_file, save_file

    (file,) = folders[kind].glob("*.safetensors")
    (tmp_path / "config.json").write_text((folders[kind] / "config.json").read_text())
    tensors = load_file(file)
    name = "decoder.conv_in.weight" if kind == "wan2.1" else "upsample.conv.weight"

    def load():
        return load_wan_vae(tmp_path, HEIGHT, WIDTH) if kind == "wan2.1" else load_mimi(tmp_path)

    save_file({key: x for key, x in tensors.items() if key != name}, tmp_path / file.name, {"format": "pt"})
    with pytest.raises(
        ModelError, match=r"no tensor '[\w.]+' \(1 in all\), they are of another version: copy them again$"
    ):
        load()
    save_file({**tensors, name: tensors[name] * float("nan")}, tmp_path / file.name, {"format": "pt"})
    with pytest.raises(ModelError, match=r"'[\w.]+' holds NaN or infinity, copy them again$"):
        load()
