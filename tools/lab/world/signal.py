"""Sound on the unit grid: the sizes of a unit, and what is done to a voice before it is heard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]
Plane = NDArray[np.float32]

RATE = 16_000
"""Samples per second."""
UNIT = 2560
"""Samples in a unit of 160 ms."""
FRAMES = 4
"""Pictures in a unit."""
FRAME = UNIT // FRAMES
"""Samples in the time of one picture, 40 ms."""
MS = RATE // 1000
"""Samples in a millisecond."""

_TAPS = 16  # of the resampling filter, on either side
_PHASES = 512  # between two samples; -54 dB of error at worst


def glide(sound: Sound, first: float, last: float, start: float = 0.0) -> Sound:
    """``sound`` played at a rate that is ``first`` up to ``start`` (0..1 of its length) and then moves to ``last``.

    A rate above 1 is higher and shorter, below 1 lower and longer: pitch, formants and tempo together, like a tape.
    """
    n = len(sound)
    ramp = np.clip((np.arange(n) / max(n - 1, 1) - start) / max(1.0 - start, 1e-6), 0.0, 1.0)
    pace = first + (last - first) * ramp
    clock = np.concatenate([[0.0], np.cumsum(1.0 / pace)])
    positions = np.interp(np.arange(int(clock[-1])), clock, np.arange(n + 1))
    return _at(sound, positions, min(1.0, 1.0 / max(first, last)))


def resample(sound: Sound, from_hz: int, to_hz: int = RATE) -> Sound:
    """``sound`` at another rate, by a windowed sinc."""
    if from_hz == to_hz:
        return sound
    ratio = from_hz / to_hz
    return _at(sound, np.arange(int(len(sound) / ratio)) * ratio, min(1.0, 1.0 / ratio))


def warp_tract(sound: Sound, factor: float) -> Sound:
    """``sound`` from a throat ``factor`` times as short: formants move up by ``factor``, the pitch stays."""
    if abs(factor - 1.0) < 1e-3:
        return sound
    size, hop = 512, 128
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    padded = np.pad(sound, (size, size + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    spectra = np.fft.rfft(frames)
    cepstra = np.fft.irfft(np.log(np.abs(spectra) + 1e-4))
    lifter = np.zeros(size)
    lifter[:30], lifter[-29:] = 1.0, 1.0
    envelope = np.fft.rfft(cepstra * lifter).real
    bins = np.arange(envelope.shape[1])
    source = np.clip(bins / factor, 0, bins[-1])
    low = np.minimum(source.astype(int), bins[-1] - 1)
    moved = envelope[:, low] + (source - low) * (envelope[:, low + 1] - envelope[:, low])
    shaped = np.fft.irfft(spectra * np.exp(np.clip(moved - envelope, -3.0, 3.0))) * window
    out = np.zeros(len(padded) + size)
    for i, piece in enumerate(shaped):
        out[i * hop : i * hop + size] += piece
    warped: Sound = (out[size : size + len(sound)] / 1.5).astype(np.float32)
    return warped


def stretched(sound: Sound, factor: float) -> Sound:
    """``sound`` so many times as long, at its own pitch: overlapping pieces, each laid where it fits best (WSOLA)."""
    size, hop, reach = 480, 240, 120
    if abs(factor - 1.0) < 1e-3 or len(sound) < 3 * size:
        return sound
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    padded = np.pad(sound, (reach, size + 2 * reach))
    count = int(len(sound) * factor) // hop
    out = np.zeros((count + 1) * hop + size, np.float32)
    goes_on: Sound | None = None  # what would follow the last piece
    for i in range(count):
        start = reach + int(i * hop / factor)
        if goes_on is not None:
            near = np.lib.stride_tricks.sliding_window_view(padded[start - reach : start + reach + size], size)
            energy = np.sqrt((near**2).sum(1)) + 1e-6
            start += int((near @ goes_on / energy).argmax()) - reach
        out[i * hop : i * hop + size] += padded[start : start + size] * window
        goes_on = padded[start + hop : start + hop + size]
        if len(goes_on) < size:
            break
    return out[: int(len(sound) * factor)]


def trim(sound: Sound, threshold: float = 0.03) -> Sound:
    """``sound`` without the silence around it, with edges faded over a few milliseconds; empty if all is silence."""
    if not len(sound):  # which nothing can be convolved with
        return sound
    loudness = np.convolve(np.abs(sound), np.ones(160) / 160, "same")
    loud = np.flatnonzero(loudness > threshold * loudness.max())
    if not len(loud) or loudness.max() < 1e-4:
        return sound[:0]
    part = sound[max(0, loud[0] - 80) : loud[-1] + 240].copy()
    fade = min(160, len(part) // 4)
    part[: fade // 2] *= np.linspace(0, 1, fade // 2)
    part[-fade:] *= np.linspace(1, 0, fade)
    return part


def level(sound: Sound, rms: float = 0.12) -> Sound:
    """``sound`` with a root mean square of ``rms``."""
    levelled: Sound = (sound * (rms / np.sqrt(np.mean(sound**2) + 1e-9))).astype(np.float32)
    return levelled


def loudness(sound: Sound, step: int = FRAME) -> Sound:
    """Root mean square of each ``step`` samples; [N / step]."""
    levels: Sound = np.sqrt((sound.reshape(-1, step) ** 2).mean(axis=1))
    return levels


def low_pass(sound: Sound, cutoff_hz: float) -> Sound:
    """``sound`` without what is above ``cutoff_hz``, with a soft edge of an eighth of it."""
    return _filtered(sound, lambda hz: 1.0 / (1.0 + np.exp((hz - cutoff_hz) / (cutoff_hz / 16))))


def high_pass(sound: Sound, cutoff_hz: float) -> Sound:
    """``sound`` without what is below ``cutoff_hz``."""
    return _filtered(sound, lambda hz: hz**4 / (hz**4 + cutoff_hz**4))


def convolve(sound: Sound, response: Sound) -> Sound:
    """Full convolution, by Fourier transform; [N + M - 1]."""
    n = len(sound) + len(response) - 1
    size = 1 << (n - 1).bit_length()
    full: Sound = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(response, size), size)[:n].astype(np.float32)
    return full


class Track:
    """Sound to come, from which one unit after the other is taken; sounds may be added to what was not taken yet."""

    def __init__(self) -> None:
        self.unit = 0
        self._ahead: Sound = np.zeros(UNIT, np.float32)

    def add(self, sound: Sound, start: int) -> None:
        """Mix ``sound`` in from sample ``start`` on, counted from the start of unit 0."""
        at = start - self.unit * UNIT
        assert at >= 0, f"sound added at sample {start}, but unit {self.unit - 1} was taken"
        missing = at + len(sound) - len(self._ahead)
        if missing > 0:
            self._ahead = np.pad(self._ahead, (0, missing))
        self._ahead[at : at + len(sound)] += sound

    def cut(self, start: int, fade_ms: int = 20) -> None:
        """Silence from sample ``start`` on, after a short fade."""
        at = start - self.unit * UNIT
        fade = max(0, min(fade_ms * MS, len(self._ahead) - at))
        self._ahead[at : at + fade] *= np.linspace(1, 0, fade, dtype=np.float32)
        self._ahead[at + fade :] = 0.0

    def take(self) -> Sound:
        """The next unit [2560]."""
        unit, rest = self._ahead[:UNIT].copy(), self._ahead[UNIT:]
        self._ahead = rest if len(rest) >= UNIT else np.pad(rest, (0, UNIT - len(rest)))
        self.unit += 1
        return unit


def _filtered(sound: Sound, gain: Callable[[NDArray[Any]], NDArray[Any]]) -> Sound:
    size = 1 << (len(sound) + 511).bit_length()
    spectrum = np.fft.rfft(sound, size)
    shaped = np.fft.irfft(spectrum * gain(np.fft.rfftfreq(size, 1 / RATE)), size)
    kept: Sound = shaped[: len(sound)].astype(np.float32)
    return kept


def _at(sound: Sound, positions: NDArray[Any], cutoff: float) -> Sound:
    if not len(positions):
        return sound[:0]
    padded = np.pad(sound, (_TAPS, _TAPS + 1))
    offsets = np.arange(-_TAPS + 1, _TAPS + 1)
    distance = np.arange(_PHASES + 1)[:, None] / _PHASES - offsets
    kernels = cutoff * np.sinc(cutoff * distance) * (0.5 + 0.5 * np.cos(np.pi * np.clip(distance / _TAPS, -1, 1)))
    whole = np.floor(positions).astype(int)
    phase = np.rint((positions - whole) * _PHASES).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _TAPS)[whole + 1]
    values: Sound = np.einsum("nk,nk->n", windows, kernels.astype(np.float32)[phase])
    return values
