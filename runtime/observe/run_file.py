"""Discovery of a run from another terminal: a small file per run, in a folder of the user's own."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path

import msgspec

from ..errors import RunError, UserError, did_you_mean, listing
from ..output_file import open_private


class RunFile(msgspec.Struct, frozen=True):
    """A run that goes on.

    Attributes:
        name: ``GRAPH-PID``.
        born: when the process was started, in the kernel's ticks: a pid is used again, the pair is not.
        address: where it answers.
        token: whom it answers: those who can read this file.
    """

    name: str
    graph: str
    pid: int
    born: str
    address: str
    started: str
    token: str = ""


def runs_folder() -> Path:
    """Folder of run files: ``XDG_RUNTIME_DIR``, else a folder of this user among the temporary ones.

    Raises:
        RunError: the folder is not this user's alone, or cannot be made.
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    usable = given is not None and os.access(given, os.W_OK)
    folder = Path(given) / "wangraph" if usable and given else Path(tempfile.gettempdir()) / f"wangraph-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise RunError(f"{folder}: {error.strerror} (expected a folder for run files)") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RunError(f"{folder}: found a folder that others may write into (expected one of mode 700), remove it")
    return folder


def plain(name: str) -> str:
    """A graph's name in characters that file names and sockets allow."""
    return re.sub(r"[^\w.-]", "_", name)[:60] or "graph"


def free_name(graph: str) -> str:
    """``GRAPH-PID``, numbered when this process runs the graph several times at once."""
    folder, name = runs_folder(), f"{plain(graph)}-{os.getpid()}"
    taken = {path.stem for path in folder.glob(f"{name}*.json")}
    return next(n for n in (name, *(f"{name}.{k}" for k in range(2, len(taken) + 3))) if n not in taken)


def publish(run: RunFile) -> Path:
    """Write the file of this run; the caller removes it. What runs that were killed left is removed here.

    Raises:
        RunError: it cannot be written.
    """
    running()
    path = runs_folder() / f"{run.name}.json"
    try:
        fresh = path.with_suffix(".part")
        with open_private(fresh) as file:
            file.write(msgspec.json.encode(run))
        fresh.replace(path)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror} (expected to write a run file)") from error
    return path


def is_published(run: RunFile) -> bool:
    """True if its file is there still: it is removed when the run ends, before its process does."""
    return (runs_folder() / f"{run.name}.json").exists()


def running() -> list[RunFile]:
    """The runs of this user that go on; files of those that are gone are removed."""
    found = []
    for path in sorted(runs_folder().glob("*.json")):
        try:
            run = msgspec.json.decode(path.read_bytes(), type=RunFile)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            continue  # being removed, or of another version
        if born(run.pid) == run.born:
            found.append(run)
        else:
            path.unlink(missing_ok=True)
    return found


def find_run(name: str, runs: list[RunFile], who: str = "top") -> RunFile:
    """A run by its name, its graph's name or its pid. ``who`` asks, for messages.

    Raises:
        UserError: there is none, or several.
    """
    exact = [run for run in runs if name in (run.name, str(run.pid))]
    found = exact or [run for run in runs if run.graph == name]
    if not found:
        names = [run.name for run in runs]
        raise UserError(f"{who}: no run '{name}' (running: {listing(names)}){did_you_mean(name, names)}")
    if len(found) > 1:
        raise UserError(
            f"{who}: found {len(found)} runs of '{name}' (expected one of: {listing(r.name for r in found)})"
        )
    return found[0]


def born(pid: int) -> str:
    """Instant at which a process was started, in ticks after boot; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return ""
    return "alive"
