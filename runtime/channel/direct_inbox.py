"""Receiving end of the direct link: every sender's connection in one epoll, read in the receiver's own thread."""

from __future__ import annotations

import os
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Mapping

from ..errors import RunError, StartError
from ..packet import Packet
from ..run_token import Strangers
from .datagram import LARGEST, frames_of
from .direct import Counter, is_greeting, is_own_user, new_socket, socket_name
from .wire import Frame, Handed, SlotReader, messages_in

_BACKLOG = 128
_EVENTS = 64
_ANCILLARY_BYTES = socket.CMSG_LEN(4)  # CMSG_SPACE has room for a second descriptor, which nobody would close


class DirectInbox:
    """Receives the packets that are sent to this process. One thread receives; any thread may call `wake`.

    Attributes:
        strangers: connections that were refused: of another user, or without the run's token.

    Args:
        address: where to listen.
        process: whose inbox it is, for messages.
        segments: attached segments by producing process; may be filled later.
        token: the run's.

    Raises:
        StartError: somebody listens there already.
    """

    def __init__(self, address: str, process: str, segments: Mapping[str, SlotReader], token: str) -> None:
        self.strangers = Strangers(f"socket of process '{process}'")
        self._segments, self._token = segments, token
        self._buffer = memoryview(bytearray(LARGEST))
        self._ready: deque[Packet | Handed] = deque()
        self._rung: deque[int] = deque()
        self._senders: dict[int, _Sender] = {}
        self._listener = new_socket()
        try:
            self._listener.bind(socket_name(address))
        except OSError as error:
            self._listener.close()
            raise StartError(
                f"process '{process}': {address}: {error.strerror} (expected a free address), give every run its own id"
            ) from error
        self._listener.listen(_BACKLOG)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        self._epoll.register(self._bell, select.EPOLLIN)

    def receive(self, timeout_ms: int = -1) -> Packet | Handed | None:
        """The next packet, or outcome that was decided in the place of a dead process; None after a `wake`, or after
        ``timeout_ms`` (-1: wait for ever).

        Raises:
            RunError: what came is no packet, another version, or one that points outside of its slot or frames.
        """
        until = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000
        while not self._ready:
            # one message of each that rings before they are looked at again: none keeps the others waiting
            if not self._rung:
                left = None if until is None else max(0.0, until - time.monotonic())
                self._rung.extend(number for number, _ in self._epoll.poll(left, _EVENTS))
                if not self._rung:
                    return None
            number = self._rung.popleft()
            if number == self._bell:
                os.eventfd_read(self._bell)
                return None
            if number == self._listener.fileno():
                self._accept()
            else:
                self._read(self._senders[number])
        return self._ready.popleft()

    @property
    def has_more(self) -> bool:
        """True if the message that `receive` gave a packet of holds another one."""
        return bool(self._ready)

    def wake(self) -> None:
        """Let `receive` return None, now or when it is called next. From any thread."""
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Stop listening. Call it when nobody receives; may be called again."""
        if self._epoll.closed:
            return
        self._epoll.close()
        self._listener.close()
        for sender in self._senders.values():
            sender.connection.close()
        os.close(self._bell)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it has changed its mind
        connection.setblocking(False)
        if not is_own_user(connection):
            self._refuse(connection)
            return
        self._senders[connection.fileno()] = _Sender(connection)
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _read(self, sender: _Sender) -> None:
        """Read one datagram of a connection, if there is one."""
        try:
            n_bytes, ancillary, flags, _ = sender.connection.recvmsg_into(
                [self._buffer], _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except ConnectionResetError:
            n_bytes, ancillary, flags = 0, [], 0
        file = _file_of(ancillary)
        try:
            if not n_bytes:
                self._end(sender)
            elif sender.counter is None:
                self._greet(sender, bytes(self._buffer[:n_bytes]), file)
            else:
                sender.count()
                self._ready.extend(messages_in(self._frames(n_bytes, flags, file), self._segments))
        finally:
            if file is not None:
                os.close(file)

    def _greet(self, sender: _Sender, datagram: bytes, file: int | None) -> None:
        """Look at the first datagram of a connection."""
        try:
            if file is not None and is_greeting(datagram, self._token):
                sender.counter = Counter(file)
                return
        except OSError:
            pass
        self._end(sender)
        self.strangers.drop()

    def _frames(self, n_bytes: int, flags: int, file: int | None) -> list[Frame]:
        if flags & socket.MSG_CTRUNC:
            raise RunError("message: its file did not come (expected one), has this process too many files open?")
        if flags & socket.MSG_TRUNC:
            raise RunError(f"message: found more than {LARGEST} bytes in one datagram, who else writes to this socket?")
        return frames_of(self._buffer[:n_bytes], file)

    def _end(self, sender: _Sender) -> None:
        number = sender.connection.fileno()
        self._epoll.unregister(number)
        del self._senders[number]
        sender.connection.close()

    def _refuse(self, connection: socket.socket) -> None:
        connection.close()
        self.strangers.drop()


class _Sender:
    """A process that sends here.

    Attributes:
        counter: of the messages that were read of it; None until it has greeted.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.counter: Counter | None = None
        self._n_read = 0

    def count(self) -> None:
        """Count a message that was read."""
        self._n_read += 1
        assert self.counter is not None
        self.counter.value = self._n_read


def _file_of(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            (file,) = array("i", content[:4])
            return int(file)
    return None
