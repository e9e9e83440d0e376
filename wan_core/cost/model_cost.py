"""Cost of a preset, by arithmetic from its configuration alone: weights, memory, operations. Imports no torch.

Operations are floating-point ones, two for each multiplication with its addition, of matrix products and convolutions
only: the rest is small. *Thinking* is all that the thinker's backbone does in one unit; a *solver step* is one
evaluation of the network by the performer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..config import CACHE_CHANNELS, AudioCodecConfig, MelConfig, Preset, VideoCodecConfig

FP32_BYTES, BF16_BYTES = 4, 2
TIME_FREQUENCIES = 16
AUDIO_CODEC_BANDS = 40
N_MODALITIES = 7
MODULATIONS = 6
"""Vectors of a block's width that flow time gives it, under ``modulation``."""

WAN_VAE_PARAMETERS = 126_892_531
"""Of `AutoencoderKLWan` as published."""
WAN_VAE_FLOPS_PER_PIXEL = (1_292_537_659_392 / (192 * 336), 2_180_745_584_640 / (192 * 336))
"""One unit, encoding and decoding, for each pixel of a frame; counted at 192x336."""
MIMI_PARAMETERS = 38_867_232 + 39_917_089
"""Encoder and decoder of `MimiModel` as published, without its quantiser."""
MIMI_FLOPS = (850_952_192, 861_577_216)
"""One unit, encoding and decoding; attention is not counted, it adds little."""


def linear(inputs: int, outputs: int, bias: bool = True) -> int:
    """Parameters of a linear layer."""
    return inputs * outputs + (outputs if bias else 0)


def _mlp(size: int, width: int) -> int:
    return linear(size, 2 * width) + linear(2 * width, width)


@dataclass(frozen=True)
class ModelCost:
    """The figures of one preset.

    Attributes:
        preset: its shapes.
    """

    preset: Preset

    @property
    def parameters(self) -> dict[str, int]:
        """Parameters by part."""
        return {
            "embeddings": self._embeddings(),
            "backbone": self._backbone(),
            "heads": self._heads(),
            "video codec": video_codec_parameters(self.preset.video),
            "audio codec": audio_codec_parameters(self.preset.audio),
        }

    @property
    def model_parameters(self) -> int:
        """Number of weights of `model.DuplexModel`: everything but the codecs."""
        return self._embeddings() + self._backbone() + self._heads()

    @property
    def backbone_weights(self) -> int:
        """Numbers that one pass through the backbone reads."""
        return self._backbone()

    @property
    def reading_weights(self) -> int:
        """Numbers that embedders and heads read in one unit; of a table of words, a row or two."""
        words = self.preset.n_words * self.preset.backbone.width
        tables = words if self.preset.text_decode == "token" else 2 * words
        tied = words if self.preset.tie_embeddings else 0
        return self._embeddings() - tables + tied + self._heads()

    @property
    def passes(self) -> int:
        """Passes through the backbone that thinking takes."""
        return 3 if self.preset.text_decode == "token" else 2

    def kv_bytes_per_unit(self, number_bytes: int) -> int:
        """Bytes that one unit adds to a cache of numbers of this size."""
        return self.preset.cache_bytes_per_unit * number_bytes // FP32_BYTES

    @property
    def cap_units(self) -> int:
        """Most units that a cache holds."""
        return self.preset.cache.ring_units + self.preset.cache.n_sinks

    @property
    def cap_minutes(self) -> float:
        """Time for which the cache grows."""
        return self.cap_units * self.preset.unit_seconds / 60

    @property
    def at_cap(self) -> str:
        """Words for what becomes of a session that goes on when its cache is full."""
        cache = self.preset.cache
        if cache.n_sinks:
            return f"keeps the first {cache.n_sinks} units and the last {cache.ring_units}, forgets those between"
        return "forgets the oldest unit with every new one"

    def mask_bytes(self, number_bytes: int) -> int:
        """Most bytes of the masks that thinking needs, for however many sessions: a row a query, a column a token."""
        slots, b = self.preset.slots, self.preset.backbone
        queries = slots.y + slots.u + (slots.s if self.preset.text_decode == "local" else slots.s - 1)
        columns = (self.cap_units + 1) * slots.clean + slots.noisy
        return b.heads // b.kv_heads * queries * columns * number_bytes

    def units_in(self, minutes: float) -> int:
        """Units that a cache holds after this time."""
        return min(round(minutes * 60 / self.preset.unit_seconds), self.cap_units)

    def think_flops(self, history_units: int) -> int:
        """Operations of the thinker in one unit, codecs aside."""
        slots, history = self.preset.slots, history_units * self.preset.slots.clean
        first = slots.y + slots.u
        parts = [first, 1, slots.s - 1] if self.preset.text_decode == "token" else [first, slots.s]
        seen, total = history, 0
        for tokens in parts:
            seen += tokens
            total += self._pass_flops(tokens, seen)
        return total + self._reading_flops()

    def step_flops(self, history_units: int) -> int:
        """Operations of one solver step; the history includes the unit that is being answered."""
        noisy = self.preset.slots.noisy
        width, audio, video = self.preset.backbone.width, self.preset.audio, self.preset.video
        sizes = (audio.latent_size, self.preset.slots.y_audio), (video.latent_size, self.preset.slots.y_video)
        ends = 2 * sum(_mlp_products(size // n, width) * n + size // n * width * n for size, n in sizes)
        modulation = MODULATIONS * width * width if self.preset.flow_time == "modulation" else 0
        time = 2 * (_mlp_products(2 * TIME_FREQUENCIES, width) + modulation)
        return self._pass_flops(noisy, history_units * self.preset.slots.clean + noisy) + ends + time

    @property
    def codec_flops(self) -> dict[str, int]:
        """Operations of the codecs in one unit: see, hear (what the thinker hears is not counted), show, speak."""
        see, show = video_codec_flops(self.preset.video)
        _, speak = audio_codec_flops(self.preset.audio)
        return {"see": see, "show": show, "speak": speak}

    def _pass_flops(self, tokens: int, seen: int) -> int:
        """One pass of new tokens, each meeting the ``seen`` keys (hidden ones are multiplied too)."""
        b = self.preset.backbone
        products = b.width * (2 * b.heads + 2 * b.kv_heads) * b.head_dim + 3 * b.width * b.ffn_width
        attention = 2 * b.heads * (b.head_dim + CACHE_CHANNELS) * seen
        return 2 * b.layers * tokens * (products + attention)

    def _reading_flops(self) -> int:
        """Embedding what comes in, and reading event and word."""
        p, width = self.preset, self.preset.backbone.width
        audio, video, slots = p.audio.latent_size, p.video.latent_size, p.slots
        sizes = ((audio, slots.y_audio), (video, slots.y_video), (video, slots.u_video))
        products = sum(_mlp_products(size // n, width) * n for size, n in sizes)
        frames = p.mel.hops
        for join, a, b in _audio_encoder_layers(p.mel, slots.u_audio, width):
            frames //= join
            products += frames * 2 * join * a * b
        products += width * (p.n_states + p.n_gestures)
        local = width * 2 * width + 2 * width * p.n_words
        return 2 * (products + (width * p.n_words if p.text_decode == "token" else local))

    def _embeddings(self) -> int:
        p, width = self.preset, self.preset.backbone.width
        audio, video, slots = p.audio.latent_size, p.video.latent_size, p.slots
        latents = sum(
            _mlp(size // n, width)
            for size, n in ((audio, slots.y_audio), (video, slots.y_video), (video, slots.u_video))
        )
        audio_encoder = sum(
            linear(2 * join * a, b) for join, a, b in _audio_encoder_layers(p.mel, slots.u_audio, width)
        )
        tables = (1 if p.text_decode == "token" else 2) * p.n_words
        rows = tables + p.n_states + p.n_gestures + 2 + N_MODALITIES + 2 + slots.clean + slots.noisy
        time = _mlp(2 * TIME_FREQUENCIES, width)
        if p.flow_time == "modulation":
            time += linear(width, MODULATIONS * width) + p.backbone.layers * MODULATIONS * width
        return latents + audio_encoder + rows * width + time

    def _backbone(self) -> int:
        b = self.preset.backbone
        all_heads = (b.heads + 2 * b.kv_heads) * b.head_dim
        gain = (b.heads + b.kv_heads) * b.head_dim if b.qk_norm == "gain" else 0
        attention = linear(b.width, all_heads, b.qkv_bias) + b.heads * b.head_dim * b.width + gain
        return b.layers * (attention + 3 * b.width * b.ffn_width + 2 * b.width) + b.width

    def _heads(self) -> int:
        p, width = self.preset, self.preset.backbone.width
        if p.text_decode == "token":
            text = 0 if p.tie_embeddings else linear(width, p.n_words, bias=False)
        else:
            text = linear(width, 2 * width) + linear(2 * width, p.n_words)
        event = linear(width, p.n_states + p.n_gestures)
        latents = ((p.audio.latent_size, p.slots.y_audio), (p.video.latent_size, p.slots.y_video))
        return event + text + sum(linear(width, size // n) for size, n in latents)


def _mlp_products(size: int, width: int) -> int:
    return size * 2 * width + 2 * width * width


def _audio_encoder_layers(mel: MelConfig, tokens: int, width: int) -> list[tuple[int, int, int]]:
    """(frames joined, channels in, channels out) of each layer of `audio_encoder.UserAudioEncoder`."""
    channels = (mel.bands, width // 2, width, width)
    return [(join, a, b) for join, (a, b) in zip((2, 2, mel.hops // (4 * tokens)), pairwise(channels), strict=True)]


def _video_layers(c: VideoCodecConfig) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, int, int, int]]]:
    """(taps, channels in, channels out, outputs) of each convolution: of the encoder, of the decoder."""
    h, w, z = c.latent_shape
    widths, area = (3 * c.frames, *c.widths), h * w
    steps = len(c.widths)
    down = [(16, a, b, area * 4 ** (steps - 1 - i)) for i, (a, b) in enumerate(pairwise(widths))]
    encoder = [*down, (1, 2 * c.widths[-1], c.widths[-1], area), (1, c.widths[-1], 2 * z, area)]
    back = tuple(reversed(c.widths))
    up = [(9, a, 4 * b, area * 4**i) for i, (a, b) in enumerate(pairwise(back))]
    last = (9, back[-1], 12 * c.frames, area * 4 ** (steps - 1))
    return encoder, [(9, 2 * z, back[0], area), (9, back[0], back[0], area), *up, last]


def video_codec_parameters(config: VideoCodecConfig) -> int:
    """Number of weights of `video.VideoCodec`, or of the public codec."""
    if config.kind == "wan2.1":
        return WAN_VAE_PARAMETERS
    encoder, decoder = _video_layers(config)
    return sum(taps * a * b + b for taps, a, b, _ in (*encoder, *decoder))


def video_codec_flops(config: VideoCodecConfig) -> tuple[int, int]:
    """Operations of one unit: encoding, decoding."""
    if config.kind == "wan2.1":
        encode, decode = (round(per_pixel * config.height * config.width) for per_pixel in WAN_VAE_FLOPS_PER_PIXEL)
        return encode, decode
    encoder, decoder = (sum(2 * taps * a * b * n for taps, a, b, n in half) for half in _video_layers(config))
    return encoder, decoder


def _audio_layers(c: AudioCodecConfig) -> tuple[list[tuple[int, int, bool]], list[tuple[int, int, bool]]]:
    """(inputs, outputs, bias) of each linear layer: of the encoder, of the decoder."""
    frame, width, z = 2 * c.hop, c.width, c.channels
    encoder = [
        (frame + AUDIO_CODEC_BANDS, width, True),
        (3 * width, width, True),
        (width, 2 * z, True),
        (frame, z, False),
    ]
    mixing = [(3 * z, width, True), (3 * width, width, True), (2 * width, width, True)]
    return encoder, [*mixing, (width, frame, True), (z, frame, False)]


def audio_codec_parameters(config: AudioCodecConfig) -> int:
    """Number of weights of `audio.AudioCodec`, or of the public codec."""
    if config.kind == "mimi":
        return MIMI_PARAMETERS
    encoder, decoder = _audio_layers(config)
    return sum(linear(*layer) for layer in (*encoder, *decoder))


def audio_codec_flops(config: AudioCodecConfig) -> tuple[int, int]:
    """Operations of one unit: encoding, decoding."""
    if config.kind == "mimi":
        return MIMI_FLOPS
    encoder, decoder = (sum(2 * a * b * config.latents for a, b, _ in half) for half in _audio_layers(config))
    bins = (1 << (2 * config.hop - 1).bit_length()) // 2 + 1
    return encoder + 2 * bins * AUDIO_CODEC_BANDS * config.latents, decoder
