"""Environments of other people's programs, made when they are first wanted: our own stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAMS = Path(__file__).with_name("peers")
_INSTALL_S = 600


def cache() -> Path:
    """The folder that the environments lie in; it may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "wangraph" / "bench"


def python_with(packages: tuple[str, ...]) -> str | None:
    """An interpreter that has these packages, our own where there are none; None: they cannot be installed here."""
    if not packages:
        return sys.executable
    folder = cache() / packages[0]
    python, is_done = folder / "bin" / "python", folder / "installed"
    if is_done.exists():
        return str(python)
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
    ]
    try:
        for step in steps:
            subprocess.run(step, check=True, capture_output=True, timeout=_INSTALL_S)
        is_done.touch()
    except (OSError, subprocess.SubprocessError):
        return None
    return str(python)
