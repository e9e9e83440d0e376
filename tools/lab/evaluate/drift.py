"""Five minutes at a stretch: is the last minute still like the first?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np

from ....runtime.errors import MediaError
from ....runtime.output_file import claim
from ..world.onset import AUDIBLE
from ..world.persona import PERSONAS
from ..world.signal import FRAME, FRAMES, RATE, UNIT, Sound, loudness
from . import probes
from .face_reader import SHARPNESS
from .figures import Figure, ratio, share_of
from .measures import in_text, onset_of, right_words
from .memory import Memory, memory_of
from .report import progress
from .rows import Setting, side_by_side, tools
from .sound import stretches
from .talk import DialogueSpec, Talk
from .turns import turns

MINUTES = 5
UNITS_PER_MINUTE = 60 * RATE // UNIT
DIALOGUES = 12

CONTINUOUS = ("loudness of speech", "loudness of silence", "sharpness", "mouth open in speech")
RATES = ("answered", "words, text", "persona: words by its rule, text")


@dataclass(frozen=True)
class Minute:
    """One minute of all dialogues: means of what is continuous, and rates with their intervals."""

    levels: Mapping[str, float]
    rates: Mapping[str, Figure]


Part = Literal["free", "persona", "memory"]


@dataclass(frozen=True)
class LongRun:
    """So many ``dialogues`` of so many ``minutes``, half of them with agents that have a persona's prompt."""

    setting: Setting
    dialogues: int = DIALOGUES
    minutes: int = MINUTES


def evaluate_drift(setting: Setting, processes: int, as_json: bool, plots: Path | None) -> None:
    """Hold long dialogues, print minute by minute, and the last against the first."""
    minutes, memory = long_run(LongRun(setting, setting.dialogues), processes)
    if as_json:
        found = {"minutes": [_plain(m) for m in minutes], "change": _finite(changes(minutes))}
        click.echo(json.dumps(found | {"memory": memory.effects, "memory span": memory.span}, indent=2))
    else:
        _print(minutes, memory)
    if plots is not None:
        _draw(minutes, plots)


def _print(minutes: Sequence[Minute], memory: Memory) -> None:
    from ...shared.tables import console, table

    made = table("measure", *(f"minute {n + 1}" for n in range(len(minutes))), "last against first")
    change = changes(minutes)
    for name in CONTINUOUS:
        made.add_row(name, *(f"{m.levels[name]:.4g}" for m in minutes), f"{change[name]:+.1%}")
    for name in RATES:
        made.add_row(name, *(m.rates[name].text() for m in minutes), f"{100 * change[name]:+.1f} points")
    console().print(made)
    for distance, effect in memory.effects.items():
        console().print(f"what was heard and seen {distance} units ago moves the state by {effect:.4f} of its size")
    console().print(f"effective memory: {memory.span} units, {memory.span * UNIT / RATE:.1f} s")


def long_run(run: LongRun, processes: int = 1) -> tuple[list[Minute], Memory]:
    """Minute by minute, and how far back the model remembers."""
    tools(run.setting)  # errors, and what is made once, before there are several processes
    parts: tuple[Part, ...] = ("free", "persona", "memory")
    talks: dict[Part, list[Talk]] = {}
    memory = Memory({})
    with progress(len(parts)) as advance:
        for part, found in side_by_side(_done, [(run, part) for part in parts], processes):
            if isinstance(found, Memory):
                memory = found
            else:
                talks[part] = found
            advance(part)
    return [_minute(talks["free"], talks["persona"], number) for number in range(run.minutes)], memory


def _done(job: tuple[LongRun, Part]) -> tuple[Part, list[Talk] | Memory]:
    run, part = job
    if part == "memory":
        return part, memory_of(run.setting)
    made, half = tools(run.setting), run.dialogues // 2
    specs = probes.free(made.voices.synthetic, run.dialogues).specs
    chosen = _prompted(specs[:half]) if part == "persona" else specs[half:]
    return part, made.runner("model", run.setting)(chosen, run.minutes * UNITS_PER_MINUTE)


def _prompted(specs: Sequence[DialogueSpec]) -> list[DialogueSpec]:
    """Each persona in turn, by its prompt."""
    personas = list(PERSONAS.values())
    return [replace(spec, persona=personas[i % len(personas)], is_prompted=True) for i, spec in enumerate(specs)]


def changes(minutes: Sequence[Minute]) -> dict[str, float]:
    """The last minute against the first: as a share of it for what is continuous, as a difference for rates."""
    first, last = minutes[0], minutes[-1]
    found = {name: last.levels[name] / max(1e-9, first.levels[name]) - 1 for name in CONTINUOUS}
    return found | {name: last.rates[name].value - first.rates[name].value for name in RATES}


def _minute(talks: Sequence[Talk], personas: Sequence[Talk], number: int) -> Minute:
    start, end = number * UNITS_PER_MINUTE * UNIT, (number + 1) * UNITS_PER_MINUTE * UNIT
    both = [*talks, *personas]
    levels = [_levels(talk, start, end) for talk in both]
    rates = {
        "answered": share_of([_answered(talk, start, end) for talk in both]),
        "words, text": ratio([right_words(talk, in_text, start, end) for talk in talks]),
        "persona: words by its rule, text": ratio([right_words(talk, in_text, start, end) for talk in personas]),
    }
    return Minute({name: _mean([level[name] for level in levels]) for name in CONTINUOUS}, rates)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _levels(talk: Talk, start: int, end: int) -> dict[str, float]:
    voice: Sound = loudness(talk.samples[start:end], FRAME)
    speaks = voice > AUDIBLE
    frames = slice(start // UNIT * FRAMES, end // UNIT * FRAMES)
    mouth, sharp = talk.face["mouth"][frames], talk.face[SHARPNESS][frames]
    return {
        "loudness of speech": float(voice[speaks].mean()) if speaks.any() else math.nan,
        "loudness of silence": float(voice[~speaks].mean()) if (~speaks).any() else math.nan,
        "sharpness": float(sharp.mean()),
        "mouth open in speech": float(mouth[speaks].mean()) if speaks.any() else math.nan,
    }


def _answered(talk: Talk, start: int, end: int) -> list[bool]:
    found = stretches(talk.samples)
    return [onset_of(turn, found) is not None for turn in turns(talk) if start <= turn.end < end]


def _plain(minute: Minute) -> dict[str, Any]:
    return {**_finite(minute.levels), **{name: figure.plain() for name, figure in minute.rates.items()}}


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """For JSON, which knows no NaN: nobody spoke in that minute."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _draw(minutes: Sequence[Minute], folder: Path) -> None:
    from .plots import pyplot

    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    numbers = np.arange(1, len(minutes) + 1)
    for name, mark in zip(CONTINUOUS, "os^D", strict=True):
        left.plot(numbers, [m.levels[name] / minutes[0].levels[name] for m in minutes], marker=mark, label=name)
    for name, mark in zip(RATES, "os^", strict=True):
        right.plot(numbers, [m.rates[name].value for m in minutes], marker=mark, label=name)
    left.set(title="against the first minute", xlabel="minute", ylim=(0.8, 1.2))
    right.set(title="rates", xlabel="minute", ylim=(0, 1.02))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.tight_layout()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        claim(folder / "drift.png")
        figure.savefig(folder / "drift.png", dpi=100)
    except OSError as error:
        raise MediaError(f"{folder}: cannot be written ({error.strerror}), choose another --plots") from error
    plt.close(figure)
