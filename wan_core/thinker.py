"""The thinker: takes the user in, decides, and writes the context log. It never runs the solver.

    thinker.set_prefix(state, prefix)          before the first unit, or between two: what holds from here on

One unit, in order:

    thinker.commit(state, audio, video)      y_{k-1}, as soon as it exists; left out: it is absent
    thought = thinker.step(state, user)      u_k -> event_k, text_k and the slice of unit k

`Thinker.absorb` takes several units in at once without deciding, `Thinker.gap` records that units are lost. The state
is written in place: keys and values are too large to copy.

# B batch, L layers, KV key-value heads, N tokens of a slice, D head width
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .backbone.mask import TailMask, Tokens, tokens_of, visible
from .cache.context import ContextState, no_digest
from .cache.kvcache import CachePass
from .cache.kvslice import KVSlice, sealed
from .cache.resync import follow
from .checks import widened
from .embed import DecisionTrack, check_tokens
from .errors import ModelError
from .exchange import (
    Decision,
    PrefixUnit,
    ResponseUnit,
    Thought,
    UserUnit,
    agent_track,
    decision_track,
    user_track,
)
from .flow import GESTURE, chance
from .media.audio_encoder import UserAudioState
from .model import DuplexModel
from .prefix import prefix_of

ABSORB_UNITS = 16
"""Units taken in by one pass; more would only make the mask larger."""


@dataclass
class ThinkerState(ContextState):
    """One session, or a batch of them; its rows may be at different units, and go on together.

    Attributes:
        user_audio: what the audio encoder needs of the past.
        fresh_keys: [B, L, KV, N, D], un-rotated keys of the slice under construction.
        is_committed: 1 when y_{k-1} is in and u_k is not.
    """

    user_audio: UserAudioState
    fresh_keys: Tensor
    is_committed: int = 0

    def reset(self, rows: Sequence[int] | None = None, first_unit: int = 0) -> None:
        """Begin anew, in place. With rows, these forget and the others go on; call it between units.

        Raises:
            ModelError: rows are given while a response is committed and its user unit is not in yet.
        """
        if rows is not None and self.is_committed:
            raise ModelError(
                f"thinker: unit {self.unit}: found a committed response (expected a whole slice), reset rows after step"
            )
        super().reset(rows, first_unit)
        if rows is not None:
            self.user_audio.reset(rows)


class _Span:
    """Tokens that one pass adds, counted from the start of the slice under construction.

    Attributes:
        first: place of the first of them.
        offsets: [T] their positions, counted from that of the slice.
        mask: who sees whom among them; None: all see each other.
    """

    def __init__(self, first: int, tokens: Tokens, groups: int) -> None:
        self.first, self.offsets = first, tokens.position
        mask = visible(tokens, tokens)
        self.mask = None if bool(mask.all()) else TailMask(mask, groups)


class Thinker:
    """The thinking half of a `DuplexModel`. Any number of sessions may share one; a state belongs to one thread."""

    def __init__(self, model: DuplexModel) -> None:
        self.model = model
        y, u, s = model.slots.y, model.slots.u, model.slots.s
        tokens = tokens_of(model.slots, 0, 1, position=model.preset.backbone.position)
        groups = model.geometry.groups
        self._y = _Span(0, tokens.part(0, y), groups)
        self._u = _Span(y, tokens.part(y, y + u), groups)
        self._yu = _Span(0, tokens.part(0, y + u), groups)
        self._s = _Span(y + u, tokens.part(y + u, y + u + s), groups)
        self._event = _Span(y + u, tokens.part(y + u, y + u + 1), groups)
        self._after_event = _Span(y + u + 1, tokens.part(y + u + 1, y + u + s), groups)

    @torch.inference_mode()
    def new_state(self, batch: int = 1, first_unit: int | Sequence[int] = 0) -> ThinkerState:
        """Before unit ``first_unit`` (one for all rows, or one a row), remembering nothing."""
        like = self.model.embed.null
        return ThinkerState(
            self.model.cache.new_state(batch, like, first_unit),
            no_digest(),
            self.model.embed.hearing.new_state(batch),
            like.new_zeros(batch, *self.model.preset.slice_shape),
        )

    @torch.inference_mode()
    def set_prefix(self, state: ThinkerState, prefix: Sequence[PrefixUnit]) -> list[KVSlice]:
        """Tell what holds from here on, in place of what was told before: never forgotten, and never far away.

        Before the first unit this is prefill. Later, what follows is thought as if this prefix had been told before
        the first unit; what has been thought stays in the history as it was thought.

        Args:
            state: written in place; no response is committed.
            prefix: in units, the oldest first, of any number; all rows are told at once.

        Returns:
            The slice of each, the next of the context log. Where there are none, the next unit's slice says so.

        Raises:
            ModelError: a response is committed already; shapes that do not fit, NaN or infinity; the state is then as
                before.
        """
        if state.is_committed:
            raise ModelError(
                f"thinker: unit {state.unit}: found a committed response (expected a whole slice), "
                "set the prefix after step"
            )
        cache, n_prefix = state.cache, len(prefix)
        cache.pending = 0  # a step that was cut short leaves nothing behind
        keys, values = prefix_of(self.model, prefix, state.batch)
        self.model.cache.set_prefix(cache, keys, values)
        first = tuple(unit - age - n_prefix for unit, age in zip(cache.units, cache.age.tolist(), strict=True))
        draft = KVSlice(first, 0, keys, values, n_prefix=n_prefix, answers=False, is_prefix=True)
        slices = self._chained(state, draft)
        cache.slices += n_prefix
        return slices

    @torch.inference_mode()
    def commit(self, state: ThinkerState, audio: Tensor | None = None, video: Tensor | None = None) -> None:
        """Record y_{k-1}, before `step` of unit k; it does not see u_k, so it need not wait for it.

        Args:
            state: written in place.
            audio: clean latents [B, latents, channels]; None: absent.
            video: clean latents [B, h, w, channels]; None: absent.

        Raises:
            ModelError: another shape, NaN or infinity, or a response was committed for this unit already.
        """
        if state.is_committed:
            raise ModelError(
                f"thinker: unit {state.unit}: found a second response (expected one per unit), call step first"
            )
        y = self._response(state, [ResponseUnit(audio, video)])
        self.model.cache.start_slice(state.cache)
        self._write(state, y[:, 0], self._y)
        state.is_committed = 1

    @torch.inference_mode()
    def step(
        self,
        state: ThinkerState,
        user: UserUnit,
        response: ResponseUnit | None = None,
        decision: Decision | None = None,
        seed: int = 0,
        sessions: Sequence[int] | None = None,
    ) -> Thought:
        """Take in u_k, decide event_k and text_k, close the slice of unit k.

        Args:
            state: written in place.
            user: u_k.
            response: y_{k-1}, when it was not committed before: one pass then takes in both, which is quicker than
                two in a row; None: absent.
            decision: what to record instead of the model's own choice; the logits are the model's all the same.
            seed: of the gestures, which are sampled; state and text are the likeliest.
            sessions: one number a row, for sampling; None: 0, 1, 2...

        Raises:
            ModelError: shapes that do not fit, NaN or infinity; the state is then as before.
        """
        model, batch = self.model, state.batch
        given = decision or Decision()
        self._check(given, batch)
        track, unplayed = user_track([user])
        u, user_audio = model.embed.user(track, state.user_audio, batch, 1)
        user_hidden = self._read_user(state, u[:, 0], response)[:, -1]
        state_logits, gesture_logits = map(widened, model.read_event(user_hidden))
        own = self._choose_event(state_logits, gesture_logits, state.cache.units, seed, sessions)
        event = own if given.event is None else given.event
        recorded = Decision(event) if decision is None else decision
        if model.is_local:
            text_logits = widened(model.read_text(user_hidden, event))
        else:
            text_logits = widened(model.read_words(self._decide(state, recorded, unplayed, self._event)[:, 0]))
        text = text_logits.argmax(-1) if given.text is None else given.text
        recorded = Decision(event, text) if decision is None else decision
        self._decide(state, recorded, unplayed, self._s if model.is_local else self._after_event)
        state.user_audio = user_audio
        (slice_,) = self._close(state, state.fresh_keys.clone(), answers=True)
        return Thought(slice_, event, text, state_logits, gesture_logits, text_logits, widened(user_hidden))

    @torch.inference_mode()
    def absorb(
        self, state: ThinkerState, users: Sequence[UserUnit], responses: Sequence[ResponseUnit] | None = None
    ) -> list[KVSlice]:
        """Take several units in without answering: their decision slots are absent.

        Args:
            state: written in place.
            users: u_k, u_{k+1}...
            responses: y_{k-1}, y_k..., as many; None: absent. The first is ignored when it was committed already.

        Returns:
            The slice of each unit.

        Raises:
            ModelError: shapes that do not fit, NaN or infinity, another number of responses than of units.
        """
        responses = [ResponseUnit()] * len(users) if responses is None else responses
        if len(responses) != len(users):
            raise ModelError(
                f"thinker: found {len(responses)} responses for {len(users)} units (expected as many, or none)"
            )
        slices: list[KVSlice] = []
        while len(slices) < len(users):
            done = len(slices)
            some = slice(done, done + min(self.model.cache.room(state.cache), ABSORB_UNITS))
            slices += self._absorb(state, users[some], responses[some])
        return slices

    def gap(self, state: ThinkerState, units: int) -> list[KVSlice]:
        """These units are lost: everything in them is absent. Returns their slices."""
        return self.absorb(state, [UserUnit()] * units)

    def follow(self, state: ThinkerState, slices: Sequence[KVSlice]) -> int | None:
        """Take slices that this side had written before it lost them, from the other side's log: see `resync.follow`.

        What the audio encoder keeps of the past is not in them: it begins anew.

        Raises:
            ModelError: a response is committed for the unit under construction.
        """
        if state.is_committed:
            raise ModelError(
                f"thinker: unit {state.unit}: found a committed response (expected a whole slice), resync after step"
            )
        return follow(self.model.cache, state, slices)

    def _check(self, decision: Decision, batch: int) -> None:
        preset = self.model.preset
        if decision.event is not None:
            check_tokens("decision state", decision.event[..., 0], (batch,), preset.n_states)
            check_tokens("decision gesture", decision.event[..., 1], (batch,), preset.n_gestures)
        if decision.text is not None:
            check_tokens("decision text", decision.text, (batch,), preset.n_words)

    def _absorb(
        self, state: ThinkerState, users: Sequence[UserUnit], responses: Sequence[ResponseUnit]
    ) -> list[KVSlice]:
        """One pass over whole slices, the first perhaps without its y."""
        model, batch, units = self.model, state.batch, len(users)
        track, unplayed = user_track(users)
        y = self._response(state, responses)
        u, user_audio = model.embed.user(track, state.user_audio, batch, units)
        s = model.embed.decision(DecisionTrack(unplayed=unplayed), batch, units)
        skip = model.slots.y if state.is_committed else 0
        x = torch.cat([y, u, s], 2).flatten(1, 2)[:, skip:]
        model.cache.start_slice(state.cache)
        fresh = state.fresh_keys.repeat(1, 1, 1, units, 1)  # begins with what is committed
        position = model.preset.backbone.position
        tokens = tokens_of(model.slots, 0, units, position=position).part(skip, units * model.slots.clean)
        self._write(state, x, _Span(skip, tokens, model.geometry.groups), fresh)
        state.user_audio = user_audio
        return self._close(state, fresh, answers=False)

    def _read_user(self, state: ThinkerState, u: Tensor, response: ResponseUnit | None) -> Tensor:
        """The pass over u_k, together with y_{k-1} unless that is in already: hidden states, the user's last."""
        if state.is_committed and response is not None:
            raise ModelError(
                f"thinker: unit {state.unit}: found a second response (expected one per unit), leave one of them out"
            )
        if state.is_committed:
            return self._write(state, u, self._u)
        y = self._response(state, [response or ResponseUnit()])
        self.model.cache.start_slice(state.cache)
        return self._write(state, torch.cat([y[:, 0], u], 1), self._yu)

    def _decide(self, state: ThinkerState, recorded: Decision, unplayed: Tensor | None, span: _Span) -> Tensor:
        """The pass over those decision tokens that are in this span: hidden states [B, T, d]."""
        s = self.model.embed.decision(decision_track(recorded, unplayed), state.batch, 1)[:, 0]
        first = span.first - self._s.first
        return self._write(state, s[:, first : first + len(span.offsets)], span)

    def _write(self, state: ThinkerState, x: Tensor, span: _Span, fresh: Tensor | None = None) -> Tensor:
        """One pass of tokens x [B, T, d] into the slice under construction: hidden states [B, T, d]."""
        fresh = state.fresh_keys if fresh is None else fresh
        part = fresh[..., span.first : span.first + len(span.offsets), :]
        state.cache.pending = span.first  # a pass that was cut short leaves nothing behind
        memory = CachePass(self.model.cache, state.cache, span.offsets, span.mask, part)
        hidden: Tensor = self.model.backbone(x, memory)
        memory.keep()
        return hidden

    def _close(self, state: ThinkerState, fresh: Tensor, answers: bool) -> list[KVSlice]:
        """The pending tokens are whole slices: into the log and the history. Keys [B, L, KV, U*N, D], un-rotated."""
        cache, rules = state.cache, self.model.cache
        values = cache.values[..., cache.used : cache.filled, : fresh.shape[-1]]
        draft = KVSlice(cache.units, 0, fresh, values, count=cache.count, n_prefix=cache.n_prefix, answers=answers)
        slices = self._chained(state, draft)
        rules.close_slices(cache, fresh)
        state.is_committed = 0
        return slices

    def _chained(self, state: ThinkerState, draft: KVSlice) -> list[KVSlice]:
        """The next slices of the log, all as one in the draft, each by itself: numbered, with their digests."""
        per_unit, digest = self.model.slots.clean, state.last_digest
        slices: list[KVSlice] = []
        for n in range(draft.keys.shape[-2] // per_unit):
            tokens = slice(n * per_unit, (n + 1) * per_unit)
            slice_ = replace(
                draft,
                units=tuple(unit + n for unit in draft.units),
                start=(state.cache.slices + n) * per_unit,
                keys=draft.keys[..., tokens, :].contiguous(),
                values=draft.values[..., tokens, :].clone(memory_format=torch.contiguous_format),
                previous=digest,
                count=draft.count + n,
            )
            slices.append(sealed(slice_))
            digest = slices[-1].digest
        state.digest = torch.frombuffer(bytearray(digest), dtype=torch.uint8)
        return slices

    def _response(self, state: ThinkerState, responses: Sequence[ResponseUnit]) -> Tensor:
        """Tokens of y_{k-1}, y_k... [B, U, y, d]: null where a row has just begun."""
        embed = self.model.embed
        y = embed.agent(agent_track(responses), state.batch, len(responses))
        begins = (state.cache.age == 0).to(y.device)[:, None, None, None]
        first = torch.where(begins, embed.before_first(state.batch), y[:, :1])
        return torch.cat([first, y[:, 1:]], 1)

    def _choose_event(
        self,
        state_logits: Tensor,
        gesture_logits: Tensor,
        units: Sequence[int],
        seed: int,
        sessions: Sequence[int] | None,
    ) -> Tensor:
        """The likeliest state, and a gesture drawn by (seed, session, unit): [B, 2]."""
        rows = range(len(units)) if sessions is None else sessions
        draws = [chance(seed, session, unit, GESTURE).random() for session, unit in zip(rows, units, strict=True)]
        below = torch.tensor(draws, device=gesture_logits.device)[:, None]
        gesture = (gesture_logits.double().softmax(-1).cumsum(-1) <= below).sum(-1)
        return torch.stack([state_logits.argmax(-1), gesture.clamp_max(gesture_logits.shape[-1] - 1)], -1)
