"""Admission of requests: the token of the link, the page's own origin, and how much one visitor may send."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from ...runtime.observe.loopback import foreign_host, is_loopback
from .protocol import TOKEN_HEADER


class Access:
    """Decides by a request's head.

    Args:
        token: what a link carries.
        host: the address that is listened on.
    """

    def __init__(self, token: str, host: str) -> None:
        self.token = token
        self._is_local = is_loopback(host)

    def knows(self, token: str) -> bool:
        """True if it is the token, in a time that does not tell how much of it was right."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def token_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        """The token that a request carries, wherever it does; empty without one."""
        bearer = headers.get("Authorization", "")
        return headers.get(TOKEN_HEADER) or bearer.removeprefix("Bearer ").strip() or query.get("token", "")

    def refusal(self, headers: Mapping[str, str]) -> str:
        """Reason to refuse a request whatever token it has; empty if there is none.

        A page of another site could reach a server on this machine: by its name (a browser says so in ``Origin``), or
        by a name of its own that leads to this machine (which stands in ``Host``).
        """
        host = headers.get("Host", "")
        if self._is_local and (reason := foreign_host(host)):
            return reason
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return f"Origin: found '{origin[:80]}' (expected the page of this server, {host[:80]})"
        return ""


class Allowance:
    """Allowance of a sender: so much a second, and a burst on top.

    Args:
        per_s: what comes back every second.
        burst: what may be sent at once.
    """

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._left, self._at_s = burst, 0.0

    def spend(self, amount: float, now_s: float) -> bool:
        """Spend some of it; False, with nothing spent, where it is not enough."""
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if amount > self._left:
            return False
        self._left -= amount
        return True
