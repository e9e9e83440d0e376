"""Check whether a file can be written, made before anything is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...runtime.errors import MediaError

NEEDED_BYTES = 50_000_000
"""Free space below which a run is not started."""


def check_writable(where: str, path: Path) -> None:
    """Raise `MediaError` unless ``path`` can be made or replaced and there is room for a video; changes nothing."""
    folder = path.parent
    if not folder.is_dir():
        raise MediaError(f"{where}: {path}: no such folder (expected a folder to write to), try: mkdir -p {folder}")
    if path.is_dir():
        raise MediaError(f"{where}: {path}: is a folder (expected the name of a file), set params.path")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise MediaError(f"{where}: {path}: no permission to write (expected a writable folder), set params.path")
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise MediaError(
            f"{where}: {path}: {free // 1_000_000} MB free (expected {NEEDED_BYTES // 1_000_000} MB or more), "
            "free some space or set params.path"
        )
