"""Figures of one visit, measured by the visitor: how late, how even, how soon silent."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from ...runtime.units import MS, NS
from ..serve.carrier import Samples
from ..serve.protocol import Times
from ..serve.socket import RATE_HZ
from .clip import PART_MS, PART_SAMPLES
from .echo import echo_ms
from .player import Player

KEPT_SOUND_S = 120
"""Sound that is kept to find the echo in."""

KEPT_TIMES = 20_000
"""The newest ones that quantiles are of."""

RECENT_NS = 300 * MS
"""Sound so long ago counts as going on: words have pauses."""

LOUD_PEAK = 100
"""Of 32768, -50 dB: sound above it is heard."""


@dataclass
class TalkFigures:
    """Figures of one visit; None where there was nothing to measure.

    Attributes:
        visit: its name.
        waited_s: in the queue, and for the graph to open.
        talked_s: from the welcome to the end.
        first_picture_s: from the welcome to the first picture.
        shown: pictures that came.
        due: pictures that were due between the first one and the end.
        underruns: how often the sound ran dry.
        skew_ms: by how much the sound was ahead of the picture: p50, and the p95 of its size.
        echo_ms: from sending sound to hearing it, where the graph mirrors it.
        answered_ms: from a unit's end to its answer, p50 and p95.
        network_ms: there and back, p50.
        silence_ms: from an interruption to the last sound within a second that was heard; None where there was none
            to interrupt.
        outcomes: of the units.
        problems: sentences of the server.
    """

    visit: str = ""
    waited_s: float = 0.0
    talked_s: float = 0.0
    first_picture_s: float | None = None
    shown: int = 0
    due: int = 0
    underruns: int = 0
    skew_ms: tuple[float, float] | None = None
    echo_ms: float | None = None
    answered_ms: tuple[float, float] | None = None
    network_ms: float | None = None
    silence_ms: float | None = None
    outcomes: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Measures:
    """Collects what `TalkFigures` are made of."""

    def __init__(self) -> None:
        self.figures = TalkFigures()
        self._outcomes: Counter[str] = Counter()
        self._answers: deque[float] = deque(maxlen=KEPT_TIMES)
        self._pings: deque[float] = deque(maxlen=KEPT_TIMES)
        self._sent: list[Samples] = []
        self._heard: list[Samples] = []
        self._n_heard = 0
        self._interrupted_ns: int | None = None
        self._loud_ns = 0  # when sound was heard last; with an interruption, until a second after it

    def times(self, times: Times) -> None:
        """Note the outcome of a unit."""
        self._outcomes[times.outcome] += 1
        if times.answered_ms >= 0:
            self._answers.append(times.answered_ms)

    def pong(self, sent_ms: float) -> None:
        """A ping is back that was sent at this time of `now_ms`."""
        self._pings.append(now_ms() - sent_ms)

    def picture_sent(self, number: int, now_ns: int) -> None:
        """The clip's picture of this number has left; nothing is made of it here."""

    def picture_seen(self, picture: bytes, now_ns: int) -> None:
        """A picture is shown; nothing is made of it here."""

    @property
    def sounds(self) -> tuple[Samples, Samples]:
        """Sound that was sent and heard since the beginning, as far as it is kept."""
        return np.concatenate(self._sent), np.concatenate(self._heard)

    def sent(self, samples: Samples | None) -> None:
        """Note what was sent in a tick; None: nothing, which counts as silence."""
        if len(self._sent) < KEPT_SOUND_S * 1000 // PART_MS:
            self._sent.append(np.zeros(PART_SAMPLES, np.int16) if samples is None else samples)

    def heard(self, samples: Samples, now_ns: int) -> None:
        """Note what was heard from the last call until now."""
        is_over = self._interrupted_ns is not None and now_ns - self._interrupted_ns >= NS
        if not is_over and np.abs(samples).max(initial=0) > LOUD_PEAK:
            self._loud_ns = now_ns
        if self._n_heard < KEPT_SOUND_S * RATE_HZ:
            self._n_heard += len(samples)
            self._heard.append(samples)

    def interrupted(self, now_ns: int) -> None:
        """The visitor has asked for silence."""
        if now_ns - self._loud_ns < RECENT_NS:
            self._interrupted_ns = now_ns

    def finish(self, player: Player, began_ns: int, now_ns: int) -> None:
        """Fill in the figures."""
        figures, played = self.figures, player.figures
        figures.talked_s = (now_ns - began_ns) / NS
        figures.shown, figures.due, figures.underruns = played.shown, played.due, played.underruns
        figures.outcomes = dict(self._outcomes)
        figures.answered_ms = _quantiles(self._answers)
        figures.network_ms = float(np.median(self._pings)) if self._pings else None
        if player.first_picture_ns is not None:
            figures.first_picture_s = (player.first_picture_ns - began_ns) / NS
        if played.skew_ms:
            skews = np.array(played.skew_ms)
            figures.skew_ms = float(np.median(skews)), float(np.quantile(np.abs(skews), 0.95))
        if self._heard and self._sent:
            figures.echo_ms = echo_ms(*self.sounds, RATE_HZ)
        if self._interrupted_ns is not None:
            figures.silence_ms = max(0, self._loud_ns - self._interrupted_ns) / MS


def now_ms() -> float:
    """Milliseconds of our own clock."""
    return time.monotonic_ns() / MS


def _quantiles(values: deque[float]) -> tuple[float, float] | None:
    return (float(np.median(values)), float(np.quantile(values, 0.95))) if values else None
