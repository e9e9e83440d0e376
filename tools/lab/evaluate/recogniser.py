"""Hears which words an agent said: a small network trained on the agents' own voices, never through a codec.

What is none of their words (other people, words run together, backwards or mangled) is heard as `REJECTED`, so that a
backchannel cannot pass for a digit. It is shipped trained; ``wangraph evaluate fit-recogniser FILE`` does it again.

# B batch, T frames of 10 ms, C classes
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ....runtime.errors import MediaError
from ....runtime.output_file import claim
from ....wan_core.config import MelConfig
from ....wan_core.media.mel import LogMel
from ..world.persona import PERSONAS
from ..world.signal import MS, RATE, UNIT, Sound, glide, low_pass
from ..world.voices import Bank
from ..world.words import AGENT_WORDS

REJECTED = "?"
"""Something that is not a word of the agents."""
CLASSES = (REJECTED, *AGENT_WORDS)
"""Class 0 is silence between words; the others come in this order."""

SHIPPED = Path(__file__).with_name("recogniser.safetensors")
STEPS, BATCH = 900, 24
SECONDS = 2.4
_HOP_MS = 10


class Recogniser(nn.Module):
    """[B, samples] -> log probabilities [B, T / 2, C]: convolutions over 0.3 s of log-mel, read by CTC."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        config = MelConfig()
        self.mel = LogMel(config)
        self.layers = nn.ModuleList(
            [
                nn.Conv1d(config.bands, width, 5, padding=2),
                nn.Conv1d(width, width, 5, stride=2, padding=2),
                nn.Conv1d(width, width, 5, padding=2),
                nn.Conv1d(width, width, 5, padding=4, dilation=2),
                nn.Conv1d(width, width, 5, padding=4, dilation=2),
            ]
        )
        self.head = nn.Conv1d(width, 1 + len(CLASSES), 1)

    def forward(self, samples: Tensor) -> Tensor:
        """Class scores of whole units."""
        mel, _ = self.mel(samples.reshape(len(samples), -1, UNIT), self.mel.new_state(len(samples)))
        x = mel.flatten(1, 2).transpose(1, 2)
        for number, layer in enumerate(self.layers):
            y = nn.functional.silu(layer(x))
            x = x + y if number >= 2 else y
        logits: Tensor = self.head(x)
        return logits.transpose(1, 2).log_softmax(-1)

    @torch.inference_mode()
    def words(self, samples: Sound) -> list[tuple[str, int]]:
        """The words in a sound of whole units, each with the sample at which it is heard best."""
        found: list[tuple[str, int]] = []
        likely = self(torch.from_numpy(samples)[None])[0]
        best, last = likely.argmax(-1).tolist(), 0
        for place, number in enumerate(best):
            if number and number != last:
                found.append((CLASSES[number - 1], place * 2 * _HOP_MS * MS))
            last = number
        return found


def recogniser() -> Recogniser:
    """The shipped network, trained.

    Raises:
        MediaError: its file is damaged.
    """
    net = Recogniser()
    try:
        net.load_state_dict({name: tensor.float() for name, tensor in load_file(SHIPPED).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise MediaError(f"{SHIPPED}: damaged ({type(error).__name__}), install wangraph again") from error
    return net.eval()


def fit(bank: Bank, path: Path, seed: int = 0) -> float:
    """Train a network and write it, in half precision; returns the share of clips that it hears without a mistake.

    Raises:
        MissingExtra: a synthesiser is not installed.
        MediaError: the file cannot be written.
    """
    net, rng = Recogniser(), np.random.default_rng((seed, 52))
    _train(net, bank, seed)
    try:
        claim(path)
        save_file({name: tensor.half().contiguous() for name, tensor in net.state_dict().items()}, path)
    except (OSError, SafetensorError) as error:
        raise MediaError(f"{path}: cannot be written ({error}), choose another file") from error
    maker = _Maker(bank)
    clips = [maker.clip(rng) for _ in range(_TESTED)]
    return (
        sum([CLASSES.index(w) + 1 for w, _ in net.eval().words(sound)] == spoken for sound, spoken in clips) / _TESTED
    )


_TESTED = 200


def _train(net: Recogniser, bank: Bank, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in net.modules():
            if isinstance(module, nn.Conv1d):
                module.reset_parameters()
    maker, rng = _Maker(bank), np.random.default_rng((seed, 51))
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.01)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 40, 2.0 * (1 - step / STEPS) + 0.01)
        sounds, words = zip(*(maker.clip(rng) for _ in range(BATCH)), strict=True)
        likely = net(torch.from_numpy(np.stack(sounds))).transpose(0, 1)
        lengths = torch.tensor([len(line) for line in words])
        loss = nn.functional.ctc_loss(
            likely, torch.tensor([w for line in words for w in line]), torch.full((BATCH,), len(likely)), lengths,
            zero_infinity=True,
        )  # fmt: skip
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()


class _Maker:
    """Makes clips of agents' words, with things among them that are none."""

    def __init__(self, bank: Bank) -> None:
        speakers = [speaker for persona in PERSONAS.values() for speaker in (persona.quick, persona.slow)]
        self._voices = [bank.takes(speaker) for speaker in speakers]
        others = [speaker for speaker in bank.split("train") if speaker.synthesiser == "espeak-ng"][::6]
        self._others = [bank.takes(speaker) for speaker in others]

    def clip(self, rng: np.random.Generator) -> tuple[Sound, list[int]]:
        """Samples of whole units, and the classes of the words in them."""
        size = round(SECONDS * RATE / UNIT) * UNIT
        sound, words = np.zeros(size, np.float32), list[int]()
        voice = self._voices[rng.integers(len(self._voices))]
        at = int(rng.uniform(0, 0.5) * RATE)
        for _ in range(rng.integers(0, 6)):
            word = str(rng.choice(AGENT_WORDS))
            is_wrong = rng.random() < 0.1
            piece = self._wrong(rng, word, voice[word][0]) if is_wrong else voice[word][0]
            pace = rng.uniform(0.97, 1.03)
            piece = _hoarse(rng, glide(piece, pace, pace)) * np.float32(rng.uniform(0.5, 1.3))
            if at + len(piece) > size:
                break
            sound[at : at + len(piece)] += piece
            words.append(1 + CLASSES.index(REJECTED if is_wrong else word))
            at += len(piece) + int(rng.uniform(0.0, 0.22) * RATE)
        if rng.random() < 0.5:
            sound = low_pass(sound, float(rng.uniform(2800, 7000)))[:size]
        noise = 10 ** rng.uniform(-4.5, -2.3) * rng.standard_normal(size)
        return (sound + noise).astype(np.float32), words

    def _wrong(self, rng: np.random.Generator, word: str, piece: Sound) -> Sound:
        kind = rng.integers(4)
        if kind == 0:
            return np.ascontiguousarray(piece[::-1])
        if kind == 1:  # two words at once
            other = self._voices[rng.integers(len(self._voices))][str(rng.choice(AGENT_WORDS))][0]
            both = np.zeros(max(len(piece), len(other)), np.float32)
            both[: len(piece)] += piece
            both[: len(other)] += other
            return both * np.float32(0.7)
        if kind == 2:  # noise of the word's loudness
            noise = low_pass(rng.standard_normal(len(piece)).astype(np.float32), float(rng.uniform(800, 6000)))
            return noise * np.float32(np.sqrt(np.mean(piece**2)) / (np.sqrt(np.mean(noise**2)) + 1e-9))
        takes = self._others[rng.integers(len(self._others))]
        spoken: Sequence[Sound] = takes.get(str(rng.choice([w for w in takes if w not in AGENT_WORDS])), (piece,))
        return spoken[0]


def _hoarse(rng: np.random.Generator, piece: Sound) -> Sound:
    """With noise that is as loud as the voice at each moment, 6 to 30 dB below it: what codecs leave behind."""
    envelope = np.sqrt(np.convolve(piece**2, np.ones(320) / 320, "same")).astype(np.float32)
    noise = low_pass(rng.standard_normal(len(piece)).astype(np.float32), float(rng.uniform(1500, 7500)))
    hoarse: Sound = piece + np.float32(10 ** -(rng.uniform(6, 30) / 20)) * envelope * noise
    return hoarse
