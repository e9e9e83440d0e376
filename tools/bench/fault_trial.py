"""One run of the command, harmed at a moment: started, struck, waited for, and searched for what it left."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...runtime.observe.run_file import runs_folder
from .fault_kinds import Deed, FullDisk, Inject, Kind, Signal

START_S, END_S = 60.0, 40.0
"""How long a run may take to start, and how much longer than its media to end: beyond, it is killed."""

GRACE_S = 3.0
"""How long after the command's end its processes may be gone."""

POLL_S = 0.02
CHILD = b"wangraph.runtime.engine.child"


@dataclass
class Trial:
    """A harmed run.

    Attributes:
        folder: where its files are.
        units: how many it was to have.
        unit: in which it was struck.
        exit_code: of the command; None when it had to be killed.
        struck_s, ended_s: instants on the monotonic clock; the first is None where the strike was inside.
        origin_s: of unit 0, estimated from records as they were written; None if there were none.
        left: what it left over, in words.
        error: the last line of the command on standard error, if it is one.
    """

    folder: Path
    units: int
    unit: int
    exit_code: int | None = None
    struck_s: float | None = None
    ended_s: float = 0.0
    origin_s: float | None = None
    left: list[str] = field(default_factory=list)
    error: str = ""


def harmed(kind: Kind, folder: Path, units: int, unit: int, period_s: float) -> Trial:
    """Run a graph of ``units`` units in this folder, and strike in ``unit``."""
    trial = Trial(folder, units, unit)
    memory = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        command = [sys.executable, "-m", "wangraph", *_words(kind, folder, units, unit)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with _heeded(signal.SIGINT, signal.SIGHUP):
            run = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   start_new_session=True)  # fmt: skip
    follower = _Follower(folder / "run.trace", trial)
    try:
        _strike_from_outside(kind, run, follower, (unit + 0.5) * period_s)
        _wait(run, follower, units * period_s + END_S)
    finally:
        trial.exit_code = run.poll()
        trial.ended_s = time.monotonic()
        if trial.exit_code is None:
            run.kill()
            run.wait()
        trial.left = _left_over(run.pid, memory)
    errors = [line for line in (folder / "stderr").read_text(errors="replace").splitlines() if line]
    trial.error = next((line for line in errors if line.startswith("error: ")), "")
    return trial


@contextmanager
def _heeded(*numbers: signal.Signals) -> Iterator[None]:
    """Start what is started here with these signals not ignored, as they are of a bench in the background."""
    kept = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _words(kind: Kind, folder: Path, units: int, unit: int) -> list[str]:
    """The command's arguments."""
    is_recorded = isinstance(kind.strike, FullDisk) and kind.strike.file == "run.mcap"
    words = ["record", "-o", "run.mcap"] if is_recorded else ["run", "--no-progress", "--max-misses", str(units)]
    words += ["--units", str(units), "--trace", "run.trace", "--json", "run.json"]
    if isinstance(kind.strike, Inject):
        words += ["--inject", f"{kind.strike.node}: {kind.strike.fault} at={unit}"]
    if kind.graph == "duplex":
        keys = {f"processes.performer.{key}": json.dumps(value) for key, value in kind.process.items()}
        sets = {"checkpoint": "tiny", "user.loop": "true", "output": "out.mp4", **keys}
        return [*words, "duplex", *(word for key, value in sets.items() for word in ("--set", f"{key}={value}"))]
    graph = three(kind, kind.strike.name if isinstance(kind.strike, Deed) else "", unit)
    (folder / "three.yaml").write_text(json.dumps(graph))
    return [*words, "three.yaml"]


def three(kind: Kind, deed: str = "", at: int = 0) -> dict[str, Any]:
    """A source, a node in the middle, and playout with a video, in three processes."""
    middle = {"type": f"{__package__}.fault_nodes:Middle", "process": "middle", "params": {"deed": deed, "at": at}}
    both = {"video": "sync.video", "audio": "sync.audio"}
    return {
        "name": "three",
        "latency_ms": 200,
        "processes": {"source": {}, "middle": dict(kind.process), "main": {"lanes": ["play", "io"]}},
        "nodes": {
            "source": {"type": "capture.pattern", "process": "source", "params": {"seconds": 3600}},
            "middle": {**middle, **kind.node, "inputs": {"frames": "source.video", "samples": "source.audio"}},
            "sync": {
                "type": "sync.playout",
                "process": "main",
                "lane": "play",
                "inputs": {"video": "middle.video", "audio": "middle.audio"},
            },
            "file": {
                "type": "sink.mp4",
                "process": "main",
                "lane": "io",
                "params": {"path": "out.mp4"},
                "inputs": both,
            },
        },
    }


class _Follower:
    """Reads a trace as it grows: from the first record on it is known about when unit 0 began."""

    def __init__(self, path: Path, trial: Trial) -> None:
        self._path, self._trial = path, trial
        self._at = 0
        self._rest = b""

    def poll(self) -> None:
        """Read what came."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                fresh = file.read()
        except OSError:
            return
        now_s = time.monotonic()
        self._at += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        for line in lines:
            if line.startswith(b'{"type":"firing"'):
                # a record comes some time after it was made: of all estimates the earliest is the nearest
                origin_s = now_s - json.loads(line)["finished_ns"] / 1e9
                known_s = self._trial.origin_s
                self._trial.origin_s = origin_s if known_s is None else min(known_s, origin_s)

    @property
    def trial(self) -> Trial:
        """The trial that it looks at."""
        return self._trial


def _strike_from_outside(kind: Kind, run: subprocess.Popen[bytes], follower: _Follower, at_s: float) -> None:
    """Wait for the moment, so many seconds after the origin, and strike; nothing to do where the strike is inside."""
    if not isinstance(kind.strike, Signal | FullDisk):
        return
    trial = follower.trial

    def has_come() -> bool:
        return trial.origin_s is not None and time.monotonic() >= trial.origin_s + at_s

    _until(has_come, run, follower, START_S)
    if run.poll() is not None or not has_come():
        return
    trial.struck_s = time.monotonic()
    if isinstance(kind.strike, FullDisk):
        size = (trial.folder / kind.strike.file).stat().st_size
        resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return
    pid = run.pid if kind.strike.process == "supervisor" else processes_of(run.pid).get(kind.strike.process)
    if pid is None:
        trial.struck_s = None
        return
    for number in kind.strike.numbers:
        _send(pid, number)
        time.sleep(POLL_S)
    if kind.strike.resume_s:
        _until(lambda: False, run, follower, kind.strike.resume_s)
        _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended meanwhile, as a second signal may find


def _wait(run: subprocess.Popen[bytes], follower: _Follower, limit_s: float) -> None:
    _until(lambda: False, run, follower, limit_s)
    follower.poll()


def _until(reached: Callable[[], bool], run: subprocess.Popen[bytes], follower: _Follower, limit_s: float) -> None:
    """Follow until it is reached, the command has ended, or so long."""
    end_s = time.monotonic() + limit_s
    while not reached() and run.poll() is None and time.monotonic() < end_s:
        follower.poll()
        time.sleep(POLL_S)


def processes_of(supervisor: int) -> dict[str, int]:
    """Processes of a run by name: those that its command started."""
    found = {}
    for pid, words in _command_lines():
        if CHILD in words:
            name, _, parent = (word.decode() for word in words[words.index(CHILD) + 1 :][:3])
            if parent == str(supervisor) and int(_parent_of(pid)) == supervisor:
                found[name] = pid
    return found


def _left_over(supervisor: int, memory: set[str]) -> list[str]:
    """Left-overs of a command after a moment: processes and their children, sockets, shared memory, run files."""
    mark = f"wangraph-{supervisor:x}-"
    end_s = time.monotonic() + GRACE_S
    # sockets too: a process that is just ending has no command line any more
    while ((processes := _marked(mark)) or _sockets(supervisor, mark)) and time.monotonic() < end_s:
        time.sleep(POLL_S)
    left = [f"process {pid}" for pid in processes]
    for pid in processes:  # they were started for this trial
        _send(pid, signal.SIGKILL)
    left += [] if processes else [f"socket {name}" for name in _sockets(supervisor, mark)]
    shared = set(os.listdir("/dev/shm")) - memory if os.path.isdir("/dev/shm") else set()
    left += [f"memory {name}" for name in sorted(shared) if mark in name]
    for path in sorted(runs_folder().glob(f"*-{supervisor}*.json")):
        left.append(f"run file {path.name}")
        path.unlink(missing_ok=True)
    return left


def _sockets(supervisor: int, mark: str) -> list[str]:
    lines = [line for line in Path("/proc/net/unix").read_text().splitlines() if "wangraph" in line]
    return [line.split()[-1] for line in lines if mark in line or f"-{supervisor}-" in line]


def _marked(mark: str) -> list[int]:
    return [pid for pid, words in _command_lines() if any(mark.encode() in word for word in words)]


def _command_lines() -> Iterator[tuple[int, list[bytes]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it has ended meanwhile


def _parent_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return "0"
