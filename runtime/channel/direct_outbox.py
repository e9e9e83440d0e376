"""Sending end of the direct link: from the caller's thread into the reader's socket.

Where the kernel has no room for a message that the reader's bound allows, or the reader does not listen yet, it waits
here, and a thread that lives only as long as something waits sends it on.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from array import array
from collections import deque
from collections.abc import Mapping, Sequence

from .datagram import Datagram
from .direct import Counter, greeting, is_own_user, new_socket, socket_name
from .transport import PeerFull, peer_full
from .wire import Frame

_NOT_NOW = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS, errno.ECONNREFUSED}
"""No room in the socket or the kernel, or nobody listens yet: the message waits."""

_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN}
"""The reader has closed."""

_SOCKET_BYTES = 2048
"""Room in the kernel for each message of the bound. The kernel counts its own book-keeping, too, and may give less."""

_LINGER_S = 0.5
_RETRY_S, _RETRY_MOST_S = 0.005, 0.5
"""A reader that does not listen is tried again, ever less often: it may be gone for good."""


class DirectOutbox:
    """Sends from any thread to any peer. Close it when the threads that use it have ended.

    Args:
        addresses: by peer.
        bounds: by peer, how many messages may wait; see `queue_bound`.
        token: the run's.
    """

    def __init__(self, addresses: Mapping[str, str], bounds: Mapping[str, int], token: str) -> None:
        self._bounds, self._token = bounds, token
        self._addresses = dict(addresses)
        self._lines: dict[str, _Line] = {}
        self._lock = threading.Lock()
        self._sender: threading.Thread | None = None
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closing_at: float | None = None

    def offer(self, peers: Sequence[str], frames: Sequence[Frame]) -> tuple[str, ...]:
        """Send a message to each of these peers without waiting; gives those whose queue is full."""
        datagram, refused = Datagram(frames), []
        for peer in peers:
            line = self._lines.get(peer) or self._new_line(peer)
            if not line.offer(datagram):
                refused.append(peer)
            elif line.waiting:
                self._have_sent_on()
        return tuple(refused)

    def move(self, peer: str, address: str) -> None:
        """From now on a peer is elsewhere: what was sent and has not left is dropped. From any thread."""
        with self._lock:
            self._addresses[peer] = address
            line = self._lines.get(peer)
        if line is not None:
            line.move(address)

    def full(self, peers: tuple[str, ...], what: str) -> PeerFull:
        """The error that says so."""
        return peer_full(peers, what, self._bounds)

    def close(self) -> None:
        """Close all connections; what waits here may still leave, for half a second at most. May be called again."""
        if self._closing_at is not None:
            return
        with self._lock:
            self._closing_at = time.monotonic() + _LINGER_S
            sender = self._sender
        if sender is not None:
            os.eventfd_write(self._bell, 1)
            sender.join()
        for line in self._lines.values():
            line.close()
        os.close(self._bell)

    def _new_line(self, peer: str) -> _Line:
        with self._lock:
            return self._lines.setdefault(peer, _Line(self._addresses[peer], self._bounds[peer], self._token))

    def _have_sent_on(self) -> None:
        with self._lock:
            if self._sender is None:
                self._sender = threading.Thread(target=self._send_on, name="outbox", daemon=True)
                self._sender.start()
        os.eventfd_write(self._bell, 1)  # it may wait for others, and for longer

    def _send_on(self) -> None:
        """Send what waits, as soon as its readers take it."""
        pause_s = _RETRY_S
        while True:
            with self._lock:
                lines = [line for line in self._lines.values() if line.waiting]
                is_late = self._closing_at is not None and time.monotonic() > self._closing_at
                if not lines or is_late:
                    # under the lock: whoever has something wait after this look starts another thread
                    self._sender = None
                    return
                if self._closing_at is not None:
                    pause_s = _RETRY_S
            self._wait(lines, pause_s)
            has_moved = [line.send_on() for line in lines]
            pause_s = _RETRY_S if any(has_moved) else min(2 * pause_s, _RETRY_MOST_S)

    def _wait(self, lines: Sequence[_Line], pause_s: float) -> None:
        """Wait until a connection that was full takes something, or another message waits; for so long at most."""
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        for line in lines:
            if (number := line.full_socket) >= 0:
                poll.register(number, select.POLLOUT)
        if any(number == self._bell for number, _ in poll.poll(1000 * pause_s)):
            os.eventfd_read(self._bell)


class _Line:
    """The connection to one peer, and what waits for it. For any thread.

    Attributes:
        waiting: messages that the kernel has not taken, in order.
    """

    def __init__(self, address: str, bound: int, token: str) -> None:
        self.waiting: deque[Datagram] = deque()
        self._bound, self._token = bound, token
        # held for no longer than system calls that do not wait. It makes one order of what several lanes send
        self._lock = threading.Lock()
        self._begin(address)

    def offer(self, datagram: Datagram) -> bool:
        """Send, or let wait; False when as many messages wait as may."""
        with self._lock:
            if self._given - self._counter.value >= self._bound:
                return False
            self._given += 1
            self.waiting.append(datagram)
            self._drain()
            return True

    def send_on(self) -> bool:
        """Send of what waits as much as goes; True if something went."""
        with self._lock:
            return self._drain()

    def move(self, address: str) -> None:
        """Begin anew, with the life of the peer that listens at this address."""
        with self._lock:
            self._end()
            self._begin(address)

    def close(self) -> None:
        """Close the connection. What is in the kernel is still read."""
        with self._lock:
            self._end()

    @property
    def full_socket(self) -> int:
        """Descriptor of its connection, where that had no room for what waits; -1: it waits for something else."""
        with self._lock:
            return self._socket.fileno() if self._socket is not None and self._is_full else -1

    # With the lock held

    def _begin(self, address: str) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._is_full = self._is_gone = False
        self._counter = Counter()
        self._given = 0

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._counter.close_file()
        self.waiting.clear()

    def _drain(self) -> bool:
        has_moved = False
        while self.waiting and self._sent(self.waiting[0]):
            self.waiting.popleft()
            has_moved = True
        return has_moved

    def _sent(self, datagram: Datagram) -> bool:
        """True if the message has left, or is of no use any more."""
        try:
            if not self._is_gone:
                self._socket = self._socket or self._connected()
                _send(self._socket, datagram.parts, datagram.file)
                return True
        except OSError as error:
            self._is_full = error.errno == errno.EAGAIN
            if error.errno in _NOT_NOW:
                return False
            if error.errno not in _GONE:
                raise
            self._is_gone = True
        # no reader is slow here: what becomes of a dead one's units, the supervisor says
        self._given -= 1
        return True

    def _connected(self) -> socket.socket:
        connection = new_socket()
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES * self._bound)
            connection.connect(socket_name(self._address))
            # before the token goes out: a stranger could have taken the name of a process that died
            if not is_own_user(connection):
                raise ConnectionRefusedError(errno.ECONNREFUSED, "another user's process listens")
            _send(connection, [greeting(self._token)], self._counter.file)
        except BaseException:
            connection.close()
            raise
        self._counter.close_file()
        return connection


def _send(connection: socket.socket, parts: Sequence[Frame], file: int) -> None:
    if file < 0:
        connection.sendmsg(parts)
    else:
        connection.sendmsg(parts, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file]))])
