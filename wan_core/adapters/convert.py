"""A checkpoint of ours that begins as a public language model."""

from __future__ import annotations

from pathlib import Path

import torch

from ..checkpoint import load_part, save
from ..config import preset
from ..errors import ModelError
from ..model import DuplexModel
from .qwen import check_shapes, fill_from_qwen, qwen_preset

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def convert(path: str | Path, name: str, output: str | Path, dtype: str = "bfloat16", seed: int = 0) -> tuple[int, int]:
    """Fill a model of preset ``name`` from the folder and write it.

    Args:
        path: folder of the language model.
        name: a preset with its shapes.
        output: a ``.safetensors`` file.
        dtype: on disk.
        seed: of the parameters that the language model has none for.

    Returns:
        Parameters that were filled, and all of them.

    Raises:
        ModelError: another kind or shape, an unknown preset, damaged weights, an unwritable path.
    """
    check_shapes(preset(name), qwen_preset(path), path)  # before anything large is made
    if Path(output).exists() and Path(output).resolve().parent == Path(path).expanduser().resolve():
        raise ModelError(f"{output}: is a file of the language model (expected another file), name another")
    model = load_part(name, "model", DuplexModel, seed).module
    filled = set(fill_from_qwen(model, path))
    origin = Path(path).expanduser().resolve().name
    save(output, {"model": model}, name, {"trained": f"not yet, begins as {origin}"}, DTYPES[dtype])
    sizes = {key: p.numel() for key, p in model.named_parameters()}
    return sum(sizes[key] for key in filled), sum(sizes.values())
