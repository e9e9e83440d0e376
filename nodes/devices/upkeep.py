"""A device that may be absent: opened in a thread, used until it fails, and looked for again every second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from ...runtime.errors import MediaError
from ...runtime.node import NodeContext

RETRY_S = 1.0
"""Pause between two attempts to open an absent device."""

PATIENCE_S = 5.0
"""Longest wait for a device before the run begins: cameras take a second or two to wake."""


STOP_S = 1.0
"""Longest wait for a device's thread when the node closes: a driver that hangs must not hold the end of the run."""


class DeviceAbsent(Exception):
    """A device that cannot be used now: ``found (expected or available), remedy``.

    Attributes:
        may_return: whether it is worth looking for it again.
    """

    def __init__(self, text: str, may_return: bool = True) -> None:
        super().__init__(text)
        self.may_return = may_return


class Device(Protocol):
    """An open device. ``name`` is what people call it."""

    name: str

    def close(self) -> None:
        """Give it back."""
        ...


class Stopped(Protocol):
    """The part of a `threading.Event` that `Upkeep` needs; tests count instead of waiting."""

    def is_set(self) -> bool:
        """True once the node is closing."""
        ...

    def set(self) -> None:
        """Begin to close."""
        ...

    def wait(self, timeout: float) -> bool:
        """`is_set`, after that many seconds unless it is set before."""
        ...


Opened = TypeVar("Opened", bound=Device)


class Upkeep(Generic[Opened]):
    """Opens a device, uses it until it fails, and begins again until it is stopped.

    Each change, from there to gone and back, is reported once.

    Args:
        kind: ``camera``, ``microphone``...: names the thread and the report.
        open_device: opens it, or raises `DeviceAbsent`.
        use: works with it until ``stopped`` is set, or raises `DeviceAbsent` once it is gone.
    """

    def __init__(
        self,
        kind: str,
        open_device: Callable[[], Opened],
        use: Callable[[Opened], None],
        stopped: Stopped | None = None,
    ) -> None:
        self.kind = kind
        self.stopped = stopped or threading.Event()
        self.is_there = False
        self.n_lost = 0
        self._open = open_device
        self._use = use
        self._tried = threading.Event()
        self._refusal: DeviceAbsent | None = None
        self._say: Callable[[str], None] = lambda text: None
        self._thread: threading.Thread | None = None

    def start(self, ctx: NodeContext, required: bool) -> None:
        """Begin, and wait for the first answer: the device, or that there is none.

        Raises:
            MediaError: there is none, and the graph requires it.
        """
        self._say = lambda text: _say(ctx, self.kind, text)
        self._thread = threading.Thread(target=self.run, name=f"{ctx.name} {self.kind}", daemon=True)
        self._thread.start()
        ctx.on_close(self.stop)
        self._tried.wait(PATIENCE_S)
        if required and not self.is_there:
            refusal = self._refusal or DeviceAbsent(f"no answer within {PATIENCE_S:g} s (expected a {self.kind})")
            raise MediaError(f"node '{ctx.name}': {refusal}")

    def stop(self) -> None:
        """End, and give the device back. A driver that hangs keeps its thread, which dies with the process."""
        self.stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def run(self) -> None:
        """All of it, in the thread of the caller."""
        is_known_absent = False
        while not self.stopped.is_set():
            try:
                device = self._open()
            except DeviceAbsent as absent:
                self._refusal = absent
                if not is_known_absent:
                    self._say(f"{absent}: empty")
                    is_known_absent = True
                self._tried.set()
                if not absent.may_return:
                    return
            else:
                if is_known_absent or self.n_lost:
                    self._say(f"{device.name} is there")
                is_known_absent = self._used(device)
            self.stopped.wait(RETRY_S)

    def _used(self, device: Opened) -> bool:
        """Use an open device until the end; True when it was lost, which is then reported."""
        self.is_there = True
        self._tried.set()
        try:
            self._use(device)
            return False
        except DeviceAbsent as lost:
            self.n_lost += 1
            self._say(f"{device.name} is gone: {lost}: empty until it is back")
            return True
        finally:
            self.is_there = False
            device.close()


def _say(ctx: NodeContext, kind: str, text: str) -> None:
    """At once for whoever watches, and in the run's summary."""
    ctx.log.warning("%s", text)
    ctx.report(kind, text)


def monotonic_ns() -> int:
    """The instant that devices stamp what they give; a name of its own, so that tests bring theirs."""
    return time.monotonic_ns()
