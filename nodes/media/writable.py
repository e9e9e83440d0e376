"""Check whether a file can be written, made before anything is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ...runtime.errors import MediaError
from ...runtime.output_file import SIGNS, is_forced, leads_elsewhere

NEEDED_BYTES = 50_000_000
"""Free space below which a run is not started."""


def check_writable(where: str, path: Path) -> None:
    """Raise `MediaError` unless ``path`` can be made or replaced and there is room for a video; changes nothing."""
    folder = path.parent
    if not folder.is_dir():
        raise MediaError(f"{where}: {path}: no such folder (expected a folder to write to), try: mkdir -p {folder}")
    if path.is_dir():
        raise MediaError(f"{where}: {path}: is a folder (expected the name of a file), set params.path")
    if leads_elsewhere(path) and not is_forced():
        raise MediaError(
            f"{where}: {path}: is a symbolic link (expected a file of its own), set params.path, or give --force"
        )
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise MediaError(f"{where}: {path}: no permission to write (expected a writable folder), set params.path")
    check_replaced(where, path, "MP4", SIGNS[".mp4"])
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise MediaError(
            f"{where}: {path}: {free // 1_000_000} MB free (expected {NEEDED_BYTES // 1_000_000} MB or more), "
            "free some space or set params.path"
        )


def check_replaced(where: str, path: Path, kind: str, fits: Callable[[bytes], bool]) -> None:
    """Raise `MediaError` if there is a file that is something else; what is empty, or no file, is none.

    Args:
        fits: whether a file that begins with these bytes is of this kind.
    """
    if is_forced() or not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        if not fits(file.read(16)):
            raise MediaError(
                f"{where}: {path}: found a file that is no {kind} (expected none, or one to replace), it would be "
                "lost: set params.path, or give --force"
            )
