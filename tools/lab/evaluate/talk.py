"""Dialogues held for measuring: reactive users on one side, an agent that is measured on the other.

# R rows, U units
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..world.camera import Camera
from ..world.cues import Cue, UserUnit
from ..world.person import Person
from ..world.persona import PERSONAS, Persona
from ..world.script import SCENARIOS, Scenario, Script
from ..world.signal import UNIT, Sound
from ..world.user import World
from ..world.voices import Bank, Speaker

FIRST_SEED = 50_000_000
"""Dialogues of an evaluation are numbered from here on: no training comes so far."""


@dataclass(frozen=True)
class Answer:
    """One unit of an agent.

    Attributes:
        samples: [2560] float32.
        frames: [4, S, S, 3] uint8; None: it shows nothing.
        token: of the world's vocabulary; PAD where it says nothing, or does not tell.
        event: numbers of a state and of a gesture; None: it does not tell.
    """

    samples: Sound
    frames: NDArray[np.uint8] | None
    token: int
    event: tuple[int, int] | None = None


class Agent(Protocol):
    """Somebody to talk with, in several dialogues at once."""

    def begin(self, specs: Sequence[DialogueSpec]) -> None:
        """New dialogues, one for each row."""
        ...

    def step(self, users: Sequence[UserUnit]) -> list[Answer]:
        """The agent's unit k of every row, having met the user's units up to k."""
        ...


@dataclass(frozen=True)
class DialogueSpec:
    """A dialogue to be held: user, agent and what the user does; equal specs are equal users.

    Attributes:
        seed: of everything random.
        script: what the user does; None: drawn from the scenario.
        scenario: how the user behaves.
        speaker: whose voice the user has.
        persona: who the agent is.
        is_prompted: whether the agent gets the persona's prompt before the first unit.
    """

    seed: int
    speaker: Speaker
    script: Script | None = None
    scenario: Scenario = SCENARIOS["everything"]
    persona: Persona = PERSONAS["iris"]
    is_prompted: bool = False

    def world(self, bank: Bank, size: int) -> World:
        """The user."""
        rng = np.random.default_rng((self.seed, 41))
        person = replace(Person.sample(rng, bank, "held-out", self.scenario.echo), speaker=self.speaker)
        return World(self.seed, bank, self.scenario, person=person, script=self.script, size=size)


@dataclass(frozen=True)
class Talk:
    """A dialogue that was held.

    Attributes:
        spec: who.
        cues: of the user, in order of time.
        user_samples: the user's sound as it reached the agent, [U * 2560].
        samples: the agent's sound, [U * 2560].
        face: what was read from the agent's pictures, by name [U * 4]; empty where it shows nothing.
        text: [U] the agent's tokens.
        events: [U, 2] the agent's states and gestures; None: it does not tell.
        frames: [U, 4, S, S, 3] the agent's pictures, and seen: the user's; None where they were not kept.
        unknown: what the agent wrote that is no word of the world.
    """

    spec: DialogueSpec
    cues: tuple[Cue, ...]
    user_samples: Sound
    samples: Sound
    face: dict[str, NDArray[np.float32]]
    text: NDArray[np.int64]
    events: NDArray[np.int64] | None
    frames: NDArray[np.uint8] | None = None
    seen: NDArray[np.uint8] | None = None
    unknown: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.text)

    @property
    def duration(self) -> int:
        """Samples."""
        return len(self.text) * UNIT


Read = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]
"""What is to be read from pictures [N, S, S, 3]: values [N] by name."""


def hold(
    agent: Agent, specs: Sequence[DialogueSpec], units: int, bank: Bank, read: Read, size: int, keep_frames: int = 0
) -> list[Talk]:
    """Let ``agent`` and the users of ``specs`` talk for ``units``.

    Args:
        agent: of as many rows as there are specs.
        specs: of the users.
        units: how long.
        bank: the users' voices.
        read: what is kept of the agent's pictures.
        size: side of the users' pictures in pixels.
        keep_frames: rows of which the pictures themselves are kept, too.
    """
    worlds = [spec.world(bank, 0) for spec in specs]
    cameras = Camera([world.person for world in worlds], bank, size) if size else None
    users: list[list[UserUnit]] = [[] for _ in specs]
    answers: list[list[Answer]] = [[] for _ in specs]
    faces: list[list[dict[str, NDArray[np.float32]]]] = [[] for _ in specs]
    agent.begin(specs)
    for _ in range(units):
        met = [world.step(own[-1].samples if own else None) for world, own in zip(worlds, answers, strict=True)]
        seen = cameras.shoot([user.pose for user in met]) if cameras else [user.frames for user in met]
        met = [replace(user, frames=frames) for user, frames in zip(met, seen, strict=True)]
        made = agent.step(met)
        for row, face in _faces(made, read).items():
            faces[row].append(face)
        for row, (user, answer) in enumerate(zip(met, made, strict=True)):
            is_kept = row < keep_frames
            users[row].append(user if is_kept else replace(user, frames=user.frames[:0]))
            answers[row].append(answer if is_kept else replace(answer, frames=None))
    return [_talk(spec, users[row], answers[row], faces[row], row < keep_frames) for row, spec in enumerate(specs)]


def _faces(answers: Sequence[Answer], read: Read) -> dict[int, dict[str, NDArray[np.float32]]]:
    """Readings of the pictures of each row that shows any, made at once."""
    shown = {row: answer.frames for row, answer in enumerate(answers) if answer.frames is not None}
    if not shown:
        return {}
    ends = np.cumsum([len(frames) for frames in shown.values()])
    together = {name: np.split(values, ends) for name, values in read(np.concatenate([*shown.values()])).items()}
    return {row: {name: parts[i] for name, parts in together.items()} for i, row in enumerate(shown)}


def _talk(
    spec: DialogueSpec,
    users: list[UserUnit],
    answers: list[Answer],
    faces: list[dict[str, NDArray[np.float32]]],
    has_frames: bool,
) -> Talk:
    events = [answer.event for answer in answers]
    shown = [answer.frames for answer in answers if answer.frames is not None]
    return Talk(
        spec=spec,
        cues=tuple(cue for user in users for cue in user.cues),
        user_samples=np.concatenate([user.samples for user in users]),
        samples=np.concatenate([answer.samples for answer in answers]).astype(np.float32),
        face={name: np.concatenate([face[name] for face in faces]) for name in (faces[0] if faces else ())},
        text=np.asarray([answer.token for answer in answers], np.int64),
        events=None if None in events else np.asarray(events, np.int64),
        frames=np.stack(shown) if has_frames and len(shown) == len(answers) else None,
        seen=np.stack([user.frames for user in users]) if has_frames else None,
    )
