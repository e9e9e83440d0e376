"""The direct link, between processes of one machine: the sender's thread rings the receiver's, with none in between.

One connection (AF_UNIX, SOCK_SEQPACKET) leads from each sending process to each reader. Its addresses are abstract
names, which leave no file. They have no rights either, so that both ends look whose process the other one is, and the
first datagram has to hold the run's token:

    sender                                 reader
       | ---- connect ----------------------> |   both: is it this user's?
       | ---- LINK: token, counter ---------> |   refused: the connection is closed
       | ---- messages, see `datagram` -----> |   each read is counted in the counter

The counter lies in memory that both share. From it the sender knows exactly how many messages wait, wherever they do:
the kernel's own bound counts bytes, and differs from machine to machine.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import struct

from ..errors import RunError
from ..run_token import is_token
from .transport import DIRECT
from .wire import LINK, head, opened

_CREDENTIALS = struct.Struct("3i")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_COUNTER_BYTES = mmap.PAGESIZE


def socket_name(address: str) -> bytes:
    """The kernel's name of an address of this link."""
    return b"\0" + address.removeprefix(DIRECT).encode()


def new_socket() -> socket.socket:
    """A socket that never waits."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def is_own_user(connection: socket.socket) -> bool:
    """True if the other end is a process of this user."""
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return bool(user == os.getuid())


def greeting(token: str) -> bytes:
    """The first datagram of a connection."""
    return head(LINK, token.encode())


def is_greeting(datagram: bytes, token: str) -> bool:
    """True if a connection begins as it should."""
    try:
        kind, body = opened(datagram)
    except RunError:
        return False
    return kind == LINK and is_token(bytes(body), token)


class Counter:
    """A number that the process at one end writes and the one at the other reads.

    Attributes:
        file: its memory's descriptor, where it was made; close it with `close_file` when it has been sent.
    """

    def __init__(self, file: int | None = None) -> None:
        """Make one, or open what came from the other end.

        Raises:
            OSError: no memory for it, or what came is none.
        """
        self.file = -1
        if file is None:
            file = self.file = os.memfd_create("wangraph-counter", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(file, _COUNTER_BYTES)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        # an other end that cut it short would kill this process as it counts
        elif fcntl.fcntl(file, fcntl.F_GET_SEALS) & _SEALS != _SEALS or os.fstat(file).st_size < _COUNTER_BYTES:
            raise OSError("not a counter")
        self._number = memoryview(mmap.mmap(file, _COUNTER_BYTES)).cast("Q")

    @property
    def value(self) -> int:
        """The number."""
        return self._number[0]  # in one step, as a view of this kind does it: the other end must not see half of it

    @value.setter
    def value(self, number: int) -> None:
        self._number[0] = number

    def close_file(self) -> None:
        """Close the descriptor; the memory stays."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
