"""``wangraph doctor``: what this machine has and lacks, each with the remedy."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.markup import escape

from ..._version import __version__
from ...runtime.channel.segment import free_bytes, shared_folder
from ...runtime.engine.launcher import THREAD_VARIABLES
from ...runtime.errors import WangraphError

State = Literal["ok", "note", "lacks"]
"""Fine; works, but something is to be had or known; something of wangraph does not work."""

_COLOURS = {"ok": "green", "note": "yellow", "lacks": "red"}

SHARED_BYTES = 256 * 10**6
"""What a graph with pictures in two processes may take."""

_NAPS, _NAP_S = 40, 0.005
_LATE_US = 1000

_CAP_SYS_NICE = 1 << 23

CODECS: tuple[tuple[str, Literal["r", "w"]], ...] = (
    ("libx264", "w"),
    ("aac", "w"),
    ("mov_text", "w"),
    ("h264", "r"),
    ("aac", "r"),
)
"""What MP4 files are written with, and the commonest that are read."""

PROGRAMS = (
    ("flite", "making the held-out voices anew that are shipped"),
    ("chromium", "tests of the timeline page"),
)
"""Programs that only development asks for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``remedy`` is empty where none is needed."""

    topic: str
    state: State
    found: str
    remedy: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(as_json: bool) -> None:
    """Say what this machine has and lacks, with the remedy. Changes nothing, takes a few seconds.

    \b
    wangraph doctor
    wangraph doctor --json
    """
    findings = examine()
    if as_json:
        print(json.dumps({"wangraph": __version__, "findings": [asdict(f) for f in findings]}, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    width = max(len(f.topic) for f in findings)
    for f in findings:
        console.print(f"[{_COLOURS[f.state]}]{f.state:<5}[/] {f.topic:<{width}}  {escape(f.found)}")
        if f.remedy:
            console.print(f"{'':<{width + 8}}[dim]{escape(f.remedy)}[/]")
    n_lacking = sum(f.state == "lacks" for f in findings)
    console.print(
        "this machine can run graphs" if not n_lacking else f"{n_lacking} to mend: see the lines that say lacks"
    )


def examine() -> list[Finding]:
    """All findings, in the order of `CHECKS`. A check that fails is a finding itself: this verb always answers."""
    return [finding for topic, check in CHECKS for finding in _answers(topic, check)]


def _answers(topic: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:
        return [Finding(topic, "note", f"cannot be told: {type(error).__name__}: {error}")]


def _system() -> list[Finding]:
    found = f"{platform.system()} {platform.release()} {platform.machine()}"
    if platform.system() == "Linux":
        return [Finding("system", "ok", found)]
    return [Finding("system", "note", found, "wangraph is tested on Linux; elsewhere segments are temporary files")]


def _python() -> list[Finding]:
    found = f"{platform.python_implementation()} {platform.python_version()} in {sys.prefix}"
    return [Finding("python", "ok", found)]


def _torch() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [Finding("torch", "lacks", f"not importable: {error}", "pip install torch")]
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return [Finding("torch", "ok", f"{torch.__version__}, CUDA: {names}")]
    if torch.version.cuda:
        remedy = "install or update the NVIDIA driver (nvidia-smi tells), or go on with the CPU"
        return [Finding("torch", "note", f"{torch.__version__}, built for CUDA, no device found", remedy)]
    return [Finding("torch", "ok", f"{torch.__version__}, CPU")]


def _codecs() -> list[Finding]:
    try:
        import av
    except (ImportError, OSError) as error:
        return [Finding("codecs", "lacks", f"PyAV is not importable: {error}", "pip install av")]
    lacking = [f"{name} ({'encoder' if mode == 'w' else 'decoder'})" for name, mode in CODECS if not _codec(name, mode)]
    if lacking:
        remedy = "pip install --force-reinstall --only-binary av av: its wheels bring all of FFmpeg that is needed"
        return [Finding("codecs", "lacks", f"PyAV {av.__version__} without {', '.join(lacking)}", remedy)]
    return [Finding("codecs", "ok", f"PyAV {av.__version__} with {', '.join(dict.fromkeys(n for n, _ in CODECS))}")]


def _codec(name: str, mode: Literal["r", "w"]) -> bool:
    from av.codec import Codec

    try:
        Codec(name, mode)
    except ValueError:  # PyAV's UnknownCodecError
        return False
    return True


def _sockets() -> list[Finding]:
    try:
        import zmq
    except (ImportError, OSError) as error:
        return [Finding("sockets", "lacks", f"ZeroMQ is not importable: {error}", "pip install pyzmq")]
    found = f"ZeroMQ {zmq.zmq_version()}"
    if zmq.has("ipc"):
        return [Finding("sockets", "ok", f"{found} with ipc")]
    return [Finding("sockets", "lacks", f"{found} without ipc", "keep all nodes in one process")]


def _shared_memory() -> list[Finding]:
    folder = shared_folder()
    free = free_bytes(folder)
    found = f"{free / 1e6:,.0f} MB free in {folder}"
    if free >= SHARED_BYTES:
        return [Finding("shared memory", "ok", found)]
    remedy = (
        f"mount -o remount,size=1G {folder}, in a container --shm-size=1g; "
        "small graphs need less, and the run says so before it starts"
    )
    return [Finding("shared memory", "note", found, remedy)]


def _gpus() -> list[Finding]:
    """Findings about GPUs; cupy is asked only where there is one: it loads CUDA's libraries."""
    numbers = sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    if not numbers:
        found = "none; graphs for one can be tried with device: fake"
        return [Finding("gpu", "note", found, "write device: cpu, or nothing")]
    if not any(_is_installed(name) for name in ("cupy", "cupy-cuda12x", "cupy-cuda13x")):
        found = f"{len(numbers)}, and no cupy: what crosses processes goes by the host"
        return [Finding("gpu", "note", found, "pip install 'wangraph[gpu]'")]
    return [_gpu(f"cuda:{number}") for number in numbers]


def _gpu(name: str) -> Finding:
    from ...runtime.device.find import device_named

    try:
        device = device_named(name)
        memory = device.allocate(1 << 20)
        device.export(memory)
        device.export_event(device.event())
        device.close(memory)
    except WangraphError as error:
        return Finding(
            "gpu", "note", f"{error}", "edges go by the host; in a container: --ipc=host, or write memory: shared"
        )
    return Finding("gpu", "ok", f"{device.describe()}, shared between processes")


def _cores() -> list[Finding]:
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    usable, quota = len(cpus), _quota(Path("/sys/fs/cgroup/cpu.max"))
    found = f"{usable} usable of {os.cpu_count()}: cpus {_in_spans(cpus)}" + (f", {quota:g} by quota" if quota else "")
    if min(usable, quota or usable) >= 2:
        return [Finding("cores", "ok", found)]
    return [Finding("cores", "note", found, "a graph in several processes needs 2: run duplex_solo, or give it more")]


def _in_spans(cpus: list[int]) -> str:
    """Numbers in order, as ``cpus`` of a graph file takes them: neighbours as a span."""
    firsts = [cpu for cpu in cpus if cpu - 1 not in cpus]
    lasts = [cpu for cpu in cpus if cpu + 1 not in cpus]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(firsts, lasts, strict=True))


def _quota(path: Path) -> float | None:
    """Cores that a control group allows; None without a limit."""
    try:
        allowed, period = path.read_text().split()
    except (OSError, ValueError):
        return None
    return None if allowed == "max" else int(allowed) / int(period)


def _threads() -> list[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    found = "no limit" if soft == resource.RLIM_INFINITY else f"{soft} allowed"
    settings = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    if settings:
        remedy = "unset it: threads are set per process, by processes.NAME.threads"
        return [Finding("threads", "note", f"{found}; {', '.join(settings)}", remedy)]
    if soft != resource.RLIM_INFINITY and soft < 256:
        return [Finding("threads", "note", found, "ulimit -u 4096")]
    return [Finding("threads", "ok", found)]


def _clock() -> list[Finding]:
    late_us = sorted(_lateness_us() for _ in range(_NAPS))
    median, usual, worst = late_us[_NAPS // 2], late_us[_NAPS * 9 // 10], late_us[-1]
    slack = _timer_slack_us()
    found = f"sleeps end {median:.0f} us late (worst of {_NAPS}: {worst:.0f})"
    found += f", timer slack {slack:.0f} us" if slack is not None else ""
    if usual <= _LATE_US:
        return [Finding("clock", "ok", found)]
    return [Finding("clock", "note", found, "close what keeps the cores busy, or raise the run's priority (see below)")]


def _lateness_us() -> float:
    due = time.monotonic() + _NAP_S
    time.sleep(_NAP_S)
    return (time.monotonic() - due) * 1e6


def _timer_slack_us() -> float | None:
    try:
        return int(Path("/proc/self/timerslack_ns").read_text()) / 1000
    except (OSError, ValueError):
        return None


def _priorities() -> list[Finding]:
    if _may_raise():
        return [Finding("priorities", "ok", "any nice value and SCHED_FIFO are allowed")]
    nice = 20 - _limit("RLIMIT_NICE")
    realtime = _limit("RLIMIT_RTPRIO")
    found = f"nice down to {max(nice, -20)}" if nice < 0 else "nice cannot be lowered"
    found += f", SCHED_FIFO up to {realtime}" if realtime else ", no SCHED_FIFO"
    if nice < 0 and realtime:
        return [Finding("priorities", "ok", found)]
    user = os.environ.get("USER", "USER")
    remedy = f"for steadier ticks under load: in /etc/security/limits.conf '{user} - nice -15' and '{user} - rtprio 20'"
    return [Finding("priorities", "note", found, remedy)]


def _may_raise() -> bool:
    """True if the process holds CAP_SYS_NICE; without capabilities, whether it is root."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return os.geteuid() == 0
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(match and int(match[1], 16) & _CAP_SYS_NICE)


def _limit(name: str) -> int:
    soft = resource.getrlimit(getattr(resource, name))[0] if hasattr(resource, name) else 0
    return 40 if soft == resource.RLIM_INFINITY else soft


def _extras() -> list[Finding]:
    """Optional packages by extra, as the installed package declares them: the list is kept in one place."""
    wanted: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("wangraph") or []:
        if match := re.match(r"([\w.-]+).*\bextra\s*==\s*['\"](\w+)['\"]", line):
            wanted.setdefault(match[2], []).append(match[1])
    return [_extra(extra, names) for extra, names in sorted(wanted.items())]


def _extra(extra: str, names: list[str]) -> Finding:
    lacking = [name for name in names if not _is_installed(name)]
    if not lacking:
        return Finding(f"extra {extra}", "ok", ", ".join(names))
    return Finding(f"extra {extra}", "note", f"without {', '.join(lacking)}", f"pip install 'wangraph[{extra}]'")


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _devices() -> list[Finding]:
    """Findings about the devices of this machine to talk with; the page in the browser needs none of it."""
    from .devices import examine as examine_devices

    found = examine_devices()
    cameras = [entry["name"] for entry in found["cameras"]]
    page = "plug one in, or talk in the browser: wangraph serve duplex"
    findings = [_named("camera", cameras, page)]
    for topic, kind in (("microphone", "microphones"), ("speakers", "speakers")):
        names = [entry["name"] for entry in found[kind]]
        findings.append(_named(topic, names, found.get("lacking", page)))
    return [*findings, _echo()]


def _named(topic: str, names: list[str], remedy: str) -> Finding:
    if names:
        return Finding(topic, "ok", ", ".join(names))
    return Finding(topic, "note", "none found", remedy)


def _echo() -> Finding:
    if _is_installed("livekit"):
        return Finding("echo", "ok", "WebRTC's canceller, of the extra echo")
    return Finding(
        "echo", "note", "open speakers are heard by the microphone", "pip install 'wangraph[echo]', or headphones"
    )


def _programs() -> list[Finding]:
    return [_program(name, purpose) for name, purpose in PROGRAMS]


def _program(name: str, purpose: str) -> Finding:
    path = shutil.which(name)
    if path:
        return Finding(name, "ok", f"{path} ({purpose})")
    return Finding(name, "note", f"not on the path; only for {purpose}", f"apt-get install {name}")


CHECKS: tuple[tuple[str, Callable[[], list[Finding]]], ...] = (
    ("system", _system),
    ("python", _python),
    ("torch", _torch),
    ("codecs", _codecs),
    ("sockets", _sockets),
    ("shared memory", _shared_memory),
    ("gpu", _gpus),
    ("cores", _cores),
    ("threads", _threads),
    ("clock", _clock),
    ("priorities", _priorities),
    ("extras", _extras),
    ("devices", _devices),
    ("programs", _programs),
)
"""What is looked at, in order."""
