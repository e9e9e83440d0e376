"""Bases of the model's nodes: one set of weights, and how they take the user in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from ..runtime.errors import CheckpointError, MissingExtra, UserError
from ..runtime.node import Node, NodeContext, Param, Unit
from ..runtime.packet import Array
from ..runtime.ports import DTYPE_BYTES, Input, Output
from ..wan_core.adapters.folder import EXTRA, is_installed
from ..wan_core.adapters.tokenizer import check_language, load_language
from ..wan_core.checkpoint_header import vocabulary_of
from ..wan_core.config import Preset
from ..wan_core.cost.model_cost import ModelCost
from ..wan_core.errors import ModelError
from ..wan_core.text import Language, NumberedTokens, TypedText
from ..wan_core.vocabulary import Vocabulary
from .checkpoint import CHECKPOINT, COMPILE, check_checkpoint, checkpoint_of, known_preset, load_weights
from .on_device import taken, torch_device
from .unit_tensor import shape_words

if TYPE_CHECKING:
    from torch import Tensor

    from ..wan_core.exchange import PrefixUnit, Thought, UserUnit
    from ..wan_core.model import DuplexModel

PART = "model"
"""Of a checkpoint, that backbones run."""

CONCEALED = 1
"""Outcome in ``played``: the listener did not get the unit."""

REMEMBERED_UNITS = 64
"""How long a response waits for news of whether it was heard."""

DTYPES = ("float32", "bfloat16")

VIDEO = Input(
    "latent", "h w C", "float32", late="empty", device="node", help="the user's picture, as encode.video gives it"
)
AUDIO = Input(
    "latent", "hops bands", "float32", late="empty", device="node", help="the user's voice, as encode.mel gives it"
)
TEXT = Input("text", late="empty", optional=True, help="lines that the user types")
PLAYED = Input("tokens", "2", "int64", late="empty", optional=True, help="unit number; 0 heard, 1 concealed")
WORD = Output("text", help="the word that the agent says, if any")
EVENT = Output("tokens", "2", "int64", help="numbers of state and gesture, as in the checkpoint's vocabulary")


class BackboneNode(Node):
    """Base of thinker, performer and reference: one set of weights."""

    checkpoint: str = CHECKPOINT
    compile: str = COMPILE
    dtype: str = Param("", choices=("", *DTYPES), help="of weights and cache; as the preset says, if empty")

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """Look at the checkpoint's header.

        Raises:
            CheckpointError: it cannot be used.
        """
        check_checkpoint(params, PART)

    @classmethod
    def facts(cls, params: Mapping[str, Any]) -> Mapping[str, int | float | str]:
        """Size of the weights, and growth of the cache of keys and values."""
        preset = known_preset(params)
        if preset is None:
            return {}
        cost, number_bytes = ModelCost(preset), DTYPE_BYTES[cls.precision(params, preset)]
        per_unit = cost.kv_bytes_per_unit(number_bytes)
        return {
            "weights bytes": cost.model_parameters * number_bytes,
            "cache bytes per unit": per_unit,
            "minutes to the cache's cap": round(cost.cap_minutes, 2),
            "cache bytes at the cap": cost.cap_units * per_unit,
            "at the cap": cost.at_cap,
        }

    @classmethod
    def precision(cls, params: Mapping[str, Any], preset: Preset) -> str:
        """Number format of weights and cache."""
        return params.get("dtype") or preset.dtype

    def open(self, ctx: NodeContext) -> None:
        """Load the weights.

        Raises:
            CheckpointError: they cannot be used, or not be compiled for.
        """
        import torch

        from ..wan_core.model import DuplexModel, laid_out

        self.device = torch_device(ctx.device)
        model = load_weights(ctx, self.checkpoint, PART, DuplexModel)
        self.n_words = model.preset.n_words
        model = laid_out(model.to(getattr(torch, self.precision(self.values, model.preset))))
        if self.compile == "inductor":
            from ..wan_core.compiling import compiled

            try:
                model = compiled(model)
            except ModelError as error:
                raise CheckpointError(str(error)) from error
        self.setup(model)

    def setup(self, model: DuplexModel) -> None:
        """Keep what runs the model."""
        raise NotImplementedError

    def tensor(self, array: Array | None) -> Tensor | None:
        """A packet's array as a batch of one."""
        return None if array is None else taken(array, self.device)[None]


@dataclass
class Listener:
    """Part of a session that is kept beside the model's state.

    Attributes:
        typed: text that the model has not read yet.
        reader: what is shown for a token that the agent says.
        persona: who the agent is to be from the next unit on.
        is_persona_set: whether the model has been told.
        responses: units whose response was committed, and of which it is not known whether they were heard.
    """

    typed: TypedText
    reader: Callable[[int], str]
    persona: str
    is_persona_set: bool = False
    responses: set[int] = field(default_factory=set)

    def was_lost(self, unit: int, played: Array | None) -> bool:
        """True if ``played`` tells, at this unit, that the listener did not get a committed response."""
        self.responses = {u for u in self.responses if u >= unit - REMEMBERED_UNITS}
        if played is None:
            return False
        answered, outcome = int(played[0]), int(played[1])
        known = answered in self.responses
        self.responses.discard(answered)
        return known and outcome == CONCEALED


class Listening(Protocol):
    """State of a node that takes the user in."""

    listener: Listener


class ListeningNode(BackboneNode):
    """Base of thinker and reference: they take the user in."""

    persona: str = Param("", live=True, help="what the agent is told before unit 0, or later in place of it, in words "
                         "that the checkpoint knows")  # fmt: skip

    tokenizer: str = Param("", path="input", help="folder of a language model whose tokens are typed, said and told; "
                           "if empty, the checkpoint's vocabulary")  # fmt: skip

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """Look at the checkpoint's header, for the tokenizer, and whether the persona's words are known.

        Raises:
            CheckpointError: it cannot be used.
            UserError: the persona has a word that the checkpoint does not know.
            MissingExtra: the tokenizer's package is not installed.
        """
        super().check(params)
        folder = str(params.get("tokenizer") or "")
        if not folder:
            checkpoint = checkpoint_of(params)
            check_words("persona", str(params.get("persona") or ""), checkpoint, own_vocabulary(checkpoint))
            return
        try:
            check_language(folder)
        except ModelError as error:
            raise CheckpointError(str(error)) from error
        if not is_installed("tokenizers"):
            raise MissingExtra(
                f"tokenizer {folder}: package 'tokenizers' not found (expected the extra '{EXTRA}'), "
                f"pip install 'wangraph[{EXTRA}]'"
            )

    @classmethod
    def symbols(cls, params: Mapping[str, Any]) -> Mapping[str, Sequence[Sequence[str]]]:
        """The states and the gestures that an event is made of."""
        vocabulary = own_vocabulary(params.get("checkpoint", ""))
        return {} if vocabulary is None else {"event": [vocabulary.states, vocabulary.gestures]}

    @classmethod
    def facts(cls, params: Mapping[str, Any]) -> Mapping[str, int | float | str]:
        """Those of every backbone, and the masks of thinking."""
        facts, preset = super().facts(params), known_preset(params)
        if preset is None:
            return facts
        return {
            **facts,
            "mask bytes at the cap": ModelCost(preset).mask_bytes(DTYPE_BYTES[cls.precision(params, preset)]),
        }

    def open(self, ctx: NodeContext) -> None:
        """Load the weights, and the tokenizer.

        Raises:
            CheckpointError: one of them cannot be used, or a tokenizer is needed and not given.
        """
        super().open(ctx)
        self.language = self._language(ctx)

    def _language(self, ctx: NodeContext) -> Language:
        if self.tokenizer:
            try:
                return load_language(self.tokenizer, self.n_words)
            except ModelError as error:
                raise CheckpointError(str(error)) from error
        vocabulary = own_vocabulary(self.checkpoint)
        if vocabulary is None and "text" in ctx.connected_inputs:
            raise CheckpointError(without_words(f"node '{ctx.name}': input 'text'", self.checkpoint))
        return vocabulary or NumberedTokens()

    def update(self, state: Listening, values: Mapping[str, Any]) -> None:
        """Let the agent be somebody else from the next unit on; what it has said and heard, it remembers.

        Raises:
            UserError: the persona has a word that the checkpoint does not know; the agent stays who it is.
        """
        persona = values["persona"]
        if not self.tokenizer:
            check_words("persona", persona, self.checkpoint, own_vocabulary(self.checkpoint))
        state.listener.persona, state.listener.is_persona_set = persona, False

    def prefix(self, persona: str) -> list[PrefixUnit]:
        """A persona, one token a unit."""
        from ..wan_core.exchange import persona_prompt

        return persona_prompt(persona, self.language, 1, self.device)

    def new_listener(self) -> Listener:
        """Nothing typed, nothing said, and the persona not told yet."""
        return Listener(TypedText(self.language), self.language.new_reader(), self.persona)

    def user_unit(self, listener: Listener, unit: Unit, inputs: Mapping[str, Any]) -> UserUnit:
        """The inputs of one unit as the model takes them."""
        import torch

        from ..wan_core.exchange import UserUnit

        listener.typed.type(inputs.get("text") or "")
        lost = listener.was_lost(unit.index, inputs.get("played"))
        return UserUnit(
            self.tensor(inputs.get("video")),
            self.tensor(inputs.get("audio")),
            torch.tensor([listener.typed.next()], device=self.device),
            torch.tensor([lost], device=self.device),
        )

    @staticmethod
    def answer_outputs(listener: Listener, thought: Thought) -> dict[str, Any]:
        """Text and event of one unit."""
        return {"text": listener.reader(int(thought.text[0])) or None, "event": thought.event[0].cpu().numpy()}


def own_vocabulary(checkpoint: str) -> Vocabulary | None:
    """Meaning of the checkpoint's tokens; None: its words are those of a language model's tokenizer.

    Raises:
        CheckpointError: it cannot be used.
    """
    try:
        return vocabulary_of(checkpoint)
    except ModelError as error:
        raise CheckpointError(str(error)) from error


def check_words(where: str, text: str, checkpoint: str, vocabulary: Vocabulary | None) -> None:
    """Pass if the checkpoint knows every word of a text: one that it does not know would tell it nothing.

    Raises:
        CheckpointError: it has no vocabulary of its own.
        UserError: a word that it does not know.
    """
    if not text:
        return
    if vocabulary is None:
        raise CheckpointError(without_words(where, checkpoint))
    unknown = vocabulary.unknown_in(text)
    if unknown:
        raise UserError(
            f"{where}: found {', '.join(map(repr, unknown))} (checkpoint '{checkpoint}' knows: "
            f"{' '.join(vocabulary.known_words)}), say it in these words"
        )


def without_words(where: str, checkpoint: str) -> str:
    """The message where text meets a checkpoint whose words are those of a tokenizer, and there is none."""
    return (
        f"{where}: found text for checkpoint '{checkpoint}', which has no vocabulary (expected the tokenizer of its "
        "language model), set tokenizer: the folder of that model"
    )


def user_inputs(inputs: Mapping[str, Input], preset: Preset) -> dict[str, Input]:
    """The user's ports, with the preset's sizes."""
    return {
        **inputs,
        "video": sized(inputs["video"], preset.video.latent_shape),
        "audio": sized(inputs["audio"], preset.mel.shape),
    }


def sized(port: Input, shape: tuple[int, ...]) -> Input:
    """The port, with this shape."""
    return replace(port, shape=shape_words(shape))
