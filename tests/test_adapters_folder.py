"""What is known of public weights without the packages that load them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from wangraph.wan_core.adapters import folder
from wangraph.wan_core.errors import ModelError

MIMI = {"model_type": "mimi", "sampling_rate": 24_000, "hidden_size": 512}
WAN = {"_class_name": "AutoencoderKLWan", "z_dim": 16}


def saved(path, config):
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def refused(message):
    return pytest.raises(ModelError, match=f"^{re.escape(message)}$")


def test_sizes_are_read_without_torch(tmp_path):
    saved(tmp_path, WAN)
    code = (
        "import sys; from wangraph.wan_core.adapters import folder\n"
        f"assert folder.video_config({str(tmp_path)!r}, 192, 336).latent_shape == (24, 42, 16)\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_package_is_told_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with refused("package 'diffusers': not found (expected the extra 'adapters'), pip install 'wangraph[adapters]'"):
        folder.require("diffusers")
    assert folder.is_installed("json") and not folder.is_installed("no_such_package")


def test_published_configurations_leave_out_what_is_default(tmp_path):
    audio = folder.audio_config(saved(tmp_path, MIMI))
    assert (audio.hop, audio.latents, audio.channels, audio.kind) == (1920, 2, 512, "mimi")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "weights {}/config.json: cannot be read (Expecting property name enclosed in double quotes: line 1 column 2 "
              "(char 1)), copy it again"),
        ("[]", "weights {}/config.json: found list (expected a mapping), copy it again"),
        ({**MIMI, "upsampling_ratios": [7, 6, 5, 4]}, "weights {}: found 1680 samples per latent (expected a divisor of "
                                                      "3840, one unit)"),
        ({**MIMI, "audio_channels": 2}, "weights {}: found 2 channels (expected 1)"),
        ({"model_type": "llama"}, "weights {}: found 'llama' (expected one of: AutoencoderKLWan, mimi, qwen2, qwen3)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(tmp_path, config, message):
    with refused(message.format(tmp_path)):
        folder.audio_config(saved(tmp_path, config))


def test_a_codec_of_other_frames_is_told(tmp_path):
    saved(tmp_path, {**WAN, "temperal_downsample": [True, True, True]})
    with refused(f"weights {tmp_path}: found 8 frames per latent (expected 4, one unit)"):
        folder.video_config(tmp_path, 64, 64)


def test_a_language_model_without_a_size_is_told(tmp_path):
    saved(tmp_path, {"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4})
    with refused(f"weights {tmp_path}: no 'num_hidden_layers' in config.json, copy it again"):
        folder.backbone_config(tmp_path)
