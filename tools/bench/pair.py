"""Thinker and performer in two processes against both in one, as fast as they can: how much of each hides in the other.

In one process a unit takes the sum of its stages. In two, what does not wait for each other overlaps: while the
performer solves unit k, the other side decodes unit k - 1 and encodes unit k + 1. Nothing can be faster than the
longest cycle, so that the sum divided by it is the bound of what two processes gain.

Codecs are also run several times a unit, for what heavier ones would take.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, Protocol

import torch

from ...nodes.context import packed, unpacked
from ...wan_core.exchange import ResponseUnit, Thought, UserUnit
from ...wan_core.flow import Latents, Solver
from ...wan_core.performer import Performer, PerformerState

WARM_UNITS = 2
LEAVE: None = None
"""Sent to the performer's process when there is nothing more to answer."""


class Clock(Protocol):
    """Milliseconds since anything."""

    def __call__(self) -> float:
        """Now."""
        ...


class Side(Protocol):
    """Part of a `model.Session` that both measurements need."""

    performer: Performer
    performing: PerformerState
    response: ResponseUnit
    steps: int

    def encode(self) -> UserUnit:
        """One unit of the user."""
        ...

    def think(self, user: UserUnit) -> Thought:
        """Think one unit, from what was encoded."""
        ...

    def decode(self, latents: Latents) -> None:
        """One unit of the agent."""
        ...


class Remote:
    """The performer of a session, in a process of its own.

    Args:
        session: how to make it there: a module-level function and its arguments.
    """

    def __init__(self, make: Any, arguments: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_perform, args=(there, make, arguments), daemon=True)
        self._process.start()
        there.close()
        assert self._here.recv() == "ready"

    def ask(self, thought: Thought) -> None:
        """Send the slice of a unit."""
        self._here.send(packed([thought.slice]))

    def answer(self) -> Latents:
        """Wait for its latents."""
        audio, video = self._here.recv()
        return Latents(torch.from_numpy(audio), torch.from_numpy(video))

    def close(self) -> None:
        """End the process."""
        self._here.send(LEAVE)
        self._process.join()


@contextmanager
def remote(make: Any, arguments: tuple[Any, ...]) -> Iterator[Remote]:
    """A `Remote` for as long as the block runs."""
    performer = Remote(make, arguments)
    try:
        yield performer
    finally:
        performer.close()


@torch.inference_mode()
def _perform(there: Connection, make: Any, arguments: tuple[Any, ...]) -> None:
    """Run the performer's process."""
    session: Side = make(*arguments)
    there.send("ready")
    while (context := there.recv()) is not LEAVE:
        (slice_,) = unpacked(context)
        session.performer.append(session.performing, slice_)
        latents = session.performer.generate(session.performing, slice_.unit, Solver(session.steps))
        there.send((latents.audio.numpy(), latents.video.numpy()))


@torch.inference_mode()
def in_two(session: Side, performer: Remote, units: int, repeats: int, now: Clock) -> float:
    """Milliseconds a unit, median."""
    took, user, shown = list[float](), session.encode(), None
    for _ in range(WARM_UNITS + units):
        began = now()
        performer.ask(session.think(user))
        for _ in range(repeats):
            if shown is not None:
                session.decode(shown)
            user = session.encode()
        shown = performer.answer()
        session.response = ResponseUnit(shown.audio, shown.video)
        took.append(now() - began)
    return median(took[WARM_UNITS:])


@torch.inference_mode()
def in_one(session: Side, units: int, repeats: int, now: Clock) -> dict[str, float]:
    """Milliseconds of each part of a unit, medians; ``sum`` is that of whole units."""
    rows: list[dict[str, float]] = []
    for _ in range(WARM_UNITS + units):
        times = [now()]
        for _ in range(repeats):
            user = session.encode()
        times.append(now())
        thought = session.think(user)
        (slice_,) = unpacked(packed([thought.slice]))
        times.append(now())
        session.performer.append(session.performing, slice_)
        latents = session.performer.generate(session.performing, slice_.unit, Solver(session.steps))
        session.response = ResponseUnit(latents.audio, latents.video)
        times.append(now())
        for _ in range(repeats):
            session.decode(latents)
        times.append(now())
        encode, think, solve, decode = (after - before for before, after in pairwise(times))
        rows.append({"codecs": encode + decode, "think": think, "solve": solve, "sum": times[-1] - times[0]})
    return {name: round(median(row[name] for row in rows[WARM_UNITS:]), 3) for name in rows[0]}


def compared(one: dict[str, float], two: float) -> dict[str, float]:
    """The bound ``sum / longest cycle`` by what one process measured, what two processes gained, and their ratio.

    The cycles are the loop, thinking and solving, and what the thinker's process does besides.
    """
    longest = one["think"] + max(one["solve"], one["codecs"])
    bound, gain = one["sum"] / longest, one["sum"] / two
    return {
        "one_ms": one["sum"],
        "two_ms": round(two, 3),
        "bound": round(bound, 3),
        "gain": round(gain, 3),
        "of_bound": round(gain / bound, 3),
    }
