"""Time of the model for a unit, stage by stage, as the history grows: full history, and sinks with a window.

Weights are random and the history is made of random keys: neither changes how long anything takes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from ...nodes.context import packed, unpacked
from ...wan_core.cache.context import ContextState
from ...wan_core.cache.kvcache import KVCache
from ...wan_core.compiling import compiled, compiled_codec
from ...wan_core.config import CacheConfig, Preset, preset
from ...wan_core.exchange import ResponseUnit, Thought, UserUnit
from ...wan_core.flow import Latents, Solver
from ...wan_core.media.audio import AudioCodec
from ...wan_core.media.mel import LogMel
from ...wan_core.media.video import VideoCodec
from ...wan_core.model import DuplexModel, laid_out
from ...wan_core.performer import Performer
from ...wan_core.thinker import Thinker
from . import pair
from .report import OnRound, Report, Round, Table, ignored, quantiles, report

AIM = (
    "sum of the stages, p95: 60 ms or less at 10 s, 120 ms or less at 5 minutes; the window flat within 10 %; "
    "two processes gain 85 % or more of sum / longest cycle"
)
ROUNDS = 3
SECONDS = 8.0
"""Of media, measured at each history."""

PRESET = "tiny"
STEPS = 2
THREADS = 1
"""As the shipped graphs give each of their two processes."""

HISTORIES_S = (10, 60, 120, 300, 600)
BUDGET_MS = 160.0
WARM_UNITS = 2
CODEC_REPEATS = (1, 2, 4)
"""How often codecs run in one unit, where two processes are measured against one."""

STAGES = ("encode", "think", "transfer", "flow", "decode")

T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    """Sizes of the measurement; tests measure less."""

    preset: str = PRESET
    histories_s: tuple[float, ...] = HISTORIES_S
    steps: int = STEPS
    threads: int = THREADS
    codec_repeats: tuple[int, ...] = CODEC_REPEATS
    compile: bool = False


class Stopwatch:
    """Milliseconds of each stage of one unit."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    def time(self, stage: str, work: Callable[[], T]) -> T:
        """Do it, and note how long it took."""
        started = time.perf_counter()
        result = work()
        self.ms[stage] = (time.perf_counter() - started) * 1000
        return result


class Session:
    """One dialogue, all stages of it, both sides holding a history of so many units.

    Args:
        shapes: the preset, with the cache policy that is measured.
        units: of history.
        steps: of the solver.
        compile: whether blocks and codecs are compiled.
    """

    def __init__(self, shapes: Preset, units: int, steps: int, compile: bool = False) -> None:
        self.steps, self.preset = steps, shapes
        torch.manual_seed(0)
        self.model = laid_out(DuplexModel(shapes).eval().requires_grad_(False))
        self.video, self.audio = VideoCodec(shapes.video).eval(), AudioCodec(shapes.audio).eval()
        if compile:
            compiled(self.model)
            compiled_codec(self.video)
            compiled_codec(self.audio)
        self.mel, self.thinker, self.performer = LogMel(shapes.mel), Thinker(self.model), Performer(self.model)
        self.thinking, self.performing = self.thinker.new_state(), self.performer.new_state()
        for state in (self.thinking, self.performing):
            remember(self.model.cache, state, units)
        self.codecs: list[Any] = [
            self.video.new_encoder_state(), self.mel.new_state(),
            self.video.new_decoder_state(), self.audio.new_decoder_state(),
        ]  # fmt: skip
        self.response = ResponseUnit()
        shape = shapes.video
        self.frames = torch.rand(1, 1, shape.frames, shape.height, shape.width, 3) * 2 - 1
        self.samples = torch.rand(1, 1, shapes.mel.hop * shapes.mel.hops) - 0.5

    @torch.inference_mode()
    def unit(self) -> dict[str, float]:
        """One unit from pictures and samples to pictures and samples: milliseconds by stage."""
        watch, unit = Stopwatch(), self.thinking.unit
        user = watch.time("encode", self.encode)
        thought = watch.time("think", lambda: self.think(user))

        def transfer() -> None:
            need = self.performer.follow(self.performing, unpacked(packed([thought.slice])), unit)
            assert need is None, need

        watch.time("transfer", transfer)
        latents = watch.time("flow", lambda: self.performer.generate(self.performing, unit, Solver(self.steps)))
        watch.time("decode", lambda: self.decode(latents))
        self.response = ResponseUnit(latents.audio, latents.video)
        return watch.ms

    def encode(self) -> UserUnit:
        """One unit of the user."""
        video, self.codecs[0] = self.video.encode(self.frames, self.codecs[0])
        mel, self.codecs[1] = self.mel(self.samples, self.codecs[1])
        return UserUnit(video[:, 0], mel[:, 0], torch.zeros(1, dtype=torch.int64))

    def think(self, user: UserUnit) -> Thought:
        """Think one unit, from what was encoded and the last response."""
        return self.thinker.step(self.thinking, user, self.response)

    def decode(self, latents: Latents) -> None:
        """One unit of the agent."""
        _, self.codecs[2] = self.video.decode(latents.video[:, None], self.codecs[2])
        _, self.codecs[3] = self.audio.decode(latents.audio[:, None], self.codecs[3])


@torch.inference_mode()
def remember(cache: KVCache, state: ContextState, units: int) -> None:
    """Give a session so many units of random history."""
    shape = (state.batch, cache.layers, cache.kv_heads, cache.per_unit, cache.head_dim)
    generator = torch.Generator().manual_seed(0)
    for _ in range(units):
        keys, values = torch.randn(2, *shape, generator=generator).unbind(0)
        cache.start_slice(state.cache)
        cache.append(state.cache, keys, values)
        cache.close_slices(state.cache, keys)


def run(
    rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored, scale: Scale | None = None
) -> Report:
    """Time some units at each history, under both policies.

    Returns:
        Per round, by policy and history: quantiles of every stage and of their ``sum`` in ms; ``crosses_s``: the
        history at which the sum's p95 meets the unit's length, by the line through them (None: never);
        ``window_spread``: slowest by fastest median of the sum, where the window is full; ``processes``: by how often
        codecs run, what `pair.compared` tells, at the shortest history.
    """
    scale = scale or Scale()
    shapes = replace(preset(scale.preset), cache=CacheConfig())  # minutes of history, however little the preset holds
    units = max(2, round(seconds / shapes.unit_seconds))
    policies = {"full": shapes, "window": replace(shapes, cache=replace(shapes.cache, policy="window"))}
    parameters = {
        "preset": scale.preset,
        "tokens per unit": f"{shapes.slots.clean} clean + {shapes.slots.noisy} noisy",
        "solver steps": scale.steps,
        "dtype": "float32",
        "compile": "inductor" if scale.compile else "none",
        "units per history": units,
        "window": f"{shapes.cache.sink_units} sinks + {shapes.cache.window_units} units",
        "threads": {"model": scale.threads},
    }

    def measure() -> Round:
        with torch_threads(scale.threads):
            found = {name: by_history(p, scale, units) for name, p in policies.items()}
            processes = two_against_one(shapes, scale, units)
        sums = {name: [h["sum"] for h in histories.values()] for name, histories in found.items()}
        flat = window_is_full(shapes.cache, scale.histories_s, shapes.unit_seconds)
        return {
            "policies": found,
            "crosses_s": crossing(scale.histories_s, [s["p95"] for s in sums["full"]], BUDGET_MS),
            "window_spread": spread([s["p50"] for s, is_full in zip(sums["window"], flat, strict=True) if is_full]),
            "processes": processes,
        }

    return report("model", AIM, parameters, rounds, measure, _last_p95, on_round)


def by_history(shapes: Preset, scale: Scale, units: int) -> dict[str, Any]:
    """Quantiles by history, which is named in seconds; the sessions take turns, so that all meet the same load."""
    sessions = {
        f"{s:g} s": Session(shapes, round(s / shapes.unit_seconds), scale.steps, scale.compile)
        for s in scale.histories_s
    }
    rows: dict[str, list[dict[str, float]]] = {history: [] for history in sessions}
    for _ in range(WARM_UNITS + units):
        for history, session in sessions.items():
            rows[history].append(session.unit())
    return {history: stages(found[WARM_UNITS:]) for history, found in rows.items()}


def two_against_one(shapes: Preset, scale: Scale, units: int) -> dict[str, dict[str, float]]:
    """By how often codecs run: a session in one process, then in two."""
    history = round(min(scale.histories_s) / shapes.unit_seconds)
    found = {}
    with pair.remote(_alone, (shapes, history, scale.steps, scale.compile, scale.threads)) as performer:
        ours = Session(shapes, history, scale.steps, scale.compile)
        for repeats in scale.codec_repeats:
            one = pair.in_one(Session(shapes, history, scale.steps, scale.compile), units, repeats, _now_ms)
            found[f"{repeats} x"] = pair.compared(one, pair.in_two(ours, performer, units, repeats, _now_ms))
    return found


def _alone(shapes: Preset, units: int, steps: int, compile: bool, threads: int) -> Session:
    """A session in a process of its own."""
    torch.set_num_threads(threads)
    return Session(shapes, units, steps, compile)


def _now_ms() -> float:
    return time.perf_counter() * 1000


def stages(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Quantiles of each stage, and of the sum of each unit."""
    named = {stage: quantiles([row[stage] for row in rows]) for stage in STAGES}
    return {**named, "sum": quantiles([sum(row.values()) for row in rows])}


def window_is_full(cache: CacheConfig, histories_s: tuple[float, ...], unit_s: float) -> list[bool]:
    """True if nothing more is remembered after these."""
    return [history / unit_s >= cache.sink_units + cache.window_units for history in histories_s]


def crossing(x: tuple[float, ...], y: list[float], limit: float) -> float | None:
    """Point at which the line nearest to the points meets the limit, 0 when it begins above; None: it never does."""
    slope, base = statistics.linear_regression(x, y) if len(x) > 1 else (0.0, y[0])
    return round(max(0.0, (limit - base) / slope), 1) if slope > 0 else None


def spread(values: list[float]) -> float | None:
    """Largest by smallest."""
    return round(max(values) / min(values), 3) if values else None


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """So many threads for torch, and then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _last_p95(measured: Round) -> float:
    *_, longest = measured["policies"]["full"].values()
    return float(longest["sum"]["p95"])


def table(report: Report) -> Table:
    """A row for each round, policy and history: medians of the stages, quantiles of the sum; then of processes."""
    rows: list[tuple[Any, ...]] = []
    for measured in report["rounds"]:
        for policy, histories in measured["policies"].items():
            crosses, spread_of = measured["crosses_s"], measured["window_spread"]
            full = f"{BUDGET_MS:g} ms: {'never' if crosses is None else f'{crosses:g} s'}"
            note = full if policy == "full" else f"slowest by fastest: {spread_of or 'not known'}"
            for history, found in histories.items():
                medians = [f"{found[stage]['p50']:.1f}" for stage in STAGES]
                sums = [f"{found['sum'][q]:.1f}" for q in ("p50", "p95", "p99")]
                rows.append((measured["round"], measured["load_1m"], policy, history, *medians, *sums, note))
        for repeats, found in measured["processes"].items():
            note = (
                f"one process {found['one_ms']:.1f}, two {found['two_ms']:.1f}: gain {found['gain']:.2f} "
                f"of {found['bound']:.2f} ({found['of_bound']:.0%})"
            )
            blanks = [None] * (len(STAGES) + 3)
            rows.append((measured["round"], measured["load_1m"], "two", f"codecs {repeats}", *blanks, note))
    columns = ("round", "load", "policy", "history", *STAGES, "sum p50", "p95", "p99 ms", "")
    return Table(columns, rows)
