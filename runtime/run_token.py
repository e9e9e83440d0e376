"""Secret of a run, by which its sockets tell its own messages from those of other programs of the same user.

A process gets it on its standard input: the machine shows command lines and environments to others.
"""

from __future__ import annotations

import hmac
import secrets
import sys

N_CHARACTERS = 32


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_hex(N_CHARACTERS // 2)


def read_token() -> str:
    """The token that the supervisor has written for this process."""
    return sys.stdin.readline().strip()


def is_token(found: bytes, token: str) -> bool:
    """True if it is this token; how long the comparison takes does not give away how much of it is right."""
    return hmac.compare_digest(found, token.encode())


class Strangers:
    """Messages without the token at one socket: dropped, counted, and reported once while the run goes on.

    Attributes:
        n_dropped: how many there were.
    """

    def __init__(self, where: str) -> None:
        self.n_dropped = 0
        self._where = where
        self._n_reported = 0

    def drop(self) -> None:
        """Count one."""
        self.n_dropped += 1

    def news(self, *, is_end: bool = False) -> str:
        """Text of the first one, and at the end of all; empty when there is nothing new."""
        if not self.n_dropped or (self._n_reported and not is_end) or self._n_reported == self.n_dropped:
            return ""
        is_first, self._n_reported = not self._n_reported, self.n_dropped
        if is_first:
            return (
                f"{self._where}: found a message without this run's token (expected those of its own processes), it "
                "was dropped: another program of this user knows the address"
            )
        return f"{self._where}: dropped {self.n_dropped} messages without this run's token in all"
