"""Pictures read between their pixels, and made smaller; for what is turned, moved and warped."""

# T frames, H W size in pixels, C channels

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..canvas import Canvas, Patch
from ..signal import Plane

Texture = NDArray[np.float32]
"""[H, W, C] in 0..1; of four channels the last is cover, and the colours are multiplied by it."""


def sampled(texture: Texture, x: Plane, y: Plane) -> Plane:
    """``texture`` at pixel coordinates, bilinear, its edges going on for ever: [...] and [...] -> [..., C]."""
    height, width, channels = texture.shape
    x, y = np.clip(x, 0, np.float32(width - 1.001)), np.clip(y, 0, np.float32(height - 1.001))
    left, top = x.astype(np.int32), y.astype(np.int32)
    at = top * width + left
    flat = np.ascontiguousarray(texture).reshape(-1, channels)
    right, down = (x - left).astype(np.float32)[..., None], (y - top).astype(np.float32)[..., None]
    above: Plane = flat.take(at, 0)
    below: Plane = flat.take(at + width, 0)
    above += right * (flat.take(at + 1, 0) - above)
    below += right * (flat.take(at + (width + 1), 0) - below)
    below -= above
    below *= down
    above += below
    return above


def texture_of(picture: NDArray[np.uint8]) -> Texture:
    """A picture of bytes, colours multiplied by its matte where it has one."""
    texture = picture.astype(np.float32) / 255.0
    if texture.shape[2] == 4:
        texture[..., :3] *= texture[..., 3:]
    return texture


def smaller(texture: Texture, most: float) -> Texture:
    """Halved until its longer side has at most ``most`` pixels: no finer than it is shown, or it would flicker."""
    while max(texture.shape[:2]) > most and min(texture.shape[:2]) >= 8:
        height, width, channels = texture.shape
        even = texture[: height // 2 * 2, : width // 2 * 2]
        texture = even.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3), dtype=np.float32)
    return texture


def framed(texture: Texture) -> Texture:
    """A cutout with an empty pixel around it, so that it ends where it ends."""
    padded: Texture = np.pad(texture, ((1, 1), (1, 1), (0, 0)))
    return padded


def laid(canvas: Canvas, patch: Patch, layer: Plane, light: Any = 1.0) -> None:
    """Lay [T, h, w, 4] (multiplied colours, cover) over a patch."""
    target = canvas.planes[:, :, patch.rows, patch.columns]
    target *= 1 - layer[..., 3][:, None]
    target += layer[..., :3].transpose(0, 3, 1, 2) * np.asarray(light, np.float32)


class Sprite:
    """A flat thing that is moved about.

    Args:
        texture: a `framed` cutout.
        aspect: its width, divided by its height.
    """

    def __init__(self, texture: Texture, aspect: float | None = None) -> None:
        self.texture = texture
        self.aspect = texture.shape[1] / texture.shape[0] if aspect is None else aspect

    def paint(self, canvas: Canvas, x: Plane, y: Plane, half: float, angle: Plane, lean: float = 0.0) -> None:
        """Paint with its centre at ``x``, ``y`` [T], ``half`` as high as it is, turned by ``angle`` [T] and sheared."""
        reach = half * float(np.hypot(1.0, self.aspect)) * (1 + abs(lean))
        patch = canvas.patch(x, y, reach, reach)
        if patch.rows.start >= patch.rows.stop or patch.columns.start >= patch.columns.stop:
            return
        dx, dy = patch.x - canvas.column(x), patch.y - canvas.column(y)
        cos, sin = np.cos(canvas.column(angle)), np.sin(canvas.column(angle))
        u, v = (dx * cos + dy * sin) / (half * self.aspect), (dy * cos - dx * sin) / half
        u = u - lean * v
        height, width = self.texture.shape[:2]
        shown = sampled(self.texture, (u + 1) / 2 * (width - 1), (v + 1) / 2 * (height - 1))
        laid(canvas, patch, shown)
