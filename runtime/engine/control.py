"""Messages between the supervisor and a process, and the socket that carries them.

A process is known by the identity of its socket, which holds the run's token: of a stranger no message is read.

supervisor                      process
   | <---- Hello (pid) ------------|   it runs
   | ----- Setup ----------------> |   plan, segments, where the others listen
   | <---- Opening (node) ---------|   for messages about slow starts
   | <---- Ready (reports) --------|   every node is open and warm
   | ----- Begin (origin) -------> |   when every process is ready
   | <---- Batch (records) --------|   several times a second
   | ----- RaiseFence, Change ---> |   from a unit on
   | ----- Deliver (value) ------> |   for a node that takes values from outside
   | ----- HandOut (stream) -----> |   packets of it go to whom `Setup` names
   | ----- PeerUp (process) ------> |   another process came back: where it listens, where its memory is
   | ----- PeerDown (process) ---> |   another process is not there
   | ----- Agree (messages) -----> |   after a death, and for a return (`schedule/duty`)
   | <---- Agreed (answers) -------|
   | ----- Watch ----------------> |   somebody watches: the next batches report the status of every node
   | <- NodeRequest (fence, stop) -|   by a node
   | ----- Halt -----------------> |
   | <---- Failed (error) ---------|
   | <---- Finished (usage) -------|   every node has ended and is closed
"""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec
import zmq

from ..observe.records import NodeStatus, Note, Transfer, Unfinished
from ..run_token import N_CHARACTERS, Strangers, is_token
from ..schedule.events import Fenced, Firing, Settlement, Updated
from .faults import Fault

Happening = Firing | Unfinished | Settlement | Transfer | Fenced | Updated | Note


class Setup(msgspec.Struct, tag="setup", frozen=True):
    """Everything a process needs before it opens its nodes.

    ``segments`` are files by producing process, ``addresses`` where each process listens. ``taps`` are streams to hand
    to ``tap_address``, packet by packet. ``calls`` is the file of the `CallBoard`. ``life`` says which life of the
    process begins here, ``lives`` which of each process goes on, ``session`` in which conversation it takes part.
    ``token`` stands before what the processes of this run send each other (`run_token`).
    """

    process: str
    plan: dict[str, Any]
    segments: dict[str, str]
    addresses: dict[str, str]
    limit: int | None = None
    taps: list[str] = []
    tap_address: str = ""
    faults: list[Fault] = []
    session: int = 0
    life: int = 0
    lives: dict[str, int] = {}
    calls: str = ""
    token: str = ""


class Begin(msgspec.Struct, tag="begin", frozen=True):
    """Unit 0 begins at ``origin_ns`` of the machine's monotonic clock. A process in its first life takes part from it
    on, one that came back from the unit that all agree on."""

    origin_ns: int


class Halt(msgspec.Struct, tag="halt", frozen=True):
    """End: in order (sources end, everything flows out), or at once (bodies in progress finish, nodes close)."""

    at_once: bool


class RaiseFence(msgspec.Struct, tag="fence", frozen=True):
    """Fence these streams."""

    streams: list[str]
    generation: int
    first_unit: int


class Change(msgspec.Struct, tag="change", frozen=True):
    """Change live parameters of a node from ``first_unit`` on, or from the first unit that it has not begun."""

    node: str
    values: dict[str, Any]
    first_unit: int


class PeerUp(msgspec.Struct, tag="peer-up", frozen=True):
    """Another process is there again, in a life with an address and memory of its own."""

    process: str
    life: int
    path: str
    address: str


class PeerDown(msgspec.Struct, tag="peer-down", frozen=True):
    """Another process is not there: it is sent nothing."""

    process: str


class Agree(msgspec.Struct, tag="agree", frozen=True):
    """Do what these messages say, and answer them. They follow in a frame of their own, see `agreement`."""

    number: int


class Agreed(msgspec.Struct, tag="agreed", frozen=True):
    """Answers to the messages of this number; they follow in a frame of their own."""

    number: int


class Deliver(msgspec.Struct, tag="deliver", frozen=True):
    """A value for a node that takes values from outside. An array's bytes follow in a frame of their own."""

    node: str
    port: str
    text: str | None = None
    dtype: str = ""
    shape: tuple[int, ...] = ()


class HandOut(msgspec.Struct, tag="hand-out", frozen=True):
    """Hand the packets of a stream out from now on."""

    stream: str


class Watch(msgspec.Struct, tag="watch", frozen=True):
    """Report the status of every node for so long."""

    for_ms: int


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """The process runs."""

    process: str
    pid: int


class Opening(msgspec.Struct, tag="opening", frozen=True):
    """It is opening this node."""

    node: str


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """All nodes are open and warm. ``reports``: (node, key, text)."""

    reports: list[tuple[str, str, str]]


class Batch(msgspec.Struct, tag="batch", frozen=True):
    """News of a process since its last batch, and its state. ``statuses``: while somebody watches."""

    records: list[Happening]
    cpu_s: float
    rss_mb: float
    statuses: list[NodeStatus] = []


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """An error that ends the run; ``kind`` is the name of its class among the project's errors."""

    text: str
    kind: str = "RunError"


class NodeRequest(msgspec.Struct, tag="request", frozen=True):
    """A node asks for a fence on ``streams``, or without streams for the run's end, for a reason."""

    streams: list[str]
    first_unit: int = 0
    reason: str = ""


class Finished(msgspec.Struct, tag="finished", frozen=True):
    """All nodes are closed but those that were ``left`` in a call that did not end, told in words. ``reports`` as in
    `Ready`, with those of closing; ``hands_out``: packets were handed out, and their end follows."""

    reports: list[tuple[str, str, str]]
    cpu_s: float
    rss_mb: float
    hands_out: bool = False
    left: list[str] = []


ToProcess = Setup | Begin | Halt | RaiseFence | Change | Deliver | HandOut | Watch | PeerUp | PeerDown | Agree
ToSupervisor = Hello | Opening | Ready | Batch | NodeRequest | Failed | Finished | Agreed

LARGEST = 2**30
"""Bytes of a message to the supervisor: beyond them it is not received. The largest hold open windows of streams."""

MOST_STRANGERS = 1000
"""Messages without a token that one `SupervisorEnd.receive` drops: a flood of them must not keep the run from its
deadlines."""

_encoder = msgspec.json.Encoder()
_to_process = msgspec.json.Decoder(ToProcess)
_to_supervisor = msgspec.json.Decoder(ToSupervisor)


class ProcessEnd:
    """A process's end of the control socket; used by one thread."""

    def __init__(self, address: str, process: str, token: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, f"{token}{process}".encode())
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.connect(address)
        self._bell, self._button = os.pipe()
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._bell, zmq.POLLIN)

    def wake(self) -> None:
        """Let `receive` return. From any thread."""
        os.write(self._button, b"!")

    def send(self, message: ToSupervisor, payload: bytes = b"") -> None:
        """Tell the supervisor, with bytes behind the message."""
        self._socket.send_multipart([_encoder.encode(message), *([payload] if payload else [])])

    def receive(self, timeout_ms: int) -> tuple[ToProcess, bytes] | None:
        """The next message and the bytes that follow it; None when none came in time, or after a `wake`."""
        ready = dict(self._poller.poll(timeout_ms))
        if self._bell in ready:
            os.read(self._bell, 64)
        if self._socket not in ready:
            return None
        frame, *payload = self._socket.recv_multipart()
        return _to_process.decode(frame), payload[0] if payload else b""

    def close(self) -> None:
        """Close the socket, and wait until what was sent has gone out. Nobody wakes it any more."""
        self._socket.close()
        self._context.term()  # the end of the interpreter would not wait
        os.close(self._bell)
        os.close(self._button)


class SupervisorEnd:
    """The supervisor's end: all processes at once.

    Attributes:
        token: known to the run's processes alone.
        strangers: messages of other programs.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, token: str) -> None:
        self.strangers = Strangers("control socket")
        self.token = token
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.IPC_FILTER_UID, os.getuid())
        self._socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        self._socket.bind(address)

    def send(self, process: str, message: ToProcess, payload: bytes = b"") -> None:
        """Send to one process, with bytes behind the message; a process that is gone gets nothing."""
        try:
            identity = f"{self.token}{process}".encode()
            self._socket.send_multipart([identity, _encoder.encode(message), *([payload] if payload else [])])
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise

    def receive(self, timeout_ms: int = 0) -> tuple[str, ToSupervisor, bytes] | None:
        """Sender of the next message, the message, and the bytes that follow it; None when none came in time."""
        until = time.monotonic() + timeout_ms / 1000
        for _ in range(MOST_STRANGERS):
            left_ms = round(1000 * (until - time.monotonic()))
            if left_ms > 0 and not self._socket.poll(left_ms):
                return None
            try:
                identity, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            if is_token(identity[:N_CHARACTERS], self.token):
                message, *payload = frames
                process = identity[N_CHARACTERS:].decode()
                return process, _to_supervisor.decode(message), payload[0] if payload else b""
            self.strangers.drop()
        return None

    def register(self, poller: zmq.Poller) -> None:
        """Wake this poller when a message comes."""
        poller.register(self._socket, zmq.POLLIN)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
