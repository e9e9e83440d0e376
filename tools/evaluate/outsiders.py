"""Agents that are measured like the model, one dialogue after the other: any graph, any program behind a WebSocket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...wan_core.text import PAD
from ..world.conversation import Conversation
from ..world.voices import Bank
from .course import Holder
from .talk import Cast, Read, Talk


def graph_holder(graph: str, sets: Mapping[str, str], bank: Bank, read: Read, size: int) -> Holder:
    """Lets a graph talk with users.

    Args:
        graph: path or shipped name.
        sets: parameters, as by ``--set``.
        bank: the users' voices.
        read: what is kept of the agent's pictures, of ``size`` pixels; of another size, nothing is.
    """
    from ..world.against import converse

    def held(casts: Sequence[Cast], units: int) -> list[Talk]:
        users = [lambda side, cast=cast: cast.world(bank, side) for cast in casts]
        found = converse(graph, users, units, set=dict(sets), seeds=[cast.seed for cast in casts])
        return [_talk(cast, one, read, size) for cast, one in zip(casts, found, strict=True)]

    return held


def socket_holder(url: str, bank: Bank, read: Read, size: int) -> Holder:
    """Lets an agent behind a WebSocket talk with users; arguments as of `graph_holder`."""
    from ..world.websocket import converse_over

    def held(casts: Sequence[Cast], units: int) -> list[Talk]:
        users = [lambda side, cast=cast: cast.world(bank, side) for cast in casts]
        found = converse_over(url, users, units, size=size)
        return [_talk(cast, one, read, size) for cast, one in zip(casts, found, strict=True)]

    return held


def _talk(cast: Cast, held: Conversation, read: Read, size: int) -> Talk:
    frames = held.frames
    is_readable = frames is not None and frames.shape[2:4] == (size, size)
    face: dict[str, NDArray[np.float32]] = {}
    if is_readable and frames is not None:
        face = read(frames.reshape(-1, *frames.shape[2:]))
    text = np.full(len(held), PAD, np.int64) if held.text is None else held.text
    return Talk(
        cast,
        held.cues,
        np.concatenate([unit.samples for unit in held.heard]),
        held.samples.reshape(-1).astype(np.float32),
        face,
        text,
        None,
    )
