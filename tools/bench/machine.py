"""The machine that a figure belongs to, and how to keep it busy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..._version import __version__
from ...runtime.observe import machine as this_machine

_BUSY = "import os, sys; p = int(sys.argv[1])\nwhile os.getppid() == p: sum(range(10000))"
"""Ends with whoever started it."""


def machine() -> dict[str, Any]:
    """Processor, cores, system, versions, and the load before the bench adds its own."""
    return {**this_machine.machine(), "wangraph": __version__, "torch": _version("torch"), "numpy": _version("numpy")}


def n_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_1m() -> float | None:
    """Processes that wanted a core, mean of the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


@contextmanager
def kept_busy(n_processes: int) -> Iterator[None]:
    """So many processes that do nothing but compute, as long as the block runs."""
    command = [sys.executable, "-S", "-c", _BUSY, str(os.getpid())]
    busy = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(n_processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def machine_line(machine: dict[str, Any]) -> str:
    """Line on the machine, as benches print it."""
    load = "unknown" if machine["load_1m"] is None else f"{machine['load_1m']:.2f}"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}, "
        f"torch {machine['torch']}, load {load} before"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
