"""Motion of faces: each part follows its target without jumping, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .face import CARD_COLOURS, Pose
from .signal import FRAMES, RATE, Sound, loudness

_PACE = {"smile": 0.25, "gaze_x": 0.5, "gaze_y": 0.4, "brow": 0.3, "tilt": 0.18, "hand": 0.38, "card": 0.38, "nod": 0.5}
_BLINK = (0.55, 1.0, 0.8, 0.2)
_NOD = (0.35, 0.8, 1.0, 0.6, 0.0, -0.35, -0.2, 0.0)
_FPS = 25
_FULL_VOICE = 0.16  # root mean square at which the mouth is wide open


class Mover:
    """One person's face over time: set targets, then take the pose of one unit after the other."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._now = dict.fromkeys(_PACE, 0.0)
        self._targets = dict.fromkeys(_PACE, 0.0)
        self._breath = float(rng.uniform(0, 2 * np.pi))
        self._breath_hz = float(rng.uniform(0.2, 0.32))
        self._sway = float(rng.uniform(0, 2 * np.pi))
        self._frame = 0
        self._colour = 0
        self._gestures: dict[str, list[float]] = {"blink": [], "nod": []}

    def aim(self, **targets: float) -> None:
        """Set targets of the face from the next frame on: ``smile``, ``gaze_x``, ``brow``, ``hand``, ``card``..."""
        self._targets.update(targets)

    def show(self, colour: str) -> None:
        """The colour of the card."""
        self._colour = list(CARD_COLOURS).index(colour)

    def blink(self) -> None:
        """Shut and open the eyes in the next 4 frames."""
        self._gestures["blink"] = list(_BLINK)

    def nod(self) -> None:
        """Nod once, in the next 8 frames."""
        self._gestures["nod"] = list(_NOD)

    def take(self, voice: Sound, changes: Mapping[int, Mapping[str, float]] | None = None) -> Pose:
        """The next 4 frames, speaking ``voice`` [2560]; ``changes`` are targets that begin at one of the frames."""
        pose = Pose.still(FRAMES)
        pose.mouth[:] = np.clip(loudness(voice) / _FULL_VOICE, 0.0, 1.0)
        pose.card_colour[:] = self._colour
        for j in range(FRAMES):
            self._targets.update((changes or {}).get(j, {}))
            for name, pace in _PACE.items():
                self._now[name] += pace * (self._targets[name] - self._now[name])
                getattr(pose, name)[j] = self._now[name]
            seconds = self._frame / _FPS
            pose.breath[j] = np.sin(2 * np.pi * self._breath_hz * seconds + self._breath)
            pose.tilt[j] += 0.25 * np.sin(2 * np.pi * 0.11 * seconds + self._sway)
            pose.blink[j] = self._gestures["blink"].pop(0) if self._gestures["blink"] else 0.0
            pose.nod[j] += self._gestures["nod"].pop(0) if self._gestures["nod"] else 0.0
            self._frame += 1
        return pose

    @property
    def is_nodding(self) -> bool:
        """True if the last nod is still going on."""
        return bool(self._gestures["nod"])


def visible_after(pace: str) -> int:
    """Samples after a target moved from 0 to 1 at which the part is 60 % there, and so plainly to be seen."""
    frames = int(np.ceil(np.log(0.4) / np.log(1.0 - _PACE[pace])))
    return frames * RATE // _FPS


def voiced(samples: Sound) -> NDArray[np.bool_]:
    """True if a dry voice is on, per frame [4]."""
    on: NDArray[np.bool_] = loudness(samples) > 0.005
    return on
