"""The model: one Transformer over the interleaved sequence of user and agent, with its embedders and heads.

``p(y_k | h_k) = p(event_k, text_k | h_k) * p(audio_k, video_k | h_k, event_k, text_k)``. The event is read from the
hidden state of u_k's last token, the text from that state plus the event, audio and video from the noisy tokens.

The same rows serve training (`DuplexModel.forward`, a whole sequence under the mask) and streaming (`Thinker` and
`Performer`, pass by pass over a cache).

# B batch, U units, d width, V vocabulary
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .backbone.anchored import AnchoredSequence
from .backbone.attention import Geometry, Memory, WholeSequence
from .backbone.mask import TailMask, Tokens, joined, tokens_of, visible
from .backbone.transformer import Transformer
from .cache.kvcache import KVCache
from .checks import check_input
from .config import Preset
from .embed import AgentTrack, DecisionTrack, Embeddings, Flow, PrefixTrack, UserTrack
from .errors import ModelError
from .flow import Latents
from .patches import from_patches


@dataclass
class Predictions:
    """Predictions of the model for every unit of a sequence.

    Attributes:
        state_logits: [B, U, states].
        gesture_logits: [B, U, gestures].
        text_logits: [B, U, V], given the true event.
        clean: predicted clean latents [B, U, ...]; None when no noisy ones were given.
        user_hidden: [B, U, d] of the last user token, for auxiliary heads.
    """

    state_logits: Tensor
    gesture_logits: Tensor
    text_logits: Tensor
    clean: Latents | None
    user_hidden: Tensor


class DuplexModel(nn.Module):
    """Embedders, blocks and heads; one set of weights for training, thinker and performer."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset, self.slots = preset, preset.slots
        width = preset.backbone.width
        self.embed = Embeddings(preset)
        self.backbone = Transformer(preset.backbone)
        self.event_head = nn.Linear(width, preset.n_states + preset.n_gestures)
        self.text_head = _text_head(preset)
        self.audio_head = nn.Linear(width, preset.audio.latent_size // self.slots.y_audio)
        self.video_head = nn.Linear(width, preset.video.latent_size // self.slots.y_video)
        self.geometry = Geometry(preset.backbone, preset.stride)
        self.cache = KVCache(preset, self.geometry)
        tokens = tokens_of(self.slots, 0, 1, True, preset.backbone.position, preset.is_joint)
        noisy = tokens.part(self.slots.clean, len(tokens.unit))
        self.noisy_offsets = noisy.position  # from the position of their unit's slice
        self.noisy_mask = None if preset.is_joint else TailMask(visible(noisy, noisy), self.geometry.groups)

    @property
    def is_local(self) -> bool:
        """True if the word is read without a pass through the backbone of its own."""
        return self.preset.text_decode == "local"

    @property
    def event_slot(self) -> int:
        """Place of the event's token in a slice."""
        return self.slots.y + self.slots.u

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.embed.null.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.embed.null.device

    def forward(
        self,
        user: UserTrack,
        history: AgentTrack,
        decisions: DecisionTrack,
        noisy: Latents | None = None,
        t: Tensor | None = None,
        first_unit: int = 0,
        attention_dtype: torch.dtype | None = None,
        prefix: PrefixTrack | None = None,
        gap_units: int = 0,
    ) -> Predictions:
        """Predictions for every unit of a sequence, each from its own past only (teacher forcing).

        Args:
            user: u_0 .. u_{U-1}.
            history: y_0 .. y_{U-1} as the model shall remember them (training adds noise); the last is not used.
            decisions: event_k and text_k, true ones.
            noisy: z_t of every unit; None: only events and text are predicted.
            t: flow times [B, U], with ``noisy``.
            first_unit: number of the first unit; nothing but rounding depends on it.
            attention_dtype: precision of the softmax products; None: that of the weights, also under autocast.
            prefix: what was told before the session began.
            gap_units: units of the session that lie between the prefix and the first one here.

        Raises:
            ModelError: shapes that do not fit, NaN or infinity.
        """
        batch, units = self._extent(user, history, decisions)
        clean = self._clean_tokens(user, history, decisions, batch, units)
        parts, flow = [clean], None
        if noisy is not None:
            if t is None:
                raise ModelError("model: found noisy latents without flow times (expected t of shape [B, U])")
            self.check_latents("model: noisy", noisy, batch, units)
            tokens_of_noisy, flow = self.embed.noisy(noisy, t, self.slots.clean)
            parts.append(tokens_of_noisy)
        x = torch.cat(parts, 2)
        position = self.preset.backbone.position
        prefix_tokens = None
        tokens = tokens_of(self.slots, first_unit, units, noisy is not None, position, self.preset.is_joint)
        origin = first_unit - gap_units
        if prefix is not None:
            prefix_tokens = self.embed.prefix(prefix, batch, self._units(prefix.user, prefix.agent)[1])
            before = tokens_of(self.slots, origin - prefix_tokens.shape[1], prefix_tokens.shape[1], position=position)
            tokens = joined(before, tokens)
        memory = self._memory(tokens, origin, prefix is not None, x.shape[2], attention_dtype)
        hidden = self._run(prefix_tokens, x, memory, flow)
        user_hidden = hidden[:, :, self.slots.y + self.slots.u - 1]
        state_logits, gesture_logits = self.read_event(user_hidden)
        event = decisions.event
        if event is None:
            raise ModelError("model: found no events (expected decisions.event, the text is predicted from them)")
        return Predictions(
            state_logits,
            gesture_logits,
            self.read_text(user_hidden, event) if self.is_local else self.read_words(hidden[:, :, self.event_slot]),
            None if noisy is None else self.read_clean(hidden[:, :, self.slots.clean :]),
            user_hidden,
        )

    def _memory(
        self, tokens: Tokens, origin: int, has_prefix: bool, per_unit: int, dtype: torch.dtype | None
    ) -> Memory:
        """Memory of a whole sequence: itself, under the mask."""
        config = self.preset.cache
        if has_prefix or config.n_sinks:
            return AnchoredSequence(self.geometry, config, tokens, origin, self.embed.null, dtype)
        return WholeSequence(self.geometry, tokens, per_unit, self.embed.null, dtype, config.seen_units)

    def _run(self, prefix_tokens: Tensor | None, x: Tensor, memory: Memory, flow: Flow) -> Tensor:
        """Hidden states of the dialogue x [B, U, T, d], the prefix [B, P, clean, d] before it."""
        flat = x.flatten(1, 2)
        if prefix_tokens is not None:
            flat = torch.cat([prefix_tokens.flatten(1, 2), flat], 1)
        hidden: Tensor = self.backbone(flat, memory, flow)
        return hidden[:, -x.shape[1] * x.shape[2] :].view(x.shape)

    def read_event(self, user_hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Last user token's hidden state [..., d] -> logits of states [..., states] and gestures [..., gestures]."""
        logits = self.event_head(user_hidden)
        n_states = self.preset.n_states
        return logits[..., :n_states], logits[..., n_states:]

    def read_text(self, user_hidden: Tensor, event: Tensor) -> Tensor:
        """Hidden state of the last user token [..., d] and event [..., 2] -> logits of the text token [..., V].

        For text_decode ``local``; else the word is read from the event's own token, see `read_words`.
        """
        return self.read_words(user_hidden + self.embed.event(event))

    def read_words(self, hidden: Tensor) -> Tensor:
        """Logits of the word [..., V] from what it is read from [..., d]."""
        if self.text_head is None:
            return F.linear(hidden, self.embed.s_text.weight)
        logits: Tensor = self.text_head(hidden)
        return logits

    def read_clean(self, hidden: Tensor) -> Latents:
        """Hidden states of noisy tokens [B, U, noisy, d] -> predicted clean latents [B, U, ...]."""
        batch, units = hidden.shape[:2]
        audio = self.audio_head(hidden[:, :, : self.slots.y_audio])
        video = self.video_head(hidden[:, :, self.slots.y_audio :])
        patch = self.preset.video.patch_of(self.slots.y_video)
        return Latents(
            audio.reshape(batch, units, *self.preset.audio.latent_shape),
            from_patches(video, patch, self.preset.video.latent_shape),
        )

    def check_latents(self, where: str, latents: Latents, batch: int, units: int) -> None:
        """Pass if these are finite latents of this model, [B, U, ...].

        Raises:
            ModelError: they are not.
        """
        check_input(f"{where} audio", latents.audio, (batch, units, *self.preset.audio.latent_shape))
        check_input(f"{where} video", latents.video, (batch, units, *self.preset.video.latent_shape))

    def _clean_tokens(
        self, user: UserTrack, history: AgentTrack, decisions: DecisionTrack, batch: int, units: int
    ) -> Tensor:
        """Slices ``[y_{k-1}, u_k, s_k]``: [B, U, clean, d]."""
        agent = self.embed.agent(history, batch, units)
        y = torch.cat([self.embed.before_first(batch), agent[:, :-1]], 1)
        u, _ = self.embed.user(user, self.embed.hearing.new_state(batch), batch, units)
        s = self.embed.decision(decisions, batch, units)
        return torch.cat([y, u, s], 2)

    @classmethod
    def _extent(cls, user: UserTrack, history: AgentTrack, decisions: DecisionTrack) -> tuple[int, int]:
        """(B, U) of the tracks, by the first field that is there."""
        return cls._units(user, history, decisions.event, decisions.text)

    @staticmethod
    def _units(user: UserTrack, agent: AgentTrack, *others: Tensor | None) -> tuple[int, int]:
        for x in (user.video, user.mel, user.text, agent.audio, agent.video, *others):
            if x is not None:
                return x.shape[0], x.shape[1]
        raise ModelError("model: found tracks without any content (expected at least one field)")


def laid_out(model: DuplexModel) -> DuplexModel:
    """The model, its matrices lying in memory as passes of a few tokens read them fastest on a processor.

    Names, shapes and values stay; sums are rounded differently, so both halves of an agent want the same layout.
    """
    if model.device.type == "cpu" and model.dtype == torch.float32:
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.data = module.weight.data.t().contiguous().t()
    return model


def _text_head(preset: Preset) -> nn.Module | None:
    """Reader of words: a small network, the matrix of a language model, or (None) the table of words itself."""
    width = preset.backbone.width
    if preset.tie_embeddings:
        return None
    if preset.text_decode == "token":
        return nn.Linear(width, preset.n_words, bias=False)
    return nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, preset.n_words))
