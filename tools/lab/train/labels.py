"""A dialogue as tensors: media, tokens, events, and what a listener should have understood.

# U units, F frames per unit, S pixels
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....wan_core.train.interact import Head
from ..world.dialogue import Dialogue
from ..world.face import CARD_COLOURS, Pose
from ..world.oracle import REACTION_MS, YIELD_MS
from ..world.signal import MS, UNIT
from ..world.tokens import VOCABULARY
from ..world.words import DIGITS

POSE = ("mouth", "blink", "gaze_x", "gaze_y", "brow", "nod", "hand", *CARD_COLOURS)
"""Numbers that tell a unit's pose, for probes; one per colour of the card."""
MOST_PERSONAS = 8
"""How many agents one model can be told to be."""
LISTENED = ("speaking", "addressed", "end", "digit", "hand", "card")
"""What an auxiliary head reads of what the user did."""
HEADS: dict[str, Head] = {
    "speaking": Head(2),
    "addressed": Head(2),
    "end": Head(2),
    "digit": Head(1 + len(DIGITS), weight=0.5),  # words are the hardest to make out
    "hand": Head(2),
    "card": Head(1 + len(CARD_COLOURS)),
    "persona": Head(1 + MOST_PERSONAS, weight=0.5),  # what the agent was told lies far back
}
"""The auxiliary heads; of most, class 0 is nothing. ``persona``: who the agent was told to be, in every unit."""


def tensors_of(dialogue: Dialogue) -> dict[str, Tensor]:
    """Everything of a dialogue that training may need.

    Returns:
        ``user_audio``, ``agent_audio`` [U, 2560] int16; ``user_video``, ``agent_video`` [U, F, S, S, 3] uint8;
        ``user_text``, ``agent_text`` [U] int16; ``event`` [U, 2] int8; ``user_pose``, ``agent_pose`` [U, len(POSE)]
        float16; and, for the auxiliary heads, [U] int8 each: ``speaking``, ``addressed``, ``end``, ``hand`` (0 or 1),
        ``digit`` (0, or 1 + the digit whose word ended here), ``card`` (0, or 1 + its colour); and ``holds`` [U] int8,
        where the agent rightly does nothing; and ``unseen``, ``unheard`` [U] int8, where there is no picture, or sound.
    """
    units = len(dialogue)
    events = [
        (VOCABULARY.state(s), VOCABULARY.gesture(g)) for s, g in zip(dialogue.states, dialogue.gestures, strict=True)
    ]
    user_pose = pose_numbers(dialogue.user_pose, units)
    card = user_pose[:, POSE.index("red") :]
    made = {
        "user_audio": _samples(dialogue.user_audio),
        "agent_audio": _samples(dialogue.agent_audio),
        "user_video": dialogue.user_video,
        "agent_video": dialogue.agent_video,
        "user_text": dialogue.user_text.astype(np.int16),
        "agent_text": dialogue.agent_text.astype(np.int16),
        "event": np.asarray(events, np.int8),
        "user_pose": user_pose.astype(np.float16),
        "agent_pose": pose_numbers(dialogue.agent_pose, units).astype(np.float16),
        "speaking": dialogue.speaking.any(1).astype(np.int8),
        "addressed": dialogue.addressed.astype(np.int8),
        "hand": (user_pose[:, POSE.index("hand")] > 0.5).astype(np.int8),
        "card": np.where(card.max(1) > 0.5, 1 + card.argmax(1), 0).astype(np.int8),
        **_audible_words(dialogue),
        "holds": _holds(dialogue),
        "unseen": (~dialogue.is_seen).astype(np.int8),
        "unheard": (~dialogue.has_sound).astype(np.int8),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in made.items()}


def pose_numbers(pose: Pose, units: int) -> NDArray[np.float32]:
    """Means over each unit's frames: [U, len(POSE)]."""
    columns = [getattr(pose, name) for name in POSE if name not in CARD_COLOURS]
    columns += [pose.card * (pose.card_colour == index) for index in range(len(CARD_COLOURS))]
    means: NDArray[np.float32] = np.stack(columns, -1).reshape(units, -1, len(POSE)).mean(1).astype(np.float32)
    return means


def _samples(audio: NDArray[np.float32]) -> NDArray[np.int16]:
    return (np.clip(audio, -1, 1) * 32767).astype(np.int16).reshape(-1, UNIT)


def _audible_words(dialogue: Dialogue) -> dict[str, NDArray[np.int8]]:
    """In which unit a digit, and a turn, came to its end; a cue at a unit's last sample belongs to that unit."""
    digit, end = (np.zeros(len(dialogue), np.int8) for _ in range(2))
    for cue in dialogue.cues:
        unit = max(0, (cue.at - 1) // UNIT)
        if unit >= len(dialogue):
            continue
        if cue.kind == "word" and cue.words[0] in DIGITS:
            digit[unit] = 1 + DIGITS.index(cue.words[0])
        elif cue.kind == "end":
            end[unit] = 1
    return {"digit": digit, "end": end}


def _holds(dialogue: Dialogue) -> NDArray[np.int8]:
    """1 where an agent would answer that took a pause, or side talk, for the end of a turn, or would stop that took a
    backchannel for an interruption: there it counts to do nothing."""
    holds = np.zeros(len(dialogue), np.int8)
    for cue in dialogue.cues:
        if cue.kind in ("pause", "quiet"):
            wait_ms = REACTION_MS
        elif cue.kind == "speech" and cue.manner == "backchannel":
            wait_ms = YIELD_MS
        else:
            continue
        unit = -(-(cue.at + wait_ms * MS) // UNIT)
        if unit < len(dialogue):
            holds[unit] = 1
    return holds
