"""Provenance of an evaluation, and the time of one unit: from index time to the clock."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from ..world.signal import MS, UNIT
from .agents import ModelAgent, Weights
from .report import NOT_JUDGED
from .rows import Setting, tools
from .talk import FIRST_SEED, DialogueSpec

_TIMED, _WARM = 40, 8
"""Units that are timed, and those before them that are not."""


def facts_of(setting: Setting) -> dict[str, Any]:
    """The weights, the solver, and the milliseconds to add to index times on this machine."""
    met = tools(setting).voices
    shared: dict[str, Any] = {"dialogues of each kind": setting.dialogues}
    if setting.first:
        shared["first dialogue"] = setting.first
    shared["voices"] = ", ".join(speaker.name for speaker in met.synthetic)
    if setting.recordings:
        shared["people"] = ", ".join(speaker.name for speaker in met.people) or "none is held out (--hold-out NAME)"
    if setting.graph or setting.agent:
        shared["not judged"] = NOT_JUDGED
    if setting.graph:
        return {"graph": " ".join((setting.graph, *(f"{key}={value}" for key, value in setting.sets))), **shared}
    if setting.agent:
        return {"agent": setting.agent, **shared}
    weights = Weights.load(setting.checkpoint)
    compute = unit_ms(setting, weights)
    return {
        "checkpoint": setting.checkpoint,
        "weights": weights.description,
        "solver": f"{setting.solver.steps} steps, temperature of the voice {setting.solver.audio_temperature:g}",
        **shared,
        "wall clock": f"index time + {UNIT // MS} ms (the unit must be complete) + {compute:.0f} ms (median of a unit "
        f"at batch 1, {torch.get_num_threads()} threads)",
    }


def unit_ms(setting: Setting, weights: Weights) -> float:
    """Median time of one unit of one dialogue: seeing, hearing, thinking, performing, decoding."""
    made = tools(setting)
    spec = DialogueSpec(FIRST_SEED - 1, made.voices.synthetic[0])
    world, agent = spec.world(made.voices.bank, weights.size), ModelAgent(weights, setting.solver, setting.seed)
    agent.begin([spec])
    took, answer = list[float](), None
    for _ in range(_WARM + _TIMED):
        user = world.step(answer)
        began = time.perf_counter()
        answer = agent.step([user])[0].samples
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[_WARM:])
