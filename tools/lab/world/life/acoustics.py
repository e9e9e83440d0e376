"""Way of sound from a mouth to the model besides a room: noise, music, gain control, clipping, telephones, packets
that are lost, and what an echo canceller leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..room import Microphone, Room
from ..signal import MS, RATE, UNIT, Sound, convolve, level, low_pass, resample
from .material import Material

PACKET = 20 * MS
"""Samples in a packet."""
_VOICE = 0.12  # root mean square of a word before the room's gain
_STEP = 10 * MS


@dataclass(frozen=True)
class Line:
    """One way from a microphone to the model.

    Attributes:
        seed: which noise, from where on.
        snr_db: of the words against the background; infinite is none. ``is_music``: what it is.
        has_response: whether the room is a measured one, ``stretch`` times as long.
        control: how far the gain follows the loudness, 0..1.
        clip: amplitude at which it is cut off.
        is_telephone: 8 kHz and eight bits.
        loss: share of the packets that are lost; ``conceals``: whether the last one is then repeated, ever softer.
        cancelled: gain of the agent's echo after the canceller; it lets more through while the user speaks.
    """

    seed: int = 0
    snr_db: float = np.inf
    is_music: bool = False
    has_response: bool = False
    stretch: float = 1.0
    control: float = 0.0
    clip: float = 1.0
    is_telephone: bool = False
    loss: float = 0.0
    conceals: bool = True
    cancelled: float = 0.0

    @classmethod
    def sample(cls, rng: np.random.Generator, material: Material) -> Line:
        """One drawn at random."""
        has_noise = bool(material.noises or material.music) and rng.random() < 0.5
        return cls(
            seed=int(rng.integers(2**31)),
            snr_db=float(rng.uniform(6, 32)) if has_noise else np.inf,
            is_music=bool(material.music) and (not material.noises or rng.random() < 0.3),
            has_response=bool(material.responses) and rng.random() < 0.25,
            stretch=float(rng.uniform(0.6, 1.3)),
            control=float(rng.choice([0.0, rng.uniform(0.2, 1.0)])),
            clip=float(rng.choice([1.0, 1.0, rng.uniform(0.1, 0.5)])),
            is_telephone=bool(rng.random() < 0.12),
            loss=float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.01, 0.12)])),
            conceals=bool(rng.random() < 0.7),
            cancelled=float(rng.choice([0.0, 0.0, rng.uniform(0.003, 0.03)])),
        )


class LiveMicrophone(Microphone):
    """A microphone in a real room, on a real line.

    Args:
        room: as of every microphone.
        line: what comes after it.
        material: noises, music and impulse responses.
        seed: of what is random in time.
    """

    def __init__(self, room: Room, line: Line, material: Material, seed: int) -> None:
        super().__init__(room, seed)
        self._line = line
        rng = np.random.default_rng((line.seed, 91))
        self._chance = np.random.default_rng((seed, 92))
        if line.has_response and material.responses:
            measured = material.responses[rng.integers(len(material.responses))]
            response = resample(measured, round(RATE / line.stretch))
            first = int(np.abs(response).argmax())
            response = response[max(0, first - 8) :][: int(0.8 * RATE)]
            self._response = (response / max(float(np.abs(response).max()), 1e-6)).astype(np.float32)
        self._background = self._behind(rng, material)
        self._at = int(rng.integers(len(self._background)))
        self._gain, self._last = 1.0, np.zeros(PACKET, np.float32)
        self._lost_in_a_row = 0

    def take(self, agent: Sound) -> Sound:
        """The next unit [2560], as it arrives."""
        unit = super().take(agent)
        line = self._line
        if line.cancelled:
            unit = unit + np.float32(line.cancelled) * agent * np.float32(self._chance.uniform(0.3, 1.7))
        if len(self._background) > 1:
            unit = unit + self._background.take(np.arange(self._at, self._at + UNIT), mode="wrap")
            self._at = (self._at + UNIT) % len(self._background)
        if line.control:
            unit = self._controlled(unit)
        unit = np.clip(unit, -line.clip, line.clip)
        if line.is_telephone:
            unit = companded(unit)
        arrived: Sound = (self._received(unit) if line.loss else unit).astype(np.float32)
        return arrived

    def _behind(self, rng: np.random.Generator, material: Material) -> Sound:
        """The background, over and over."""
        sounds = material.music if self._line.is_music else material.noises
        if not sounds or not np.isfinite(self._line.snr_db):
            return np.zeros(1, np.float32)
        sound = sounds[rng.integers(len(sounds))]
        if self._line.is_telephone:
            sound = low_pass(sound, 3400.0)
        if self._line.has_response:  # a source at the other end of the room
            sound = convolve(sound, self._response)[: len(sound)]
        loud = _VOICE * self._room.gain * 10 ** (-self._line.snr_db / 20)
        return level(sound, float(loud)) if len(sound) else np.zeros(1, np.float32)

    def _controlled(self, unit: Sound) -> Sound:
        """Automatic gain: soft sounds slowly made louder, loud ones at once softer."""
        gains = np.empty(UNIT // _STEP + 1)
        gains[0] = self._gain
        for i, part in enumerate(unit.reshape(-1, _STEP)):
            loud = float(np.sqrt((part**2).mean())) + 2e-3
            wanted = float(np.clip(_VOICE / loud, 0.3, 3.0)) ** self._line.control
            pace = 0.3 if wanted < self._gain else 0.004
            self._gain += pace * (wanted - self._gain)
            gains[i + 1] = self._gain
        curve = np.interp(np.arange(UNIT), np.arange(len(gains)) * _STEP, gains)
        controlled: Sound = (unit * curve).astype(np.float32)
        return controlled

    def _received(self, unit: Sound) -> Sound:
        """Packets that are lost come in runs, and are silent or the last one again."""
        out = unit.copy()
        for start in range(0, UNIT, PACKET):
            again = 0.5 if self._lost_in_a_row else self._line.loss
            if self._chance.random() < again:
                self._lost_in_a_row += 1
                fade = 0.6**self._lost_in_a_row if self._line.conceals else 0.0
                out[start : start + PACKET] = self._last * np.float32(fade)
            else:
                self._lost_in_a_row = 0
                self._last = unit[start : start + PACKET].copy()
        return out


def companded(sound: Sound) -> Sound:
    """Sound as telephones carry it: eight bits, finer where it is soft (G.711, mu-law)."""
    squeezed = np.sign(sound) * np.log1p(255 * np.abs(sound)) / np.log(256)
    rounded = np.rint(squeezed * 127) / 127
    plain: Sound = (np.sign(rounded) * np.expm1(np.abs(rounded) * np.log(256)) / 255).astype(np.float32)
    return plain


def room_of(room: Room, line: Line, rng: np.random.Generator) -> Room:
    """The room as it is with this line: a telephone has its own band; some real rooms ring longer than drawn ones."""
    if line.is_telephone:
        return replace(room, low_hz=300.0, high_hz=3400.0)
    return replace(room, reverb_s=float(rng.uniform(0.1, 0.8)))
