"""HTTP on a loopback port, for this machine's user: whoever asks needs a token, foreign names are refused, connections
and their time bounded."""

from __future__ import annotations

import hmac
import io
import ipaddress
import secrets
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN_VARIABLE = "WANGRAPH_TOKEN"
"""Environment variable that sets a token which stays the same from start to start."""

MAX_CONNECTIONS = 32
"""Of one server at a time, each of which has a thread: those beyond are closed unheard."""

TIMEOUT_S = 30.0
"""How long a connection may take nothing of what it asked for."""

ASK_S = 10.0
"""How long a connection may take to ask, however little by little it comes: each holds a thread."""


def is_loopback(host: str) -> bool:
    """True if an address or name is this machine and nothing else."""
    if host in ("localhost", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def foreign_host(host: str) -> str:
    """Reason to refuse a request that names another host; empty if there is none.

    A page of another site can reach a server on this machine by a name of its own that leads here: the name stands in
    ``Host``.
    """
    if is_loopback(urlsplit(f"//{host}").hostname or ""):
        return ""
    return f"Host: found '{host[:80]}' (expected this machine's own name: localhost or 127.0.0.1)"


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(18)


class TimelyReader(io.RawIOBase):
    """Reads a socket until a deadline: a timeout of its own would begin anew with every byte.

    Args:
        clock: gives seconds.
    """

    def __init__(self, connection: socket.socket, within_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection, self._clock = connection, clock
        self._until = clock() + within_s

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there.

        Raises:
            TimeoutError: the deadline has passed.
        """
        left = self._until - self._clock()
        if left <= 0:
            raise TimeoutError("the request took too long")
        before = self._connection.gettimeout()
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(before)


class LoopbackServer(ThreadingHTTPServer):
    """A server of `LoopbackHandler`; a thread a connection, and no more than `MAX_CONNECTIONS`.

    Attributes:
        token: what a request has to bring: other users of this machine reach the port, too.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[LoopbackHandler], token: str = "") -> None:
        super().__init__(address, handler)
        self.token = token or new_token()
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection's thread if there is room for it."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Live a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that broke: the terminal is the run's."""


class LoopbackHandler(BaseHTTPRequestHandler):
    """Answers requests that name this machine; silent on the terminal."""

    timeout = TIMEOUT_S
    server: LoopbackServer

    def setup(self) -> None:
        """Read within the deadline; a connection asks once."""
        super().setup()
        self.rfile = io.BufferedReader(TimelyReader(self.connection, ASK_S))

    def do_GET(self) -> None:
        """Refuse what names another host, or brings no token; else `answer`."""
        if reason := foreign_host(self.headers.get("Host", "")):
            self.send_error(403, reason)
        elif not any(hmac.compare_digest(token.encode(), self.server.token.encode()) for token in self.tokens()):
            self.send_error(403, "expected the address that the terminal shows, with its token")
        else:
            self.answer()

    def tokens(self) -> list[str]:
        """Tokens that a request brings: in its address, or as its bearer."""
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        return [*parse_qs(urlsplit(self.path).query).get("token", []), bearer]

    def answer(self) -> None:
        """Answer the request."""
        raise NotImplementedError

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""
