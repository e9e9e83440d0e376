"""The same model as one would write it without thinking of time: caches joined anew in each pass, heads repeated.

It is what `cache` is measured against; what it says must be the same.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ...wan_core.backbone.mask import Tokens, tokens_of, visible
from ...wan_core.backbone.rope import rotate, rotation
from ...wan_core.embed import Flow
from ...wan_core.exchange import Decision, ResponseUnit, UserUnit, agent_track, decision_track, user_track
from ...wan_core.flow import Latents, Solver, euler, noise
from ...wan_core.model import DuplexModel


class PlainPass:
    """One pass of new tokens; a `Memory`. Every layer joins its past with them, then repeats the heads of both."""

    def __init__(self, plain: Plain, tokens: Tokens) -> None:
        self.plain, self.tokens = plain, tokens
        geometry = plain.model.geometry
        self.by = rotation(tokens.unit, geometry.head_dim, geometry.theta)
        self.made: list[tuple[Tensor, Tensor]] = []
        units = torch.cat([plain.units, tokens.unit])
        distance = tokens.unit[:, None] - units[None]
        seen = torch.cat([torch.ones(len(tokens.unit), len(plain.units), dtype=torch.bool), visible(tokens, tokens)], 1)
        bias = -geometry.slopes.flatten()[:, None, None] * distance
        self.bias = bias.masked_fill(~seen, float("-inf"))

    def attend(self, layer: int, qk: Tensor, v: Tensor) -> Tensor:
        """See `wan_core.backbone.attention.Memory`."""
        geometry = self.plain.model.geometry
        rotated = rotate(qk, self.by)
        q, k = rotated[:, :, : -geometry.kv_heads], rotated[:, :, -geometry.kv_heads :]
        self.made.append((k, v))
        past_keys, past_values = self.plain.layers[layer]
        keys, values = torch.cat([past_keys, k], 1), torch.cat([past_values, v], 1)
        keys, values = (x.repeat_interleave(geometry.groups, 2).transpose(1, 2) for x in (keys, values))
        y = F.scaled_dot_product_attention(q.transpose(1, 2), keys, values, attn_mask=self.bias)
        return y.transpose(1, 2).flatten(2)


class Plain:
    """A session of one row, under full history.

    Args:
        model: the weights.
        history: un-rotated keys and values [2, L, KV, N, D] of the slices of units 0, 1, 2...
    """

    def __init__(self, model: DuplexModel, history: list[Tensor] | None = None) -> None:
        self.model, self.response = model, ResponseUnit()
        self.user_audio = model.embed.hearing.new_state(1)
        self.unit = len(history or ())
        geometry, offsets = model.geometry, tokens_of(model.slots, 0, 1).unit
        self.units = torch.cat([offsets[:0], *(unit + offsets for unit in range(self.unit))])
        layers, kv_heads, _, width = model.preset.slice_shape
        nothing = torch.zeros(2, layers, kv_heads, 0, width)
        keys, values = torch.cat([nothing, *(history or ())], -2).transpose(-3, -2).unbind(0)
        keys = rotate(keys, rotation(self.units, geometry.head_dim, geometry.theta))
        self.layers = [(k[None], v[None]) for k, v in zip(keys, values, strict=True)]

    @torch.inference_mode()
    def step(self, user: UserUnit, decision: Decision, steps: int) -> tuple[Tensor, Latents]:
        """One unit, with a decision that is given: logits of the word, and the response, which is then the history."""
        model, slots = self.model, self.model.slots
        tokens = tokens_of(slots, self.unit, 1, with_noisy=True)
        track, unplayed = user_track([user])
        u, self.user_audio = model.embed.user(track, self.user_audio, 1, 1)
        y = model.embed.agent(agent_track([self.response]), 1, 1) if self.unit else model.embed.before_first(1)
        listened = slots.y + slots.u
        last = self._pass(torch.cat([y, u], 2)[:, 0], tokens.part(0, listened), keeps=True)[:, -1]
        assert decision.event is not None, decision
        model.read_event(last)
        text = model.read_text(last, decision.event)
        s = model.embed.decision(decision_track(decision, unplayed), 1, 1)
        self._pass(s[:, 0], tokens.part(listened, slots.clean), keeps=True)
        latents = self._solve(tokens.part(slots.clean, slots.clean + slots.noisy), steps)
        self.response, self.unit = ResponseUnit(*latents), self.unit + 1
        return text, latents

    def _solve(self, tokens: Tokens, steps: int) -> Latents:
        audio, video = self.model.preset.audio, self.model.preset.video
        both = noise((audio.latent_size + video.latent_size,), 0, [0], self.unit)
        z = Latents(
            both[:, : audio.latent_size].reshape(1, 1, *audio.latent_shape),
            both[:, audio.latent_size :].reshape(1, 1, *video.latent_shape),
        )
        for t, s in pairwise(Solver(steps).times):
            noisy, flow = self.model.embed.noisy(z, torch.full((1, 1), t))
            x = self.model.read_clean(self._pass(noisy[:, 0], tokens, keeps=False, flow=flow)[:, None])
            z = Latents(euler(z.audio, x.audio, t, s), euler(z.video, x.video, t, s))
        return Latents(z.audio[:, 0], z.video[:, 0])

    def _pass(self, x: Tensor, tokens: Tokens, keeps: bool, flow: Flow = None) -> Tensor:
        memory = PlainPass(self, tokens)
        hidden: Tensor = self.model.backbone(x, memory, flow)
        if keeps:
            pairs = zip(self.layers, memory.made, strict=True)
            self.layers = [(torch.cat([k, a], 1), torch.cat([v, b], 1)) for (k, v), (a, b) in pairs]
            self.units = torch.cat([self.units, tokens.unit])
        return hidden
