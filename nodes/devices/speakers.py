"""The speakers: the units' sound at the device's own rate and clock."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.node import Node, NodeContext, Param, Timebase, Unit
from ...runtime.packet import WHOLE
from ...runtime.ports import Input
from ..media.drift import DriftResampler
from .microphone import OpenStream, Stream, Use, described, resampler
from .portaudio import SoundStream
from .upkeep import Upkeep, monotonic_ns


def open_speakers(device: str, use: Use) -> Stream:
    """Open speakers by PortAudio."""
    return SoundStream(device, "output", use)


class Speakers(Node):
    """Play sound on this machine's speakers.

    Meant to follow `sync.playout`: a unit begins to sound ``delay_ms`` after it has come, and the device's own latency
    later. The device's clock is not ours: its drift is measured and made up for, so that the delay stays. A unit
    without sound is silent. While there are no speakers nothing sounds and nothing waits; they are looked for every
    second.
    """

    audio = Input("audio", "N", "float32", late="empty", guard="conceal", help="mono samples at any rate")

    device: str = Param("", help="a number or a part of the name; empty: the system's choice")
    delay_ms: float = Param(30.0, min=10.0, max=500.0, help="sound kept back, so that a late unit leaves no hole")
    volume: float = Param(1.0, min=0.0, max=4.0, live=True, help="factor; 1: as it is")
    required: bool = Param(False, help="without speakers at the start the run fails, instead of going on without")

    is_live = True

    def __init__(self, opener: OpenStream = open_speakers, **values: Any) -> None:
        super().__init__(**values)
        self._opener = opener

    def open(self, ctx: NodeContext) -> None:
        """Open the speakers, or begin to look for them."""
        self._ctx = ctx
        shape = (ctx.input_shapes.get("audio") or {}).get(WHOLE)
        self._n_samples = shape[0] if shape and shape[0] else ctx.clock.samples(16000)
        self._lock = threading.Lock()
        self._rate_hz = 0
        self._sound: DriftResampler | None = None
        self._summary = ""
        self._upkeep = Upkeep("speakers", self._opened, self._watch)
        self._upkeep.start(ctx, self.required)

    def start(self, timebase: Timebase) -> None:
        """Nothing to prepare: a unit sounds when it comes."""

    def step(self, unit: Unit, audio: Any = None) -> None:
        """Hand one unit of samples ``[S]`` over to the device's thread."""
        if audio is not None:
            self._n_samples = len(audio)
        samples = np.zeros(self._n_samples, np.float32) if audio is None else np.clip(audio * self.volume, -1, 1)
        ends_ns = monotonic_ns() + unit.duration_ns  # the last of it is due then, however early all of it is here
        with self._lock:
            if self._sound is not None and self._sound.rate_in != self._rate_of(unit):
                self._sound = self._resampler(self._rate_of(unit))
            if self._sound is not None:
                self._sound.put(samples, ends_ns)

    def update(self, values: Mapping[str, Any]) -> None:
        """Another volume holds from the next unit on."""
        self.volume = values.get("volume", self.volume)

    def close(self) -> None:
        """Give the speakers back, and say how their clock ran."""
        self._upkeep.stop()
        if self._summary:
            self._ctx.report("speakers", self._summary)

    def _rate_of(self, unit: Unit) -> int:
        return round(Fraction(self._n_samples * 1_000_000_000, unit.duration_ns))

    def _resampler(self, rate_hz: int) -> DriftResampler:
        return resampler(rate_hz, self._rate_hz, self.delay_ms)

    def _opened(self) -> Stream:
        stream = self._opener(self.device, self._fill)
        with self._lock:
            self._rate_hz = stream.rate_hz
            self._sound = self._resampler(round(Fraction(self._n_samples) / self._ctx.clock.period))
        return stream

    def _watch(self, stream: Stream) -> None:
        try:
            stream.watch(self._upkeep.stopped)
        finally:
            with self._lock:
                sound, self._sound = self._sound, None
            if sound is not None and sound.is_running:
                self._summary = described(stream, sound)

    def _fill(self, block: NDArray[np.float32], at_ns: int) -> None:
        """Fill one block ``[n, channels]``, in the device's thread."""
        with self._lock:
            samples = self._sound.read(len(block), at_ns) if self._sound is not None else None
        block[:] = 0 if samples is None else samples[:, None]
