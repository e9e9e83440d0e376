"""The link over ZeroMQ: one inbox per process, one socket per (thread, peer) to send; bounded, never blocking a sender.

It reaches whatever ZeroMQ does, for which two threads of its own stand between sender and receiver. Over ipc, only
processes of the same user may connect.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import zmq

from ..errors import StartError
from ..packet import Packet
from ..run_token import Strangers
from .transport import PeerFull, peer_full
from .wire import WAKE, Frame, Handed, SlotReader, head, messages_in, opened

_LINGER_MS = 500
_RECONNECT_MS = 5
_RECONNECT_MOST_MS = 500


class Outbox:
    """Sends from any thread to any peer. Close it when the threads that use it have ended."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], addresses: Mapping[str, str], bounds: Mapping[str, int]
    ) -> None:
        """Know where the peers are; connect to one when it is first sent something.

        Args:
            addresses: by peer.
            bounds: by peer, how many messages may wait; see `queue_bound`.
        """
        self._context = context
        self._addresses = dict(addresses)
        self._bounds = bounds
        self._mine = threading.local()
        self._all: list[zmq.Socket[bytes]] = []
        self._lock = threading.Lock()

    def offer(self, peers: Sequence[str], frames: Sequence[Frame]) -> tuple[str, ...]:
        """Send a message to each of these peers without waiting; gives those whose queue is full."""
        return tuple(peer for peer in peers if not self._offer(peer, frames))

    def _offer(self, peer: str, frames: Sequence[Frame]) -> bool:
        socket = self._socket(peer)
        try:
            if len(frames) == 1:
                socket.send(frames[0], zmq.NOBLOCK)
            else:
                socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        return True

    def move(self, peer: str, address: str) -> None:
        """From now on a peer is elsewhere: what was sent and has not left is dropped. From any thread."""
        self._addresses[peer] = address

    def full(self, peers: tuple[str, ...], what: str) -> PeerFull:
        """The error that says so."""
        return peer_full(peers, what, self._bounds)

    def close(self) -> None:
        """Close all sockets; what was sent lately still leaves, for half a second at most."""
        with self._lock:
            for socket in self._all:
                socket.close(_LINGER_MS)
            self._all.clear()

    def _socket(self, peer: str) -> zmq.Socket[bytes]:
        # one socket a thread and peer: ZeroMQ's sockets are no thread's but their own, and a lock would let lanes wait
        # for each other
        mine: dict[str, tuple[str, zmq.Socket[bytes]]] | None = getattr(self._mine, "sockets", None)
        if mine is None:
            mine = self._mine.sockets = {}
        address, (connected, socket) = self._addresses[peer], mine.get(peer, ("", None))
        if socket is not None and connected != address:
            with self._lock:
                self._all.remove(socket)
            socket.close(0)  # what waits in it was meant for a life that is over
            socket = None
        if socket is None:
            socket = self._context.socket(zmq.PUSH)
            # bounded: a reader that has stopped would fill this process's memory instead of being named
            socket.set_hwm(self._bounds[peer])
            socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
            # of a peer that is gone for good, nobody may ask two hundred times a second whether it is back
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MOST_MS)
            socket.connect(address)
            mine[peer] = (address, socket)
            with self._lock:
                self._all.append(socket)
        return socket


class Inbox:
    """Receives the packets that are sent to this process. One thread receives; any thread may call `wake`."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        process: str,
        bound: int,
        segments: Mapping[str, SlotReader],
    ) -> None:
        """Listen, so that peers can send from now on.

        Args:
            address: where to listen.
            process: whose inbox it is, for messages.
            bound: how many messages may wait; see `queue_bound`.
            segments: attached segments by producing process; may be filled later.

        Raises:
            StartError: somebody listens there already.
        """
        self._context = context
        self._segments = segments
        self._inside = f"inproc://wake-{process}"  # within this context only
        self._timeout_ms = -1
        self._ready: deque[Packet | Handed] = deque()
        self.strangers = Strangers(f"socket of process '{process}'")  # ZeroMQ refuses those of other users, uncounted
        self._socket: zmq.Socket[bytes] = context.socket(zmq.PULL)
        self._socket.set_hwm(bound)
        # what nobody reads any more must not keep the process from ending
        self._socket.setsockopt(zmq.LINGER, 0)
        # abstract names have no rights of their own: any user of the machine could send packets
        self._socket.setsockopt(zmq.IPC_FILTER_UID, os.getuid())
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._socket.close()
            raise StartError(
                f"process '{process}': {address}: {zmq.strerror(error.errno or 0)} "
                "(expected a free address), give every run its own id"
            ) from error
        self._socket.bind(self._inside)

    def receive(self, timeout_ms: int = -1) -> Packet | Handed | None:
        """The next packet, or outcome that was decided in the place of a dead process; None after a `wake`, or after
        ``timeout_ms`` (-1: wait for ever).

        Raises:
            RunError: what came is no packet, another version, or one that points outside of its slot or frames.
        """
        if not self._ready:
            frames = self._frames(timeout_ms)
            if not frames:
                return None
            if opened(bytes(frames[0]))[0] == WAKE:
                return None
            self._ready.extend(messages_in(frames, self._segments))
        return self._ready.popleft()

    def attend(self, take: Callable[[list[Packet | Handed]], None]) -> bool:
        """Wait for a message and hand over what it holds; False after a `wake`. Raises as `receive`."""
        if (first := self.receive()) is None:
            return False
        messages = [first, *self._ready]
        self._ready.clear()
        take(messages)
        return True

    def poller(self) -> None:
        """None: one of ZeroMQ's sockets is for one thread."""

    @property
    def has_more(self) -> bool:
        """True if the message that `receive` gave a packet of holds another one."""
        return bool(self._ready)

    def wake(self) -> None:
        """Let `receive` return None, now or when it is called next. From any thread."""
        socket: zmq.Socket[bytes] = self._context.socket(zmq.PUSH)
        socket.connect(self._inside)
        socket.send(head(WAKE))
        socket.close()

    def close(self) -> None:
        """Stop listening. Call it when nobody receives."""
        self._socket.close()

    def _frames(self, timeout_ms: int) -> list[Frame]:
        """One message: the head as bytes, the others as looks into ZeroMQ's own memory."""
        # set when it changes: it would be one more call into ZeroMQ for every message
        if timeout_ms != self._timeout_ms:
            self._socket.setsockopt(zmq.RCVTIMEO, timeout_ms)
            self._timeout_ms = timeout_ms
        try:
            part = self._socket.recv(copy=False)
        except zmq.Again:
            return []
        frames: list[Frame] = [part.bytes]
        while part.more:
            part = self._socket.recv(copy=False)
            frames.append(part.buffer)
        return frames
