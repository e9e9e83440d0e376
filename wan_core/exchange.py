"""One unit of the exchange: what goes into the thinker, what comes out, and how units lie side by side.

# B batch, U units, V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .cache.kvslice import KVSlice
from .embed import Absent, AgentTrack, DecisionTrack, PrefixTrack, UserTrack
from .text import Language, TypedText


@dataclass
class UserUnit:
    """Inputs of the user in one unit. A field that is None is absent: lost, or there is no such device.

    Attributes:
        video: codec latents [B, h, w, channels].
        audio: log-mel [B, hops, bands].
        text: typed token [B] int64, `vocabulary.PAD` where nothing was typed.
        unplayed: [B] bool: a response committed earlier turns out not to have been heard; None: no news.
        absent: by modality, [B] bool: rows in which it is absent although it has numbers there.
    """

    video: Tensor | None = None
    audio: Tensor | None = None
    text: Tensor | None = None
    unplayed: Tensor | None = None
    absent: Absent = field(default_factory=dict)


@dataclass
class ResponseUnit:
    """Response of the agent in one unit, as everybody saw and heard it; None is absent.

    Attributes:
        audio: codec latents [B, latents, channels].
        video: codec latents [B, h, w, channels].
    """

    audio: Tensor | None = None
    video: Tensor | None = None


@dataclass
class PrefixUnit:
    """One unit of what is told before unit 0: who the agent is, how it looks and sounds, where it is.

    Attributes:
        user: typed text, and sights and sounds of the prefix.
        agent: sights and sounds of the agent itself.
    """

    user: UserUnit = field(default_factory=UserUnit)
    agent: ResponseUnit = field(default_factory=ResponseUnit)


@dataclass(frozen=True)
class Decision:
    """A decision given from outside: teacher forcing, or a script. A field that is None is recorded as absent.

    Attributes:
        event: [B, 2] int64, numbers of a state and of a gesture.
        text: [B] int64 token.
    """

    event: Tensor | None = None
    text: Tensor | None = None


@dataclass(frozen=True)
class Thought:
    """Result of thinking one unit.

    Attributes:
        slice: for the context log.
        event: [B, 2] int64, numbers of a state and of a gesture; as given, where it was.
        text: [B] int64 token; as given, where it was.
        state_logits: [B, states].
        gesture_logits: [B, gestures].
        text_logits: [B, V].
        user_hidden: [B, d] of the user's last token: what was made out of the user, for heads that tell it.
    """

    slice: KVSlice
    event: Tensor
    text: Tensor
    state_logits: Tensor
    gesture_logits: Tensor
    text_logits: Tensor
    user_hidden: Tensor


def user_track(users: Sequence[UserUnit]) -> tuple[UserTrack, Tensor | None]:
    """These units as one track, and the news of unplayed responses [B, U] in them."""
    video, no_video = _stack([u.video for u in users])
    mel, no_audio = _stack([u.audio for u in users])
    text, no_text = _stack([u.text for u in users])
    unplayed, _ = _stack([u.unplayed for u in users])
    absent = _present(u_video=no_video, u_audio=no_audio, u_text=no_text)
    for name in sorted({name for user in users for name in user.absent}):
        rows, _ = _stack([user.absent.get(name) for user in users])
        assert rows is not None, name
        absent[name] = absent[name] | rows if name in absent else rows
    return UserTrack(video, mel, text, absent), unplayed


def agent_track(responses: Sequence[ResponseUnit]) -> AgentTrack:
    """These units as one track."""
    audio, no_audio = _stack([r.audio for r in responses])
    video, no_video = _stack([r.video for r in responses])
    return AgentTrack(audio, video, _present(y_audio=no_audio, y_video=no_video))


def decision_track(decision: Decision, unplayed: Tensor | None) -> DecisionTrack:
    """One unit's decision as a track."""
    event, text = decision.event, decision.text
    return DecisionTrack(None if event is None else event[:, None], None if text is None else text[:, None], unplayed)


def prefix_track(prefix: Sequence[PrefixUnit]) -> PrefixTrack:
    """These units as one track."""
    return PrefixTrack(user_track([w.user for w in prefix])[0], agent_track([w.agent for w in prefix]))


def persona_prompt(
    text: str, language: Language, batch: int = 1, device: torch.device | str = "cpu"
) -> list[PrefixUnit]:
    """A prefix of words: lines as the user would type them, one token per unit, for every row of a batch."""
    typed = TypedText(language)
    typed.type(text)
    return [PrefixUnit(UserUnit(text=torch.full((batch,), token, device=device))) for token in typed.waiting]


def _stack(units: Sequence[Tensor | None]) -> tuple[Tensor | None, Tensor | None]:
    """Units [B, ...] -> [B, U, ...], zeros where there is none, and a mask [B, U] of these; None when not needed."""
    present = next((x for x in units if x is not None), None)
    if present is None:
        return None, None
    stacked = torch.stack([torch.zeros_like(present) if x is None else x for x in units], 1)
    missing = [x is None for x in units]
    return stacked, torch.tensor(missing, device=present.device).expand(len(present), -1) if any(missing) else None


def _present(**masks: Tensor | None) -> dict[str, Tensor]:
    return {name: mask for name, mask in masks.items() if mask is not None}
