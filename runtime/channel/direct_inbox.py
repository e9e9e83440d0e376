"""Receiving end of the direct link: every sender's connection in one epoll, read in the receiver's own thread.

Besides the thread that attends to the inbox, others can wait for messages while they have nothing to do (`Poller`).
The kernel wakes one of them, so that a message for an idle lane is read by that lane itself.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping

from ..errors import RunError, StartError
from ..packet import Packet
from ..run_token import Strangers
from .datagram import LARGEST, frames_of
from .direct import Counter, is_greeting, is_own_user, new_socket, socket_name
from .wire import Frame, Handed, SlotReader, messages_in

_BACKLOG = 128
_ONE_OF_US = select.EPOLLIN | select.EPOLLEXCLUSIVE
"""Of all threads that wait for a socket the kernel wakes one."""

_CLOSED_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)
_CUT, _CUT_FILES = int(socket.MSG_TRUNC), int(socket.MSG_CTRUNC)
_EVENTS = 64
_ANCILLARY_BYTES = socket.CMSG_LEN(4)  # CMSG_SPACE has room for a second descriptor, which nobody would close


class DirectInbox:
    """Receives the packets that are sent to this process. One thread receives or attends, others do by a `poller`; any
    thread may call `wake`.

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
        self._pollers: list[Poller] = []
        # from a read to the scheduler: two messages of one sender, read by two threads, must not change places
        self._lock = threading.Lock()
        self._listener = new_socket()
        try:
            self._listener.bind(socket_name(address))
        except OSError as error:
            self._listener.close()
            raise StartError(
                f"process '{process}': {address}: {error.strerror} (expected a free address), give every run its own id"
            ) from error
        self._listener.listen(_BACKLOG)
        self._listening = self._listener.fileno()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._listening, _ONE_OF_US)
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
            self.deliver(number, self._ready.extend)
        return self._ready.popleft()

    def attend(self, take: Callable[[list[Packet | Handed]], None]) -> bool:
        """Wait for messages and hand them over; False after a `wake`. Raises as `receive`."""
        is_woken = False
        for number, _ in self._epoll.poll(None, _EVENTS):
            if number == self._bell:
                os.eventfd_read(self._bell)
                is_woken = True
            else:
                self.deliver(number, take)
        return not is_woken

    def poller(self) -> Poller:
        """Let another thread receive, too, whenever it has nothing else to do."""
        poller = Poller(self)
        with self._lock:
            self._pollers.append(poller)
            for number in (self._listening, *self._senders):
                poller.epoll.register(number, _ONE_OF_US)
                # behind the pollers: the kernel wakes the first of them that waits, and this one only when none does
                self._epoll.unregister(number)
                self._epoll.register(number, _ONE_OF_US)
        return poller

    def deliver(self, number: int, take: Callable[[list[Packet | Handed]], None]) -> None:
        """Hand over the next message of the socket with this number, if there still is one."""
        with self._lock:
            if number == self._listening:
                self._accept()
            elif (sender := self._senders.get(number)) is not None and (messages := self._read(sender)):
                take(messages)

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
        for poller in self._pollers:
            poller.close()
        self._listener.close()
        for sender in self._senders.values():
            sender.connection.close()
        os.close(self._bell)

    # With the lock held

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it has changed its mind
        connection.setblocking(False)
        if not is_own_user(connection):
            connection.close()
            self.strangers.drop()
            return
        self._senders[connection.fileno()] = _Sender(connection)
        for epoll in (*(poller.epoll for poller in self._pollers), self._epoll):
            epoll.register(connection.fileno(), _ONE_OF_US)

    def _read(self, sender: _Sender) -> list[Packet | Handed]:
        """The next message of a connection; empty when none is there."""
        try:
            n_bytes, ancillary, flags, _ = sender.connection.recvmsg_into(
                [self._buffer], _ANCILLARY_BYTES, _CLOSED_ON_EXEC
            )
        except BlockingIOError:
            return []
        except ConnectionResetError:
            n_bytes, ancillary, flags = 0, [], 0
        file = _file_of(ancillary) if ancillary else None
        try:
            if not n_bytes:
                self._end(sender)
            elif sender.counter is None:
                self._greet(sender, bytes(self._buffer[:n_bytes]), file)
            else:
                sender.count()
                return messages_in(self._frames(n_bytes, flags, file), self._segments)
        finally:
            if file is not None:
                os.close(file)
        return []

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
        if flags & _CUT_FILES:
            raise RunError("message: its file did not come (expected one), has this process too many files open?")
        if flags & _CUT:
            raise RunError(f"message: found more than {LARGEST} bytes in one datagram, who else writes to this socket?")
        return frames_of(self._buffer[:n_bytes], file)

    def _end(self, sender: _Sender) -> None:
        number = sender.connection.fileno()
        for epoll in (self._epoll, *(poller.epoll for poller in self._pollers)):
            epoll.unregister(number)
        del self._senders[number]
        sender.connection.close()


class Poller:
    """A thread's own way to wait for whatever it has to do, and to receive meanwhile.

    A message wakes one thread: a poller that waits, else the one that attends to the inbox. What is read is handed over
    before the poller looks at anything else, so that no message waits for a thread that has begun to do other things.

    Attributes:
        epoll: what it waits with.
    """

    def __init__(self, inbox: DirectInbox) -> None:
        self._inbox = inbox
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.epoll = select.epoll()
        self.epoll.register(self._bell, select.EPOLLIN)

    def wait(self, take: Callable[[list[Packet | Handed]], None]) -> None:
        """Wait until messages come, which are handed over, or until it is rung. Raises as `DirectInbox.receive`."""
        for number, _ in self.epoll.poll(None, _EVENTS):
            if number == self._bell:
                os.eventfd_read(self._bell)
            else:
                self._inbox.deliver(number, take)

    def ring(self) -> None:
        """Let `wait` return, now or when it is called next. From any thread."""
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Close it. Call it when nobody waits."""
        self.epoll.close()
        os.close(self._bell)


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
