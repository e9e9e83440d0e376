"""Packets for recordings and programs, from the processes that settle them to the supervisor, away from the lanes.

A process's `TapSender` keeps a reference to each tapped packet (its slot in shared memory stays leased meanwhile) and
a thread of its own copies it into a socket; the supervisor's `TapReceiver` takes it out in a thread as well. The run's
token stands before every message: what other programs send is dropped before it is read.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

import zmq

from ..channel.wire import PACKET, WAKE, Frame, decode, encode, head, opened
from ..packet import Packet
from ..run_token import Strangers, is_token

LARGEST = 2**30
"""Bytes of a tensor that is handed over: beyond them it is not received."""

END_WAIT_S = 3.0
"""How long the supervisor waits for what a process that has ended in order still had to hand over."""


class TapSender:
    """A process's end. `put` may be called with the scheduler's lock held: it appends to a list."""

    def __init__(self, address: str, process: str, token: str) -> None:
        self._token = token.encode()
        self._streams: frozenset[str] = frozenset()
        self._process = process
        self._waiting: deque[Packet] = deque()
        self._more = threading.Event()
        self._closing = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.PUSH)
        self._socket.set_hwm(0)  # what bounds the recording is the recorder's own limit, in bytes
        self._socket.setsockopt(zmq.LINGER, 2000)
        self._socket.connect(address)
        self._thread = threading.Thread(target=self._live, name="taps", daemon=True)
        self._thread.start()

    def add(self, stream: str) -> None:
        """Hand out this stream, too, from now on."""
        self._streams |= {stream}

    def put(self, packet: Packet) -> None:
        """Hand a packet over if its stream is tapped. From any thread."""
        if packet.stream in self._streams:
            self._waiting.append(packet)
            self._more.set()

    def close(self) -> None:
        """Send what waits, say that this was all, close when it has gone out."""
        self._closing = True
        self._more.set()
        self._thread.join()
        self._socket.close()
        self._context.term()

    def _live(self) -> None:
        while True:
            self._more.wait()
            # before looking at what waits: cleared after, a packet put in between would wait for the next one
            self._more.clear()
            while self._waiting:
                self._socket.send_multipart([self._token, *encode(self._waiting.popleft())])
            # the last message says that it is the last: the supervisor would close while packets are still on their way
            if self._closing and not self._waiting:
                self._socket.send_multipart([self._token, head(WAKE, self._process.encode())])
                return


class TapReceiver:
    """The supervisor's end.

    Args:
        address: where to listen.
        token: the run's.
        put: called with every packet, in the order in which its process settled it, from the receiver's thread.

    Attributes:
        strangers: messages of other programs.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, token: str, put: Callable[[Packet], None]
    ) -> None:
        self.strangers = Strangers("tap socket")
        self._token = token
        self._put = put
        self._ended: set[str] = set()
        self._expected: frozenset[str] | None = None
        self._deadline = 0.0
        self._socket: zmq.Socket[bytes] = context.socket(zmq.PULL)
        self._socket.set_hwm(0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IPC_FILTER_UID, os.getuid())
        self._socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        self._socket.bind(address)
        self._thread = threading.Thread(target=self._live, name="taps", daemon=True)
        self._thread.start()

    def close(self, expected: Iterable[str]) -> None:
        """Take in what is still under way from these processes, which have ended in order, and close."""
        self._deadline = time.monotonic() + END_WAIT_S
        self._expected = frozenset(expected)
        self._thread.join()
        self._socket.close()

    def _live(self) -> None:
        while True:
            if self._socket.poll(100):
                token, *parts = self._socket.recv_multipart(copy=False)
                if is_token(token.bytes, self._token):
                    self._take(parts)
                    continue
                self.strangers.drop()
            if self._expected is not None and (self._expected <= self._ended or time.monotonic() > self._deadline):
                return

    def _take(self, parts: list[zmq.Frame]) -> None:
        kind, body = opened(parts[0].bytes)
        if kind == PACKET:
            frames: list[Frame] = [parts[0].bytes, *(part.buffer for part in parts[1:])]
            self._put(decode(frames, {}))
        else:
            self._ended.add(bytes(body).decode())
