"""The agent's own voice taken out of what the microphone hears, so that on open speakers it does not talk to itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import MissingExtra
from ..runtime.node import Node, NodeContext, Param, Unit
from ..runtime.packet import WHOLE
from ..runtime.ports import Input, Output

Samples = NDArray[np.float32]

FRAMES_HZ = 100
"""WebRTC's audio processing works on frames of 10 ms."""

REMEDY = "pip install 'wangraph[echo]', or use headphones, or talk in the browser: wangraph serve"


class Canceller(Protocol):
    """Takes frames of 10 ms of what sounds in the room, and gives back what does not come from there."""

    def reference(self, frame: Samples) -> None:
        """Learn what the speakers are about to play."""
        ...

    def cleaned(self, frame: Samples) -> Samples:
        """The microphone's frame without it."""
        ...


MakeCanceller = Callable[[int, int, bool], Canceller]
"""``make(rate_hz, reference_hz, noise)``"""


class WebRtcCanceller:
    """WebRTC's audio processing, as browsers have it, by the package livekit. Nothing leaves the machine."""

    def __init__(self, rate_hz: int, reference_hz: int, noise: bool) -> None:
        rtc = load_webrtc()
        self._rtc = rtc
        self._rate_hz, self._reference_hz = rate_hz, reference_hz
        self._processing: Any = rtc.AudioProcessingModule(
            echo_cancellation=True, noise_suppression=noise, high_pass_filter=False, auto_gain_control=False
        )

    def reference(self, frame: Samples) -> None:
        """See `Canceller.reference`."""
        self._processing.process_reverse_stream(self._framed(frame, self._reference_hz))

    def cleaned(self, frame: Samples) -> Samples:
        """See `Canceller.cleaned`."""
        framed = self._framed(frame, self._rate_hz)
        self._processing.process_stream(framed)
        return (np.frombuffer(framed.data, np.int16) / np.float32(32768)).astype(np.float32)

    def _framed(self, frame: Samples, rate_hz: int) -> Any:
        pcm = (np.clip(frame, -1, 1) * 32767).astype(np.int16)
        return self._rtc.AudioFrame(bytearray(pcm.tobytes()), rate_hz, 1, len(pcm))


def load_webrtc() -> ModuleType:
    """The package that holds WebRTC's audio processing.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        from livekit import rtc
    except (ImportError, OSError) as error:
        text = f"flow.cancel_echo: found no livekit ({error}) (expected the extra echo), {REMEDY}"
        raise MissingExtra(text) from error
    module: ModuleType = rtc
    return module


@dataclass
class Room:
    """The sound of a session. The rest of a unit that fills no frame waits for the next one.

    Attributes:
        canceller: None before the first sound, from which the rates are known.
        n_reference: samples of a unit of ``reference``.
    """

    canceller: Canceller | None = None
    n_reference: int = 0
    reference: Samples = field(default_factory=lambda: np.zeros(0, np.float32))
    samples: Samples = field(default_factory=lambda: np.zeros(0, np.float32))
    cleaned: Samples = field(default_factory=lambda: np.zeros(0, np.float32))


class CancelEcho(Node):
    """Take the sound of the speakers out of the sound of the microphone, by WebRTC's echo canceller.

    ``reference`` is what was played, from the playout with a delay, so that it is known when the microphone's unit is:
    ``reference: {from: sync.audio, delay: 2, init: empty}``. The canceller finds out by itself how much later it comes
    back, up to 0.4 s, and holds the sound back by 8 ms.
    """

    samples = Input("audio", "S", "float32", late="empty", help="what the microphone hears, mono")
    reference = Input("audio", "N", "float32", late="empty", help="what the speakers play, mono")
    cleaned = Output("audio", "S", "float32", help="what is left: the user")

    mode: str = Param("auto", choices=("auto", "on", "off"), help="auto: off where the extra echo is not installed")
    noise: bool = Param(False, help="steady noise is taken out, too")

    def __init__(self, canceller: MakeCanceller = WebRtcCanceller, **values: Any) -> None:
        super().__init__(**values)
        self._make_canceller = canceller

    def open(self, ctx: NodeContext) -> None:
        """Load the canceller; `auto` goes on without."""
        self._ctx = ctx
        self._is_off = self.mode == "off"
        if self._is_off:
            return
        try:
            load_webrtc()
        except MissingExtra as missing:
            if self.mode == "on":
                raise
            self._is_off = True
            ctx.report("echo", f"the echo of open speakers stays: {REMEDY}")
            ctx.log.warning("%s", missing)

    def new_state(self) -> Room:
        """A room of which nothing is known yet."""
        return Room()

    def step(self, state: Room, unit: Unit, samples: Any = None, reference: Any = None) -> dict[str, Any]:
        """The unit's samples ``[S]`` without what was played; empty where the microphone is."""
        if self._is_off:
            return {"cleaned": samples}
        if state.canceller is None and samples is not None:
            self._begin(state, samples, reference)
        self._play(state, reference)
        if state.canceller is None or samples is None:
            return {}
        state.samples = np.concatenate([state.samples, samples])
        frames, state.samples = self._frames(state.samples, len(samples))
        joined = np.concatenate([state.cleaned, *map(state.canceller.cleaned, frames)])
        state.cleaned = joined[len(samples) :]
        return {"cleaned": joined[: len(samples)]}

    def gap(self, state: Room, units: Sequence[Unit]) -> None:
        """Lost units were silent, as far as is known."""
        for _ in units:
            self._play(state, None)

    def _begin(self, state: Room, samples: Any, reference: Any) -> None:
        """Make the canceller for these rates, with the silence that a unit of broken frames begins with."""
        shape = (self._ctx.input_shapes.get("reference") or {}).get(WHOLE)
        state.n_reference = shape[0] if shape and shape[0] else len(samples if reference is None else reference)
        rate_hz, reference_hz = (round(Fraction(n) / self._ctx.clock.period) for n in (len(samples), state.n_reference))
        state.canceller = self._make_canceller(rate_hz, reference_hz, self.noise)
        n_frame = rate_hz // FRAMES_HZ
        state.cleaned = np.zeros(n_frame - math.gcd(n_frame, len(samples)), np.float32)

    def _play(self, state: Room, reference: Any) -> None:
        if state.canceller is None:
            return
        played = np.zeros(state.n_reference, np.float32) if reference is None else reference
        frames, state.reference = self._frames(np.concatenate([state.reference, played]), state.n_reference)
        for frame in frames:
            state.canceller.reference(frame)

    def _frames(self, sound: Samples, n_unit: int) -> tuple[list[Samples], Samples]:
        """Whole frames of 10 ms, and the rest."""
        n = round(Fraction(n_unit) / self._ctx.clock.period / FRAMES_HZ)
        n_whole = len(sound) // n * n
        return list(sound[:n_whole].reshape(-1, n)), sound[n_whole:]
