"""A photograph of a face, animated by its landmarks: the mouth opens, eyes blink, the head turns, nods and sways.

Everything is one inverse map from where a pixel is shown to where it is taken from, in units of the face itself: 1 is
the way from the eyes to the mouth, the origin lies between them.
"""

# T frames, S side in pixels

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..canvas import Canvas
from ..face import Pose
from ..signal import Plane
from .material import Portrait
from .sampling import Texture, laid, sampled, smaller, texture_of

_HALF_HEIGHT, _MIDDLE = 1.7, -0.35
"""Of the ellipsoid that a head is: half its height, and its middle above the origin."""
_WHITE_CLOTH = 0.5  # darker cloth keeps its colour


@dataclass(frozen=True)
class Manner:
    """Manner in which a photographed person is shown and moves.

    Attributes:
        x, y: where the face is, -1..1; ``size`` is the way from its eyes to its mouth.
        turn: radians that the head turns to look aside; ``idle`` those that it turns while it looks at the agent.
        jaw: how far the mouth opens.
        roll: radians that the head leans.
        cloth: colour that white cloth takes.
        glasses: thickness of the rims; 0 is none.
        lamp: how much more light comes from one side, -1..1.
        sway: phase of all slow movements.
    """

    x: float = 0.0
    y: float = 0.0
    size: float = 0.32
    turn: float = 0.7
    idle: float = 0.05
    jaw: float = 0.5
    roll: float = 0.0
    cloth: tuple[float, float, float] = (1.0, 1.0, 1.0)
    glasses: float = 0.0
    lamp: float = 0.0
    sway: float = 0.0

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Manner:
        """One drawn at random: mostly in the middle and whole, now and then off it, small, or cut off."""
        size = float(np.exp(rng.uniform(np.log(0.18), np.log(0.5))))
        away = 0.25 if rng.random() < 0.8 else 0.6
        return cls(
            x=float(rng.normal(0, away)) * 0.9,
            y=float(np.clip(rng.normal(-0.05, 0.15), -0.6, 0.5)),
            size=size,
            turn=float(rng.uniform(0.5, 1.0)),
            idle=float(rng.choice([0.0, rng.uniform(0.0, 0.12)])),
            jaw=float(rng.uniform(0.3, 0.75)),
            roll=float(rng.normal(0, 0.06)),
            cloth=cloth_colour(rng),
            glasses=float(rng.uniform(0.03, 0.09)) if rng.random() < 0.25 else 0.0,
            lamp=float(rng.normal(0, 0.3)),
            sway=float(rng.uniform(0, 2 * np.pi)),
        )


def cloth_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """Colour of a shirt: any, now and then one as strong as a card's."""
    import colorsys

    if rng.random() < 0.25:
        grey = float(rng.uniform(0.1, 1.0))
        return grey, grey, grey
    return colorsys.hsv_to_rgb(float(rng.random()), float(rng.uniform(0.1, 0.95)), float(rng.uniform(0.2, 1.0)))


class Sitter:
    """One person of one photograph.

    Args:
        portrait: the photograph.
        manner: how they are shown.
        pixels: side of the picture that they are shown in.
    """

    def __init__(self, portrait: Portrait, manner: Manner, pixels: int) -> None:
        self.manner = manner
        points = portrait.landmarks
        eyes, mouth = points[0:2].mean(0), points[94:104].mean(0)
        unit = float(mouth[1] - eyes[1])
        texture = texture_of(portrait.picture)
        self._dress(texture, float(points[125:134, 1].max()), unit)
        shown = manner.size * pixels / 2  # pixels of the picture for one unit of the face
        longest = max(texture.shape[:2])
        self.texture = smaller(texture, 1.5 * longest * shown / unit)
        scale = self.texture.shape[0] / texture.shape[0]
        self._origin: Plane = (np.asarray([eyes[0] + mouth[0], eyes[1] + mouth[1]]) / 2 * scale).astype(np.float32)
        self._unit = unit * scale
        self._pixel = 1 / max(shown, 1.0)
        own = (points - (eyes + mouth) / 2) / unit
        self._eyes = own[0:2]
        corners = own[[87, 93]]
        self._mouth = own[94:104].mean(0)
        self._mouth_half = float(max(0.25, (corners[1, 0] - corners[0, 0]) / 2))
        self._corner_drop = float(corners[:, 1].mean() - self._mouth[1])
        ears = own[109:125, 0]
        self._half_width = float(np.clip(0.46 * (ears.max() - ears.min()), 0.8, 1.3))
        skin = texture[int(mouth[1] - 0.4 * unit), int(mouth[0] - 0.5 * unit), :3]
        self.skin = tuple(float(c) for c in skin)

    def _dress(self, texture: Texture, chin: float, unit: float) -> None:
        """Give white cloth the colour of the manner."""
        rows = np.arange(len(texture), dtype=np.float32)[:, None]
        below = np.clip((rows - chin + 0.1 * unit) / (0.3 * unit), 0, 1)
        darkest, brightest = texture[..., :3].min(2), texture[..., :3].max(2)
        is_white = np.clip((darkest - _WHITE_CLOTH) / 0.15, 0, 1) * np.clip(1 - (brightest - darkest) / 0.25, 0, 1)
        share = (below * is_white)[..., None]
        texture[..., :3] *= 1 - share + share * np.asarray(self.manner.cloth, np.float32)

    def paint(self, canvas: Canvas, pose: Pose, frame: int) -> None:
        """Paint over the whole canvas; ``frame`` is the number of its first picture."""
        x, y = self._head(canvas, pose, frame)
        sx, sy, inside = self._source(x, y, canvas, pose, frame)
        layer = sampled(self.texture, self._origin[0] + sx * self._unit, self._origin[1] + sy * self._unit)
        self._open(layer, inside)
        if self.manner.glasses:
            self._spectacles(layer, sx, sy)
        if self.manner.lamp:
            layer[..., :3] *= np.clip(1 + self.manner.lamp * np.clip(x / 2, -1, 1), 0.3, 1.8)[..., None]
        laid(canvas, canvas.patch(0.0, 0.0, 2.0, 2.0), layer)

    def _head(self, canvas: Canvas, pose: Pose, frame: int) -> tuple[Plane, Plane]:
        """Places on the face of the canvas's pixels, before anything in it moves: [T, S, S] each."""
        manner, column = self.manner, canvas.column
        seconds = (frame + np.arange(len(pose), dtype=np.float32)) / 25
        drift_x = 0.03 * np.sin(2 * np.pi * 0.07 * seconds + manner.sway)
        drift_y = 0.02 * np.sin(2 * np.pi * 0.11 * seconds + 2 * manner.sway) + 0.012 * pose.breath
        centre_x = manner.x + manner.size * (drift_x * 3 + 0.25 * pose.gaze_x)
        centre_y = manner.y + manner.size * (drift_y * 3 + 0.22 * pose.nod)
        angle = column(manner.roll + 0.14 * pose.tilt)
        dx = (canvas.axis[None, None, :] - column(centre_x)) / manner.size
        dy = (canvas.axis[None, :, None] - column(centre_y)) / manner.size
        cos, sin = np.cos(angle), np.sin(angle)
        return dx * cos + dy * sin, dy * cos - dx * sin

    def _source(self, x: Plane, y: Plane, canvas: Canvas, pose: Pose, frame: int) -> tuple[Plane, Plane, Plane]:
        """Places that each of these pixels is taken from, and how far it is inside the open mouth."""
        column, manner = canvas.column, self.manner
        wander = manner.idle * np.sin(2 * np.pi * 0.19 * (frame + np.arange(len(pose))) / 25 + manner.sway)
        yaw = column(manner.turn * pose.gaze_x + wander)
        pitch = column(0.35 * pose.nod + 0.15 * pose.gaze_y)
        u, v = x / self._half_width, (y - _MIDDLE) / _HALF_HEIGHT
        radius = np.minimum(u * u + v * v, 1.0)
        depth = np.sqrt(1.0 - radius)
        bend = np.cos(yaw) + (1 - np.cos(yaw)) * radius**2
        sx = x * bend - self._half_width * depth * np.sin(yaw)
        sy = y - 0.6 * _HALF_HEIGHT * depth * np.sin(pitch)
        blink = column(pose.blink)
        if pose.blink.max() > 0.05:
            for ex, ey in self._eyes:
                near = np.exp(-(((sx - ex) / 0.34) ** 4) - ((sy - ey) / 0.2) ** 4)
                sy = sy - 0.27 * blink * near
        return self._jaw(sx, sy, column(pose.mouth * manner.jaw))

    def _jaw(self, sx: Plane, sy: Plane, wide: Plane) -> tuple[Plane, Plane, Plane]:
        """Part the lips by ``wide`` [T, 1, 1]: the jaw goes down, the upper lip up a little, darkness between."""
        u = (sx - self._mouth[0]) / self._mouth_half
        gap = wide * np.sqrt(np.maximum(1 - u * u, 0))
        below = sy - (self._mouth[1] + self._corner_drop * np.minimum(u * u, 1.5))
        inside = np.clip((below + 0.12 * gap) / self._pixel + 0.5, 0, 1)
        inside = inside * np.clip((0.88 * gap - below) / self._pixel + 0.5, 0, 1) * np.clip(gap / self._pixel, 0, 1)
        jaw = 0.88 * wide * np.exp(-((u / 1.5) ** 2))
        fade = np.exp(-((np.maximum(below - jaw, 0) / 1.1) ** 2))
        down = np.minimum(np.maximum(below, 0), jaw) * fade
        up = 0.12 * gap * np.exp(-((np.minimum(below, 0) / 0.2) ** 2)) * (below < 0)
        return sx, (sy - down + up).astype(np.float32), inside.astype(np.float32)

    @staticmethod
    def _open(layer: Plane, inside: Plane) -> None:
        cover = layer[..., 3:] * inside[..., None]
        layer[..., :3] += cover * (np.asarray((0.2, 0.07, 0.08), np.float32) - layer[..., :3])

    def _spectacles(self, layer: Plane, sx: Plane, sy: Plane) -> None:
        thick = self.manner.glasses
        cover = np.zeros_like(sx)
        for ex, ey in self._eyes:
            apart = np.abs(np.hypot((sx - ex) / 1.15, sy - ey - 0.05) - 0.33)
            cover = np.maximum(cover, np.clip((thick - apart) / self._pixel + 0.5, 0, 1))
        bridge = (np.abs(sx - self._eyes[:, 0].mean()) < 0.2) & (np.abs(sy - self._eyes[:, 1].mean()) < thick)
        cover = np.maximum(cover, bridge) * layer[..., 3]
        layer[..., :3] *= (1 - 0.85 * cover)[..., None]
