"""Agents that are measured: the model, the ideal agent through the model's codecs, and the model with ablated vision.

# R rows
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....wan_core.checkpoint import load_part, untrained
from ....wan_core.checkpoint_header import find, inspect, vocabulary_of
from ....wan_core.errors import ModelError
from ....wan_core.exchange import PrefixUnit, ResponseUnit, persona_prompt
from ....wan_core.exchange import UserUnit as ModelUnit
from ....wan_core.flow import Latents, Solver
from ....wan_core.media.audio import AudioCodec, AudioDecoderState, AudioEncoderState
from ....wan_core.media.eyes import Eyes, Sight, load_eyes_of
from ....wan_core.media.mel import LogMel, MelState
from ....wan_core.media.video import VideoCodec, VideoDecoderState, VideoEncoderState
from ....wan_core.model import DuplexModel
from ....wan_core.performer import Performer, PerformerState
from ....wan_core.thinker import Thinker, ThinkerState
from ....wan_core.vocabulary import PAD
from ..train.data import WORLD_VERSION
from ..train.persona_prompt import prompt_for
from ..world.cues import UserUnit
from ..world.face import render_each
from ..world.oracle import Oracle
from ..world.persona import Persona
from ..world.tokens import TOKENS, VOCABULARY
from ..world.voices import Bank
from .talk import Agent, Answer, DialogueSpec

SOLVER = Solver(6, audio_temperature=0.7)
"""Where nothing else is asked for: as ``graphs/duplex.yaml`` answers with time to spare."""


@dataclass(frozen=True)
class Weights:
    """A checkpoint's parts, in eval mode.

    Attributes:
        description: of the model's weights: where they come from.
        eyes: what sees users; None: the video codec does.
    """

    model: DuplexModel
    audio: AudioCodec
    video: VideoCodec
    description: str
    eyes: Eyes | None = None

    @classmethod
    def load(cls, checkpoint: str | Path, random: bool = False) -> Weights:
        """Read a checkpoint; with ``random``, the model is an untrained one, seen and heard through the same codecs.

        Raises:
            ModelError: the checkpoint cannot be used.
        """
        check_world(checkpoint)
        audio = load_part(checkpoint, "audio_codec", lambda shapes: AudioCodec(shapes.audio)).module
        video = load_part(checkpoint, "video_codec", lambda shapes: VideoCodec(shapes.video)).module
        loaded = load_part(checkpoint, "model", DuplexModel)
        eyes = load_eyes_of(checkpoint)
        if random:
            return cls(untrained(loaded.preset, "model", DuplexModel), audio, video, "random", eyes)
        return cls(loaded.module, audio, video, loaded.description, eyes)

    @property
    def sees(self) -> Sight:
        """Eyes or video codec that sees users."""
        return self.eyes or self.video

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return self.video.config.height


def check_world(checkpoint: str | Path) -> None:
    """Pass if a checkpoint was trained on the world as it is now, or was not trained.

    Raises:
        ModelError: on another one, or its tokens are other words.
    """
    if vocabulary_of(checkpoint) != VOCABULARY:
        raise ModelError(
            f"checkpoint {checkpoint}: found another vocabulary than the world's (expected its {len(TOKENS)} words), "
            "name a checkpoint that was trained on the world"
        )
    path = find(checkpoint)
    for facts in {} if path is None else inspect(path).metadata.values():
        version = facts.get("world", str(WORLD_VERSION))
        if version != str(WORLD_VERSION):
            raise ModelError(
                f"checkpoint {path}: trained in version {version} of the world (expected {WORLD_VERSION}), train again"
            )


class ModelAgent:
    """A checkpoint, by the same thinker and performer that a graph runs, many dialogues in a batch.

    Args:
        weights: of everything.
        solver: how responses are solved.
        seed: of the noise, with the number of the dialogue.
        behind: units by which the user reaches it later.
        remembers: whether its own clean latents come back to it.
    """

    def __init__(
        self, weights: Weights, solver: Solver = SOLVER, seed: int = 0, behind: int = 0, remembers: bool = True
    ) -> None:
        self.weights, self.solver, self.seed = weights, solver, seed
        self._behind, self._remembers = behind, remembers
        self._thinker, self._performer = Thinker(weights.model), Performer(weights.model)
        self._front_end = LogMel(weights.model.preset.mel)

    def begin(self, specs: Sequence[DialogueSpec]) -> None:
        """See `talk.Agent`."""
        rows, weights = len(specs), self.weights
        self._sessions = [spec.seed for spec in specs]
        self._thinking: ThinkerState = self._thinker.new_state(rows)
        self._performing: PerformerState = self._performer.new_state(rows)
        self._eyes: Any = weights.sees.new_encoder_state(rows)
        self._mel_state: MelState = self._front_end.new_state(rows)
        self._face: VideoDecoderState = weights.video.new_decoder_state(rows)
        self._voice: AudioDecoderState = weights.audio.new_decoder_state(rows)
        self._response = ResponseUnit()
        self._late: list[Sequence[UserUnit]] = []
        self._unit = 0
        for slice_ in self._thinker.set_prefix(self._thinking, prompts(specs)):
            self._performer.append(self._performing, slice_)

    @torch.inference_mode()
    def step(self, users: Sequence[UserUnit]) -> list[Answer]:
        """See `talk.Agent`."""
        self._late.append(users)
        users = self._late.pop(0) if len(self._late) > self._behind else [_nobody(user) for user in users]
        seen, self._eyes = self.weights.sees.encode(as_pictures([user.frames for user in users]), self._eyes)
        mel, self._mel_state = self._front_end(as_sounds([user.samples for user in users]), self._mel_state)
        typed = torch.tensor([user.text for user in users])
        absent = {
            "u_video": torch.tensor([not user.is_seen for user in users]),
            "u_audio": torch.tensor([not user.has_sound for user in users]),
        }
        unit = ModelUnit(seen[:, 0], mel[:, 0], typed, absent=absent)
        thought = self._thinker.step(self._thinking, unit, self._response, seed=self.seed, sessions=self._sessions)
        self._performer.append(self._performing, thought.slice)
        latents = self._performer.generate(self._performing, self._unit, self.solver, self.seed, self._sessions)
        self._response = ResponseUnit(latents.audio, latents.video) if self._remembers else ResponseUnit()
        self._unit += 1
        samples, frames, self._voice, self._face = shown(self.weights, latents, self._voice, self._face)
        return [
            Answer(samples[row], frames[row], int(thought.text[row]), (int(event[0]), int(event[1])))
            for row, event in enumerate(thought.event.tolist())
        ]


class IdealAgent:
    """The ideal agent through the model's codecs: the best that a perfect model could reach with them."""

    def __init__(self, weights: Weights, bank: Bank) -> None:
        self.weights, self._bank = weights, bank

    def begin(self, specs: Sequence[DialogueSpec]) -> None:
        """See `talk.Agent`."""
        rows, weights = len(specs), self.weights
        self._personas: list[Persona] = [spec.persona for spec in specs]
        self._oracles = [Oracle(spec.seed, self._bank, spec.persona) for spec in specs]
        self._looked: VideoEncoderState = weights.video.new_encoder_state(rows)
        self._spoke: AudioEncoderState = weights.audio.new_encoder_state(rows)
        self._face: VideoDecoderState = weights.video.new_decoder_state(rows)
        self._voice: AudioDecoderState = weights.audio.new_decoder_state(rows)

    @torch.inference_mode()
    def step(self, users: Sequence[UserUnit]) -> list[Answer]:
        """See `talk.Agent`."""
        weights = self.weights
        answers = [oracle.step(user.cues) for oracle, user in zip(self._oracles, users, strict=True)]
        looks = [persona.looks for persona in self._personas]
        faces = render_each([unit.pose for unit in answers], looks, weights.size)
        video, self._looked = weights.video.encode(as_pictures(faces), self._looked)
        audio, self._spoke = weights.audio.encode(as_sounds([unit.samples for unit in answers]), self._spoke)
        latents = Latents(audio[:, 0], video[:, 0])
        samples, frames, self._voice, self._face = shown(weights, latents, self._voice, self._face)
        return [
            Answer(
                samples[row],
                frames[row],
                unit.text,
                (VOCABULARY.state(unit.state), VOCABULARY.gesture(unit.gesture)),
            )
            for row, unit in enumerate(answers)
        ]


class AblatedVision:
    """A control: an agent that gets the sound of its own user and the picture of another, so that it sees by chance.

    Needs two rows or more.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def begin(self, specs: Sequence[DialogueSpec]) -> None:
        """See `talk.Agent`."""
        self._agent.begin(specs)

    def step(self, users: Sequence[UserUnit]) -> list[Answer]:
        """See `talk.Agent`."""
        others = [*users[1:], users[0]]
        return self._agent.step([replace(u, frames=other.frames) for u, other in zip(users, others, strict=True)])


def _nobody(user: UserUnit) -> UserUnit:
    """The user's picture, and silence."""
    return replace(user, samples=np.zeros_like(user.samples), text=PAD)


def prompts(specs: Sequence[DialogueSpec]) -> list[PrefixUnit]:
    """The persona prompts of all rows, unit by unit; either all rows have one, or none."""
    lines = [prompt_for(spec.persona) if spec.is_prompted else "" for spec in specs]
    each = [persona_prompt(line, VOCABULARY) for line in lines]
    assert len({len(world) for world in each}) == 1, f"lines of several lengths: {lines}"
    return [
        PrefixUnit(ModelUnit(text=torch.cat([_text(world[unit]) for world in each]))) for unit in range(len(each[0]))
    ]


def _text(unit: PrefixUnit) -> Tensor:
    assert unit.user.text is not None, unit
    return unit.user.text


def as_pictures(frames: Sequence[NDArray[np.uint8]]) -> Tensor:
    """R units [4, S, S, 3] as the codec takes them, [R, 1, 4, S, S, 3]."""
    return torch.from_numpy(np.stack(frames)).float()[:, None] / 127.5 - 1


def as_sounds(samples: Sequence[NDArray[np.float32]]) -> Tensor:
    """R units [2560] as the codec takes them, [R, 1, 2560]."""
    return torch.from_numpy(np.stack(samples))[:, None]


def shown(
    weights: Weights, latents: Latents, voice: AudioDecoderState, face: VideoDecoderState
) -> tuple[NDArray[np.float32], NDArray[np.uint8], AudioDecoderState, VideoDecoderState]:
    """Latents [R, ...] as what is heard [R, 2560] and seen [R, 4, S, S, 3]."""
    samples, voice = weights.audio.decode(latents.audio[:, None], voice)
    pictures, face = weights.video.decode(latents.video[:, None], face)
    frames = ((pictures[:, 0] + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)
    return samples[:, 0].clamp(-1, 1).numpy(), frames.numpy(), voice, face
