"""A person in a picture: looks (who it is) and pose (what it does), drawn for many frames at once.

``render(pose, looks, size)`` draws the same person at any size; 64x64 is what the model sees. The mouth follows the
loudness of the person's own voice, so that lips and voice are in step by construction.
"""

# T frames, S side in pixels

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .canvas import Canvas
from .signal import Plane

PIXELS_AT_ONCE = 400_000
"""In pictures that are drawn together: more gains no time, and takes memory."""

LOOKS = 14
"""Numbers in an identity vector, each 0..1; see `Looks`."""

CARD_COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.16, 0.18),
    "green": (0.16, 0.66, 0.30),
    "blue": (0.16, 0.36, 0.84),
    "yellow": (0.97, 0.81, 0.17),
}

_SKIN = ((0.99, 0.86, 0.77), (0.95, 0.76, 0.63), (0.85, 0.63, 0.47), (0.69, 0.47, 0.33), (0.48, 0.32, 0.23))
_HAIR = (
    (0.10, 0.09, 0.10),
    (0.27, 0.16, 0.10),
    (0.48, 0.28, 0.14),
    (0.66, 0.32, 0.14),
    (0.85, 0.67, 0.36),
    (0.74, 0.73, 0.73),
)
_SHIRT = (
    (0.22, 0.33, 0.52),
    (0.20, 0.50, 0.52),
    (0.44, 0.58, 0.38),
    (0.86, 0.66, 0.36),
    (0.80, 0.42, 0.38),
    (0.52, 0.38, 0.58),
)
_WALL = ((0.78, 0.84, 0.88), (0.86, 0.82, 0.76), (0.74, 0.82, 0.76), (0.83, 0.77, 0.84), (0.58, 0.66, 0.74))
_IRIS = ((0.20, 0.12, 0.08), (0.16, 0.22, 0.14), (0.12, 0.22, 0.36))
_WHITE = (0.98, 0.98, 0.97)
_MOUTH = (0.30, 0.07, 0.09)
_RESTING = 0.01  # a hand, or a card, that is raised no further is not drawn


@dataclass(frozen=True)
class Pose:
    """Motion of a person, one value per frame ([T] float32 each).

    Attributes:
        mouth: how far it is open, 0..1.
        smile: corners of the mouth, -1..1.
        blink: 0 open, 1 shut.
        gaze_x, gaze_y: where the eyes look, -1..1; 0 is the other person. The head turns along.
        brow: raised, 0..1.
        nod: head down, -1..1.
        tilt: head to the side, -1..1.
        breath: shoulders up, -1..1.
        hand: raised, 0..1.
        card: shown, 0..1.
        card_colour: index into `CARD_COLOURS`.
    """

    mouth: Plane
    smile: Plane
    blink: Plane
    gaze_x: Plane
    gaze_y: Plane
    brow: Plane
    nod: Plane
    tilt: Plane
    breath: Plane
    hand: Plane
    card: Plane
    card_colour: NDArray[np.int64]

    @classmethod
    def still(cls, frames: int) -> Pose:
        """A person at rest for ``frames`` frames; the arrays may be written to."""
        values: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {
            field.name: np.zeros(frames, np.float32) for field in fields(cls)
        }
        values["card_colour"] = np.zeros(frames, np.int64)
        return cls(**values)  # type: ignore[arg-type]  # every field is an array of its dtype

    def __len__(self) -> int:
        return len(self.mouth)

    def __getitem__(self, part: slice) -> Pose:
        return Pose(*(getattr(self, field.name)[part] for field in fields(self)))


def join(poses: Sequence[Pose]) -> Pose:
    """Poses one after the other."""
    return Pose(*(np.concatenate([getattr(pose, field.name) for pose in poses]) for field in fields(Pose)))


@dataclass(frozen=True)
class Looks:
    """An identity vector spelt out; colours are [T or 1, 3], measures [T or 1]."""

    skin: Plane
    hair: Plane
    shirt: Plane
    wall: Plane
    iris: Plane
    width: Plane
    height: Plane
    eyes: Plane
    long_hair: Plane
    fringe: Plane
    beard: Plane
    brows: Plane
    collar: Plane
    lamp: Plane

    @classmethod
    def of(cls, vector: ArrayLike) -> Looks:
        """The looks that ``vector`` ([14] or [T, 14], each 0..1) describes."""
        v = np.asarray(vector, np.float32).reshape(-1, LOOKS).T
        return cls(
            skin=_blend(_SKIN, v[0]),
            hair=_blend(_HAIR, v[1]),
            shirt=_blend(_SHIRT, v[2]),
            wall=_blend(_WALL, v[3]),
            iris=_blend(_IRIS, v[4]),
            width=0.375 + 0.05 * v[5],
            height=0.475 + 0.05 * v[6],
            eyes=0.165 + 0.025 * v[7],
            long_hair=np.clip((v[8] - 0.45) * 4.0, 0.0, 1.0),
            fringe=v[9],
            beard=np.clip((v[10] - 0.72) * 6.0, 0.0, 1.0) * (v[8] < 0.45),
            brows=0.022 + 0.018 * v[11],
            collar=v[12],
            lamp=v[13] * 2.0 - 1.0,
        )


def random_looks(rng: np.random.Generator) -> NDArray[np.float32]:
    """An identity vector [14]."""
    return rng.random(LOOKS).astype(np.float32)


def render(pose: Pose, looks: ArrayLike, size: int = 64) -> NDArray[np.uint8]:
    """Pictures [T, S, S, 3] of a person in ``pose``; ``looks`` is one identity vector, or one per frame."""
    canvas, who = Canvas(len(pose), size), Looks.of(looks)
    _wall(canvas, who)
    paint_person(canvas, pose, who)
    return canvas.pictures()


def paint_person(canvas: Canvas, pose: Pose, who: Looks) -> None:
    """Draw somebody over what the canvas shows already."""
    head = _Head(pose, who)
    _hair_behind(canvas, head, who)
    _body(canvas, pose, who)
    _skull(canvas, head, who)
    for side in (-1.0, 1.0):
        _eye(canvas, head, pose, who, side)
    _nose(canvas, head, who)
    _mouth(canvas, head, pose, who)
    _hair_before(canvas, head, who)
    if pose.card.max() > _RESTING:
        _card(canvas, pose, who)
    if pose.hand.max() > _RESTING:
        paint_palm(canvas, pose, who)


def render_each(poses: Sequence[Pose], looks: Sequence[NDArray[np.float32]], size: int) -> list[NDArray[np.uint8]]:
    """Pictures as of `render` for each of several people, all poses equally long; together they cost a third."""
    frames = len(poses[0])
    some = max(1, PIXELS_AT_ONCE // (frames * size * size))
    drawn: list[NDArray[np.uint8]] = []
    for i in range(0, len(poses), some):
        who = np.repeat(np.stack(looks[i : i + some]), frames, 0)
        drawn += np.split(render(join(poses[i : i + some]), who, size), len(poses[i : i + some]))
    return drawn


class _Head:
    """Parts of the head: its centre, and points on it that turn, tilt and nod along."""

    def __init__(self, pose: Pose, who: Looks) -> None:
        self.x: Plane = 0.05 * pose.gaze_x + 0.05 * pose.tilt
        self.y: Plane = -0.10 + 0.012 * pose.breath + 0.055 * pose.nod
        self.angle = 0.14 * pose.tilt
        self.turn = 0.080 * pose.gaze_x
        self.drop = 0.055 * pose.nod + 0.02 * pose.gaze_y
        self.width, self.height = who.width, who.height

    def at(self, x: ArrayLike, y: ArrayLike, depth: float = 1.0) -> tuple[Plane, Plane]:
        """A point on the face; ``depth`` is how far it moves as the head turns (0 the centre, 1 the face)."""
        px = np.asarray(x, np.float32) + depth * self.turn
        py = np.asarray(y, np.float32) + depth * self.drop
        turned = np.stack(np.broadcast_arrays(self.x + px - self.angle * py, self.y + py + self.angle * px))
        return turned[0].astype(np.float32), turned[1].astype(np.float32)


def _wall(canvas: Canvas, who: Looks) -> None:
    down = (canvas.axis[None, :, None] + 1.0) / 2.0
    lamp = np.exp(-((canvas.axis[None, None, :] - canvas.column(0.7 * who.lamp)) ** 2) / 0.5 - down**2 / 0.4)
    light = (0.92 - 0.22 * down + 0.16 * lamp).astype(np.float32)
    canvas.planes[:] = who.wall[:, :, None, None] * light[:, None]


def _hair_behind(canvas: Canvas, head: _Head, who: Looks) -> None:
    x, y = head.at(0.0, 0.02 + 0.24 * who.long_hair, -0.4)
    canvas.ellipse(
        x, y, who.width - 0.02 + 0.11 * who.long_hair, 0.30 + 0.38 * who.long_hair, who.hair * 0.78, shade=0.15
    )


def _body(canvas: Canvas, pose: Pose, who: Looks) -> None:
    rise, lean = 0.018 * pose.breath, 0.03 * pose.gaze_x
    neck = who.skin * 0.88
    canvas.ellipse(0.0, 1.14 - rise, 0.83, 0.56, who.shirt, shade=0.24)
    canvas.ellipse(lean, 0.44 - rise, 0.160, 0.24, neck, shade=0.12)
    canvas.ellipse(0.0, 0.635 - rise, 0.205, 0.075 + 0.05 * who.collar, who.shirt * 0.80)
    canvas.ellipse(0.0, 0.622 - rise, 0.185, 0.065 + 0.05 * who.collar, neck)
    canvas.ellipse(lean, 0.405 - rise, 0.115, 0.075, who.skin * 0.66, softness=0.04, opacity=0.75)


def _skull(canvas: Canvas, head: _Head, who: Looks) -> None:
    for side in (-1.0, 1.0):
        x, y = head.at(side * who.width, 0.03, -0.5)
        canvas.ellipse(x, y, 0.065, 0.10, who.skin * 0.88, shade=0.15)
    x, y = head.at(0.0, -0.075, 0.0)
    canvas.ellipse(x, y, who.width + 0.055, who.height + 0.035, who.hair * 0.9, shade=0.25)
    x, y = head.at(0.0, 0.03, 0.25)
    canvas.ellipse(x, y, who.width, who.height - 0.02, who.skin, shade=0.13)
    x, y = head.at(0.0, 0.17, 0.4)
    canvas.ellipse(x, y, who.width * 0.86, who.height * 0.70, who.skin * 1.01, shade=0.10, softness=0.03)
    x, y = head.at(0.0, 0.32, 0.5)
    beard = 0.55 * who.hair + 0.25 * who.skin
    canvas.ellipse(x, y, who.width * 0.70, who.height * 0.40, beard, softness=0.05, opacity=0.8 * who.beard)
    for side in (-1.0, 1.0):
        x, y = head.at(side * 0.23, 0.15, 0.8)
        canvas.ellipse(x, y, 0.085, 0.06, who.skin * (1.0, 0.78, 0.76), softness=0.07, opacity=0.55)


def _eye(canvas: Canvas, head: _Head, pose: Pose, who: Looks, side: float) -> None:
    x, y = head.at(side * who.eyes, -0.055)
    open_ = np.maximum(1.0 - pose.blink, 0.0)
    up, down = 0.088 * open_ + 0.012 * pose.brow * open_, 0.070 * open_
    patch = canvas.patch(x, y, 0.16, 0.15)
    canvas.paint(patch, 0.30 * canvas.lens(patch, x, y, 0.125, 0.115, 0.085, 0.0), who.skin * 0.78)
    white = canvas.lens(patch, x, y, 0.108, up, down, 0.0) * canvas.column(np.minimum(open_ * 4.0, 1.0))
    canvas.paint(patch, white, _WHITE)
    ix, iy = x + 0.052 * pose.gaze_x, y + 0.004 + 0.034 * pose.gaze_y
    apart = np.hypot(patch.x - canvas.column(ix), patch.y - canvas.column(iy))
    for radius, colour in ((0.070, who.iris * 1.5), (0.052, who.iris * 0.35)):
        canvas.paint(patch, white * np.clip((radius - apart) / canvas.pixel + 0.5, 0.0, 1.0), colour)
    glint = np.hypot(patch.x - canvas.column(ix - 0.022), patch.y - canvas.column(iy - 0.026))
    canvas.paint(patch, white * np.clip((0.018 - glint) / canvas.pixel + 0.5, 0.0, 1.0), _WHITE)
    # the lid's lower edge is the lash line: at the top of the open eye, in the middle of the shut one
    lid = canvas.lens(patch, x, y, 0.118, up + 0.022, 0.02, 0.0) - canvas.lens(patch, x, y, 0.118, up - 0.010, 0.5, 0.0)
    shut = canvas.lens(patch, x, y + 0.02, 0.112, -0.006, 0.030, 0.0) * canvas.column(np.clip(pose.blink * 2 - 1, 0, 1))
    canvas.paint(patch, np.clip(np.maximum(lid * canvas.column(open_ > 0.2), shut), 0.0, 1.0), who.hair * 0.3)
    bx, by = head.at(side * (who.eyes + 0.005), -0.205 - 0.060 * pose.brow)
    canvas.ellipse(bx, by, 0.118, who.brows, who.hair * 0.62, angle=side * (0.11 - 0.08 * pose.brow) + head.angle)


def _nose(canvas: Canvas, head: _Head, who: Looks) -> None:
    x, y = head.at(0.012, 0.115, 1.35)
    canvas.ellipse(x, y, 0.058, 0.040, who.skin * 0.84, softness=0.02, opacity=0.9)
    x, y = head.at(-0.004, 0.075, 1.35)
    canvas.ellipse(x, y, 0.034, 0.075, np.minimum(who.skin * 1.06, 1.0), softness=0.03, opacity=0.7)


def _mouth(canvas: Canvas, head: _Head, pose: Pose, who: Looks) -> None:
    x, y = head.at(0.0, 0.265)
    half = 0.155 - 0.030 * pose.mouth + 0.018 * pose.smile
    bend = 0.055 * pose.smile + 0.016
    up, down = 0.020 + 0.045 * pose.mouth, 0.026 + 0.155 * pose.mouth
    lips = who.skin * (0.84, 0.55, 0.55)
    patch = canvas.patch(x, y + 0.05, 0.22, 0.22)
    canvas.paint(patch, canvas.lens(patch, x, y, half, up + 0.012, down + 0.018, bend), lips)
    inner = canvas.lens(patch, x, y, half - 0.028, up - 0.020, down - 0.022, bend)
    canvas.paint(patch, inner, _MOUTH)
    low = canvas.column(y + 0.42 * down)
    tongue = inner * np.clip((patch.y - low) / 0.05, 0.0, 1.0)
    canvas.paint(patch, tongue, (0.78, 0.33, 0.34))
    teeth = inner * np.clip(
        (canvas.column(y - up + 0.045 + 0.025 * pose.mouth) - patch.y) / canvas.pixel + 0.5, 0.0, 1.0
    )
    canvas.paint(patch, teeth * canvas.column(np.clip(pose.mouth * 8.0 - 1.0, 0.0, 1.0)), (0.95, 0.94, 0.91))


def _hair_before(canvas: Canvas, head: _Head, who: Looks) -> None:
    lean = 0.5 - who.fringe
    x, y = head.at(0.16 * lean, -0.40 + 0.035 * who.fringe, 0.3)
    canvas.ellipse(
        x, y, who.width * 0.86, 0.135 + 0.03 * who.fringe, who.hair, angle=head.angle - 0.25 * lean, shade=0.22
    )
    x, y = head.at(0.36 * lean, -0.34, 0.3)
    canvas.ellipse(x, y, 0.20, 0.10, who.hair * 1.06, angle=head.angle - 0.9 * lean, shade=0.18)
    for side in (-1.0, 1.0):
        x, y = head.at(side * (who.width - 0.004), -0.08 + 0.12 * who.long_hair, 0.0)
        angle = -side * (0.07 - 0.05 * who.long_hair) + head.angle
        canvas.ellipse(x, y, 0.055, 0.17 + 0.24 * who.long_hair, who.hair * 0.95, angle=angle, shade=0.1)


def paint_palm(canvas: Canvas, pose: Pose, who: Looks) -> None:
    """A drawn arm with its palm raised as far as the pose says."""
    x, y = 0.66 + 0.03 * np.sin(pose.hand * 3.0), _raised(1.50 - 1.02 * pose.hand, pose.hand)
    skin = who.skin * 0.96
    canvas.capsule(x + 0.10, y + 0.95, x + 0.02, y + 0.30, 0.135, who.shirt * 0.92)
    canvas.capsule(x + 0.02, y + 0.28, x, y + 0.05, 0.095, skin)
    for spread, length in ((-0.115, 0.27), (-0.042, 0.33), (0.035, 0.31), (0.108, 0.24)):
        canvas.capsule(x + spread * 0.85, y - 0.02, x + spread * 1.35, y - 0.02 - length, 0.040, skin)
    canvas.capsule(x - 0.08, y + 0.08, x - 0.22, y - 0.06, 0.042, skin)
    canvas.ellipse(x, y + 0.03, 0.155, 0.155, skin, shade=0.10)
    canvas.ellipse(x + 0.015, y + 0.05, 0.075, 0.08, skin * 0.93, softness=0.06, opacity=0.6)


def _card(canvas: Canvas, pose: Pose, who: Looks) -> None:
    x, y = -0.56, _raised(1.62 - 1.12 * pose.card, pose.card)
    colours = np.asarray(list(CARD_COLOURS.values()), np.float32)[pose.card_colour]
    canvas.capsule(x - 0.12, y + 0.95, x - 0.04, y + 0.42, 0.125, who.shirt * 0.92)
    canvas.box(x + 0.015, y + 0.02, 0.275, 0.335, 0.05, who.wall * 0.45)
    canvas.box(x, y, 0.275, 0.335, 0.05, _WHITE)
    canvas.box(x, y, 0.225, 0.285, 0.03, colours)
    for shift in (-0.12, -0.02):
        canvas.capsule(x + shift, y + 0.44, x + shift + 0.02, y + 0.27, 0.042, who.skin * 0.95)


def _raised(y: Plane, level: Plane) -> Plane:
    """Height to which something is raised; far below what any picture shows as long as it is not."""
    raised: Plane = np.where(level > _RESTING, y, 9.0).astype(np.float32)
    return raised


def _blend(palette: tuple[tuple[float, float, float], ...], where: Plane) -> Plane:
    stops = np.linspace(0.0, 1.0, len(palette))
    table = np.asarray(palette, np.float32)
    blended: Plane = np.stack([np.interp(where, stops, table[:, c]) for c in range(3)], axis=1).astype(np.float32)
    return blended
