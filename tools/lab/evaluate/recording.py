"""Somebody's own recording put before a model: what it heard, answered, and when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from ....runtime.errors import MediaError
from ....wan_core.exchange import ResponseUnit, UserUnit
from ....wan_core.media.mel import LogMel
from ....wan_core.performer import Performer
from ....wan_core.thinker import Thinker
from ....wan_core.train.interact import load_understanding
from ....wan_core.vocabulary import PAD
from ..train.labels import HEADS
from ..world.recordings import read_sound
from ..world.signal import RATE, UNIT, Sound, level
from ..world.tokens import VOCABULARY
from ..world.words import DIGITS
from .agents import Weights, as_sounds
from .rows import Setting

AFTER_S = 3.0
"""Seconds of silence behind the recording, for the answer."""
FLOOR = 3e-4
"""Noise of a quiet room, which the silence has too."""


@dataclass(frozen=True)
class Moment:
    """Something that happened while a recording was played: ``what`` is ``heard``, ``state`` or ``says``."""

    seconds: float
    what: str
    value: str


def listen(setting: Setting, path: Path, as_json: bool) -> None:
    """Print what a model makes of a recording.

    Raises:
        MediaError: the file cannot be read, or is silent.
        ModelError: the checkpoint cannot be used.
    """
    sound = read_sound(path)
    if len(sound) < UNIT or float(np.abs(sound).max()) < 1e-3:
        raise MediaError(f"{path}: silent (expected somebody who says digits), record it louder")
    moments = answers_to(setting, sound)
    if as_json:
        click.echo(json.dumps([vars(moment) for moment in moments], indent=2))
        return
    from ...shared.tables import console, table

    made = table("s", "", "", right=("s",))
    for moment in moments:
        made.add_row(f"{moment.seconds:.2f}", moment.what, moment.value)
    console().print(made)
    for what in ("heard", "says"):
        words = " ".join(m.value for m in moments if m.what == what)
        console().print(f"{what}: {words or '(nothing)'}")


@torch.inference_mode()
def answers_to(setting: Setting, sound: Sound) -> list[Moment]:
    """Play ``sound`` (16 kHz) to a model that sees nobody; what happened, in order of time.

    Digits are heard by a head that was trained beside the model and takes no part in its answers.
    """
    weights = Weights.load(setting.checkpoint)
    heads = load_understanding(setting.checkpoint, HEADS)
    thinker, performer = Thinker(weights.model), Performer(weights.model)
    thinking, performing = thinker.new_state(), performer.new_state()
    front_end = LogMel(weights.model.preset.mel)
    mel_state, response = front_end.new_state(), ResponseUnit()
    moments, was = list[Moment](), ""
    for unit, samples in enumerate(in_units(sound)):
        mel, mel_state = front_end(as_sounds([samples]), mel_state)
        thought = thinker.step(
            thinking, UserUnit(audio=mel[:, 0], text=torch.tensor([PAD])), response, seed=setting.seed
        )
        performer.append(performing, thought.slice)
        latents = performer.generate(performing, unit, setting.solver, setting.seed)
        response = ResponseUnit(latents.audio, latents.video)
        seconds = round((unit + 1) * UNIT / RATE, 2)
        digit = int(heads(thought.user_hidden)["digit"].argmax())
        state, token = VOCABULARY.states[int(thought.event[0, 0])], int(thought.text[0])
        if digit:
            moments.append(Moment(seconds, "heard", DIGITS[digit - 1]))
        if state != was:
            moments.append(Moment(seconds, "state", state))
        if VOCABULARY.word_of(token):
            moments.append(Moment(seconds, "says", VOCABULARY.word_of(token)))
        was = state
    return moments


def in_units(sound: Sound) -> list[Sound]:
    """A recording as loud as users are, with a little silence before and more behind it, unit by unit."""
    parts = (np.zeros(RATE // 2, np.float32), level(sound), np.zeros(int(AFTER_S * RATE), np.float32))
    whole = np.concatenate(parts)
    whole = np.pad(whole, (0, -len(whole) % UNIT))
    noise = np.random.default_rng(81).standard_normal(len(whole)).astype(np.float32)
    return list((whole + np.float32(FLOOR) * noise).astype(np.float32).reshape(-1, UNIT))
