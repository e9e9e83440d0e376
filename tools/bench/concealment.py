"""Sound around a lost unit: how loud the clicks are at both of its borders.

The *step* is what a border adds to the spectrum: in windows of 8 ms around it, the power in each band of 500 Hz that is
more than twice what the unbroken sound has within 16 ms there, in this band or one beside it (less is masked by the
sound itself). Its level is told by the power of the loudest window of the unbroken sound; -120 dB is nothing at all.
"""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...nodes.media.concealment import RISE_MS, Concealer, Sound, ramp
from ...runtime.errors import UserError
from .report import OnRound, Report, Round, Table, ignored, report

AIM = "continued: no click above -40 dB"
ROUNDS = 1
SECONDS = 60.0

RATE_HZ = 16_000
UNIT = 2560
"""Samples of a unit of 160 ms."""

HOLE = 4 * UNIT
LENGTH = 9 * UNIT
"""One unit is lost in so many samples."""

SILENT_DB = -120.0

_WINDOW, _BANDS, _STEP = 128, 16, 8
_QUANTILES = {"p50": 50, "p95": 95, "max": 100}

Samples = NDArray[np.float32]
Way = Callable[[Samples], Samples]


def run(
    rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored, voices: Path | None = None
) -> Report:
    """Lose a unit in every 1.44 s of so many seconds of each sound, in other sounds each round.

    Args:
        voices: a folder of WAV files of people who speak, 16 kHz mono; None: a made voice alone.

    Returns:
        Per round: ``{"db": {"voice": {"continued": {"out": {"p50", "p95", "max"}, "back": {...}}}}}``.

    Raises:
        UserError: there are no such files in the folder.
    """
    n = max(1, round(seconds * RATE_HZ / LENGTH))
    spoken = None if voices is None else recordings(voices)
    rngs = iter(range(rounds))
    parameters = {"rate_hz": RATE_HZ, "unit_ms": 160, "lost units": n}
    return report("concealment", AIM, parameters, rounds, lambda: measure(n, next(rngs), spoken), rank, on_round)


def measure(n: int, seed: int, spoken: list[Samples] | None = None) -> Round:
    """One round: every way of concealing, for ``n`` lost units in each kind of sound."""
    kinds: dict[str, Callable[[np.random.Generator], Samples]] = {"sine": sine, "noise": noise, "voice": voice}
    if spoken is not None:
        kinds["speech"] = partial(speech, spoken)
    figures: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for kind, make in kinds.items():
        rng = np.random.default_rng(seed)
        sounds = [make(rng) for _ in range(n)]
        figures[kind] = {name: _figures((sound, way(sound)) for sound in sounds) for name, way in WAYS.items()}
    return {"db": figures}


def rank(measured: Round) -> float:
    """The best round has the least of the loudest clicks."""
    return float(max(border["max"] for kind in measured["db"].values() for border in kind["continued"].values()))


def table(report: Report) -> Table:
    """A row for each round, sound and way; dB."""
    rows = [
        (r["round"], r["load_1m"], kind, way, *(f"{borders[b][q]:.0f}" for b in ("out", "back") for q in _QUANTILES))
        for r in report["rounds"]
        for kind, ways in r["db"].items()
        for way, borders in ways.items()
    ]
    borders = [f"{border} {name}" for border in ("out", "back") for name in _QUANTILES]
    return Table(("round", "load", "sound", "dB", *borders), rows)


def click_db(broken: Samples, unbroken: Samples, at: int) -> float:
    """Level of the step at a border, see the module."""
    masked = np.pad(2 * _powers(unbroken, range(at - 256, at + 257, _STEP)).max(axis=0), 1)
    masked = np.maximum(np.maximum(masked[:-2], masked[1:-1]), masked[2:])
    loudest = _powers(unbroken, range(_WINDOW, len(unbroken) - _WINDOW, _WINDOW // 2)).sum(axis=1).max()
    around = _powers(broken, range(at - 64, at + 65, _STEP))
    step = np.maximum(0, around - masked).sum(axis=1).max()
    return max(SILENT_DB, float(10 * np.log10(step / loudest))) if step > 0 < loudest else SILENT_DB


def cut(sound: Samples) -> Samples:
    """Silence in place of the lost unit."""
    broken = sound.copy()
    broken[HOLE : HOLE + UNIT] = 0
    return broken


def mirrored(sound: Samples) -> Samples:
    """The last 10 ms backwards, faded, then silence; what comes back is faded in."""
    broken, n = cut(sound), RATE_HZ * RISE_MS // 1000
    broken[HOLE : HOLE + n] = sound[HOLE - n : HOLE][::-1] * ramp(n)[::-1]
    broken[HOLE + UNIT : HOLE + UNIT + n] *= ramp(n)
    return broken


def continued(sound: Samples) -> Samples:
    """The continuation of `sync.playout`."""
    concealer, state = Concealer(RATE_HZ), Sound()
    return np.concatenate(
        [
            concealer.conceal(state, UNIT) if at == HOLE else concealer.play(state, sound[at : at + UNIT])
            for at in range(0, len(sound), UNIT)
        ]
    )


WAYS: dict[str, Way] = {"cut": cut, "mirrored": mirrored, "continued": continued}


def sine(rng: np.random.Generator) -> Samples:
    """A tone of 80 to 3000 Hz."""
    phase = 2 * np.pi * (rng.random() + rng.uniform(80, 3000) * np.arange(LENGTH) / RATE_HZ)
    return (0.3 * np.sin(phase)).astype(np.float32)


def noise(rng: np.random.Generator) -> Samples:
    """White noise."""
    return (0.1 * rng.standard_normal(LENGTH)).astype(np.float32)


def voice(rng: np.random.Generator) -> Samples:
    """A sung vowel: pulses of 90 to 250 Hz, not quite regular, through three formants, and breath."""
    pulses = 0.002 * rng.standard_normal(LENGTH)
    at, period = 0.0, RATE_HZ / rng.uniform(90, 250)
    while at < LENGTH:
        pulses[int(at)] += 1
        at += period * rng.uniform(0.98, 1.02)
    hz = np.fft.rfftfreq(LENGTH, 1 / RATE_HZ)
    spectrum = np.fft.rfft(pulses)
    for formant, width in zip(rng.uniform((300, 900, 2200), (900, 2200, 3000)), (80, 100, 140), strict=True):
        pole = complex(-np.pi * width, 2 * np.pi * formant)
        s = 2j * np.pi * hz
        spectrum = spectrum * abs(pole) ** 2 / ((s - pole) * (s - pole.conjugate()))
    sung = np.fft.irfft(spectrum, LENGTH)
    voiced: Samples = (0.3 * sung / np.abs(sung).max()).astype(np.float32)
    return voiced


def speech(spoken: list[Samples], rng: np.random.Generator) -> Samples:
    """A recording, one of its loud moments where the unit is lost."""
    recording = spoken[int(rng.integers(len(spoken)))]
    power = np.convolve(recording**2, np.ones(800), "same")
    moment = int(rng.choice(np.flatnonzero(power > 0.3 * power.max())))
    padded = np.pad(0.5 * recording / np.abs(recording).max(), (HOLE, LENGTH))
    chosen: Samples = padded[moment : moment + LENGTH].astype(np.float32)
    return chosen


def recordings(folder: Path) -> list[Samples]:
    """Every recording in a folder that is long enough, at 16 kHz, mono and of 16 bits.

    Raises:
        UserError: there is none.
    """
    found = [samples for path in sorted(folder.rglob("*.wav")) for samples in _read(path)]
    if not found:
        raise UserError(
            f"bench concealment: --voices {folder}: found no recording (expected WAV files of {RATE_HZ} Hz, mono, "
            "16 bits, longer than a unit), give another folder"
        )
    return found


def _read(path: Path) -> Iterator[Samples]:
    try:
        with wave.open(str(path)) as file:
            fits = (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
            data = file.readframes(file.getnframes()) if fits else b""
    except (wave.Error, EOFError):
        return
    samples = (np.frombuffer(data, "<i2") / 32768).astype(np.float32)
    if len(samples) >= UNIT and samples.any():
        yield samples


def _figures(pairs: Iterable[tuple[Samples, Samples]]) -> dict[str, dict[str, float]]:
    levels = np.array([[click_db(broken, sound, at) for at in (HOLE, HOLE + UNIT)] for sound, broken in pairs])
    return {
        border: {name: round(float(np.percentile(levels[:, i], q)), 1) for name, q in _QUANTILES.items()}
        for i, border in enumerate(("out", "back"))
    }


def _powers(sound: Samples, centres: range) -> NDArray[np.float64]:
    """Power by band of the windows around these samples ``[windows, bands]``."""
    cut_out = np.stack([sound[at - _WINDOW // 2 : at + _WINDOW // 2] for at in centres])
    power = np.abs(np.fft.rfft(cut_out * _blackman_harris(), axis=1)[:, :-1]) ** 2
    bands: NDArray[np.float64] = power.reshape(len(centres), _BANDS, -1).sum(axis=2)
    return bands


def _blackman_harris() -> NDArray[np.float64]:
    """A window whose side lobes, at -92 dB, are below any click that is looked for."""
    angle = 2 * np.pi * np.arange(_WINDOW) / (_WINDOW - 1)
    weights = (0.35875, -0.48829, 0.14128, -0.01168)
    window: NDArray[np.float64] = np.sum([w * np.cos(i * angle) for i, w in enumerate(weights)], axis=0)
    return window
