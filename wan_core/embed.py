"""From what happens in a unit to tokens: one embedding per slot. A slice always has all its slots.

What is not there has a learned embedding of its own: *absent* (lost, late, or left out in training), and *null* for
the response before the first unit.

# B batch, U units, d width
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .backbone.modulation import FlowModulation, Modulation, modulations
from .checks import check_input
from .config import Preset
from .errors import ModelError
from .flow import Latents
from .media.audio_encoder import UserAudioEncoder, UserAudioState
from .patches import to_patches

MODALITIES = ("y_audio", "y_video", "u_text", "u_audio", "u_video", "event", "text")
"""What can be absent."""

Flow = Sequence[Modulation] | None
"""What flow time does in each block; None: it was added to the tokens."""

Absent = Mapping[str, Tensor]
"""By modality, [B, U] bool: True where it is absent although the track has numbers there."""


@dataclass
class UserTrack:
    """Inputs of the user in U units; a field that is None is absent in all of them.

    Attributes:
        video: codec latents [B, U, h, w, channels].
        mel: log-mel [B, U, hops, bands].
        text: typed tokens [B, U] int64, `vocabulary.PAD` where nothing was typed.
        absent: exceptions, for ``u_video``, ``u_audio``, ``u_text``.
    """

    video: Tensor | None = None
    mel: Tensor | None = None
    text: Tensor | None = None
    absent: Absent = field(default_factory=dict)


@dataclass
class AgentTrack:
    """Responses of the agent in U units, shown and spoken; a field that is None is absent in all of them.

    Attributes:
        audio: codec latents [B, U, latents, channels].
        video: codec latents [B, U, h, w, channels].
        absent: exceptions, for ``y_audio``, ``y_video``.
    """

    audio: Tensor | None = None
    video: Tensor | None = None
    absent: Absent = field(default_factory=dict)


@dataclass
class PrefixTrack:
    """Prefix of a session before unit 0, in P units: who the agent is, how it looks and sounds, where it is.

    Attributes:
        user: typed text, and sights and sounds of the prefix.
        agent: sights and sounds of the agent itself.
    """

    user: UserTrack
    agent: AgentTrack


@dataclass
class DecisionTrack:
    """Decisions of the agent in U units; absent where it did not answer.

    Attributes:
        event: [B, U, 2] int64, numbers of a state and of a gesture.
        text: [B, U] int64 token.
        unplayed: [B, U] bool: an earlier response turns out not to have been heard; None: never.
        absent: exceptions, for ``event``, ``text``.
    """

    event: Tensor | None = None
    text: Tensor | None = None
    unplayed: Tensor | None = None
    absent: Absent = field(default_factory=dict)


class Embeddings(nn.Module):
    """Everything that enters the backbone."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset, self.slots = preset, preset.slots
        width = preset.backbone.width
        self.width = width
        self.y_audio = _mlp(preset.audio.latent_size // self.slots.y_audio, width)
        self.y_video = _mlp(preset.video.latent_size // self.slots.y_video, width)
        self.u_video = _mlp(preset.video.latent_size // self.slots.u_video, width)
        # `hearing` and `told` name tensors of every checkpoint that there is
        self.hearing = UserAudioEncoder(preset.mel, self.slots.u_audio, width)
        one_table = preset.text_decode == "token"
        self.u_text = None if one_table else nn.Embedding(preset.n_words, width)
        self.s_text = nn.Embedding(preset.n_words, width)
        self.state = nn.Embedding(preset.n_states, width)
        self.gesture = nn.Embedding(preset.n_gestures, width)
        self.spare = nn.Embedding(2, width)
        self.absent = nn.Embedding(len(MODALITIES), width)
        self.null = nn.Parameter(torch.randn(width) * 0.5)
        slots = torch.randn(self.slots.clean + self.slots.noisy, width) * 0.5
        self.slot = nn.Parameter(slots.zero_() if preset.slot_init == "zero" else slots)
        self.time = FlowTime(width)
        is_modulated = preset.flow_time == "modulation"
        self.modulation = FlowModulation(width, preset.backbone.layers) if is_modulated else None
        self.told = nn.Parameter(torch.randn(width) * (0.0 if preset.slot_init == "zero" else 0.5))
        for table in (self.u_text, self.s_text, self.state, self.gesture, self.spare, self.absent):
            if table is not None:
                nn.init.normal_(table.weight, std=0.5)

    def agent(self, track: AgentTrack, batch: int, units: int) -> Tensor:
        """Clean response tokens [B, U, y, d]."""
        slots, absent = self.slots, track.absent
        audio = self._latents("y_audio", track.audio, self.y_audio, batch, units, slots.y_audio, absent)
        video = self._latents("y_video", track.video, self.y_video, batch, units, slots.y_video, absent)
        return torch.cat([audio, video], 2) + self.slot[: slots.y]

    def before_first(self, batch: int) -> Tensor:
        """The response before the first unit, [B, 1, y, d]: a learned null."""
        return (self.null + self.slot[: self.slots.y]).expand(batch, 1, -1, -1)

    def user(self, track: UserTrack, state: UserAudioState, batch: int, units: int) -> tuple[Tensor, UserAudioState]:
        """User tokens [B, U, u, d], and what the audio encoder keeps for the next units."""
        slots, absent = self.slots, track.absent
        if track.text is not None:
            check_tokens("user text", track.text, (batch, units), self.preset.n_words)
        words = self.s_text if self.u_text is None else self.u_text
        text = self._or_absent("u_text", None if track.text is None else words(track.text)[:, :, None],
                               batch, units, 1, absent)  # fmt: skip
        tokens, state = self._audio(track, state, batch, units)
        audio = self._or_absent("u_audio", tokens, batch, units, slots.u_audio, absent)
        video = self._latents("u_video", track.video, self.u_video, batch, units, slots.u_video, absent)
        return torch.cat([text, audio, video], 2) + self.slot[slots.y : slots.y + slots.u], state

    def decision(self, track: DecisionTrack, batch: int, units: int) -> Tensor:
        """Decision tokens [B, U, s, d]: event, text, spare (whether an earlier response was not heard)."""
        event = None if track.event is None else self.event(track.event)[:, :, None]
        text = None if track.text is None else self.s_text(track.text)[:, :, None]
        event = self._or_absent("event", event, batch, units, 1, track.absent)
        text = self._or_absent("text", text, batch, units, 1, track.absent)
        played = torch.zeros(batch, units, dtype=torch.int64, device=event.device)
        spare = self.spare(played if track.unplayed is None else track.unplayed.long())[:, :, None]
        return torch.cat([event, text, spare], 2) + self.slot[self.slots.y + self.slots.u : self.slots.clean]

    def prefix(self, track: PrefixTrack, batch: int, units: int) -> Tensor:
        """Slices of the prefix [B, P, clean, d]; one embedding more says that nobody is doing this now."""
        agent = self.agent(track.agent, batch, units)
        user, _ = self.user(track.user, self.hearing.new_state(batch), batch, units)
        decision = self.decision(DecisionTrack(), batch, units)
        return torch.cat([agent, user, decision], 2) + self.told

    def event(self, event: Tensor) -> Tensor:
        """[..., 2] event -> [..., d]."""
        embedded: Tensor = self.state(event[..., 0]) + self.gesture(event[..., 1])
        return embedded

    def noisy(self, z: Latents, t: Tensor, clean: int = 0) -> tuple[Tensor, Flow]:
        """Tokens being denoised [B, U, noisy, d] at flow times t [B, U].

        Args:
            z: latents of U units.
            t: added to each token, or it modulates the blocks.
            clean: tokens that each unit has before these in the pass.

        Returns:
            The tokens, and what flow time does to them in the blocks; None where it was added.
        """
        batch, units = t.shape
        audio = self.y_audio(self._as_weights(z.audio).reshape(batch, units, self.slots.y_audio, -1))
        video = self.y_video(to_patches(self._as_weights(z.video), self.preset.video.patch_of(self.slots.y_video)))
        tokens = torch.cat([audio, video], 2) + self.slot[self.slots.clean :]
        time: Tensor = self.time(t)
        if self.modulation is None:
            return tokens + time[:, :, None], None
        return tokens, modulations(self.modulation(time), clean, clean + self.slots.noisy)

    def _audio(self, track: UserTrack, state: UserAudioState, batch: int, units: int) -> tuple[Tensor, UserAudioState]:
        """Absent audio is heard as zeros, so that what the audio encoder keeps does not depend on what was there."""
        if track.mel is None:
            mel = self.null.new_zeros(batch, units, *self.preset.mel.shape)
        else:
            check_input("user audio", track.mel, (batch, units, *self.preset.mel.shape))
            mask = track.absent.get("u_audio")
            mel = track.mel if mask is None else track.mel.masked_fill(mask[:, :, None, None], 0.0)
        tokens: tuple[Tensor, UserAudioState] = self.hearing(self._as_weights(mel), state)
        return tokens

    def _as_weights(self, x: Tensor) -> Tensor:
        """Latents and sounds come in fp32; here they get the precision of the weights."""
        return x.to(self.null.dtype)

    def _latents(
        self, name: str, x: Tensor | None, embed: nn.Module, batch: int, units: int, tokens: int, absent: Absent
    ) -> Tensor:
        if x is not None:
            config = self.preset.audio if name == "y_audio" else self.preset.video
            check_input(_NAMES[name], x, (batch, units, *config.latent_shape))
            x = self._as_weights(x)
            if name == "y_audio":
                x = embed(x.reshape(batch, units, tokens, -1))
            else:
                x = embed(to_patches(x, self.preset.video.patch_of(tokens)))
        return self._or_absent(name, x, batch, units, tokens, absent)

    def _or_absent(
        self, name: str, content: Tensor | None, batch: int, units: int, tokens: int, absent: Absent
    ) -> Tensor:
        """``content`` [B, U, tokens, d], or the embedding of its absence."""
        missing = self.absent.weight[MODALITIES.index(name)]
        if content is None:
            return missing.expand(batch, units, tokens, -1)
        return torch.where(absent[name][:, :, None, None], missing, content) if name in absent else content


_NAMES = {"y_audio": "response audio", "y_video": "response video", "u_video": "user video"}


class FlowTime(nn.Module):
    """Flow time in [0, 1] -> an embedding: [...] -> [..., d]."""

    def __init__(self, width: int, n_frequencies: int = 16) -> None:
        super().__init__()
        self.n_frequencies = n_frequencies
        self.mlp = _mlp(2 * n_frequencies, width)

    def forward(self, t: Tensor) -> Tensor:
        """Cosines and sines of t at frequencies 1..200, mixed."""
        logs = torch.linspace(0.0, math.log(200.0), self.n_frequencies, device=t.device, dtype=t.dtype)
        angles = t[..., None] * logs.exp()
        waves = torch.cat([angles.cos(), angles.sin()], -1)
        y: Tensor = self.mlp(waves.to(next(self.mlp.parameters()).dtype))
        return y


def _mlp(size: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


def check_tokens(where: str, x: Tensor, shape: tuple[int, ...], size: int) -> None:
    """Pass if x holds tokens of a table of ``size`` entries and has this shape.

    Raises:
        ModelError: another shape, not whole numbers, or a token that the table does not have.
    """
    if tuple(x.shape) != shape or x.is_floating_point():
        raise ModelError(f"{where}: found {x.dtype} {list(x.shape)} (expected whole numbers {list(shape)})")
    if int(x.min()) < 0 or int(x.max()) >= size:
        raise ModelError(f"{where}: found tokens {int(x.min())}..{int(x.max())} (expected 0..{size - 1})")
