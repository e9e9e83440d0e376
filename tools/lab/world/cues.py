"""Units between a user and an agent: sound, picture and text, and the truth about them.

A *cue* is something that can be heard or seen in the user's unit, with the sample at which it is complete. The ideal
agent answers cues, never intentions; evaluation measures from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .face import Pose
from .signal import Sound

CueKind = Literal[
    "speech", "word", "pause", "end", "quiet", "typed", "pressed", "card", "card_away", "hand", "hand_down"
]  # fmt: skip
Manner = Literal["turn", "interruption", "backchannel", "aside", "chatter"]
State = Literal["idle", "listen", "backchannel", "speak", "stop"]
Gesture = Literal["none", "blink", "nod"]


@dataclass(frozen=True)
class Cue:
    """Something the user did.

    Attributes:
        kind: ``speech`` began, a ``word`` ended, a ``pause`` inside a turn began, a turn came to its ``end``, other
            speech ended (``quiet``), a line was ``typed``, the stop button was ``pressed``, a ``card`` or
            ``hand`` is up or down again.
        at: sample, counted from the start of unit 0, at which it is complete.
        manner: of speech: a turn, an interruption, a backchannel, an aside to somebody else, or chatter to which there
            is no answer.
        words: the word that ended, the line that was typed, the card's colour.
    """

    kind: CueKind
    at: int
    manner: Manner = "turn"
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class UserUnit:
    """160 ms of a user.

    Attributes:
        samples: what the microphone heard, [2560] float32.
        frames: what the camera saw, [4, S, S, 3] uint8; empty [0] where nothing was drawn.
        text: token typed in this unit, of the world's vocabulary: a word, ENTER at the end of a line, STOP where
            the stop button was pressed, or PAD.
        cues: those that are complete within this unit.
        pose: what was drawn, 4 frames.
        is_speaking: [4] whether the user's voice is on, per frame.
        is_addressed: whether the user looks at the agent.
        is_seen, is_heard: whether there is a picture, and sound; what there is not arrives as empty.
    """

    unit: int
    samples: Sound
    frames: NDArray[np.uint8]
    text: int
    cues: tuple[Cue, ...]
    pose: Pose
    is_speaking: NDArray[np.bool_]
    is_addressed: bool
    is_seen: bool = True
    has_sound: bool = True


@dataclass(frozen=True)
class AgentUnit:
    """160 ms of an agent: ``samples`` [2560], ``pose`` of 4 frames, text and its event.

    ``text`` is a token of the world's vocabulary: the word whose sound begins in this unit, STOP where the agent breaks
    off, or PAD.
    """

    unit: int
    samples: Sound
    pose: Pose
    text: int
    state: State
    gesture: Gesture
