"""Contents of a folder of public weights, read from its ``config.json`` alone. Imports no torch.

A folder is one that ``save_pretrained`` writes, or a download of the same layout: ``config.json`` and
``*.safetensors`` beside it.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from ..config import AudioCodecConfig, BackboneConfig, VideoCodecConfig
from ..errors import ModelError

Kind = Literal["wan2.1", "mimi", "qwen"]
EXTRA = "adapters"
UNIT_SECONDS = 0.16

_KINDS: dict[str, Kind] = {"AutoencoderKLWan": "wan2.1", "mimi": "mimi", "qwen2": "qwen", "qwen3": "qwen"}


def require(package: str) -> ModuleType:
    """An optional package.

    Raises:
        ModelError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ModelError(
            f"package '{package}': not found (expected the extra '{EXTRA}'), pip install 'wangraph[{EXTRA}]'"
        ) from error


def is_installed(package: str) -> bool:
    """True if `require` would find it; imports nothing."""
    return find_spec(package) is not None


def read_config(path: str | Path) -> dict[str, Any]:
    """The folder's ``config.json``.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    folder = Path(path).expanduser()
    file = folder / "config.json"
    if not folder.is_dir():
        raise ModelError(f"weights {path}: no such folder (expected one with config.json and .safetensors files)")
    if not file.is_file():
        inside = sorted(p.parent.name for p in folder.glob("*/config.json"))
        hint = f"; did you mean {folder}/{inside[0]}?" if inside else ""
        raise ModelError(f"weights {path}: no config.json (expected a folder as save_pretrained writes it){hint}")
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"weights {file}: cannot be read ({error}), copy it again") from error
    if not isinstance(config, dict):
        raise ModelError(f"weights {file}: found {type(config).__name__} (expected a mapping), copy it again")
    return config


def kind_of(path: str | Path) -> Kind:
    """Kind of what the folder holds.

    Raises:
        ModelError: not readable, or something that there is no adapter for.
    """
    config = read_config(path)
    name = str(config.get("_class_name") or config.get("model_type"))
    if name not in _KINDS:
        close = difflib.get_close_matches(name, _KINDS, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ModelError(f"weights {path}: found '{name}' (expected one of: {', '.join(sorted(_KINDS))}){hint}")
    return _KINDS[name]


def check_kind(path: str | Path, kind: str) -> None:
    """Pass if the folder holds this.

    Raises:
        ModelError: it holds something else, or cannot be read.
    """
    assert kind in get_args(Kind), kind
    found = kind_of(path)
    if found != kind:
        raise ModelError(f"weights {path}: found '{found}' (expected '{kind}'), name the folder of that part")


def video_config(path: str | Path, height: int, width: int) -> VideoCodecConfig:
    """Sizes of the ``wan2.1`` codec in this folder, for pictures of this size.

    Raises:
        ModelError: another kind, another version, or a size that it cannot code.
    """
    check_kind(path, "wan2.1")
    config = read_config(path)
    if config.get("patch_size") or config.get("is_residual"):
        raise ModelError(f"weights {path}: found the codec of Wan 2.2 (expected Wan 2.1), its units are not 4 frames")
    down = 2 ** (len(_value(path, config, "dim_mult", [1, 2, 4, 4])) - 1)
    frames = 2 ** sum(map(bool, _value(path, config, "temperal_downsample", [False, True, True])))
    if frames != 4:
        raise ModelError(f"weights {path}: found {frames} frames per latent (expected 4, one unit)")
    if height % down or width % down:
        raise ModelError(f"weights {path}: found pictures of {width}x{height} (expected multiples of {down})")
    channels = int(_value(path, config, "z_dim", 16))
    return VideoCodecConfig(height, width, frames, down, channels, widths=(), kind="wan2.1")


def audio_config(path: str | Path) -> AudioCodecConfig:
    """Sizes of the ``mimi`` codec in this folder.

    Raises:
        ModelError: another kind, or one whose latents do not fill units.
    """
    check_kind(path, "mimi")
    config = read_config(path)
    rate = int(_value(path, config, "sampling_rate", 24_000))
    # the layer behind the convolutions halves the rate once more
    hop = 2 * math.prod(_value(path, config, "upsampling_ratios", [8, 6, 5, 4]))
    samples = round(rate * UNIT_SECONDS)
    if samples % hop:
        raise ModelError(f"weights {path}: found {hop} samples per latent (expected a divisor of {samples}, one unit)")
    if int(_value(path, config, "audio_channels", 1)) != 1:
        raise ModelError(f"weights {path}: found {config['audio_channels']} channels (expected 1)")
    channels = int(_value(path, config, "hidden_size", 512))
    return AudioCodecConfig(rate, hop, samples // hop, channels, width=0, kind="mimi")


def backbone_config(path: str | Path) -> BackboneConfig:
    """Sizes of the language model in this folder, Qwen2.5 or Qwen3.

    Raises:
        ModelError: another kind, or a variant that our backbone does not have.
    """
    check_kind(path, "qwen")
    config = read_config(path)
    scaling = config.get("rope_scaling")
    rope = {**(config.get("rope_parameters") or {}), **(scaling if isinstance(scaling, dict) else {})}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type != "default" or config.get("use_sliding_window"):
        found = f"rope '{rope_type}'" if rope_type != "default" else "a sliding window"
        raise ModelError(f"weights {path}: found {found} (expected plain rotary positions and full attention)")
    is_qwen3 = config["model_type"] == "qwen3"
    width, heads = int(_value(path, config, "hidden_size")), int(_value(path, config, "num_attention_heads"))
    return BackboneConfig(
        width=width,
        layers=int(_value(path, config, "num_hidden_layers")),
        heads=heads,
        kv_heads=int(_value(path, config, "num_key_value_heads")),
        ffn_width=int(_value(path, config, "intermediate_size")),
        head_dim=int(config.get("head_dim") or width // heads),
        rope_theta=float(rope.get("rope_theta") or _value(path, config, "rope_theta", 10_000.0)),
        rms_eps=float(_value(path, config, "rms_norm_eps", 1e-6)),
        qk_norm="gain" if is_qwen3 else "none",
        qkv_bias=not is_qwen3 or bool(config.get("attention_bias")),
        position="token",
    )


def _value(path: str | Path, config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    value = config.get(key, default)
    if value is None:
        raise ModelError(f"weights {path}: no '{key}' in config.json, copy it again")
    return value
