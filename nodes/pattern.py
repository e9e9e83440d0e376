"""A synthetic source: a test picture with a readable time code, a flash and a beep each second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..runtime.node import END, Node, NodeContext, Param, Unit
from ..runtime.ports import Input, Output
from .media.testcard import background, beeps, draw_frame, flash_frame
from .media.timecode import MIN_HEIGHT, MIN_WIDTH


class CapturePattern(Node):
    """A test picture and tone: frame number as a time code, a clock, a moving dot; a white square and a 1 kHz beep
    that start on the same instant each second; and a caption, "second 3"."""

    video = Output("video", "F H W 3", "uint8", help="RGB pictures")
    audio = Output("audio", "S", "float32", rate_hz=16000, help="mono samples in -1..1")
    text = Output("text", help="a caption in the unit in which a second begins")

    seconds: float = Param(0.0, min=0.0, help="how long; 0: for ever")
    width: int = Param(336, min=MIN_WIDTH, help="pixels")
    height: int = Param(192, min=MIN_HEIGHT, help="pixels")
    rate_hz: int = Param(16000, min=4000, max=192000, help="samples per second")

    ahead_units = 2

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports with the sizes asked for."""
        values = {name: params.get(name, cls.params[name].default) for name in ("width", "height", "rate_hz")}
        video = Output("video", f"F {values['height']} {values['width']} 3", "uint8", help=cls.video.help)
        audio = Output("audio", "S", "float32", rate_hz=values["rate_hz"], help=cls.audio.help)
        return cls.inputs, {"video": video, "audio": audio, "text": cls.text}

    def open(self, ctx: NodeContext) -> None:
        """Draw what stands still."""
        self._ctx = ctx
        self._still = background(self.height, self.width)
        self._samples = ctx.clock.samples(self.rate_hz)
        self._n_units = ctx.clock.units_for(self.seconds) if self.seconds else None

    def step(self, unit: Unit) -> Any:
        """Pictures ``[F, H, W, 3]``, samples ``[S]`` and the caption of a unit: a pure function of its number."""
        if self._n_units is not None and unit.index >= self._n_units:
            return END
        clock = self._ctx.clock
        frames: Any = self._ctx.empty("video", (clock.unit_frames, self.height, self.width, 3), "uint8")
        samples: Any = self._ctx.empty("audio", (self._samples,), "float32")
        first = unit.index * clock.unit_frames
        for j, image in enumerate(frames):
            draw_frame(image, self._still, first + j, clock.fps)
        beeps(unit.index * self._samples, samples, self.rate_hz, clock.fps)
        return {"video": frames, "audio": samples, "text": self._caption(first, clock.unit_frames)}

    def _caption(self, first: int, n_frames: int) -> str | None:
        fps = self._ctx.clock.fps
        second = int((first + n_frames - 1) / fps)
        return f"second {second}" if flash_frame(second, fps) >= first else None
