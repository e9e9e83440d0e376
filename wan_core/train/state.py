"""The state of a training on disk: whole or not at all, so that it can be gone on with bit by bit."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError

FORMAT = 1


def save_state(path: Path, state: Mapping[str, Any], identity: Mapping[str, str | int]) -> None:
    """Write a training's state; the file of before is replaced only by a complete one.

    Args:
        path: where; its folder exists.
        state: tensors, numbers, texts, in dicts and lists.
        identity: what this training is (stage, preset, seed...); `load_state` compares it.

    Raises:
        ModelError: the disk is full, or the path cannot be written; the last state is as before.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "identity": dict(identity), "state": dict(state)}, buffer)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ModelError(
            f"training {path}: cannot be written ({error.strerror}; the last checkpoint is intact), "
            "make room and --resume"
        ) from error


def load_state(path: Path, identity: Mapping[str, str | int]) -> dict[str, Any]:
    """Load what `save_state` wrote.

    Raises:
        ModelError: not there, damaged, or of another training.
    """
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        version, found, state = kept["format"], kept["identity"], kept["state"]
    except FileNotFoundError as error:
        raise ModelError(
            f"training {path}: no such file (expected a checkpoint to go on from), leave --resume out"
        ) from error
    except Exception as error:  # torch tells of a damaged file in many ways
        raise ModelError(f"training {path}: damaged ({type(error).__name__}), remove it and train again") from error
    expected: dict[str, str | int] = {"format": FORMAT, **identity}
    for key, value in {"format": version, **found}.items():
        if expected.get(key) != value:
            raise ModelError(
                f"training {path}: found {key} {value!r} (expected {expected.get(key)!r}), choose another --out"
            )
    assert isinstance(state, dict)
    return state
