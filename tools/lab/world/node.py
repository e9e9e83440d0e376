"""The world in a graph: a user who hears what the graph says, and reacts to it.

clock: {type: capture.clock, params: {units: 400}}
user:
  type: world.user
  params: {seed: 7}
  inputs: {tick: clock.tick, agent: {from: speak.samples, delay: 1, init: empty}}

A user follows from a `UserConfig` and from the agent's sound, so that nothing need be kept: `replayed` makes the same
user again from that sound, with the truth about what they did.
"""

# U units, S side in pixels

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.errors import GraphError
from ....runtime.node import Node, NodeContext, Param, Unit
from ....runtime.ports import Input, Output
from ....wan_core.text import STOP_KEY
from ....wan_core.vocabulary import ENTER, PAD, STOP
from .cues import UserUnit
from .script import SCENARIOS, scenario
from .signal import FRAMES, RATE, UNIT, Sound
from .tokens import VOCABULARY
from .user import World
from .voices import HELD_OUT, Bank, Split


@dataclass(frozen=True)
class UserConfig:
    """A user of the world, as plain data.

    Attributes:
        seed: of everything random.
        scenario: how the user behaves, one of `SCENARIOS`.
        split: whose voices.
        voices: folder of recorded people.
        hold_out: speakers and synthesisers kept from the ``train`` split, besides `HELD_OUT`.
        size: side of the pictures in pixels; 0 draws none.
        delay: units by which the agent is heard later than in the unit after it spoke.
    """

    seed: int
    scenario: str = "everything"
    split: Split = "train"
    voices: Path | None = None
    hold_out: tuple[str, ...] = ()
    size: int = 64
    delay: int = 0

    def bank(self) -> Bank:
        """The voices that the user may have.

        Raises:
            MediaError: the folder has no recordings that can be used.
            UserError: a held-out name that nobody has.
        """
        return Bank(self.voices, HELD_OUT.union(self.hold_out))

    def world(self, bank: Bank | None = None) -> World:
        """The user, before the first unit.

        Raises:
            MissingExtra: the user's synthesiser is not installed.
        """
        return World(
            self.seed,
            self.bank() if bank is None else bank,
            scenario(self.scenario),
            split=self.split,
            size=self.size,
            delay=self.delay,
        )


def replayed(config: UserConfig, agent_audio: Sound, bank: Bank | None = None) -> list[UserUnit]:
    """The user of a dialogue again, with their cues, from the agent's sound [U, 2560] of all its units."""
    world = config.world(bank)
    return [world.step(agent_audio[unit - 1] if unit else None) for unit in range(len(agent_audio))]


_CONTROL = {ENTER: "\n", STOP: STOP_KEY}


def typed(token: int) -> str | None:
    """Text of a token on a text port: a word and a blank, the line's end, the stop key, or nothing."""
    return None if token == PAD else _CONTROL.get(token) or f"{VOCABULARY.words[token]} "


class WorldUser(Node):
    """A user of the synthetic world, who talks, looks, types, interrupts and waits, and hears what the graph says."""

    tick = Input("tokens", "1", "int64", help="paces the user: capture.clock")
    agent = Input(
        "audio", str(UNIT), "float32", rate_hz=RATE, late="empty", help="the agent's voice, over a delay of 1 or more"
    )
    video = Output("video", f"{FRAMES} H W 3", "uint8", help="RGB pictures of the user")
    audio = Output("audio", str(UNIT), "float32", rate_hz=RATE, help="mono samples in -1..1")
    text = Output("text", help="what is typed in this unit: a word and a blank, or a line break that ends the line")

    seed: int = Param(0, min=0, help="of everything random")
    scenario: str = Param("everything", choices=tuple(SCENARIOS), help="how the user behaves")
    held_out: bool = Param(False, help="a voice that training never hears")
    voices: Path = Param(None, path="input", help="folder of recorded people: WORD_PERSON_TAKE.wav")
    hold_out: list[Any] = Param([], help="more speakers and synthesisers that training never hears")
    size: int = Param(64, min=16, max=1024, help="pixels, each side")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the picture's size in numbers."""
        size = params.get("size", 64)
        video = Output("video", f"{FRAMES} {size} {size} 3", "uint8", help=cls.outputs["video"].help)
        return cls.inputs, {**cls.outputs, "video": video}

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """See that the recordings are there and that the held-out names belong to somebody."""
        Bank(params.get("voices"), HELD_OUT.union(params.get("hold_out") or ()))

    @property
    def config(self) -> UserConfig:
        """The user that these parameters describe."""
        split: Split = "held-out" if self.held_out else "train"
        return UserConfig(self.seed, self.scenario, split, self.voices, tuple(self.hold_out), self.size)

    def open(self, ctx: NodeContext) -> None:
        """See that the clock is the world's; the voice is made with the state.

        Raises:
            GraphError: another clock.
        """
        self._ctx = ctx
        check_clock(f"node '{ctx.name}'", ctx.clock.unit_frames, ctx.clock.samples(RATE))

    def new_state(self) -> World:
        """The user, who has not begun."""
        world = self.config.world()
        split = "held out" if self.held_out else "training"
        self._ctx.report("user", f"{world.person.speaker.name} ({split}), {self.scenario}, seed {self.seed}")
        return world

    def step(
        self, state: World, unit: Unit, tick: NDArray[np.int64] | None = None, agent: Sound | None = None
    ) -> dict[str, Any]:
        """The user's unit, having heard ``agent`` [2560], the agent's unit before (None: silence)."""
        return self.as_outputs(state.step(agent))

    @staticmethod
    def as_outputs(user: UserUnit) -> dict[str, Any]:
        """A user's unit by output port; no picture where none was drawn."""
        return {"video": user.frames if user.frames.size else None, "audio": user.samples, "text": typed(user.text)}

    def gap(self, state: World, units: Sequence[Unit]) -> None:
        """The user goes on, and has heard nothing."""
        for _ in units:
            state.step()


def check_clock(where: str, unit_frames: int, samples: int) -> None:
    """See that units are the world's.

    Raises:
        GraphError: they are not.
    """
    if (unit_frames, samples) != (FRAMES, UNIT):
        raise GraphError(
            f"{where}: found units of {unit_frames} frames and {samples} samples (expected {FRAMES} and {UNIT}: the "
            "world knows no other), write clock: {fps: 25, unit_frames: 4}"
        )
