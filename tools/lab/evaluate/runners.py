"""Runners for agents other than checkpoints, a dialogue at a time: any graph, any program behind a WebSocket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ....wan_core.vocabulary import PAD
from ..world.conversation import Conversation
from ..world.voices import Bank
from .talk import DialogueSpec, Read, Talk
from .tasks import Runner


def graph_runner(graph: str, sets: Mapping[str, str], bank: Bank, read: Read, size: int) -> Runner:
    """A runner that lets a graph talk with users.

    Args:
        graph: path or shipped name.
        sets: parameters, as by ``--set``.
        bank: the users' voices.
        read: what is kept of the agent's pictures.
        size: side in pixels of the pictures that are read; others are cropped to a square and scaled.
    """
    from ..world.against import converse

    def run(specs: Sequence[DialogueSpec], units: int) -> list[Talk]:
        users = [lambda side, spec=spec: spec.world(bank, side) for spec in specs]
        found = converse(graph, users, units, settings=dict(sets), seeds=[spec.seed for spec in specs])
        return [talk_of(spec, one, read, size) for spec, one in zip(specs, found, strict=True)]

    return run


def websocket_runner(url: str, bank: Bank, read: Read, size: int) -> Runner:
    """A runner that lets an agent behind a WebSocket talk with users; arguments as of `graph_runner`."""
    from ..world.websocket import converse_over

    def run(specs: Sequence[DialogueSpec], units: int) -> list[Talk]:
        users = [lambda side, spec=spec: spec.world(bank, side) for spec in specs]
        found = converse_over(url, users, units, size=size)
        return [talk_of(spec, one, read, size) for spec, one in zip(specs, found, strict=True)]

    return run


def talk_of(spec: DialogueSpec, held: Conversation, read: Read, size: int) -> Talk:
    """A conversation as it is measured; arguments as of `graph_runner`."""
    face = {} if held.frames is None else read(np.concatenate([fitted(unit, size) for unit in held.frames]))
    text = np.full(len(held), PAD, np.int64) if held.text is None else held.text
    return Talk(
        spec,
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
