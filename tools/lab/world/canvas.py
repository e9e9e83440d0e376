"""Soft shapes on a stack of pictures: analytic anti-aliasing, one numpy pass per shape for all frames at once.

Coordinates run from -1 to 1 with y downwards, whatever the size in pixels, so that a face drawn at 64x64 is the one
drawn at 192x192. Every number given to a shape may be a scalar or one value per frame.
"""

# T frames, S side in pixels, h w the part of the picture that a shape can touch

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .signal import Plane


@dataclass(frozen=True)
class Patch:
    """A rectangle of the canvas: ``rows`` and ``columns``, and their centres ``x`` [1, 1, w], ``y`` [1, h, 1]."""

    rows: slice
    columns: slice
    x: Plane
    y: Plane


class Canvas:
    """Pictures under construction: ``planes`` [T, 3, S, S] float32 in 0..1."""

    def __init__(self, frames: int, size: int) -> None:
        self.frames, self.size = frames, size
        self.pixel = 2.0 / size
        self.axis: Plane = ((np.arange(size, dtype=np.float32) + 0.5) * self.pixel - 1.0).astype(np.float32)
        self.down = self.axis
        self.planes: Plane = np.empty((frames, 3, size, size), np.float32)

    def moved(self, x: float, y: float, zoom: float) -> Canvas:
        """The same pictures, on which what is drawn at the origin appears at ``x``, ``y``, ``zoom`` times as large."""
        other = Canvas(self.frames, self.size)
        other.planes = self.planes
        other.pixel = self.pixel / zoom
        other.axis, other.down = (self.axis - np.float32(x)) / zoom, (self.axis - np.float32(y)) / zoom
        return other

    def column(self, value: ArrayLike) -> Plane:
        """``value`` as [T or 1, 1, 1], to be broadcast against a patch."""
        array = np.asarray(value, np.float32)
        return array.reshape(-1, 1, 1)

    def patch(self, x: ArrayLike, y: ArrayLike, reach_x: ArrayLike, reach_y: ArrayLike) -> Patch:
        """The smallest rectangle that holds everything within ``reach`` of ``(x, y)`` in every frame."""
        rows = self._span(self.down, np.asarray(y, np.float32), np.asarray(reach_y, np.float32))
        columns = self._span(self.axis, np.asarray(x, np.float32), np.asarray(reach_x, np.float32))
        return Patch(rows, columns, self.axis[None, None, columns], self.down[None, rows, None])

    def paint(self, patch: Patch, cover: ArrayLike, colour: ArrayLike, light: ArrayLike | None = None) -> None:
        """Blend ``colour`` ([3] or [T, 3]) over a patch by ``cover`` [T, h, w], scaled by ``light`` [T, h, w]."""
        pigment = np.asarray(colour, np.float32).reshape(-1, 3, 1, 1)
        target = self.planes[:, :, patch.rows, patch.columns]
        if light is not None:
            pigment = pigment * np.asarray(light, np.float32)[:, None]
        target += np.asarray(cover, np.float32)[:, None] * (pigment - target)

    def ellipse(
        self,
        x: ArrayLike,
        y: ArrayLike,
        a: ArrayLike,
        b: ArrayLike,
        colour: ArrayLike,
        *,
        angle: ArrayLike | None = None,
        shade: float = 0.0,
        softness: float = 0.0,
        opacity: ArrayLike = 1.0,
    ) -> None:
        """An ellipse of half axes ``a``, ``b``; ``shade`` lights it from above left, ``softness`` blurs its edge."""
        reach = np.maximum(a, b) if angle is not None else None
        patch = self.patch(
            x,
            y,
            np.add(a if reach is None else reach, softness) + self.pixel,
            np.add(b if reach is None else reach, softness) + self.pixel,
        )
        dx, dy = patch.x - self.column(x), patch.y - self.column(y)
        if angle is not None:
            cos, sin = np.cos(self.column(angle)), np.sin(self.column(angle))
            dx, dy = dx * cos + dy * sin, dy * cos - dx * sin
        u, v = dx / self.column(a), dy / self.column(b)
        edge = np.sqrt(self.column(a) * self.column(b)) / (2.0 * (self.pixel + softness))
        cover = np.clip((1.0 - u * u - v * v) * edge + 0.5, 0.0, 1.0) * self.column(opacity)
        self.paint(patch, cover, colour, 1.0 - shade * (0.45 * u + 0.65 * v) if shade else None)

    def capsule(
        self, x0: ArrayLike, y0: ArrayLike, x1: ArrayLike, y1: ArrayLike, radius: float, colour: ArrayLike
    ) -> None:
        """A line of round ends from ``(x0, y0)`` to ``(x1, y1)``."""
        ax, ay, bx, by = (np.asarray(v, np.float32) for v in (x0, y0, x1, y1))
        reach_x, reach_y = np.abs(bx - ax) / 2 + radius + self.pixel, np.abs(by - ay) / 2 + radius + self.pixel
        patch = self.patch((ax + bx) / 2, (ay + by) / 2, reach_x, reach_y)
        px, py = patch.x - self.column(ax), patch.y - self.column(ay)
        lx, ly = self.column(bx - ax), self.column(by - ay)
        along = np.clip((px * lx + py * ly) / (lx * lx + ly * ly + 1e-9), 0.0, 1.0)
        distance = np.hypot(px - along * lx, py - along * ly)
        cover = np.clip((radius - distance) / self.pixel + 0.5, 0.0, 1.0)
        self.paint(patch, cover, colour, 1.06 - 0.28 * distance / radius)

    def box(self, x: ArrayLike, y: ArrayLike, a: float, b: float, corner: float, colour: ArrayLike) -> None:
        """A rectangle of half sides ``a``, ``b`` with round corners."""
        patch = self.patch(x, y, a + self.pixel, b + self.pixel)
        dx = np.maximum(np.abs(patch.x - self.column(x)) - (a - corner), 0.0)
        dy = np.maximum(np.abs(patch.y - self.column(y)) - (b - corner), 0.0)
        cover = np.clip((corner - np.hypot(dx, dy)) / self.pixel + 0.5, 0.0, 1.0)
        self.paint(patch, cover, colour)

    def lens(
        self, patch: Patch, x: ArrayLike, y: ArrayLike, half: ArrayLike, up: ArrayLike, down: ArrayLike, bend: ArrayLike
    ) -> Plane:
        """Cover [T, h, w] of a lens, ``half`` wide: ``up`` above and ``down`` below ``y``, ends lifted by ``bend``."""
        u = (patch.x - self.column(x)) / self.column(half)
        arch = np.sqrt(np.maximum(1.0 - u * u, 0.0))
        middle = self.column(y) - self.column(bend) * (u * u)
        top = np.clip((patch.y - (middle - self.column(up) * arch)) / self.pixel + 0.5, 0.0, 1.0)
        bottom = np.clip((middle + self.column(down) * arch - patch.y) / self.pixel + 0.5, 0.0, 1.0)
        sides = np.clip((1.0 - np.abs(u)) * self.column(half) / self.pixel + 0.5, 0.0, 1.0)
        cover: Plane = top * bottom * sides
        return cover

    def pictures(self) -> NDArray[np.uint8]:
        """Finished drawing, as [T, S, S, 3] uint8."""
        bytes_ = np.clip(self.planes * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
        return np.ascontiguousarray(bytes_.transpose(0, 2, 3, 1))

    def _span(self, axis: Plane, centre: Plane, reach: Plane) -> slice:
        edge = float(axis[0]) - self.pixel / 2
        low = (float(np.min(centre - reach)) - edge) / self.pixel
        high = (float(np.max(centre + reach)) - edge) / self.pixel
        return slice(min(max(int(low), 0), self.size), min(max(int(high) + 1, 0), self.size))
