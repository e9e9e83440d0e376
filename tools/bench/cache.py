"""The cache: against a plain implementation of the same model, and how much memory it takes, measured as memory."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...runtime.errors import UserError
from ...wan_core.cache.kvstate import KVState
from ...wan_core.config import CacheConfig, preset
from ...wan_core.exchange import Decision, UserUnit
from ...wan_core.flow import Solver
from ...wan_core.model import DuplexModel
from ...wan_core.reference import Reference, ReferenceState
from .model import torch_threads
from .plain import Plain
from .report import OnRound, Report, Round, Table, ignored, quantiles, report

AIM = "twice as fast or more at 5 minutes, with equal outputs; no memory but the cache over 10,000 units"
ROUNDS = 3
SECONDS = 1600.0
"""Of media, in the memory test: 10,000 units."""

SMALL = "nano"

STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Scale:
    """Sizes of the measurement; tests measure less."""

    preset: str = "tiny"
    history_s: float = 300.0
    timed_units: int = 25
    grown_units: int = 2000
    cap_units: int = 500
    chunk_units: int = 250
    steps: int = 2
    threads: int = 1


def run(
    rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored, scale: Scale | None = None
) -> Report:
    """Answer the same users with both, then watch the resident memory of long sessions.

    Returns:
        Per round: ``ours_ms`` and ``plain_ms`` of a unit (thinking and solving), their ``ratio`` of medians, and the
        ``largest_difference`` of their outputs; ``growth_bytes_per_unit`` while a cache grows, beside what the preset
        says it is; ``drift_bytes_per_unit`` once it has stopped growing.

    Raises:
        UserError: the system does not tell how much memory is resident.
    """
    scale = scale or Scale()
    small = preset(SMALL)
    units = max(2 * scale.cap_units, round(seconds / small.unit_seconds))
    parameters = {
        "preset": scale.preset,
        "history": f"{scale.history_s:g} s",
        "solver steps": scale.steps,
        "timed units": scale.timed_units,
        "memory test": f"{units} units of {SMALL}, cap at {scale.cap_units}",
        "threads": {"model": scale.threads},
    }

    def measure() -> Round:
        with torch_threads(scale.threads):
            return {**against_plain(scale), **memory(scale, units)}

    return report("cache", AIM, parameters, rounds, measure, lambda measured: -measured["ratio"], on_round)


def against_plain(scale: Scale) -> dict[str, Any]:
    """Both, unit by unit in turns, so that they meet the same load."""
    shapes = replace(preset(scale.preset), cache=CacheConfig())
    torch.manual_seed(0)
    model = DuplexModel(shapes).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    units = round(scale.history_s / shapes.unit_seconds)
    history = [torch.randn(2, *shapes.slice_shape, generator=generator) for _ in range(units)]
    reference, plain = Reference(model), Plain(model, history)
    state = reference.new_state()
    remember(reference, state.thinker.cache, history)
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    decision = Decision(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    difference = 0.0
    for _ in range(scale.timed_units + 1):
        user = UserUnit(
            torch.randn(1, *shapes.video.latent_shape, generator=generator),
            torch.randn(1, *shapes.mel.shape, generator=generator),
            torch.zeros(1, dtype=torch.int64),
        )
        with timed(times["plain"]):
            word, latents = plain.step(user, decision, scale.steps)
        with timed(times["ours"]):
            thought, own = reference.step(state, user, Solver(scale.steps), decision)
        difference = max(difference, difference_of((word, *latents), (thought.text_logits, *own)))
    ours, theirs = (quantiles(times[name][1:]) for name in ("ours", "plain"))
    return {
        "ours_ms": ours,
        "plain_ms": theirs,
        "ratio": round(theirs["p50"] / ours["p50"], 2),
        "largest_difference": difference,
    }


def difference_of(some: Iterable[Tensor], others: Iterable[Tensor]) -> float:
    """Largest between numbers of the same place; infinite where there is no number, which equals nothing."""
    found = [float((one - other).abs().max()) for one, other in zip(some, others, strict=True)]
    return math.inf if any(map(math.isnan, found)) else max(found)


def memory(scale: Scale, units: int) -> dict[str, Any]:
    """Resident memory of a session that grows, and of one that has reached its cap, by unit."""
    growing, chunk = _small(CacheConfig(chunk_units=scale.chunk_units)), scale.chunk_units
    state = growing.new_state()
    _step(growing, state, chunk - 1)
    grown = _step(growing, state, scale.grown_units)
    del growing, state
    capped = _small(CacheConfig(cap_units=scale.cap_units, chunk_units=scale.cap_units))
    state = capped.new_state()
    _step(capped, state, scale.cap_units + 1)
    drift = _step(capped, state, units - scale.cap_units - 1)
    return {
        "stated_bytes_per_unit": preset(SMALL).cache_bytes_per_unit,
        "growth_bytes_per_unit": round(grown),
        "drift_bytes_per_unit": round(drift, 1),
    }


def _small(cache: CacheConfig) -> Reference:
    torch.manual_seed(0)
    return Reference(DuplexModel(replace(preset(SMALL), cache=cache)).eval().requires_grad_(False))


def _step(reference: Reference, state: ReferenceState, units: int) -> float:
    """Go on for so many units; by how many bytes the resident memory grew, per unit."""
    before = resident_bytes()
    for _ in range(units):
        reference.step(state, UserUnit(), Solver(1))
    return (resident_bytes() - before) / units


@torch.inference_mode()
def remember(reference: Reference, state: KVState, history: list[Tensor]) -> None:
    """Give a session this history: un-rotated keys and values [2, L, KV, N, D] of each slice."""
    cache = reference.model.cache
    for keys, values in history:
        cache.start_slice(state)
        cache.append(state, keys[None], values[None])
        cache.close_slices(state, keys[None])


@contextmanager
def timed(ms: list[float]) -> Iterator[None]:
    """Add the milliseconds that the block took."""
    started = time.perf_counter()
    yield
    ms.append((time.perf_counter() - started) * 1000)


def resident_bytes() -> int:
    """Memory of this process that is in use, as the system counts it, once what was freed has been given back.

    Raises:
        UserError: the system has no /proc.
    """
    gc.collect()
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
    try:
        pages = int(STATM.read_text().split()[1])
    except OSError as error:
        raise UserError(f"bench cache: {error} (expected Linux), memory cannot be measured here") from error
    return pages * os.sysconf("SC_PAGE_SIZE")


def table(report: Report) -> Table:
    """A row for each round."""
    rows = [
        (
            measured["round"],
            measured["load_1m"],
            f"{measured['ours_ms']['p50']:.1f}",
            f"{measured['plain_ms']['p50']:.1f}",
            f"{measured['ratio']:.2f}",
            f"{measured['largest_difference']:.1e}",
            f"{measured['growth_bytes_per_unit']:,} of {measured['stated_bytes_per_unit']:,}",
            f"{measured['drift_bytes_per_unit']:,}",
        )
        for measured in report["rounds"]
    ]
    columns = ("round", "load", "ours", "plain ms", "ratio", "difference", "bytes/unit growing", "at the cap")
    return Table(columns, rows)
