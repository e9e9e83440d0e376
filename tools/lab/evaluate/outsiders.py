"""Agents that are measured like the model, one dialogue after the other: any graph, any program behind a WebSocket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ....wan_core.vocabulary import PAD
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
        read: what is kept of the agent's pictures.
        size: side in pixels of the pictures that are read; others are cropped to a square and scaled.
    """
    from ..world.against import converse

    def held(casts: Sequence[Cast], units: int) -> list[Talk]:
        users = [lambda side, cast=cast: cast.world(bank, side) for cast in casts]
        found = converse(graph, users, units, settings=dict(sets), seeds=[cast.seed for cast in casts])
        return [talk_of(cast, one, read, size) for cast, one in zip(casts, found, strict=True)]

    return held


def socket_holder(url: str, bank: Bank, read: Read, size: int) -> Holder:
    """Lets an agent behind a WebSocket talk with users; arguments as of `graph_holder`."""
    from ..world.websocket import converse_over

    def held(casts: Sequence[Cast], units: int) -> list[Talk]:
        users = [lambda side, cast=cast: cast.world(bank, side) for cast in casts]
        found = converse_over(url, users, units, size=size)
        return [talk_of(cast, one, read, size) for cast, one in zip(casts, found, strict=True)]

    return held


def talk_of(cast: Cast, held: Conversation, read: Read, size: int) -> Talk:
    """A conversation as it is measured; arguments as of `graph_holder`."""
    face = {} if held.frames is None else read(np.concatenate([fitted(unit, size) for unit in held.frames]))
    text = np.full(len(held), PAD, np.int64) if held.text is None else held.text
    return Talk(
        cast,
        held.cues,
        np.concatenate([unit.samples for unit in held.user]),
        held.samples.reshape(-1).astype(np.float32),
        face,
        text,
        None,
        unknown=held.unknown,
    )


def fitted(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Pictures [N, H, W, 3] as [N, size, size, 3]: the square in their middle, scaled without aliasing."""
    height, width = frames.shape[1:3]
    if height == width == size:
        return frames
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(frames[:, top : top + side, left : left + side].transpose(0, 3, 1, 2))
    scaled = torch.nn.functional.interpolate(
        torch.from_numpy(square).float(), (size, size), mode="bilinear", antialias=True
    )
    found: NDArray[np.uint8] = scaled.round().clamp(0, 255).byte().numpy().transpose(0, 2, 3, 1)
    return np.ascontiguousarray(found)
