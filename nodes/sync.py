"""Playout: picture, sound and words of a unit leave together, at their time, with what has come by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import GraphError
from ..runtime.node import Emission, Node, NodeContext, Param, Unit
from ..runtime.packet import WHOLE, Validity
from ..runtime.ports import Input, Output
from .relay import is_missing, relayed

FADE_MS = 10
"""How fast sound goes and comes back around a hole, so that there is no click."""


@dataclass
class Played:
    """Picture and sound that were played last.

    Attributes:
        picture: the last real one ``[H, W, 3]``.
        tail: the end of the sound, as long as a fade; None while it is silent.
        is_hole: whether sound that comes now follows a hole and fades in.
    """

    picture: NDArray[np.uint8] | None = None
    tail: NDArray[np.float32] | None = None
    is_hole: bool = False


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
        return {
            "video": self._picture(state, unit, video, "video" in lost),
            "audio": self._sound(state, unit, audio, "audio" in lost),
            "text": relayed(unit, "text", text),
            "played": np.array([unit.index, int(main_port in lost)], np.int64),
        }

    def absorb(self, state: Played, units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> None:
        """Units that were not played: the newest picture is kept, the sound has a hole."""
        for _, inputs in units:
            if inputs.get("video") is not None:
                self._remember(state, inputs["video"])
        self._break(state)

    def gap(self, state: Played, units: Sequence[Unit]) -> None:
        """Lost units leave a hole in the sound."""
        self._break(state)

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
            return self._audible(state, unit, samples)
        if self._n_samples is None or "audio" not in self._connected:
            return None
        stand_in: Any = self._ctx.empty("audio", (self._n_samples,), "float32")
        stand_in[:] = 0
        if self.audio == "fade" and state.tail is not None:
            # The last samples backwards: no step where the real ones end, and no new pitch.
            n = len(state.tail)
            stand_in[:n] = state.tail[::-1] * _ramp(n)[::-1]
        self._break(state)
        return Emission(stand_in, Validity.CONCEALED if is_lost else Validity.REAL)

    def _audible(self, state: Played, unit: Unit, samples: Any) -> Emission | None:
        self._n_samples = len(samples)
        n = min(len(samples), int(len(samples) * FADE_MS * 1_000_000 / unit.duration_ns))
        if state.is_hole and self.audio == "fade":
            faded: Any = self._ctx.empty("audio", samples.shape, "float32")
            faded[:] = samples
            faded[:n] *= _ramp(n)
            samples = faded
        state.tail, state.is_hole = np.array(samples[len(samples) - n :]), False
        return relayed(unit, "audio", samples)

    def _remember(self, state: Played, frames: Any) -> None:
        state.picture = np.array(frames[-1])
        self._shape = frames.shape

    @staticmethod
    def _break(state: Played) -> None:
        state.tail, state.is_hole = None, True


def _ramp(n: int) -> NDArray[np.float32]:
    """``n`` factors that rise from 0 to 1 without a corner."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / max(1, n))).astype(np.float32)
