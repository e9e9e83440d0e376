"""Start and watch of a run's processes: here, as children of this process."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from ..plan.plan import ProcessPlan

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Read by the numeric libraries when they load, for every thread of a process: a call could set only its own."""


def limit_threads(threads: int) -> None:
    """Limit the numeric libraries of this process, which have not been loaded; what the user set stays."""
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, str(threads))


class Launched(Protocol):
    """A process that was started.

    Attributes:
        pid: its number on its machine.
    """

    pid: int

    def fileno(self) -> int:
        """Readable once it has ended."""
        ...

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Its exit code, negative for a signal, once it has ended; None when it has not after so long."""
        ...

    def kill(self) -> None:
        """End it at once, whatever it does."""
        ...

    def close(self) -> None:
        """Forget it, after it has ended."""
        ...


class Launcher(Protocol):
    """Starts processes of a run."""

    def start(self, process: ProcessPlan, arguments: Sequence[str], token: str) -> Launched:
        """Start ``wangraph.runtime.engine.child`` with these arguments, and the run's token on its standard input.

        Raises:
            StartError: it cannot be started.
        """
        ...


class LocalLauncher:
    """Starts plain interpreters, as children of this process."""

    def start(self, process: ProcessPlan, arguments: Sequence[str], token: str) -> Launched:
        """Start a child; its threads, and those of its libraries, are the plan's."""
        paths = os.pathsep.join(sys.path)  # a module beside the user's script is one everywhere
        threads = dict.fromkeys(THREAD_VARIABLES, str(process.threads))
        popen = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.child", *arguments],
            env={**os.environ, **threads, "PYTHONPATH": paths},
            start_new_session=True,  # a Ctrl-C is for the supervisor, who ends the run in order
            stdin=subprocess.PIPE,
        )
        assert popen.stdin is not None
        with suppress(BrokenPipeError), popen.stdin:  # one that is dead already is reported as all deaths are
            popen.stdin.write(f"{token}\n".encode())
        return _Child(popen)


class _Child:
    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._pidfd = os.pidfd_open(popen.pid)
        self._poller = select.poll()
        self._poller.register(self._pidfd, select.POLLIN)

    def fileno(self) -> int:
        return self._pidfd

    def wait(self, timeout_s: float | None = None) -> int | None:
        if self._popen.returncode is None:
            if not self._poller.poll(None if timeout_s is None else 1000 * timeout_s):
                return None
            # what its nodes forked goes with it; before it is reaped, for afterwards its number may be another's
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return self._popen.wait()

    def kill(self) -> None:
        self._popen.kill()

    def close(self) -> None:
        os.close(self._pidfd)
