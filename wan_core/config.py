"""Shapes of the model, as plain numbers: the presets, and what follows from them. Imports no torch.

Words: a unit has three groups of *clean* slots, ``y`` (what the agent showed and said), ``u`` (what the user did) and
``s`` (what the agent decides: event and text), and *noisy* slots for the latents being denoised.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Literal

from .codec_config import AudioCodecConfig as AudioCodecConfig
from .codec_config import MelConfig as MelConfig
from .codec_config import VideoCodecConfig as VideoCodecConfig
from .errors import ModelError

Dtype = Literal["float32", "bfloat16"]

Position = Literal["unit", "token"]


@dataclass(frozen=True)
class SlotConfig:
    """Tokens per unit and group."""

    y_audio: int = 2
    y_video: int = 2
    u_text: int = 1
    u_audio: int = 2
    u_video: int = 2
    s_event: int = 1
    s_text: int = 1
    s_spare: int = 1

    @property
    def y(self) -> int:
        """Agent slots, clean."""
        return self.y_audio + self.y_video

    @property
    def u(self) -> int:
        """User slots."""
        return self.u_text + self.u_audio + self.u_video

    @property
    def s(self) -> int:
        """Decision slots."""
        return self.s_event + self.s_text + self.s_spare

    @property
    def clean(self) -> int:
        """Tokens that stay in the context, per unit."""
        return self.y + self.u + self.s

    @property
    def noisy(self) -> int:
        """Tokens being denoised, per unit."""
        return self.y


@dataclass(frozen=True)
class BackboneConfig:
    """The Transformer.

    Attributes:
        position: what keys are rotated by: the ``unit`` they belong to, or their place in the sequence of ``token``s,
            as language models do.
        alibi_slopes: per head, the penalty for each unit of distance; empty: none.
        qk_norm: ``gain``: queries and keys are normalised per head and scaled by what was learned.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn_width: int
    head_dim: int = 0
    rope_theta: float = 300.0
    rms_eps: float = 1e-5
    alibi_slopes: tuple[float, ...] = ()
    qk_norm: Literal["none", "gain"] = "gain"
    qkv_bias: bool = False
    position: Position = "unit"

    def __post_init__(self) -> None:
        if not self.head_dim:
            object.__setattr__(self, "head_dim", self.width // self.heads)
        if self.heads % self.kv_heads:
            raise ModelError(f"backbone: found {self.heads} heads over {self.kv_heads} (expected a whole ratio)")
        if self.head_dim % 2:
            raise ModelError(f"backbone.head_dim: found {self.head_dim} (expected an even number), pairs are rotated")
        if self.alibi_slopes and len(self.alibi_slopes) != self.heads:
            raise ModelError(
                f"backbone.alibi_slopes: found {len(self.alibi_slopes)} (expected one per head, {self.heads}, or none)"
            )
        if self.alibi_slopes and self.position == "token":
            raise ModelError(
                "backbone.alibi_slopes: found some with position 'token' (expected none), they count units"
            )


CACHE_CHANNELS = 2
"""What a cached key carries beyond the head width; see `attention`."""


@dataclass(frozen=True)
class CacheConfig:
    """Length of the history in the keys and values of one session. Memory is taken ``chunk_units`` at a time.

    Policy ``full``: everything, up to ``cap_units``; from there on every unit replaces the oldest one, so that neither
    memory nor time per unit grows any further.

    Policy ``window``: the slice of unit k sees slices ``k - window_units + 1 .. k`` at their true distance, and those
    of the first ``sink_units`` units, never further away than ``sink_units + window_units``.

    What is told before unit 0 (the prefix) is seen under both, never further away than ``prefix_reach_units``. Whole
    sequences are masked as streams forget, so that what is learned is what runs.
    """

    cap_units: int = 3750
    chunk_units: int = 750
    policy: Literal["full", "window"] = "full"
    window_units: int = 375
    sink_units: int = 4
    prefix_reach_units: int = 32

    def __post_init__(self) -> None:
        if self.policy not in ("full", "window"):
            raise ModelError(f"cache.policy: found '{self.policy}' (expected full or window)")
        least = {"cap_units": 1, "chunk_units": 1, "window_units": 2, "sink_units": 0, "prefix_reach_units": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ModelError(f"cache.{name}: found {getattr(self, name)} (expected {smallest} or more)")

    @property
    def ring_units(self) -> int:
        """Past slices that are held, sinks and prefix apart."""
        return self.cap_units if self.policy == "full" else self.window_units - 1

    @property
    def seen_units(self) -> int:
        """Slices that a token sees, its own among them, anchors apart: sequences are masked as streams forget."""
        return self.ring_units + 1

    @property
    def n_sinks(self) -> int:
        """First units that are never forgotten."""
        return 0 if self.policy == "full" else self.sink_units

    @property
    def sink_reach(self) -> int:
        """Greatest distance of the sinks, counted from unit 0."""
        return self.sink_units + self.window_units


@dataclass(frozen=True)
class Preset:
    """A complete model: backbone, slots and codecs.

    Attributes:
        text_decode: where the agent's word is read: ``local``: by a small network from the last user token and the
            event; ``token``: as language models do, from the token before it, with one table for all words.
        tie_embeddings: the table of words is also the matrix that reads them; with text_decode ``token``.
        flow_time: how noisy tokens know it: ``added`` to their embedding, or by ``modulation`` of every block.
        is_joint: whether sound and picture of a unit see each other while they are denoised, as in the paper.
        slot_init: what slot embeddings begin as; ``zero`` leaves a language model as it was.
        dtype: of weights and cache when it runs; softmax sums, rotations and the solver are in fp32 all the same.
        n_words, n_states, n_gestures: rows of the tables of words and events.
        vocabulary: name of what these stand for, see `vocabulary.vocabulary`, where a checkpoint says nothing else;
            empty: words are those of a language model's tokenizer.
    """

    name: str
    backbone: BackboneConfig
    video: VideoCodecConfig = field(default_factory=VideoCodecConfig)
    audio: AudioCodecConfig = field(default_factory=AudioCodecConfig)
    mel: MelConfig = field(default_factory=MelConfig)
    slots: SlotConfig = field(default_factory=SlotConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    unit_seconds: float = 0.16
    text_decode: Literal["local", "token"] = "local"
    tie_embeddings: bool = False
    flow_time: Literal["added", "modulation"] = "added"
    is_joint: bool = True
    slot_init: Literal["noise", "zero"] = "noise"
    dtype: Dtype = "float32"
    n_words: int = 64
    n_states: int = 5
    n_gestures: int = 3
    vocabulary: str = "toy_world"

    def __post_init__(self) -> None:
        if self.tie_embeddings and self.text_decode != "token":
            raise ModelError(
                f"{self.name}.tie_embeddings: found text_decode '{self.text_decode}' (expected 'token'), "
                "another head has no matrix of the table's shape"
            )
        for slot, tokens in (("y_video", self.slots.y_video), ("u_video", self.slots.u_video)):
            try:
                self.video.patch_of(tokens)
            except ModelError as error:
                raise ModelError(f"{self.name}.slots.{slot}: {error}") from error
        packed = (
            ("y_audio", "latents", self.audio.latents, self.slots.y_audio),
            ("u_audio", "groups of 4 log-mel frames", self.mel.hops // 4, self.slots.u_audio),
        )
        for slot, what, size, tokens in packed:
            if tokens < 1 or size % tokens:
                raise ModelError(
                    f"{self.name}.slots.{slot}: found {tokens} tokens for {size} {what} (expected a divisor of {size})"
                )
        single = (self.slots.u_text, self.slots.s_event, self.slots.s_text, self.slots.s_spare)
        if single != (1, 1, 1, 1):
            raise ModelError(
                f"{self.name}.slots: found u_text, s_event, s_text, s_spare of {single} (expected 1 of each)"
            )

    @property
    def slice_shape(self) -> tuple[int, int, int, int]:
        """Keys, or values, that one unit adds to the context: (layers, kv_heads, tokens, head_dim)."""
        return self.backbone.layers, self.backbone.kv_heads, self.slots.clean, self.backbone.head_dim

    @property
    def stride(self) -> int:
        """Positions from one unit to the next."""
        return 1 if self.backbone.position == "unit" else self.slots.clean

    @property
    def cache_bytes_per_unit(self) -> int:
        """Bytes that one unit adds to a float32 cache: keys and values, with their extra channels."""
        layers, kv_heads, tokens, head_dim = self.slice_shape
        return 2 * 4 * layers * kv_heads * tokens * (head_dim + CACHE_CHANNELS)


_PUBLIC_VIDEO = VideoCodecConfig(192, 336, downsample=8, widths=(), kind="wan2.1", patch=(6, 6))
_PUBLIC_AUDIO = AudioCodecConfig(rate_hz=24_000, hop=1920, latents=2, channels=512, width=0, kind="mimi")


def _on_qwen(
    name: str, width: int, layers: int, heads: int, kv_heads: int, ffn_width: int, n_words: int, tied: bool
) -> Preset:
    """A preset in the shapes of Qwen2.5 and of public codecs; loaded with a language model, it begins as that."""
    backbone = BackboneConfig(
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        ffn_width=ffn_width,
        rope_theta=1e6,
        rms_eps=1e-6,
        qk_norm="none",
        qkv_bias=True,
        position="token",
    )
    slots = SlotConfig(y_audio=2, y_video=28, u_audio=4, u_video=28)
    return Preset(
        name,
        backbone,
        _PUBLIC_VIDEO,
        _PUBLIC_AUDIO,
        slots=slots,
        text_decode="token",
        tie_embeddings=tied,
        flow_time="modulation",
        slot_init="zero",
        dtype="bfloat16",
        n_words=n_words,
        vocabulary="",
    )


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "nano",
            BackboneConfig(width=64, layers=2, heads=2, kv_heads=1, ffn_width=128, alibi_slopes=(0.0, 1 / 4)),
            video=VideoCodecConfig(height=32, width=32, widths=(8, 16, 24, 32)),
            audio=AudioCodecConfig(channels=16, width=64),
        ),
        Preset(
            "tiny",
            BackboneConfig(
                width=192,
                layers=6,
                heads=6,
                kv_heads=2,
                ffn_width=384,
                alibi_slopes=(0.0, 0.0, 1 / 2, 1 / 4, 1 / 16, 1 / 64),
            ),
            # shorter than the longest windows that it learns on, so that it has learned what any later unit is like:
            # with more history than it ever learned on it hears ever less
            cache=CacheConfig(policy="window", window_units=48, sink_units=0, chunk_units=48),
        ),
        Preset(
            "small",
            BackboneConfig(
                width=512,
                layers=10,
                heads=8,
                kv_heads=2,
                ffn_width=1408,
                alibi_slopes=(0.0, 0.0, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64),
            ),
            video=VideoCodecConfig(height=128, width=128, widths=(48, 96, 144, 192)),
            audio=AudioCodecConfig(width=384),
            slots=SlotConfig(y_audio=4, y_video=4, u_audio=4, u_video=4),
        ),
        _on_qwen("paper-0.5b", 896, 24, 14, 2, 4864, n_words=151_936, tied=True),
        _on_qwen("paper-7b", 3584, 28, 28, 4, 18_944, n_words=152_064, tied=False),
    )
}
"""`nano` for tests, `tiny` for two processor cores, `small` for one GPU, the others in public shapes."""


def preset(name: str) -> Preset:
    """The preset called ``name``.

    Raises:
        ModelError: there is none.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ModelError(f"preset: found '{name}' (available: {', '.join(PRESETS)}){hint}")
    return PRESETS[name]
