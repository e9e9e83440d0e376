"""A user before a camera: who, where, what else is there, and how it is filmed.

A `View` says what is to be filmed, and what of a user's doings it can show; a `Scene` films it. Everything about a
scene follows from its view and the user's pose, so that a video made at once and one made unit by unit are the same.
"""

# T frames, S side in pixels

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..canvas import Canvas
from ..face import CARD_COLOURS, Looks, Pose, paint_palm, paint_person, random_looks
from ..signal import Plane
from .lens import Camera, Lens
from .material import Clip, Material, Sitting, Split
from .portrait import Manner, Sitter, cloth_colour
from .props import CardLooks, Hand, Schedule, card, card_colour, mug, other_colour, poster
from .sampling import Sprite, Texture, laid, sampled, smaller, texture_of

Kind = Literal["drawn", "photo", "clip", "sitting", "frozen", "nobody", "black", "off"]

SHARES: dict[Kind, float] = {
    "photo": 0.44,
    "drawn": 0.28,
    "clip": 0.08,
    "sitting": 0.05,
    "off": 0.05,
    "nobody": 0.04,
    "frozen": 0.03,
    "black": 0.03,
}
"""How often each kind is filmed, where there is material for it."""

_SIGHTLESS = ("frozen", "nobody", "black", "off")


@dataclass(frozen=True)
class View:
    """View of a camera: what is before it.

    Attributes:
        kind: a ``drawn`` or a photographed (``photo``) face that does all that the user does; a ``clip`` of somebody
            who does not, or a ``sitting`` of somebody who raises palms; a ``frozen`` picture, a room with ``nobody`` in
            it, a ``black`` picture, or a camera that is ``off``.
        seed: of everything else.
        number: of the clip or the sitting.
        off_from: unit from which on there is no picture at all, with kind ``off``.
        shows_hand: whether a raised palm can be seen.
        split: side of the material that the number is of.
    """

    kind: Kind
    seed: int
    number: int = 0
    off_from: int = 0
    shows_hand: bool = True
    split: Split = "train"

    @property
    def shows_gaze(self) -> bool:
        """True if it can be seen where the user looks."""
        return self.kind in ("drawn", "photo")

    @property
    def shows_card(self) -> bool:
        """True if a card that is held up can be seen."""
        return self.kind not in _SIGHTLESS

    def is_on(self, unit: int) -> bool:
        """True if there is a picture in this unit."""
        return self.kind != "off" or unit < self.off_from

    @classmethod
    def sample(cls, rng: np.random.Generator, material: Material, split: Split = "train") -> View:
        """One drawn at random, of what the material of this side has."""
        able: dict[Kind, bool] = {
            "photo": bool(material.portraits),
            "clip": bool(material.clips),
            "sitting": bool(material.sittings),
            "nobody": bool(material.rooms),
        }
        kinds: list[Kind] = [kind for kind in SHARES if able.get(kind, True)]
        weights = np.asarray([SHARES[kind] for kind in kinds])
        kind: Kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
        seed, off_from = int(rng.integers(2**31)), int(rng.choice(np.asarray([0, int(rng.integers(4, 80))])))
        number = {"clip": len(material.clips), "sitting": len(material.sittings)}.get(kind, 1)
        chosen = int(rng.integers(number))
        shows_hand = kind not in _SIGHTLESS and (kind != "sitting" or bool(material.sittings[chosen].palms))
        return cls(kind, seed, chosen, off_from, shows_hand, split)


class Scene:
    """One user being filmed.

    Args:
        view: what.
        material: what it is made of.
        looks: of the user, where drawn.
        size: side of the pictures.
        frame: number of the first one.
    """

    def __init__(self, view: View, material: Material, looks: NDArray[np.float32], size: int, frame: int = 0) -> None:
        self.view, self.size, self._material, self._looks = view, size, material, Looks.of(looks)
        self._frame = frame
        rng = np.random.default_rng((view.seed, 61))
        self._rng = rng
        self._camera = Camera(Lens.sample(rng), view.seed)
        self._manner = Manner.sample(rng)
        self._backdrop = backdrop(rng, material, size)
        self._sleeve = cloth_colour(rng)
        self._choose_people(rng)
        self._choose_props(rng)

    def shoot(self, pose: Pose) -> NDArray[np.uint8]:
        """The next pictures [T, S, S, 3]."""
        canvas = Canvas(len(pose), self.size)
        canvas.planes[:] = self._backdrop
        kind = self.view.kind
        if kind in ("black", "off"):
            canvas.planes[:] = 0.0
        else:
            self._paint_wall(canvas)
            if kind != "nobody":
                self._paint_people(canvas, pose)
        self._frame += len(pose)
        return self._camera.take(canvas.planes)

    def visible(self, pose: Pose, frame: int) -> tuple[Pose, bool]:
        """Part of ``pose`` that these pictures show, from number ``frame`` on; and whether the mouth is known."""
        kind = self.view.kind
        if kind in ("drawn", "photo"):
            return (replace(pose, gaze_x=-pose.gaze_x) if self._camera.lens.is_mirrored else pose), True
        nothing = Pose.still(len(pose))
        if kind in _SIGHTLESS:
            return nothing, True
        hand = pose.hand if self.view.shows_hand else nothing.hand
        shown = replace(nothing, hand=hand, card=pose.card, card_colour=pose.card_colour)
        mouth = self._clip.mouth if kind == "clip" else None
        if mouth is None:
            return shown, False
        return replace(shown, mouth=mouth[self._clip_frames(frame, len(pose))]), True

    # who is there ----------------------------------------------------------------------------------------------------

    def _choose_people(self, rng: np.random.Generator) -> None:
        material, manner = self._material, self._manner
        portraits = material.portraits
        self._sitter, self._other = None, None
        if self.view.kind in ("photo", "frozen") and portraits:
            whose = sorted({portrait.who for portrait in portraits})
            who = whose[rng.integers(len(whose))]
            own = [portrait for portrait in portraits if portrait.who == who]
            self._sitter = Sitter(own[rng.integers(len(own))], manner, self.size)
        if portraits and self.view.kind in ("photo", "drawn") and rng.random() < 0.12:
            side = float(rng.choice([-1.0, 1.0]))
            x = float(np.clip(manner.x + side * rng.uniform(0.6, 1.2), -1.1, 1.1))
            behind = replace(Manner.sample(rng), x=x, size=manner.size * float(rng.uniform(0.4, 0.85)), idle=0.1)
            self._other = Sitter(portraits[rng.integers(len(portraits))], behind, self.size)
            self._other_gaze = float(rng.choice([-1.0, 0.0, 1.0]))
        self._zoom = float(np.clip(manner.size / 0.32, 0.65, 1.5))
        self._clip_from = int(rng.integers(1000))
        self._clip_zoom = float(rng.uniform(0.95, 1.7))
        self._clip_at = (float(rng.normal(0, 0.12)), float(rng.normal(0.05, 0.1)))
        self._is_keyed = rng.random() < 0.7
        self._drift = float(rng.uniform(0, 2 * np.pi))

    @cached_property
    def _clip(self) -> Clip:
        return self._material.clips[self.view.number]

    @cached_property
    def _clip_textures(self) -> list[Texture]:
        """Pictures of the clip, with a matte where the wall behind it is cut away."""
        frames = [texture_of(frame) for frame in self._clip.frames]
        if not (self._clip.has_screen and self._is_keyed):
            return [np.dstack([frame, np.ones_like(frame[..., :1])]) for frame in frames]
        return [keyed(frame) for frame in frames]

    def _clip_frames(self, frame: int, count: int) -> NDArray[np.int64]:
        """Numbers of the clip's pictures, to and fro."""
        length = len(self._clip.frames)
        at = (self._clip_from + frame + np.arange(count)) % max(2 * length - 2, 1)
        return np.where(at < length, at, 2 * length - 2 - at).astype(np.int64)

    def _paint_people(self, canvas: Canvas, pose: Pose) -> None:
        kind = self.view.kind
        if self._other is not None:
            away = Pose.still(len(pose))
            away.gaze_x[:] = self._other_gaze
            self._other.paint(canvas, away, self._frame)
        if kind == "clip":
            self._paint_video(canvas, [self._clip_textures[i] for i in self._clip_frames(self._frame, len(pose))])
        elif kind == "sitting":
            self._paint_video(canvas, self._sitting_pictures(pose))
        elif kind == "frozen" or self._sitter is not None:
            self._paint_photo(canvas, pose)
        else:
            own = pose
            if self._palm is not None:
                own = replace(own, hand=np.zeros_like(pose.hand))
            if not self._has_drawn_card:
                own = replace(own, card=np.zeros_like(pose.card))
            paint_person(canvas.moved(self._manner.x, self._manner.y + 0.15 * self._zoom, self._zoom), own, self._looks)
        if kind != "frozen":
            self._paint_props(canvas, pose)

    def _paint_photo(self, canvas: Canvas, pose: Pose) -> None:
        if self._sitter is None:
            paint_person(canvas, Pose.still(len(pose)), self._looks)
        elif self.view.kind == "frozen":
            one = Canvas(1, self.size)
            one.planes[:] = canvas.planes[:1]
            self._sitter.paint(one, Pose.still(1), 0)
            canvas.planes[:] = one.planes
        else:
            self._sitter.paint(canvas, pose, self._frame)

    def _sitting_pictures(self, pose: Pose) -> list[Texture]:
        sitting = self._sitting
        changes = (self._frame + np.arange(len(pose))) // self._sitting_step
        return [
            sitting[0][self._sitting_palm]
            if hand > 0.5 and sitting[0]
            else sitting[1][int(number * 7919) % len(sitting[1])]
            for hand, number in zip(pose.hand, changes, strict=True)
        ]

    @cached_property
    def _sitting(self) -> tuple[list[Texture], list[Texture]]:
        sitting: Sitting = self._material.sittings[self.view.number]
        rng = np.random.default_rng((self.view.seed, 62))
        self._sitting_step = int(rng.choice([60, 120, 10_000]))
        self._sitting_palm = int(rng.integers(max(1, len(sitting.palms))))

        def opaque(picture: NDArray[np.uint8]) -> Texture:
            texture = smaller(texture_of(picture), 1.6 * self.size)
            return np.dstack([texture, np.ones_like(texture[..., :1])])

        return [opaque(picture) for picture in sitting.palms], [opaque(picture) for picture in sitting.others]

    def _paint_video(self, canvas: Canvas, textures: list[Texture]) -> None:
        height, width = textures[0].shape[:2]
        zoom = self._clip_zoom if self.view.kind == "clip" else 1.0 + 0.25 * (self._clip_zoom - 0.95)
        reach = (height if self.view.kind == "clip" else min(height, width)) / 2 / zoom
        at = (self._frame + np.arange(len(textures), dtype=np.float32)) / 25
        x0 = self._clip_at[0] + 0.015 * np.sin(0.5 * at + self._drift)
        y0 = self._clip_at[1] + 0.015 * np.sin(0.7 * at + 2 * self._drift)
        layers = [
            sampled(
                texture,
                np.broadcast_to((width - 1) / 2 + (canvas.axis - x)[None, :] * reach, (self.size, self.size)),
                np.broadcast_to((height - 1) / 2 + (canvas.axis - y)[:, None] * reach, (self.size, self.size)),
            )
            for texture, x, y in zip(textures, x0, y0, strict=True)
        ]
        laid(canvas, canvas.patch(0.0, 0.0, 2.0, 2.0), np.stack(layers))

    # what else is there ----------------------------------------------------------------------------------------------

    def _choose_props(self, rng: np.random.Generator) -> None:
        material, manner = self._material, self._manner
        self._has_drawn_card = self.view.kind == "drawn" and rng.random() < 0.3 and self._is_inside(-0.56, 0.5)
        self._cards: dict[int, Sprite] = {}
        self._card_looks = CardLooks.sample(rng)
        self._card_half = float(np.exp(rng.uniform(np.log(0.17), np.log(0.42))))
        side = float(rng.choice([-1.0, 1.0]))
        self._card_at = _beside(rng, manner, side, self._card_half)
        self._card_from = rng.random() < 0.75  # from below, else from the side
        self._card_turn, self._card_lean = float(rng.normal(0, 0.18)), float(rng.normal(0, 0.1))
        skin = self._sitter.skin if self._sitter is not None else tuple(self._looks.skin[0])
        keeps_tone = rng.random() < 0.3
        self._skin = skin
        self._palm: Hand | None = None
        self._palm_half = float(np.exp(rng.uniform(np.log(0.22), np.log(0.5))))
        self._palm_at = _beside(rng, manner, -side if rng.random() < 0.8 else side, self._palm_half)
        self._palm_turn, self._has_sleeve = float(rng.normal(0, 0.2)), bool(rng.random() < 0.6)
        draws_hand = self.view.kind == "drawn" and rng.random() < 0.3
        if material.palms and not (draws_hand and self._is_inside(0.66, 0.35)):
            self._palm = self._hand(rng, True, self._palm_half, None if keeps_tone else skin)
        self._noise: list[_Distraction] = []
        if material.fists and rng.random() < 0.3:
            half = float(np.exp(rng.uniform(np.log(0.15), np.log(0.4))))
            at = (manner.x, manner.y) if rng.random() < 0.3 else _beside(rng, manner, side, half)
            hand = self._hand(rng, False, half, None if keeps_tone else skin)
            self._noise.append(_Distraction(hand, None, half, at, float(rng.normal(0, 0.3)), _sometimes(rng)))
        if rng.random() < 0.12:
            half = float(rng.uniform(0.12, 0.28))
            at = (manner.x + float(rng.normal(0, 0.1)), manner.y + manner.size * float(rng.uniform(0.4, 2.0)))
            self._noise.append(_Distraction(None, mug(rng), half, at, float(rng.normal(0, 0.2)), _sometimes(rng)))
        if rng.random() < 0.3:
            half = float(np.exp(rng.uniform(np.log(0.15), np.log(0.42))))
            thing = card(CardLooks.sample(rng), other_colour(rng))
            at = _beside(rng, manner, -side, half)
            self._noise.append(_Distraction(None, thing, half, at, float(rng.normal(0, 0.2)), _sometimes(rng)))
        self._posters = [
            (poster(rng, material), float(rng.uniform(-0.9, 0.9)), float(rng.uniform(-0.95, 0.3)),
             float(rng.uniform(0.1, 0.3)))
            for _ in range(int(rng.choice([0, 0, 1, 2])))
        ]  # fmt: skip

    def _is_inside(self, x: float, y: float) -> bool:
        """True if this point of a drawing is in the picture."""
        there = self._manner.x + self._zoom * x, self._manner.y + self._zoom * (y + 0.15)
        return max(map(abs, there)) < 0.8

    def _hand(self, rng: np.random.Generator, is_palm: bool, half: float, skin: tuple[float, ...] | None) -> Hand:
        cutouts = self._material.palms if is_palm else self._material.fists
        cutout = cutouts[rng.integers(len(cutouts))]
        return Hand(cutout, skin, self._sleeve, half * self.size, bool(rng.random() < 0.5))

    def _paint_wall(self, canvas: Canvas) -> None:
        still = np.zeros(len(canvas.planes), np.float32)
        for thing, x, y, half in self._posters:
            thing.paint(canvas, still + x, still + y, half, still)

    def _paint_props(self, canvas: Canvas, pose: Pose) -> None:
        frames = len(pose)
        sway = 0.01 * np.sin((self._frame + np.arange(frames)) / 9.0 + self._drift).astype(np.float32)
        for thing in self._noise:
            level = thing.when.at(self._frame, frames)
            if level.max() > 0.01:
                y = thing.at[1] + (1 - level) * (1.35 + thing.half - thing.at[1])
                thing.paint(canvas, thing.at[0] + sway, y, bool(self._has_sleeve))
        if pose.card.max() > 0.01 and not self._has_drawn_card:
            self._paint_card(canvas, pose, sway)
        if pose.hand.max() > 0.01 and self.view.kind != "sitting":
            if self._palm is not None:
                y = self._palm_at[1] + (1 - pose.hand) * (1.2 + self._palm_half - self._palm_at[1]) + sway
                angle = self._palm_turn + 3 * sway
                self._palm.paint(canvas, self._palm_at[0] + sway, y, self._palm_half, angle, self._has_sleeve)
            elif self.view.kind != "drawn":
                zoomed = canvas.moved(self._manner.x, self._manner.y + 0.15 * self._zoom, self._zoom)
                paint_palm(zoomed, pose, self._looks)

    def _paint_card(self, canvas: Canvas, pose: Pose, sway: Plane) -> None:
        x0, y0 = self._card_at
        out = 1 - pose.card
        x = x0 + sway + (0.0 if self._card_from else out * (np.copysign(1.1 + self._card_half, x0) - x0))
        y = y0 + sway + (out * (1.15 + self._card_half - y0) if self._card_from else 0.0)
        half = self._card_half
        wide = half * self._card_looks.aspect
        # an arm that comes from below, fingers before the lower edge
        canvas.capsule(x, y + half * 1.1, x - 0.2 * np.sign(x0), y + half + 1.4, 0.3 * half + 0.05, self._sleeve)
        for number in np.unique(pose.card_colour[pose.card > 0.01]):
            mine = np.where((pose.card_colour == number) & (pose.card > 0.01), y, 9.0).astype(np.float32)
            angle = (self._card_turn + 3 * sway).astype(np.float32)
            self._card(int(number)).paint(canvas, x.astype(np.float32), mine, half, angle, self._card_lean)
        for shift in (-0.35, 0.05):
            canvas.capsule(x + shift * wide, y + half * 1.15, x + (shift + 0.05) * wide, y + half * 0.8,
                           0.05 + 0.08 * half, self._skin)  # fmt: skip

    def _card(self, number: int) -> Sprite:
        """The card of a colour, made when it is first shown."""
        if number not in self._cards:
            rng = np.random.default_rng((self.view.seed, 63, number))
            self._cards[number] = card(self._card_looks, card_colour(rng, list(CARD_COLOURS)[number]))
        return self._cards[number]


@dataclass(frozen=True, eq=False)
class _Distraction:
    """Something that comes and goes and means nothing."""

    hand: Hand | None
    sprite: Sprite | None
    half: float
    at: tuple[float, float]
    turn: float
    when: Schedule

    def paint(self, canvas: Canvas, x: Plane, y: Plane, has_sleeve: bool) -> None:
        angle = np.full(len(x), self.turn, np.float32)
        if self.hand is not None:
            self.hand.paint(canvas, x, y, self.half, angle, has_sleeve)
        elif self.sprite is not None:
            self.sprite.paint(canvas, x, y.astype(np.float32), self.half, angle)


def backdrop(rng: np.random.Generator, material: Material, size: int) -> Plane:
    """Background of a user, [3, S, S]: part of a real room, or a wall of any colour."""
    if material.rooms and rng.random() < 0.75:
        room = material.rooms[rng.integers(len(material.rooms))]
        picture = room[rng.integers(len(room))]
        zoom = float(rng.uniform(0.6, 1.0))
        texture = smaller(texture_of(picture), 1.7 * size / zoom)
        height, width = texture.shape[:2]
        reach = min(height, width) * zoom
        x0, y0 = rng.uniform(0, width - reach), rng.uniform(0, height - reach)
        axis = (np.arange(size, dtype=np.float32) + 0.5) / size * reach
        grid_x, grid_y = np.broadcast_arrays((x0 + axis)[None, :], (y0 + axis)[:, None])
        place: Plane = sampled(texture, grid_x, grid_y).transpose(2, 0, 1) * np.float32(rng.uniform(0.5, 1.25))
        return place
    colour = colorsys.hsv_to_rgb(float(rng.random()), float(rng.choice([rng.uniform(0, 0.2), rng.uniform(0, 0.9)])),
                                 float(rng.uniform(0.15, 1.0)))  # fmt: skip
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.normal(0, 0.15, 2)
    light = 1 + slope[0] * axis[None, :] + slope[1] * axis[:, None]
    wall: Plane = (np.asarray(colour, np.float32)[:, None, None] * light).astype(np.float32)
    return wall


def keyed(frame: Texture) -> Texture:
    """A picture [H, W, 3] before a blue wall, the wall cut away."""
    red, green, blue = frame[..., 0], frame[..., 1], frame[..., 2]
    cover = np.clip(1.35 - (np.minimum(green, blue) - red - 0.05) / 0.16, 0.0, 1.0)[..., None]
    return np.dstack([frame * cover, cover]).astype(np.float32)


def _beside(rng: np.random.Generator, manner: Manner, side: float, half: float) -> tuple[float, float]:
    """A place beside the face, within the picture."""
    x = manner.x + side * (1.3 * manner.size + half * float(rng.uniform(0.4, 1.2)))
    y = manner.y + float(rng.uniform(-0.2, 1.8)) * manner.size
    most = 1.0 - 0.6 * half
    return float(np.clip(x, -most, most)), float(np.clip(y, -0.6, 0.7))


def _sometimes(rng: np.random.Generator) -> Schedule:
    return Schedule(rng, (2.0, 14.0), (0.4, 3.5))


def video_of(view: View, material: Material, pose: Pose, size: int) -> NDArray[np.uint8]:
    """A whole video, for looking at: [T, S, S, 3]."""
    looks = random_looks(np.random.default_rng((view.seed, 64)))
    scene = Scene(view, material, looks, size)
    return np.concatenate([scene.shoot(pose[i : i + 32]) for i in range(0, len(pose), 32)])
