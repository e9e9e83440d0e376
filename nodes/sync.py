"""Playout: picture, sound and words of a unit leave together, at their time, with what has come by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import GraphError
from ..runtime.node import Emission, Node, NodeContext, Param, Unit
from ..runtime.packet import WHOLE, Validity
from ..runtime.ports import Input, Output
from .media.concealment import Concealer, Sound
from .relay import is_missing, relayed


@dataclass
class Played:
    """Picture and sound that were played last: a real picture ``[H, W, 3]``, and what a hole in the sound needs."""

    picture: NDArray[np.uint8] | None = None
    sound: Sound = field(default_factory=Sound)


class Playout(Node):
    """Play each unit as a whole at its deadline; what is missing by then is concealed and marked.

    A unit that is *empty* (its producer said that there is nothing) looks and sounds the same as a missing one, but
    is no miss and is not marked. ``played`` tells what the listener got: ``[unit, 0]`` heard, ``[unit, 1]``
    concealed (the sound, or the picture where there is no sound).
    """

    inputs: ClassVar[Mapping[str, Input]] = {
        "video": Input("video", "F H W 3", "uint8", late="empty", optional=True, help="RGB pictures"),
        "audio": Input("audio", "N", "float32", late="empty", optional=True, guard="conceal", help="mono samples"),
        "text": Input("text", late="empty", optional=True, help="words"),
    }
    outputs: ClassVar[Mapping[str, Output]] = {
        "video": Output("video", "F H W 3", "uint8"),
        "audio": Output("audio", "N", "float32"),
        "text": Output("text"),
        "played": Output("tokens", "2", "int64", help="unit number; 0 heard, 1 concealed"),
    }

    video: str = Param("hold", choices=("hold", "black"), help="what stands in for a picture: the last one, or black")
    audio: str = Param("fade", choices=("fade", "silence"), help="how sound stops and returns: faded, or cut")

    paced = True

    def open(self, ctx: NodeContext) -> None:
        """Learn what is connected."""
        self._ctx = ctx
        self._connected = ctx.connected_inputs
        if not self._connected & {"video", "audio", "text"}:
            raise GraphError(f"node '{ctx.name}': found no input (expected video, audio or text), connect one")
        self._shape = (ctx.input_shapes.get("video") or {}).get(WHOLE)
        samples = (ctx.input_shapes.get("audio") or {}).get(WHOLE)
        self._n_samples = samples[0] if samples else None

    def new_state(self) -> Played:
        """Nothing played yet."""
        return Played()

    def step(self, state: Played, unit: Unit, video: Any = None, audio: Any = None, text: str | None = None) -> Any:
        """Play the unit: pictures ``[F, H, W, 3]``, samples ``[S]``, words, and ``played`` ``[2]``."""
        lost = {port for port in self._connected if is_missing(unit, port)}
        main_port = "audio" if "audio" in self._connected else "video" if "video" in self._connected else "text"
        sound = self._sound(state, unit, audio, "audio" in lost)  # a hole in it is worse than one in the picture
        return {
            "video": self._picture(state, unit, video, "video" in lost),
            "audio": sound,
            "text": relayed(unit, "text", text),
            "played": np.array([unit.index, int(main_port in lost)], np.int64),
        }

    def absorb(self, state: Played, units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> None:
        """Units that were not played: the newest picture is kept, the sound has a hole."""
        for _, inputs in units:
            if inputs.get("video") is not None:
                self._remember(state, inputs["video"])
        state.sound.cut()

    def gap(self, state: Played, units: Sequence[Unit]) -> None:
        """Lost units leave a hole in the sound."""
        state.sound.cut()

    def _picture(self, state: Played, unit: Unit, frames: Any, is_lost: bool) -> Emission | None:
        if frames is not None:
            self._remember(state, frames)
            return relayed(unit, "video", frames)
        if self._shape is None or "video" not in self._connected:
            return None
        stand_in: Any = self._ctx.empty("video", self._shape, "uint8")
        is_held = self.video == "hold" and state.picture is not None
        stand_in[:] = state.picture if is_held else 0
        if not is_lost:
            return Emission(stand_in)
        return Emission(stand_in, Validity.REPEATED if is_held else Validity.CONCEALED)

    def _sound(self, state: Played, unit: Unit, samples: Any, is_lost: bool) -> Emission | None:
        if samples is not None:
            self._n_samples = len(samples)
        if self._n_samples is None or "audio" not in self._connected:
            return None
        concealer = Concealer(float(self._n_samples / self._ctx.clock.period))
        if samples is not None:
            return relayed(unit, "audio", concealer.play(state.sound, samples) if self.audio == "fade" else samples)
        stand_in: Any = self._ctx.empty("audio", (self._n_samples,), "float32")
        stand_in[:] = concealer.conceal(state.sound, self._n_samples) if self.audio == "fade" else 0
        return Emission(stand_in, Validity.CONCEALED if is_lost else Validity.REAL)

    def _remember(self, state: Played, frames: Any) -> None:
        state.picture = np.array(frames[-1])
        self._shape = frames.shape
