"""A user and the ideal agent together: a recorded dialogue, to learn from and to look at."""

# U units, S side in pixels

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .camera import pictures_of
from .cues import AgentUnit, Cue, Gesture, State, UserUnit
from .face import PIXELS_AT_ONCE, Pose, join, render
from .oracle import Change, Oracle
from .person import Person
from .persona import PERSONAS, Persona
from .script import SCENARIOS, Scenario, Script
from .signal import Sound
from .user import World
from .voices import Bank, Split


@dataclass(frozen=True)
class Dialogue:
    """Units of one dialogue: what could be heard and seen, and what was done.

    Attributes:
        user_audio, agent_audio: [U * 2560] float32 at 16 kHz.
        user_video, agent_video: [U, 4, S, S, 3] uint8; size 0 where nothing was drawn.
        user_text, agent_text: [U] tokens of the world's vocabulary.
        states, gestures: the agent's events.
        user_pose, agent_pose: of every frame, to draw them later, at another size.
        speaking: [U, 4] whether the user's voice is on.
        addressed: [U] whether the user looks at the agent.
        is_seen, is_heard: [U] whether there is a picture, and sound, of the user.
        cues: of the user, in order of time.
        changes: of the agent, with the cue of each.
    """

    user_audio: Sound
    agent_audio: Sound
    user_video: NDArray[np.uint8]
    agent_video: NDArray[np.uint8]
    user_text: NDArray[np.int64]
    agent_text: NDArray[np.int64]
    states: tuple[State, ...]
    gestures: tuple[Gesture, ...]
    user_pose: Pose
    agent_pose: Pose
    speaking: NDArray[np.bool_]
    addressed: NDArray[np.bool_]
    is_seen: NDArray[np.bool_]
    has_sound: NDArray[np.bool_]
    cues: tuple[Cue, ...]
    changes: tuple[Change, ...]
    person: Person
    persona: Persona

    def __len__(self) -> int:
        return len(self.states)


class Agent(Protocol):
    """Whatever answers a user: the oracle, or a model that hears the unit instead of its cues."""

    def step(self, cues: tuple[Cue, ...]) -> AgentUnit:
        """The agent's unit."""
        ...


def play(
    seed: int,
    units: int,
    bank: Bank,
    scenario: Scenario = SCENARIOS["everything"],
    *,
    split: Split = "train",
    persona: Persona = PERSONAS["iris"],
    person: Person | None = None,
    script: Script | None = None,
    size: int = 64,
) -> Dialogue:
    """``units`` of a dialogue between a user and the ideal agent; the same for the same arguments."""
    world = World(seed, bank, scenario, split=split, person=person, script=script, size=0)
    oracle = Oracle(seed, bank, persona)
    users: list[UserUnit] = []
    agents: list[AgentUnit] = []
    for _ in range(units):
        users.append(world.step(agents[-1].samples if agents else None))
        agents.append(oracle.step(users[-1].cues))
    return record(users, agents, world.person, persona, bank, tuple(oracle.changes), size)


def record(
    users: list[UserUnit],
    agents: list[AgentUnit],
    person: Person,
    persona: Persona,
    bank: Bank,
    changes: tuple[Change, ...] = (),
    size: int = 64,
) -> Dialogue:
    """Units of both sides as one dialogue; the pictures are drawn here, all at once."""
    user_pose, agent_pose = join([u.pose for u in users]), join([a.pose for a in agents])
    units = len(users)
    return Dialogue(
        user_audio=np.concatenate([u.samples for u in users]),
        agent_audio=np.concatenate([a.samples for a in agents]),
        user_video=pictures_of(person, bank, user_pose, size, units),
        agent_video=pictures(agent_pose, persona.looks, size, units),
        user_text=np.asarray([u.text for u in users]),
        agent_text=np.asarray([a.text for a in agents]),
        states=tuple(a.state for a in agents),
        gestures=tuple(a.gesture for a in agents),
        user_pose=user_pose,
        agent_pose=agent_pose,
        speaking=np.stack([u.is_speaking for u in users]),
        addressed=np.asarray([u.is_addressed for u in users]),
        is_seen=np.asarray([u.is_seen for u in users]),
        has_sound=np.asarray([u.has_sound for u in users]),
        cues=tuple(cue for u in users for cue in u.cues),
        changes=changes,
        person=person,
        persona=persona,
    )


def pictures(pose: Pose, looks: NDArray[np.float32], size: int, units: int) -> NDArray[np.uint8]:
    """Pictures [U, 4, S, S, 3] of a pose of ``4 U`` frames; drawn in parts, so that long dialogues stay small."""
    frames = len(pose) // units
    if not size:
        return np.empty((units, frames, 0, 0, 3), np.uint8)
    step = max(1, PIXELS_AT_ONCE // size**2)
    drawn = [render(pose[i : i + step], looks, size) for i in range(0, len(pose), step)]
    return np.concatenate(drawn).reshape(units, frames, size, size, 3)
