"""Public classes from local folders, with every mistake in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from ..errors import ModelError


def from_folder(cls: Any, path: str | Path, ignore: Iterable[str] = (), **options: Any) -> Any:
    """``cls.from_pretrained`` of a local folder: in fp32, eval mode, without gradients, complete and finite.

    Args:
        cls: of diffusers or transformers.
        path: the folder.
        ignore: prefixes of names that may be missing or too many.
        options: more arguments for ``from_pretrained``.

    Raises:
        ModelError: it cannot be read, lacks tensors or has other ones, or holds NaN.
    """
    folder = str(Path(path).expanduser())
    try:
        module, info = cls.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"weights {path}: cannot be loaded ({lines[0]}), copy them again") from error
    for key, what in (("missing_keys", "no tensor"), ("unexpected_keys", "found an unknown tensor")):
        names = sorted(name for name in info.get(key, ()) if not name.startswith(tuple(ignore)))
        if names:
            raise ModelError(
                f"weights {path}: {what} '{names[0]}' ({len(names)} in all), "
                "they are of another version: copy them again"
            )
    module.float().eval().requires_grad_(False)
    check_finite(path, module)
    return module


@contextmanager
def quiet(logging: Any) -> Iterator[None]:
    """No progress bars, while a package loads that has this module of switches."""
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def check_finite(path: str | Path, module: nn.Module) -> None:
    """Pass if every number in the module's parameters and buffers is finite.

    Raises:
        ModelError: one is not.
    """
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"weights {path}: '{name}' holds NaN or infinity, copy them again")
