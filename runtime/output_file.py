"""Files that are written for a user: never through a link, over nothing but their own kind, and some for them alone.

`FORCE_VARIABLE` lifts the second for the processes of a run, too; ``--force`` sets it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

FORCE_VARIABLE = "WANGRAPH_FORCE"
"""Environment variable with which outputs replace files of other kinds, and links instead of what they lead to."""

SIGNS: dict[str, Callable[[bytes], bool]] = {
    ".mp4": lambda head: head[4:8] == b"ftyp",
    ".srt": lambda head: head.lstrip(b"\xef\xbb\xbf").startswith((b"1\n", b"1\r\n")),  # number 1, and a line's end
    ".png": lambda head: head.startswith(b"\x89PNG"),
    ".wav": lambda head: head.startswith(b"RIFF"),
    ".json": lambda head: head.lstrip().startswith((b"{", b"[")),
    ".zip": lambda head: head.startswith(b"PK"),
    ".safetensors": lambda head: head[8:9] == b"{",  # its header, after eight bytes of length
    ".trace": lambda head: head.startswith(b'{"type":"header"'),
    ".gz": lambda head: head.startswith(b"\x1f\x8b"),
}
"""Beginnings of files, by their suffix."""


def is_forced() -> bool:
    """True if outputs may replace files of other kinds."""
    return bool(os.environ.get(FORCE_VARIABLE))


def claim(path: Path) -> None:
    """Pass if a file that is written there would replace nothing but its own kind, which its suffix says, and be no
    link's target. With `is_forced` a link is removed.

    Raises:
        OSError: it would.
    """
    if leads_elsewhere(path):
        if not is_forced():
            raise OSError(errno.ELOOP, "is a symbolic link", str(path))
        path.unlink()
    fits = SIGNS.get(path.suffix)
    if fits is None or is_forced() or not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(16)
    if head and not fits(head):
        raise OSError(errno.EEXIST, "found a file of another kind, which would be lost", str(path))


def open_private(path: Path) -> BinaryIO:
    """Open a file to write, of mode 600, also where another one was before: packets and plans are somebody's picture,
    voice and words.

    Raises:
        OSError: it cannot be written, or leads to another file: what is written there would be lost.
    """
    if leads_elsewhere(path):
        if not is_forced():
            raise OSError(errno.ELOOP, "is a symbolic link", str(path))
        path.unlink()
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
