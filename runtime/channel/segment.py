"""Segment files: created and filled by the supervisor, mapped by the processes, gone with the run.

On Linux the file lies in ``/dev/shm`` and never has a name (``O_TMPFILE``): the others open it through the
supervisor's ``/proc/PID/fd``. Nothing can be left behind then, whoever is killed whenever, and a restarted process
can attach for as long as the supervisor lives. Where that is not to be had, the file is named, and the supervisor
unlinks it as soon as every process has attached.

`multiprocessing.shared_memory` is no alternative: its resource tracker unlinks segments that others still use.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from ..errors import RunError, UserError
from .layout import SegmentLayout

SHARED_FOLDER = Path("/dev/shm")
_LACKING = (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT)


def shared_folder() -> Path:
    """Folder of segments: the kernel's shared memory, the folder for temporary files where there is none."""
    return SHARED_FOLDER if SHARED_FOLDER.is_dir() else Path(tempfile.gettempdir())


def plain_name(run: str, process: str) -> str:
    """``wangraph-RUN-PROCESS`` in characters and of a length that files and sockets allow; different names stay so."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", process)[:40]
    if plain != process:
        plain += "-" + hashlib.blake2b(process.encode(), digest_size=6).hexdigest()
    return f"wangraph-{run}-{plain}"


def life_name(process: str, life: int) -> str:
    """Name of one life of a process: the first one's is the process's own. No process may have the others' sign."""
    return f"{process}~{life}" if life else process


class Room(Protocol):
    """Purpose of a file.

    Attributes:
        process: who produces into it.
        n_bytes: how much memory it needs.
    """

    @property
    def process(self) -> str:
        """See above."""
        ...

    @property
    def n_bytes(self) -> int:
        """See above."""
        ...


class SegmentFile:
    """The supervisor's hold on one segment.

    Attributes:
        process: who produces into it.
        path: what the processes give to `Segment`.
    """

    def __init__(
        self, run: str, layout: Room, folder: Path | None = None, *, named: bool = False, life: int = 0
    ) -> None:
        """Create the file with all its memory, so that a lack of it shows here and not at unit 500.

        Args:
            run: unique among the runs of this machine.
            life: of the process, for the file's name.
            folder: `shared_folder` when None.
            named: give it a name even where it could go without.

        Raises:
            UserError: too little shared memory, or a folder that cannot be written to.
        """
        self.process = layout.process
        folder = folder or shared_folder()
        self._name: Path | None = None
        try:
            if free_bytes(folder) < layout.n_bytes:
                raise _too_little(folder, layout)
            fd = None if named else _nameless(folder)
            if fd is None:
                self._name = folder / plain_name(run, life_name(layout.process, life))
                fd = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise UserError(
                f"shared memory: {folder}: {error.strerror} (expected a writable folder), mount a tmpfs there"
            ) from error
        self._fd: int | None = fd
        self.path = str(self._name) if self._name else f"/proc/{os.getpid()}/fd/{fd}"
        try:
            # all of it at once: a sparse file would kill a process by SIGBUS when the memory runs out at unit 500
            _allocate(fd, layout.n_bytes)
        except OSError as error:
            self.close()
            if error.errno not in _LACKING:
                raise
            raise _too_little(folder, layout) from error

    def unlink(self) -> None:
        """Take the name away: call it when every process has attached. Mappings stay valid; may be called again."""
        if self._name is not None:
            self._name.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file at the end of the run, its name included; may be called again."""
        self.unlink()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def create_segments(run: str, layouts: dict[str, SegmentLayout], folder: Path | None = None) -> dict[str, SegmentFile]:
    """One file per layout, all or none.

    Raises:
        UserError: too little shared memory; what was made so far is gone again.
    """
    made: dict[str, SegmentFile] = {}
    try:
        for process, layout in layouts.items():
            made[process] = SegmentFile(run, layout, folder)
    except BaseException:
        for file in made.values():
            file.close()
        raise
    return made


class Segment:
    """One process's view of a segment: the producer's payload is writable, a reader's is not; leases always are.

    Attributes:
        layout: what lies where.
        payload: the slots; arrays over it keep the mapping alive after `close`.
        leases: one byte per (slot, holder).
    """

    def __init__(self, path: str, layout: SegmentLayout, *, writable: bool) -> None:
        """Map the file and touch every page, so that no unit pays for a page fault.

        Raises:
            RunError: the file is gone, or smaller than its layout.
        """
        self.layout = layout
        where = f"shared memory of process '{layout.process}'"
        try:
            fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise RunError(
                f"{where}: {path}: {error.strerror} (expected a segment), is the supervisor gone?"
            ) from error
        try:
            size = os.fstat(fd).st_size
            if size < layout.n_bytes:
                raise RunError(
                    f"{where}: found {size} bytes (expected {layout.n_bytes}), attach with the layout it was made for"
                )
            # apart from the payload: a reader writes its leases, and must not be able to write the payload
            self.leases = mmap.mmap(fd, layout.lease_bytes)
            self.payload = _mapped(fd, layout, writable)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Unmap what nobody looks at; the rest is unmapped when its last array dies."""
        try:
            self.payload.close()
        except BufferError:  # arrays are still out: they own the payload, and the ends of their leases own the leases
            return
        self.leases.close()


def _mapped(fd: int, layout: SegmentLayout, writable: bool) -> mmap.mmap:
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    payload = mmap.mmap(fd, layout.payload_bytes, flags=flags, prot=protection, offset=layout.lease_bytes)
    if not hasattr(mmap, "MAP_POPULATE"):
        for page in range(0, layout.payload_bytes, mmap.PAGESIZE):
            payload[page]
    return payload


def _nameless(folder: Path) -> int | None:
    """A file without a name that other processes of this user can open, None where there is no such thing."""
    if sys.platform != "linux" or not Path("/proc/self/fd").is_dir():
        return None
    try:
        fd = os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o600)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            return None
        raise
    try:
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDWR))
    except OSError:  # sandboxes whose /proc shows such a file and does not open it
        os.close(fd)
        return None
    return fd


def _allocate(fd: int, n_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, n_bytes)
        return
    blank = bytes(1 << 20)
    for start in range(0, n_bytes, len(blank)):
        os.pwrite(fd, blank[: n_bytes - start], start)


def free_bytes(folder: Path) -> int:
    """Bytes that this user can still allocate in ``folder``."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def _too_little(folder: Path, layout: Room) -> UserError:
    free, wanted = free_bytes(folder) // 10**6, -(-layout.n_bytes // 10**6)
    return UserError(
        f"shared memory: found {free} MB free in {folder} (expected {wanted} MB for process '{layout.process}'), "
        "free some or set memory: inline on the largest edges"
    )
