"""Two pictures in one: an inset in a corner, or side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.node import Node, NodeContext, Param, Unit
from ..runtime.packet import WHOLE
from ..runtime.ports import Input, Output
from .media.pictures import Scaler
from .media.probe import even

Size = tuple[int, int]
"""Width and height in pixels."""


class PictureInPicture(Node):
    """Put one picture into or beside another.

    ``corner`` keeps the main picture's size and lays the inset over one of its corners; ``side_by_side`` puts the
    inset to the right, scaled to the main picture's height. A picture that is not there is black.
    """

    main = Input("video", "F H W 3", "uint8", late="hold", help="RGB pictures")
    inset = Input("video", "F H2 W2 3", "uint8", late="hold", optional=True, help="RGB pictures of any size")
    video = Output("video", "F OH OW 3", "uint8", help="both in one")

    layout: str = Param("corner", choices=("corner", "side_by_side"), help="where the inset goes")
    corner: str = Param("bottom_right", choices=("top_left", "top_right", "bottom_left", "bottom_right"))
    inset_height: float = Param(0.33, min=0.05, max=1.0, help="corner: height of the inset, as a part of the main's")
    margin_px: int = Param(4, min=0, max=1000, help="corner: distance from the edges")
    width: int = Param(0, min=0, help="pixels of the whole picture; 0: what comes of it")
    height: int = Param(0, min=0, help="pixels of the whole picture; 0: what comes of it")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """The whole picture's size as far as it follows from the parameters and the main picture."""
        width, height = params.get("width", 0), params.get("height", 0)
        is_corner = params.get("layout", "corner") == "corner"
        high = str(height) if height else "H" if not width else "OH"
        wide = str(width) if width else "W" if is_corner and not height else "OW"
        return cls.inputs, {"video": Output("video", f"F {high} {wide} 3", "uint8", help=cls.video.help)}

    def open(self, ctx: NodeContext) -> None:
        """Learn the sizes that the plan knows."""
        self._ctx = ctx
        self._scaler = Scaler()
        self._main_size = _planned_size(ctx, "main")
        self._inset_size = _planned_size(ctx, "inset")

    def step(self, unit: Unit, main: Any = None, inset: Any = None) -> Any:
        """Both pictures as one ``[F, H, W, 3]``; empty as long as the main picture's size is not known."""
        main_size = _size(main) or self._main_size
        inset_size = _size(inset) or self._inset_size or main_size
        if main_size is None or inset_size is None or (main is None and inset is None):
            return {"video": None}
        whole, boxes = self._places(main_size, inset_size)
        frames: Any = self._ctx.empty("video", (self._ctx.clock.unit_frames, whole[1], whole[0], 3), "uint8")
        if main is None or self.layout == "side_by_side":
            frames[:] = 0
        for picture, (left, top, width, height) in zip((main, inset), boxes, strict=True):
            if picture is not None:
                self._lay(picture, frames[:, top : top + height, left : left + width])
        return {"video": frames}

    def _lay(self, pictures: NDArray[np.uint8], onto: NDArray[np.uint8]) -> None:
        for j, image in enumerate(pictures):
            onto[j] = self._scaler.resized(image, (onto.shape[2], onto.shape[1]))

    def _places(self, main: Size, inset: Size) -> tuple[Size, tuple[tuple[int, int, int, int], ...]]:
        """The whole picture's size, and ``(left, top, width, height)`` of main and inset in it."""
        if self.layout == "side_by_side":
            return self._beside(main, inset)
        whole = self._whole(main)
        height = max(2, round(whole[1] * self.inset_height))
        width = max(2, round(inset[0] * height / inset[1]))
        if width > whole[0]:
            width, height = whole[0], max(1, round(height * whole[0] / width))
        margin = min(self.margin_px, whole[0] - width, whole[1] - height)
        left = margin if "left" in self.corner else whole[0] - width - margin
        top = margin if "top" in self.corner else whole[1] - height - margin
        return whole, ((0, 0, *whole), (left, top, width, height))

    def _beside(self, main: Size, inset: Size) -> tuple[Size, tuple[tuple[int, int, int, int], ...]]:
        beside = round(inset[0] * main[1] / inset[1])
        natural = even(main[0] + beside), main[1]
        whole = self._whole(natural)
        ratio = min(whole[0] / natural[0], whole[1] / natural[1])
        height = min(whole[1], round(natural[1] * ratio))
        first = min(whole[0] - 1, max(1, round(main[0] * ratio)))
        second = min(whole[0] - first, max(1, round(beside * ratio)))
        left, top = (whole[0] - first - second) // 2, (whole[1] - height) // 2
        return whole, ((left, top, first, height), (left + first, top, second, height))

    def _whole(self, natural: Size) -> Size:
        """The size asked for; where only one side is given, the other keeps the shape."""
        if self.width and self.height:
            return self.width, self.height
        if self.width:
            return self.width, even(round(natural[1] * self.width / natural[0]))
        if self.height:
            return even(round(natural[0] * self.height / natural[1])), self.height
        return natural


def _size(frames: Any) -> Size | None:
    return None if frames is None else (frames.shape[2], frames.shape[1])


def _planned_size(ctx: NodeContext, port: str) -> Size | None:
    shape = (ctx.input_shapes.get(port) or {}).get(WHOLE)
    return (shape[2], shape[1]) if shape and all(shape) else None
