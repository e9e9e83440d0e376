"""Rooms and microphones: reverberation, band limits, gain, noise, and the echo of the agent's own voice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .signal import MS, RATE, UNIT, Sound, Track, convolve, high_pass, low_pass


@dataclass(frozen=True)
class Room:
    """Room that a user's voice passes on its way to the agent.

    Attributes:
        reverb_s: seconds in which the reverberation falls by 60 dB; 0 is none.
        wet: how loud it is, relative to the direct sound.
        low_hz, high_hz: limits of the microphone.
        gain: of the voice.
        noise: root mean square of the noise, before the gain; ``hum`` is the share of it below 500 Hz.
        echo: gain of the agent's voice in the microphone; ``echo_ms`` its delay beyond one unit.
    """

    reverb_s: float = 0.0
    wet: float = 0.0
    low_hz: float = 60.0
    high_hz: float = 7600.0
    gain: float = 1.0
    noise: float = 3e-4
    hum: float = 0.5
    echo: float = 0.0
    echo_ms: int = 40

    @classmethod
    def sample(cls, rng: np.random.Generator, echo: bool = False) -> Room:
        """A room drawn at random; with ``echo`` most of them have some."""
        return cls(
            reverb_s=float(rng.uniform(0.1, 0.5)),
            wet=float(rng.choice([0.0, rng.uniform(0.1, 0.5)], p=[0.3, 0.7])),
            low_hz=float(rng.uniform(50, 250)),
            high_hz=float(rng.choice([7600.0, rng.uniform(3300, 7000)])),
            gain=float(np.exp(rng.uniform(np.log(0.4), np.log(1.25)))),
            noise=float(10 ** rng.uniform(-4.0, -2.3)),
            hum=float(rng.uniform(0.0, 0.9)),
            echo=float(rng.uniform(0.02, 0.25)) if echo and rng.random() < 0.8 else 0.0,
            echo_ms=int(rng.integers(10, 120)),
        )

    def response(self, seed: int) -> Sound:
        """Impulse response: the direct sound, then decaying noise."""
        if not self.wet or not self.reverb_s:
            return np.ones(1, np.float32)
        n = int(self.reverb_s * RATE)
        tail = np.random.default_rng(seed).standard_normal(n) * 10 ** (-3.0 * np.arange(n) / n)
        tail[: 4 * MS] = 0.0
        tail *= self.wet / np.sqrt((tail**2).sum() + 1e-9)
        tail[0] = 1.0
        return tail.astype(np.float32)


class Microphone:
    """Microphone of a user, unit by unit: words are added where they begin, then each unit is taken once."""

    def __init__(self, room: Room, seed: int) -> None:
        self._room, self._seed = room, seed
        self._response = room.response(seed)
        self._track = Track()
        self._agent: Sound = np.zeros(2 * UNIT, np.float32)

    def add(self, word: Sound, start: int) -> None:
        """A spoken word from sample ``start`` on; not before the next unit."""
        clean = low_pass(high_pass(np.pad(word, (0, 160)), self._room.low_hz), self._room.high_hz)
        self._track.add(convolve(clean, self._response) * np.float32(self._room.gain), start)

    def take(self, agent: Sound) -> Sound:
        """The next unit [2560]: voice, noise, and the echo of ``agent`` [2560], which the agent said a unit before."""
        rng = np.random.default_rng((self._seed, 7, self._track.unit))
        unit = self._track.take()
        self._agent = np.concatenate([self._agent[UNIT:], agent])
        if self._room.echo:
            late = self._room.echo_ms * MS
            unit += np.float32(self._room.echo) * self._agent[UNIT - late : 2 * UNIT - late]
        sound: Sound = np.clip(unit + self._noise(rng), -1.0, 1.0)
        return sound

    def _noise(self, rng: np.random.Generator) -> Sound:
        white, dull = rng.standard_normal((2, UNIT)).astype(np.float32)
        room = self._room
        noise: Sound = (1 - room.hum) * white + room.hum * 4.0 * low_pass(dull, 500.0)
        return np.float32(room.noise) * noise.astype(np.float32)
