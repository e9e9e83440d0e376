"""Files that a run writes for its user alone: packets and plans are somebody's picture, voice and words."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_private(path: Path) -> BinaryIO:
    """Open a file to write, of mode 600, also where another one was before.

    Raises:
        OSError: it cannot be written, or leads to another file: what is written there would be lost.
    """
    if leads_elsewhere(path):
        raise OSError(errno.ELOOP, "is a symbolic link", str(path))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.fchmod(fd, 0o600)
        return os.fdopen(fd, "wb")
    except BaseException:
        os.close(fd)
        raise


def leads_elsewhere(path: Path) -> bool:
    """True for a symbolic link, unless it leads to a device or a pipe: ``/dev/stdout`` is one."""
    return path.is_symlink() and (path.is_file() or not path.exists())
