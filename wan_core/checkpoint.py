"""Weights in and out. What a checkpoint is, see `checkpoint_header`; random weights are deterministic, part by part."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .checkpoint_header import FORMAT, SUFFIX, CheckpointInfo, TensorInfo, find, inspect
from .config import PRESETS, Preset, preset
from .errors import ModelError
from .vocabulary import Vocabulary

M = TypeVar("M", bound=nn.Module)

FLOATS = ("F16", "BF16", "F32", "F64")

_building = threading.Lock()
"""Building draws from torch's one global generator: two lanes that build at once would draw from each other's seed."""


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """A part, ready to run.

    Attributes:
        module: in eval mode, no gradients, in fp32.
        preset: whose shapes it has.
        description: for the run's summary: ``random, seed 0`` or ``tiny, trained 2026-11-23 in 25 min``.
    """

    module: M
    preset: Preset
    description: str


def load_part(
    checkpoint: str | Path, part: str, build: Callable[[Preset], M], seed: int = 0, device: str = "cpu"
) -> Loaded[M]:
    """Build a part and give it its weights.

    Args:
        checkpoint: a preset, a file or a folder. Where a preset ships no weights for the part, they are random:
            a function of (preset, part, seed) and of nothing else.
        part: ``video_codec``, ``audio_codec``, ``model``.
        build: makes the module; what it draws comes from torch's global generator, which is put back afterwards.
        seed: for random weights.
        device: where the module goes.

    Raises:
        ModelError: no such checkpoint or part, damaged, other names or shapes than the module's, NaN.
    """
    path = find(checkpoint)
    info = None if path is None else inspect(path)
    if info is not None and str(checkpoint) in PRESETS and part not in info.parts:
        info = None
    shapes = preset(str(checkpoint)) if info is None else info.preset
    module = _built(build, shapes, part, seed)
    description = f"random, seed {seed}"
    if info is not None:
        _fill(module, info, part)
        name = str(checkpoint) if str(checkpoint) in PRESETS else info.path.name
        description = ", trained ".join(filter(None, (name, info.trained(part))))
    module.eval().requires_grad_(False)
    return Loaded(module.to(device), shapes, description)


def untrained(shapes: Preset, part: str, build: Callable[[Preset], M], seed: int = 0) -> M:
    """A part with the random weights that `load_part` gives where a preset ships none, in eval mode."""
    return _built(build, shapes, part, seed).eval().requires_grad_(False)


def save(
    path: str | Path,
    parts: Mapping[str, nn.Module],
    preset: str,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype = torch.float32,
    vocabulary: Vocabulary | None = None,
) -> None:
    """Write a checkpoint file; it appears whole or not at all.

    Args:
        path: ends in ``.safetensors``.
        parts: modules by part name.
        preset: name of the preset they were built from.
        metadata: more lines to keep; ``trained`` is shown when the weights are used.
        dtype: of the floating-point tensors on disk; they are loaded in fp32.
        vocabulary: what the model's tokens stand for; None: as the preset says.

    Raises:
        ModelError: unknown preset, another suffix, numbers that the dtype cannot hold, an unwritable path.
    """
    if preset not in PRESETS:
        raise ModelError(f"checkpoint {path}: found preset '{preset}' (available: {', '.join(sorted(PRESETS))})")
    tensors = {
        f"{part}.{name}": _for_disk(f"checkpoint {path}: '{part}.{name}'", tensor, dtype)
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
    lines = {**(metadata or {}), "format": FORMAT, "preset": preset, "parts": ",".join(sorted(parts))}
    write(path, tensors, lines if vocabulary is None else {**lines, "vocabulary": vocabulary.to_json()})


def write(path: str | Path, tensors: Mapping[str, Tensor], lines: Mapping[str, str]) -> None:
    """Write a checkpoint's tensors and metadata; the file appears whole or not at all.

    Raises:
        ModelError: another suffix, an unwritable path.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ModelError(f"checkpoint {path}: found '{path.suffix}' (expected {SUFFIX}), rename it")
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    try:
        save_file(dict(tensors), unfinished, dict(lines))
        unfinished.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        unfinished.unlink(missing_ok=True)
        raise ModelError(f"checkpoint {path}: cannot be written ({error}), check folder and free space") from error


def read(file: Path, names: Iterable[str]) -> Iterator[Tensor]:
    """Tensors of a checkpoint's file, one after the other.

    Raises:
        ModelError: the file cannot be read, or a tensor is not all numbers.
    """
    try:
        with safetensors.safe_open(file, framework="pt") as weights:
            for name in names:
                tensor: Tensor = weights.get_tensor(name)
                if not torch.isfinite(tensor).all():
                    raise ModelError(f"checkpoint {file}: '{name}' holds NaN or infinity, train it again")
                yield tensor
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"checkpoint {file}: cannot be read ({error}), copy it again") from error


def _built(build: Callable[[Preset], M], shapes: Preset, part: str, seed: int) -> M:
    digest = hashlib.sha256(f"{shapes.name}/{part}/{seed}".encode()).digest()
    with _building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(digest[:8], "little"))
        return build(shapes)


def _fill(module: nn.Module, info: CheckpointInfo, part: str) -> None:
    """Copy a part's tensors into the module, name by name; fp16 and bf16 widen on the way."""
    wanted, found = module.state_dict(), info.part(part)
    _check_fit(wanted, found, f"checkpoint {info.path}", part, info.preset.name)
    for file in sorted({tensor.file for tensor in found.values()}):
        names = [name for name, tensor in found.items() if tensor.file == file]
        for name, tensor in zip(names, read(file, [f"{part}.{name}" for name in names]), strict=True):
            wanted[name].copy_(tensor)


def _check_fit(
    wanted: Mapping[str, Tensor], found: Mapping[str, TensorInfo], where: str, part: str, preset_name: str
) -> None:
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing:
        raise ModelError(
            f"{where}: no tensor '{part}.{missing[0]}' (expected {list(wanted[missing[0]].shape)}; "
            f"{len(missing)} missing), it was made by another version: save it again"
        )
    if unknown:
        raise ModelError(
            f"{where}: found tensor '{part}.{unknown[0]}' (preset '{preset_name}' has none of that name; "
            f"{len(unknown)} too many), it was made by another version: save it again"
        )
    for name, tensor in wanted.items():
        shape, dtype = list(found[name].shape), found[name].dtype
        if shape != list(tensor.shape):
            raise ModelError(
                f"{where}: '{part}.{name}' is {shape} (expected {list(tensor.shape)} by preset '{preset_name}'), "
                "name a checkpoint of that preset"
            )
        if (dtype in FLOATS) != tensor.is_floating_point():
            raise ModelError(f"{where}: '{part}.{name}' is {dtype} (expected {tensor.dtype}), save it again")


def _for_disk(where: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy of its own in plain layout (safetensors takes neither shared nor strided tensors)."""
    tensor = tensor.detach().cpu()
    kept = tensor.to(dtype if tensor.is_floating_point() else tensor.dtype)
    if not torch.isfinite(kept).all():
        raise ModelError(f"{where} holds numbers that {kept.dtype} cannot (NaN, infinity or too large), use float32")
    return kept.clone(memory_format=torch.contiguous_format)
