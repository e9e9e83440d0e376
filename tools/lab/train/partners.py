"""Users of the world, many at once, with ideal agents who see the same: who a model is rolled out with."""

# R rows, U units

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....wan_core.embed import PrefixTrack
from ....wan_core.exchange import UserUnit
from ....wan_core.flow import Latents
from ....wan_core.media.audio import AudioCodec, AudioEncoderState
from ....wan_core.media.eyes import Sight
from ....wan_core.media.video import VideoCodec, VideoEncoderState
from ....wan_core.train.roll import Meeting
from ....wan_core.train.sequences import Sequences, prompt_track
from ..world.camera import Camera
from ..world.cues import AgentUnit
from ..world.cues import UserUnit as WorldUnit
from ..world.dialogue import record
from ..world.face import render_each
from ..world.oracle import Oracle
from ..world.persona import PERSONAS
from ..world.script import SCENARIOS
from ..world.tokens import VOCABULARY
from ..world.user import World
from ..world.voices import Bank
from .data import SCENARIO_NAMES
from .labels import LISTENED, tensors_of
from .persona_prompt import TRAINED, persona_labels, prompt_tokens

SEEDS = 50_000_000
"""Dialogues are drawn from those below: evaluations hold others."""

ECHO_SHARE = 0.5
"""How many users hear the agent through a loudspeaker that their microphone picks up."""


class WorldPartners:
    """Users who react to what the model really says; see `roll.Partners`.

    Args:
        bank: voices.
        audio, video: codecs, in eval mode.
        eyes: what sees the users.
        rows: how many at once.
        device: where tensors go.
        prompt_share: share of the rollouts in which the agents have a prompt; else they are the first persona.
    """

    def __init__(
        self,
        bank: Bank,
        audio: AudioCodec,
        video: VideoCodec,
        eyes: Sight,
        rows: int,
        device: torch.device,
        prompt_share: float = 0.0,
    ) -> None:
        self.rows = rows
        self._bank, self._audio, self._video, self._eyes = bank, audio, video, eyes
        self._device, self._prompt_share = device, prompt_share
        self._size = video.config.height

    def begin(self, generator: torch.Generator) -> PrefixTrack | None:
        """See `roll.Partners`."""
        seeds = torch.randint(SEEDS, (self.rows,), generator=generator).tolist()
        kinds = torch.randint(len(SCENARIO_NAMES), (self.rows,), generator=generator).tolist()
        echoes = (torch.rand(self.rows, generator=generator) < ECHO_SHARE).tolist()
        is_prompted = bool(torch.rand((), generator=generator) < self._prompt_share)
        who = torch.randint(len(TRAINED) if is_prompted else 1, (self.rows,), generator=generator)
        self._kinds, self._personas = kinds, [PERSONAS[TRAINED[number]] for number in who.tolist()]
        self._prefix = prompt_track(prompt_tokens()[who].to(self._device)) if is_prompted else None
        self._who = who if is_prompted else None
        self._worlds = [
            World(seed, self._bank, replace(SCENARIOS[SCENARIO_NAMES[kind]], echo=echo), size=0)
            for seed, kind, echo in zip(seeds, kinds, echoes, strict=True)
        ]
        self._cameras = Camera([world.person for world in self._worlds], self._bank, self._size)
        self._oracles = [Oracle(seed, self._bank, persona) for seed, persona in zip(seeds, self._personas, strict=True)]
        self._user_units: list[list[WorldUnit]] = [[] for _ in seeds]
        self._agent_units: list[list[AgentUnit]] = [[] for _ in seeds]
        self._user_video: list[Tensor] = []
        self._ideal: list[Latents] = []
        self._states: tuple[Any, VideoEncoderState, AudioEncoderState] = (
            self._eyes.new_encoder_state(self.rows),
            self._video.new_encoder_state(self.rows),
            self._audio.new_encoder_state(self.rows),
        )
        return self._prefix

    def step(self, sound: Tensor | None) -> Meeting:
        """See `roll.Partners`."""
        sounds = [None] * self.rows if sound is None else list(sound.float().clamp(-1, 1).cpu().numpy())
        users = [world.step(sound) for world, sound in zip(self._worlds, sounds, strict=True)]
        agents = [oracle.step(user.cues) for oracle, user in zip(self._oracles, users, strict=True)]
        for row in range(self.rows):
            self._user_units[row].append(users[row])
            self._agent_units[row].append(agents[row])
        shown = self._cameras.shoot([user.pose for user in users])
        drawn = render_each([a.pose for a in agents], [persona.looks for persona in self._personas], self._size)
        seen, faces, voices = self._states
        user_video, seen = self._eyes.encode(_pictures(np.stack(shown), self._device), seen)
        video, faces = self._video.encode(_pictures(np.stack(drawn), self._device), faces)
        audio, voices = self._audio.encode(self._tensor([agent.samples for agent in agents])[:, None], voices)
        self._states = seen, faces, voices
        ideal = Latents(audio[:, 0], video[:, 0])
        self._user_video.append(user_video[:, 0])
        self._ideal.append(ideal)
        events = [[VOCABULARY.state(agent.state), VOCABULARY.gesture(agent.gesture)] for agent in agents]
        return Meeting(
            UserUnit(
                user_video[:, 0],
                self._tensor([user.samples for user in users]),
                torch.tensor([user.text for user in users], device=self._device),
                absent={
                    "u_video": torch.tensor([not user.is_seen for user in users], device=self._device),
                    "u_audio": torch.tensor([not user.has_sound for user in users], device=self._device),
                },
            ),
            ideal,
            torch.tensor(events, device=self._device),
            torch.tensor([agent.text for agent in agents], device=self._device),
        )

    def sequences(self) -> Sequences:
        """See `roll.Partners`."""
        rows = [
            tensors_of(record(users, agents, world.person, persona, self._bank, size=0))
            for users, agents, world, persona in zip(
                self._user_units, self._agent_units, self._worlds, self._personas, strict=True
            )
        ]
        data = {name: torch.stack([row[name] for row in rows]).to(self._device) for name in rows[0]}
        agent_audio = data["agent_audio"].float() / 32767
        labels = persona_labels(self._who, self.rows, len(self._ideal))
        return Sequences(
            user_audio=data["user_audio"].float() / 32767,
            user_video=torch.stack(self._user_video, 1).clone(),
            user_text=data["user_text"].long(),
            agent=Latents(*(torch.stack(parts, 1).clone() for parts in zip(*self._ideal, strict=True))),
            event=data["event"].long(),
            text=data["agent_text"].long(),
            is_loud=agent_audio.square().mean(2).sqrt() > 0.01,
            labels={**{name: data[name].long() for name in LISTENED}, "persona": labels.to(self._device)},
            holds=data["holds"].bool(),
            scenario=torch.tensor(self._kinds, device=self._device),
            absent={"u_video": data["unseen"].bool(), "u_audio": data["unheard"].bool()},
            prefix=self._prefix,
        )

    def _tensor(self, sounds: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]) -> Tensor:
        return torch.from_numpy(np.stack(sounds)).to(self._device)


def _pictures(frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], device: torch.device) -> Tensor:
    """[R, F, H, W, 3] -> [R, 1, F, H, W, 3] in -1..1."""
    return torch.from_numpy(frames).to(device).float()[:, None] / 127.5 - 1
