"""The model in a graph: the thinker, the performer, and both in one node.

The thinker hears, sees and reads the user and writes one slice of keys and values per unit into the context log; the
performer reads the log and makes voice and face of it; they come back to the thinker as ``response_*`` one unit later.

A log has no holes: units that the thinker absorbs, or that are lost, give a slice as well, and no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..runtime.node import NodeContext, Outputs, Param, Unit
from ..runtime.packet import Array
from ..runtime.ports import Input, Output
from ..wan_core.card import Card
from ..wan_core.config import Preset
from ..wan_core.text import TypedText, word_of
from .codecs import CodecNode, shape_words

if TYPE_CHECKING:
    from torch import Tensor

    from ..wan_core.exchange import ResponseUnit, Thought, UserUnit
    from ..wan_core.flow import Latents
    from ..wan_core.kvslice import KVSlice
    from ..wan_core.model import DuplexModel
    from ..wan_core.performer import PerformerState
    from ..wan_core.thinker import ThinkerState
    from ..wan_core.whole import WholeState

CONCEALED = 1
"""Outcome in ``played``: the listener did not get the unit."""

REMEMBERED_UNITS = 64
"""How long a response waits for news of whether it was heard."""

CONTEXT = {"keys": "L K N D", "values": "L K N D", "place": "3", "digest": "16"}
"""Tensors of a slice; ``place`` is unit, tokens before it, and 1 if the performer shall answer; ``digest`` is that of
the slices before it, and its own."""

Context = Mapping[str, Array]

VIDEO = Input("latent", "h w C", "float32", late="empty", help="the user's picture, as encode.video gives it")
AUDIO = Input("latent", "hops bands", "float32", late="empty", help="the user's voice, as encode.mel gives it")
TEXT = Input("text", late="empty", optional=True, help="lines that the user types")
PLAYED = Input("tokens", "2", "int64", late="empty", optional=True, help="unit number; 0 heard, 1 concealed")
WORD = Output("text", help="the word that the agent says, if any")
EVENT = Output(
    "tokens", "2", "int64", help="state (idle, listen, backchannel, speak, stop), gesture (none, blink, nod)"
)


class BackboneNode(CodecNode):
    """What thinker, performer and whole have in common: one set of weights."""

    part: ClassVar[str] = "model"

    @classmethod
    def facts(cls, params: Mapping[str, Any]) -> Mapping[str, int | float | str]:
        """How the cache of keys and values grows."""
        preset = cls.preset(params)
        if preset is None:
            return {}
        card = Card(preset)
        return {
            "cache bytes per unit": preset.cache_bytes_per_unit,
            "minutes to the cache's cap": round(card.cap_minutes, 2),
            "cache bytes at the cap": card.cap_units * preset.cache_bytes_per_unit,
        }

    def open(self, ctx: NodeContext) -> None:
        """Load the weights."""
        from ..wan_core.model import DuplexModel

        self.device = ctx.device
        self.setup(self.load(ctx, DuplexModel))

    def setup(self, model: DuplexModel) -> None:
        """Keep what runs the model."""
        raise NotImplementedError

    def tensor(self, array: Array | None) -> Tensor | None:
        """A packet's array as a batch of one, copied: packets are read-only and belong to their stream."""
        import torch

        return None if array is None else torch.from_numpy(np.array(array))[None].to(self.device)


@dataclass
class Ears:
    """What a session keeps beside the model's state.

    Attributes:
        typed: text that the model has not read yet.
        responses: units whose response was committed, and of which it is not known whether they were heard.
    """

    typed: TypedText = field(default_factory=TypedText)
    responses: set[int] = field(default_factory=set)

    def was_lost(self, unit: int, played: Array | None) -> bool:
        """Whether ``played`` tells, at this unit, that a committed response was not heard."""
        self.responses = {u for u in self.responses if u >= unit - REMEMBERED_UNITS}
        if played is None:
            return False
        answered, outcome = int(played[0]), int(played[1])
        known = answered in self.responses
        self.responses.discard(answered)
        return known and outcome == CONCEALED


class ListeningNode(BackboneNode):
    """What thinker and whole have in common: they take the user in."""

    def user_unit(self, ears: Ears, unit: Unit, inputs: Mapping[str, Any]) -> UserUnit:
        """The inputs of one unit as the model takes them."""
        import torch

        from ..wan_core.exchange import UserUnit

        ears.typed.type(inputs.get("text") or "")
        lost = ears.was_lost(unit.index, inputs.get("played"))
        return UserUnit(
            self.tensor(inputs.get("video")),
            self.tensor(inputs.get("audio")),
            torch.tensor([ears.typed.next()], device=self.device),
            torch.tensor([lost], device=self.device),
        )

    @staticmethod
    def said(thought: Thought) -> dict[str, Any]:
        """Text and event of one unit."""
        return {"text": word_of(int(thought.text[0])) or None, "event": thought.event[0].cpu().numpy()}


@dataclass
class ThinkerSession:
    """State of `ThinkerNode`."""

    model: ThinkerState
    ears: Ears = field(default_factory=Ears)


class ThinkerNode(ListeningNode):
    """Takes the user and the agent's last response in, decides event and word, and adds a slice to the context."""

    inputs: ClassVar[Mapping[str, Input]] = {
        "video": VIDEO,
        "audio": AUDIO,
        "text": TEXT,
        "response_video": Input("latent", "h w C", "float32", late="empty", help="the agent's picture of unit k - 1"),
        "response_audio": Input("latent", "N C", "float32", late="empty", help="the agent's voice of unit k - 1"),
        "played": PLAYED,
    }
    outputs: ClassVar[Mapping[str, Output]] = {
        "context": Output("context", tensors={name: (shape, None) for name, shape in CONTEXT.items()}),
        "text": WORD,
        "event": EVENT,
    }

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the preset's sizes."""
        preset = cls.preset(params)
        if preset is None:
            return cls.inputs, cls.outputs
        inputs = {
            **_user_inputs(cls.inputs, preset),
            "response_video": _sized(cls.inputs["response_video"], preset.video.latent_shape),
            "response_audio": _sized(cls.inputs["response_audio"], preset.audio.latent_shape),
        }
        context = Output("context", tensors=_context(preset), help="keys and values of one unit")
        return inputs, {**cls.outputs, "context": context}

    def setup(self, model: DuplexModel) -> None:
        """A thinker."""
        from ..wan_core.thinker import Thinker

        self._thinker = Thinker(model)

    def warm(self) -> None:
        """Think two units of absence, then absorb two."""
        from ..wan_core.exchange import UserUnit

        state = self._thinker.new_state()
        for _ in range(2):
            self._thinker.step(state, UserUnit())
        self._thinker.gap(state, 2)

    def new_state(self) -> ThinkerSession:
        """Nothing seen yet."""
        return ThinkerSession(self._thinker.new_state())

    def step(self, state: ThinkerSession, unit: Unit, **inputs: Any) -> Outputs:
        """One unit: commit the response, take the user in, decide."""
        user = self.user_unit(state.ears, unit, inputs)
        response = self._response(state.ears, unit, inputs)
        thought = self._thinker.step(state.model, user, response, seed=unit.seed, sessions=[unit.session])
        return {"context": packed(thought.slice), **self.said(thought)}

    def absorb(self, state: ThinkerSession, units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> list[Outputs]:
        """Several units in one pass: their slices, no decisions."""
        users = [self.user_unit(state.ears, unit, inputs) for unit, inputs in units]
        responses = [self._response(state.ears, unit, inputs) for unit, inputs in units]
        return [{"context": packed(s)} for s in self._thinker.absorb(state.model, users, responses)]

    def gap(self, state: ThinkerSession, units: Sequence[Unit]) -> list[Outputs]:
        """Lost units: everything in them is absent."""
        return [{"context": packed(s)} for s in self._thinker.gap(state.model, len(units))]

    def _response(self, ears: Ears, unit: Unit, inputs: Mapping[str, Any]) -> ResponseUnit:
        from ..wan_core.exchange import ResponseUnit

        audio, video = inputs.get("response_audio"), inputs.get("response_video")
        if audio is not None or video is not None:
            ears.responses.add(unit.index - 1)
        return ResponseUnit(self.tensor(audio), self.tensor(video))


class PerformerNode(BackboneNode):
    """Reads the context, solves the flow for the agent's voice and face of the unit."""

    context = Input("context", tensors={name: (shape, None) for name, shape in CONTEXT.items()}, late="wait")
    video = Output("latent", "h w C", "float32", help="clean latents, for decode.video")
    audio = Output("latent", "N C", "float32", help="clean latents, for decode.audio")

    steps: int = Param(2, min=1, max=64, help="solver steps, where the ladder says nothing else")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the preset's sizes."""
        preset = cls.preset(params)
        if preset is None:
            return cls.inputs, cls.outputs
        context = Input("context", tensors=_context(preset), late="wait", help="keys and values of one unit")
        return {"context": context}, _answer_outputs(cls.outputs, preset)

    def setup(self, model: DuplexModel) -> None:
        """A performer."""
        from ..wan_core.performer import Performer

        self._model, self._performer = model, Performer(model)

    def warm(self) -> None:
        """Answer two slices of absence."""
        from ..wan_core.thinker import Thinker

        thinker = Thinker(self._model)
        state = self._performer.new_state()
        for slice_ in thinker.gap(thinker.new_state(), 2):
            self._performer.append(state, slice_)
            self._performer.generate(state, slice_.unit, self.steps)

    def new_state(self) -> PerformerState:
        """An empty log."""
        return self._performer.new_state()

    def step(self, state: PerformerState, unit: Unit, context: Context | None) -> Outputs:
        """One slice in, one response out; none for a unit that the thinker did not answer."""
        if context is None or not self._append(state, context):
            return {}
        steps = int(unit.level.get("steps", self.steps))
        return spoken(self._performer.generate(state, unit.index, steps, unit.seed, [unit.session]))

    def absorb(self, state: PerformerState, units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> None:
        """Every slice belongs to the history, answered or not."""
        for _, inputs in units:
            if inputs["context"] is not None:
                self._append(state, inputs["context"])

    def gap(self, state: PerformerState, units: Sequence[Unit]) -> None:
        """Nothing to do: the slice that comes next will not follow the last one, and says so."""

    def _append(self, state: PerformerState, context: Context) -> bool:
        from ..wan_core.kvslice import KVSlice

        keys, values = self.tensor(context["keys"]), self.tensor(context["values"])
        assert keys is not None and values is not None
        unit, start, answers = (int(x) for x in context["place"])
        digests = context["digest"].tobytes()
        slice_ = KVSlice((unit,), start, keys, values, digests[:8], digests[8:], bool(answers))
        self._performer.append(state, slice_)
        return bool(answers)


@dataclass
class WholeSession:
    """State of `WholeNode`."""

    model: WholeState
    ears: Ears = field(default_factory=Ears)


class WholeNode(ListeningNode):
    """Thinker and performer in one node, on one cache: the reference. Its own response is its history."""

    inputs: ClassVar[Mapping[str, Input]] = {"video": VIDEO, "audio": AUDIO, "text": TEXT, "played": PLAYED}
    outputs: ClassVar[Mapping[str, Output]] = {**PerformerNode.outputs, "text": WORD, "event": EVENT}

    steps: int = Param(2, min=1, max=64, help="solver steps, where the ladder says nothing else")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the preset's sizes."""
        preset = cls.preset(params)
        if preset is None:
            return cls.inputs, cls.outputs
        return _user_inputs(cls.inputs, preset), _answer_outputs(cls.outputs, preset)

    def setup(self, model: DuplexModel) -> None:
        """Both halves."""
        from ..wan_core.whole import Whole

        self._whole = Whole(model)

    def warm(self) -> None:
        """Answer two units of absence."""
        from ..wan_core.exchange import UserUnit

        state = self._whole.new_state()
        for _ in range(2):
            self._whole.step(state, UserUnit(), self.steps)

    def new_state(self) -> WholeSession:
        """Nothing seen yet."""
        return WholeSession(self._whole.new_state())

    def step(self, state: WholeSession, unit: Unit, **inputs: Any) -> Outputs:
        """One unit in, its whole answer out."""
        user = self.user_unit(state.ears, unit, inputs)
        steps = int(unit.level.get("steps", self.steps))
        thought, latents = self._whole.step(state.model, user, steps, seed=unit.seed, sessions=[unit.session])
        state.ears.responses.add(unit.index)
        return {**spoken(latents), **self.said(thought)}

    def absorb(self, state: WholeSession, units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> None:
        """Several units in one pass, unanswered."""
        self._whole.absorb(state.model, [self.user_unit(state.ears, unit, inputs) for unit, inputs in units])

    def gap(self, state: WholeSession, units: Sequence[Unit]) -> None:
        """Lost units: everything in them is absent."""
        self._whole.gap(state.model, len(units))


def packed(slice_: KVSlice) -> dict[str, Array]:
    """A slice as it travels."""
    return {
        "keys": slice_.keys[0].cpu().numpy(),
        "values": slice_.values[0].cpu().numpy(),
        "place": np.array([slice_.unit, slice_.start, slice_.answers], np.int64),
        "digest": np.frombuffer(slice_.previous + slice_.digest, np.uint8),
    }


def spoken(latents: Latents) -> dict[str, Array]:
    """A response as it travels."""
    return {"video": latents.video[0].cpu().numpy(), "audio": latents.audio[0].cpu().numpy()}


def _context(preset: Preset) -> dict[str, tuple[str | None, str | None]]:
    slice_ = shape_words(preset.slice_shape)
    return {"keys": (slice_, "float32"), "values": (slice_, "float32"),
            "place": (CONTEXT["place"], "int64"), "digest": (CONTEXT["digest"], "uint8")}  # fmt: skip


def _user_inputs(inputs: Mapping[str, Input], preset: Preset) -> dict[str, Input]:
    return {
        **inputs,
        "video": _sized(inputs["video"], preset.video.latent_shape),
        "audio": _sized(inputs["audio"], preset.mel.shape),
    }


def _answer_outputs(outputs: Mapping[str, Output], preset: Preset) -> dict[str, Output]:
    video = replace(outputs["video"], shape=shape_words(preset.video.latent_shape))
    audio = replace(outputs["audio"], shape=shape_words(preset.audio.latent_shape))
    return {**outputs, "video": video, "audio": audio}


def _sized(port: Input, shape: tuple[int, ...]) -> Input:
    return replace(port, shape=shape_words(shape))
