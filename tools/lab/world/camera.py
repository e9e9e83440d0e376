"""Users before their cameras, several at once: those who are only drawn are drawn together, which costs a third."""

# T frames, U units, S side in pixels

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .face import PIXELS_AT_ONCE, Pose, render_each
from .life.scene import Scene
from .person import Person
from .voices import Bank


class Camera:
    """Takes the pictures of some users, in step.

    Args:
        people: who they are.
        bank: what they are made of.
        size: side of the pictures.
    """

    def __init__(self, people: Sequence[Person], bank: Bank, size: int) -> None:
        self._people, self._size = people, size
        self._scenes = [
            Scene(p.view, bank.material(p.view.split), p.looks, size) if p.view is not None else None for p in people
        ]

    def shoot(self, poses: Sequence[Pose]) -> list[NDArray[np.uint8]]:
        """The next pictures of each, [T, S, S, 3]; all poses are equally long."""
        plain = [i for i, scene in enumerate(self._scenes) if scene is None]
        drawn = dict(
            zip(
                plain,
                render_each([poses[i] for i in plain], [self._people[i].looks for i in plain], self._size)
                if plain
                else [],
                strict=True,
            )
        )
        return [
            drawn[i] if scene is None else scene.shoot(pose)
            for i, (scene, pose) in enumerate(zip(self._scenes, poses, strict=True))
        ]


def pictures_of(person: Person, bank: Bank, pose: Pose, size: int, units: int) -> NDArray[np.uint8]:
    """Pictures [U, F, S, S, 3] of a pose of ``F U`` frames; taken in parts, so that long dialogues stay small."""
    frames = len(pose) // units
    if not size:
        return np.empty((units, frames, 0, 0, 3), np.uint8)
    step = min(32, max(1, PIXELS_AT_ONCE // size**2)) if person.view is not None else max(1, PIXELS_AT_ONCE // size**2)
    camera = Camera([person], bank, size)
    taken = [camera.shoot([pose[i : i + step]])[0] for i in range(0, len(pose), step)]
    return np.concatenate(taken).reshape(units, frames, size, size, 3)
