"""The local HTTP server: whoever connects asks soon, or is let go."""

from __future__ import annotations

import io
import socket

import pytest

from wangraph.runtime.observe.loopback import ASK_S, TimelyReader


class Trickle:
    """A connection that sends a byte whenever it is read, and takes its time for each."""

    def __init__(self, byte_s: float) -> None:
        self.now_s, self._byte_s, self.timeouts = 0.0, byte_s, []
        self._timeout: float | None = 30.0

    def gettimeout(self):
        return self._timeout

    def settimeout(self, timeout_s):
        self._timeout = timeout_s
        self.timeouts.append(timeout_s)

    def recv_into(self, buffer):
        self.now_s += self._byte_s
        buffer[:1] = b"G"
        return 1


def test_a_request_that_comes_byte_by_byte_has_no_longer_than_another():
    trickle = Trickle(byte_s=3.0)
    reader = io.BufferedReader(TimelyReader(trickle, ASK_S, lambda: trickle.now_s))
    with pytest.raises(TimeoutError, match=r"^the request took too long$"):
        reader.readline()
    assert trickle.timeouts[::2] == [10.0, 7.0, 4.0, 1.0]
    assert trickle.gettimeout() == 30.0  # of what is sent to it afterwards


def test_a_request_in_time_is_read():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
        reader = io.BufferedReader(TimelyReader(ours, ASK_S))
        assert [reader.readline(), reader.readline()] == [b"GET / HTTP/1.1\r\n", b"\r\n"]
