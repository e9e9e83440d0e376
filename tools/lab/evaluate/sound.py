"""Stretches of sound between silences, from samples alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..world.onset import AUDIBLE
from ..world.signal import MS, Sound, loudness

PAUSE_MS = 120
"""A silence that is longer ends a stretch."""
_STEP = 10 * MS
_LEAST_MS = 30


@dataclass(frozen=True)
class Stretch:
    """Something heard without a longer pause, from sample ``start`` up to ``end``."""

    start: int
    end: int


def stretches(samples: Sound, pause_ms: int = PAUSE_MS) -> list[Stretch]:
    """Stretches of sound in ``samples`` (of whole units), clicks apart."""
    loud = np.flatnonzero(loudness(samples, _STEP) > AUDIBLE)
    found: list[Stretch] = []
    for place in loud.tolist():
        start = place * _STEP
        if found and start - found[-1].end < pause_ms * MS:
            found[-1] = Stretch(found[-1].start, start + _STEP)
        else:
            found.append(Stretch(start, start + _STEP))
    return [stretch for stretch in found if stretch.end - stretch.start >= _LEAST_MS * MS]


def stretch_at(found: list[Stretch], sample: int) -> Stretch | None:
    """The stretch that is on at ``sample``; within a pause, none."""
    return next((stretch for stretch in found if stretch.start <= sample < stretch.end), None)


def first_onset(found: list[Stretch], after: int, until: int) -> int | None:
    """First onset of sound after ``after`` and up to ``until``; None where there is none."""
    return next((stretch.start for stretch in found if after < stretch.start <= until), None)


def silent_from(found: list[Stretch], after: int, until: int) -> int | None:
    """From where on it is silent up to ``until``, at ``after`` or later; None where something is heard at the end."""
    meeting = [stretch for stretch in found if stretch.end > after and stretch.start < until]
    if not meeting:
        return after
    return None if meeting[-1].end >= until else max(after, meeting[-1].end)
