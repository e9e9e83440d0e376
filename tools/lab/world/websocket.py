"""An agent behind a WebSocket against the world, in whatever language it is written.

    for talk in converse_with_websocket("ws://127.0.0.1:8765", seeds=range(3), units=200):
        print(talk.samples.shape, talk.waited_ms.max())

World and agent go in step, unit by unit: the world waits for the answer to each unit, however long it takes up to a
deadline, so a dialogue depends on what was said and never on the network. How long was waited is kept beside it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....runtime.errors import MissingExtra, RunError, UserError
from . import protocol
from .conversation import Arrival, Conversation, arrivals, shown, spoken, unknown_in, warn_of_unknown, written
from .cues import UserUnit
from .node import UserConfig, typed
from .signal import Sound
from .user import World
from .voices import Split

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

DEADLINE_S = 10.0
"""How long the world waits for one answer."""
SIZE = 64
"""Side of the user's pictures in pixels."""
_LARGEST = 64 * 2**20


def converse_with_websocket(
    url: str,
    seeds: Iterable[int],
    units: int,
    scenario: str = "everything",
    *,
    held_out: bool = True,
    voices: Path | None = None,
    hold_out: tuple[str, ...] = (),
    size: int = SIZE,
    deadline_s: float = DEADLINE_S,
) -> list[Conversation]:
    """Let an agent talk with the users of these seeds, for ``units`` each; see `against.converse_with_graph`.

    Args:
        url: of the agent, ``ws://...`` or ``wss://...``; a connection for each dialogue.
        seeds: of the users.
        units: how long each dialogue is.
        scenario: how the users behave.
        held_out: voices that training never hears.
        voices: folder of recorded people.
        hold_out: more speakers and synthesisers that training never hears.
        size: side of the user's pictures in pixels.
        deadline_s: seconds within which every answer must come.

    Raises:
        UserError: ``url`` is no address of a WebSocket, or nobody is there.
        MissingExtra: the library ``websockets`` is not installed, or a synthesiser.
        RunError: the agent hung up, was silent past the deadline, or sent something else than an answer.
    """
    split: Split = "held-out" if held_out else "train"
    configs = [UserConfig(seed, scenario, split, voices, hold_out) for seed in seeds]
    talks = converse_over(url, arrivals(configs), units, size=size, deadline_s=deadline_s)
    warn_of_unknown(url, talks)
    return talks


def converse_over(
    url: str, users: Sequence[Arrival], units: int, *, size: int = SIZE, deadline_s: float = DEADLINE_S
) -> list[Conversation]:
    """Let an agent talk with these users, one after the other; see `converse_with_websocket`."""
    return [_talk(url, user, units, size, deadline_s) for user in users]


def check_agent(url: str, at_once: int = 1, *, size: int = SIZE, deadline_s: float = DEADLINE_S) -> None:
    """Pass if an agent is there that holds so many dialogues at once: known in a moment, from dialogues of no unit.

    Raises:
        UserError: there is none, or one that holds fewer.
        MissingExtra: the library ``websockets`` is not installed.
        RunError: what is there does not greet as an agent does.
    """
    with ExitStack() as lines:
        for number in range(at_once):
            try:
                _shake_hands(lines.enter_context(_line(url, deadline_s)), 0, size)
            except (UserError, RunError) as error:
                if not number:
                    raise
                raise UserError(
                    f"{url}: holds {number} of {at_once} dialogues at once (expected one for each of --processes; "
                    f"{error}), use --processes {number}"
                ) from error


def _talk(url: str, user: Arrival, units: int, size: int, deadline_s: float) -> Conversation:
    with _line(url, deadline_s) as agent:
        return _held(agent, user, units, size)


@contextmanager
def _line(url: str, deadline_s: float) -> Iterator[_Line]:
    """A connection for one dialogue; the agent is told when it is over."""
    try:
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
        from websockets.sync.client import connect
    except ImportError as error:
        raise MissingExtra(
            "world: found no package 'websockets' (expected the extra 'world'), install it: "
            "pip install 'wangraph[world]'"
        ) from error

    with ExitStack() as opened:
        try:
            # no ping: while an agent computes, nobody need answer one
            line = opened.enter_context(
                connect(
                    url, open_timeout=deadline_s, max_size=_LARGEST, compression=None, proxy=None, ping_interval=None
                )
            )
        except (InvalidURI, ValueError) as error:
            raise UserError(
                f"agent: found '{url}' (expected ws://HOST:PORT or wss://HOST:PORT), correct its address"
            ) from error
        except (OSError, InvalidHandshake) as error:
            raise UserError(
                f"{url}: cannot be reached ({error}; expected an agent that listens there), start it first"
            ) from error
        yield _Line(url, line, deadline_s)
        with suppress(ConnectionClosed):  # it may leave when it has answered everything
            line.send(json.dumps({"type": "end"}))


class _Line:
    """A connection on which everything that is asked for has a deadline."""

    def __init__(self, url: str, line: ClientConnection, deadline_s: float) -> None:
        self.where = url
        self._url, self._line, self._deadline_s = url, line, deadline_s
        self._until = 0.0

    def at(self, unit: int) -> None:
        """Note that what comes now belongs to this unit."""
        self.where = f"{self._url}, unit {unit}"

    def send(self, *messages: str | bytes) -> None:
        """Send messages that something is expected for.

        Raises:
            RunError: there is nobody any more.
        """
        with self._open():
            for message in messages:
                self._line.send(message)
        self._until = time.monotonic() + self._deadline_s

    def receive(self) -> str | bytes:
        """The next message.

        Raises:
            RunError: none came in time.
        """
        try:
            with self._open():
                return self._line.recv(timeout=max(0.0, self._until - time.monotonic()))
        except TimeoutError as error:
            raise RunError(
                f"{self.where}: no answer within {self._deadline_s:g} s (expected one to every unit), "
                "see the agent's log or give it a longer deadline"
            ) from error

    @contextmanager
    def _open(self) -> Iterator[None]:
        from websockets.exceptions import ConnectionClosed

        try:
            yield
        except ConnectionClosed as error:
            raise RunError(f"{self.where}: the agent hung up ({error}; expected an answer), see its log") from error


def _shake_hands(agent: _Line, units: int, size: int) -> protocol.Handshake:
    agent.send(protocol.hello(units, size))
    return protocol.read_handshake(agent.where, agent.receive(), size)


def _held(agent: _Line, user: Arrival, units: int, size: int) -> Conversation:
    handshake = _shake_hands(agent, units, size)
    world = user(size if handshake.takes != "none" else 0)
    user_units: list[UserUnit] = []
    sounds: list[Sound] = []
    pictures: list[protocol.Pictures | None] = []
    texts: list[str] = []
    waited_ms: list[float] = []
    for unit in range(units):
        agent.at(unit)
        user_units.append(_step(world, sounds))
        unit_in = user_units[-1]
        agent.send(*protocol.packed(unit, unit_in.samples, unit_in.frames, typed(unit_in.text), handshake.takes))
        began = time.monotonic()
        header, body = agent.receive(), agent.receive()
        waited_ms.append((time.monotonic() - began) * 1000.0)
        sound, picture, text = protocol.unpacked(agent.where, unit, header, body, handshake.sends, handshake.size)
        before = next((p for p in reversed(pictures) if p is not None), picture)
        if picture is not None and before is not None and picture.shape != before.shape:
            raise RunError(f"{agent.where}: found pictures of another size than before (expected one size), scale them")
        sounds.append(sound)
        pictures.append(picture)
        texts.append(text)
    return Conversation(
        user=tuple(user_units),
        samples=spoken(sounds),
        frames=shown(pictures),
        text=written(texts),
        unknown=unknown_in(texts),
        waited_ms=np.asarray(waited_ms),
    )


def _step(world: World, sounds: Sequence[Sound]) -> UserUnit:
    return world.step(sounds[-1] if sounds else None)
