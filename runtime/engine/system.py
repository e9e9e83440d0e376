"""Requests of a process to the kernel: its own usage, sharp timers, an end with its parent."""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import signal
import time
from collections.abc import Sequence

process_of_run = ""
"""Name of the process of a run that this is; empty elsewhere. A file of nodes must not start a run when loaded."""


def usage() -> tuple[float, float]:
    """CPU seconds used and resident megabytes of this process."""
    return time.process_time(), _resident_mb()


def _resident_mb() -> float:
    try:
        return int(os.pread(_statm(), 64, 0).split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


@functools.cache
def _statm() -> int:
    """Opened once: opening it costs more than everything else in a batch."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def sharpen_timers() -> None:
    """Ask the kernel not to gather this thread's wake-ups with others (by default, within 50 us)."""
    ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)  # PR_SET_TIMERSLACK


def raise_priority(priority: int) -> str:
    """Give every thread of this process, and those it starts later, a real-time priority (SCHED_RR).

    Returns:
        Why it could not be had; empty where it was.
    """
    try:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(priority))
    except OSError as error:
        return (
            f"priority {priority}: {os.strerror(error.errno or 0)} (expected CAP_SYS_NICE, or 'rtprio {priority}' in "
            "/etc/security/limits.conf), it runs at the ordinary one: wangraph doctor tells what is allowed"
        )
    return ""


def bind_to(cpus: Sequence[int]) -> str:
    """Have every thread of this process, and those it starts later, run on these processors only.

    Returns:
        Why that could not be had; empty where it was.
    """
    try:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), cpus)
    except OSError as error:
        usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        return (
            f"cpus {', '.join(map(str, cpus))}: {os.strerror(error.errno or 0)} (expected some of: {usable}), "
            "it runs on those"
        )
    return ""


def die_with_parent(parent: int) -> None:
    """A process without its supervisor has no clock to answer to."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def ending_signals() -> list[signal.Signals]:
    """Signals that end a program in order: Ctrl-C, SIGTERM, a closed terminal; without those that are ignored already.

    ``nohup`` has SIGHUP ignored: whoever starts a run so wants it to outlive the terminal.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
