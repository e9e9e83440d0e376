"""One process of a run, started by the supervisor through `child`: its main thread, which answers the supervisor."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable

from ..errors import WangraphError
from . import system
from .agreement import encoded, messages_in
from .control import (
    Agree,
    Agreed,
    Begin,
    Change,
    Deliver,
    Failed,
    Finished,
    Halt,
    HandOut,
    Hello,
    PeerDown,
    PeerUp,
    ProcessEnd,
    RaiseFence,
    Ready,
    Setup,
    ToProcess,
    Watch,
)
from .host import HostMessage, ProcessHost
from .system import die_with_parent, usage

SWITCH_INTERVAL_S = 0.0005
"""How long a lane may keep the interpreter from another one that wants it (Python's own 5 ms are a unit's tail)."""

POLL_EVERY_MS = 160
"""How often stalls are looked for."""

REPORT_EVERY_MS = 320
"""How often records go to the supervisor, unless there is a stall to tell: also how much a killed process takes with
it."""


def main(process: str, address: str, parent: int, token: str) -> None:
    """Live one run: set up, open, wait for the origin, run, close.

    Args:
        process: its name in this life, see `life_name`.
        address: where the supervisor listens.
        parent: the supervisor's pid.
        token: the run's, by which the supervisor knows this process.
    """
    system.process_of_run = process
    # first of all: a supervisor killed while this process starts would leave it behind
    die_with_parent(parent)
    # an interrupt is for the supervisor: here it would end the process before what is under way has flowed out
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    control = ProcessEnd(address, process, token)
    control.send(Hello(process, os.getpid()))
    pending: list[HostMessage] = []
    setup, _ = control.receive(60_000) or (None, b"")
    if not isinstance(setup, Setup):  # the run was stopped while this process started
        control.send(Finished([], *usage()))
        control.close()
        return
    try:
        host = ProcessHost(setup, pending.append, control.wake)
        host.open()
    except WangraphError as error:
        control.send(Failed(str(error), type(error).__name__))
        control.send(Finished([], *usage()))
        control.close()
        return
    _serve(host, control, pending, parent)
    left = host.close(_reporting(host, control))
    for message in pending:
        control.send(message)
    control.send(host.batch())
    control.send(Finished(host.reports, *usage(), host.hands_out, left))
    control.close()
    if left:
        sys.stdout.flush()
        os._exit(0)  # the end of the interpreter could wait for what does not end


def _reporting(host: ProcessHost, control: ProcessEnd) -> Callable[[], None]:
    """Sends records as regularly as before, as a sign of life: closing nodes may take its time."""
    next_batch = time.monotonic()

    def report() -> None:
        nonlocal next_batch
        if (now := time.monotonic()) >= next_batch:
            next_batch = now + REPORT_EVERY_MS / 1000
            control.send(host.batch())

    return report


def _serve(host: ProcessHost, control: ProcessEnd, pending: list[HostMessage], parent: int) -> None:
    """Answer the supervisor until the nodes have ended or something failed."""
    is_announced = False
    next_poll = time.monotonic() + POLL_EVERY_MS / 1000
    next_batch = time.monotonic() + REPORT_EVERY_MS / 1000
    while not host.ended.is_set() and not host.failed.is_set():
        host.live()
        patience_ms = 20 if not is_announced else round(1000 * max(0.0, next_poll - time.monotonic()))
        message, payload = control.receive(patience_ms) or (None, b"")
        if isinstance(message, Agree):
            control.send(Agreed(message.number), encoded(host.agree(messages_in(payload))))
        elif message is not None:
            _do(host, message, payload)
        if (isinstance(message, Halt) and message.at_once) or host.leaving.is_held_up:
            return
        while pending:
            control.send(pending.pop(0))
        if not is_announced and host.all_open.is_set() and not host.failed.is_set():
            is_announced = True
            # a collection in the middle of a unit stops every lane; what opening left is most of what it would walk
            # over
            gc.collect()
            gc.freeze()  # what is there now stays: no collection looks at it again
            control.send(Ready(host.reports))
        if (now := time.monotonic()) >= next_poll:
            next_poll = now + POLL_EVERY_MS / 1000
            if host.poll() or host.is_watched or now >= next_batch:
                next_batch = now + (REPORT_EVERY_MS - POLL_EVERY_MS / 2) / 1000  # at a look, not just after one
                control.send(host.batch())
        # where the kernel does not do it (`die_with_parent`): an orphan would hold camera and GPU for ever
        if os.getppid() != parent:
            os._exit(1)


def _do(host: ProcessHost, message: ToProcess, payload: bytes) -> None:
    match message:
        case Begin():
            host.begin(message)
        case Halt():
            host.halt(message.at_once)
        case RaiseFence():
            host.fence(message)
        case Change():
            host.change(message)
        case Deliver():
            host.deliver(message, payload)
        case PeerUp():
            host.peer_up(message)
        case PeerDown():
            host.peer_down(message.process)
        case HandOut():
            host.hand_out(message.stream)
        case Watch():
            host.watch(message.for_ms)
