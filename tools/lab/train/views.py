"""Users before cameras, for the eyes: a short clip of somebody who does much, and what a plain drawing of it looks like
to the codec.
"""

# U units, F frames per unit, S pixels

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..world.dialogue import pictures
from ..world.face import Pose, join, random_looks
from ..world.life.material import Material
from ..world.life.scene import Scene, View
from ..world.motion import Mover
from ..world.signal import UNIT, Sound
from .labels import POSE, pose_numbers

if TYPE_CHECKING:
    from ....wan_core.media.video import VideoCodec

PLAIN_LOOKS = np.asarray((0.2, 0.3, 0.2, 0.3, 0.5, 0.5, 0.5, 0.5, 0.3, 0.5, 0.0, 0.5, 0.5, 0.5), np.float32)
"""Who is drawn for everybody. Who cannot be seen is drawn at rest, looking at the agent: it shall listen to them."""

WARM_UNITS = 6
"""Units before the clip begins, so that it may begin with a hand or a card that is up already."""
_LATEST_FRAME = 4000


@torch.inference_mode()
def view_of(seed: int, units: int, material: Material, codec: VideoCodec) -> dict[str, Tensor]:
    """One user for some units.

    Returns:
        ``user_video`` [U, F, S, S, 3] uint8; ``latents`` [U, h, w, Z] float16 of the plain drawing; ``user_pose``
        [U, len(POSE)] float16, NaN where it is not known.
    """
    rng = np.random.default_rng((seed, 81))
    view = View.sample(rng, material)
    while view.kind == "off":  # no picture is not to be seen
        view = View.sample(rng, material)
    size = codec.config.height
    pose = doings(rng, units)
    frame = int(rng.integers(_LATEST_FRAME))
    scene = Scene(view, material, random_looks(rng), size, frame)
    clip = scene.shoot(pose)
    seen, knows_mouth = scene.visible(pose, frame)
    numbers = pose_numbers(plain(seen), units)
    if not knows_mouth:
        numbers[:, POSE.index("mouth")] = np.nan
    drawn = torch.from_numpy(pictures(plain(seen), PLAIN_LOOKS, size, units))
    latents, _ = codec.encode(drawn[None].float() / 127.5 - 1, codec.new_encoder_state())
    return {
        "user_video": torch.from_numpy(clip).reshape(units, -1, size, size, 3),
        "latents": latents[0].half(),
        "user_pose": torch.from_numpy(numbers).half(),
    }


def plain(pose: Pose) -> Pose:
    """Part of a pose that the eyes shall tell: no moods, and no breath."""
    still = Pose.still(len(pose))
    kept = ("mouth", "blink", "gaze_x", "gaze_y", "nod", "hand", "card", "card_colour")
    for name in kept:
        getattr(still, name)[:] = getattr(pose, name)
    return still


def doings(rng: np.random.Generator, units: int) -> Pose:
    """Poses of somebody for some units: far more happens than in a dialogue, in any mixture."""
    face = Mover(rng)
    voice = _babble(rng, units + WARM_UNITS)
    poses = []
    is_up = {"hand": False, "card": False, "aside": False}
    for unit in range(units + WARM_UNITS):
        turns = rng.random(5)
        if turns[0] < (0.12 if is_up["hand"] else 0.05):
            is_up["hand"] = not is_up["hand"]
            face.aim(hand=float(is_up["hand"]))
        if turns[1] < (0.10 if is_up["card"] else 0.08):
            is_up["card"] = not is_up["card"]
            face.aim(card=float(is_up["card"]))
            if is_up["card"]:
                face.show(str(rng.choice(["red", "green", "blue", "yellow"])))
        if turns[2] < (0.12 if is_up["aside"] else 0.05):
            is_up["aside"] = not is_up["aside"]
            side = float(rng.choice([-1.0, 1.0])) if is_up["aside"] else 0.0
            face.aim(gaze_x=side, gaze_y=0.2 * abs(side))
        if turns[3] < 0.08:
            face.blink()
        elif turns[4] < 0.04:
            face.nod()
        poses.append(face.take(voice[unit * UNIT : (unit + 1) * UNIT]))
    return join(poses[WARM_UNITS:])


def _babble(rng: np.random.Generator, units: int) -> Sound:
    """Noise as loud, and as unsteady, as words are."""
    syllables = -(-units * UNIT // 1600)
    spoken = np.repeat(rng.random(-(-syllables // 8)) < 0.5, 8)[:syllables]
    loud = spoken * rng.uniform(0.02, 0.24, syllables)
    envelope = np.interp(np.arange(units * UNIT), np.arange(syllables) * 1600 + 800, loud)
    babble: Sound = (envelope * rng.standard_normal(units * UNIT)).astype(np.float32)
    return babble
