"""The microphone: its own rate and clock, as mono sound of the units; empty while there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...runtime.node import Node, NodeContext, Param, Timebase, Unit
from ...runtime.ports import Input, Output
from ..media.drift import DriftResampler
from .portaudio import SoundStream
from .upkeep import Device, Stopped, Upkeep

MEASURED_S = 30.0
"""Before a device's clock has been measured for this long its drift is a guess."""

SURPLUS_MS = 120.0
"""Delay beyond the wanted one that is mended by playing faster, within 12 s; what is more is dropped at once."""

Use = Callable[[NDArray[np.float32], int], None]


class Stream(Device, Protocol):
    """An open microphone or speakers, see `SoundStream`."""

    rate_hz: int
    n_glitches: int

    def watch(self, stopped: Stopped) -> None:
        """Return when the node closes; `DeviceAbsent` when the device is gone."""
        ...


OpenStream = Callable[[str, Use], Stream]
"""``open_stream(device, use)``, or `DeviceAbsent`; ``use`` is called with each block and its instant."""


def open_microphone(device: str, use: Use) -> Stream:
    """Open a microphone by PortAudio."""
    return SoundStream(device, "input", use)


class CaptureMicrophone(Node):
    """Give out what a microphone hears, on the clock: any rate and number of channels is converted to mono.

    The device's clock is not ours: its drift is measured, and the sound is read that much faster or slower, so that
    its delay stays. While there is no microphone the stream is empty; it is looked for every second. Beside open
    speakers, let `flow.cancel_echo` follow.
    """

    audio = Output("audio", "S", "float32", rate_hz=16000, help="mono samples in -1..1")

    device: str = Param("", help="a number or a part of the name; empty: the system's choice")
    rate_hz: int = Param(16000, min=1000, max=192000, help="samples per second that are given out")
    delay_ms: float = Param(40.0, min=15.0, max=500.0, help="sound kept back, so that a late block leaves no hole")
    required: bool = Param(False, help="without a microphone at the start the run fails, instead of going on without")

    is_live = True

    def __init__(self, opener: OpenStream = open_microphone, **values: Any) -> None:
        super().__init__(**values)
        self._opener = opener

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """The rate as it is set."""
        audio = Output("audio", "S", "float32", rate_hz=params.get("rate_hz", 16000), help=cls.audio.help)
        return cls.inputs, {"audio": audio}

    def open(self, ctx: NodeContext) -> None:
        """Open the microphone, or begin to look for it."""
        self._ctx = ctx
        self._timebase: Timebase | None = None
        self._n_samples = ctx.clock.samples(self.rate_hz)
        self._lock = threading.Lock()
        self._sound: DriftResampler | None = None
        self._summary = ""
        self._early: list[tuple[NDArray[np.float32], int]] = []
        self._upkeep = Upkeep("microphone", self._opened, self._watch)
        self._upkeep.start(ctx, self.required)

    def start(self, timebase: Timebase) -> None:
        """Learn when the units are."""
        self._timebase = timebase

    def step(self, unit: Unit) -> dict[str, Any]:
        """The unit's samples ``[S]``, as they arrived until its end, less the delay."""
        assert self._timebase is not None
        due_ns = self._timebase.origin_ns + unit.pts_ns + unit.duration_ns
        with self._lock:
            return {"audio": self._sound.read(self._n_samples, due_ns) if self._sound is not None else None}

    def close(self) -> None:
        """Give the microphone back, and say how its clock ran."""
        self._upkeep.stop()
        if self._summary:
            self._ctx.report("microphone", self._summary)

    def _opened(self) -> Stream:
        self._early = []
        stream = self._opener(self.device, self._take_in)
        with self._lock:
            self._sound = resampler(stream.rate_hz, self.rate_hz, self.delay_ms)
            for block, at_ns in self._early:  # what came before its rate was known
                self._sound.put(block, at_ns)
        return stream

    def _watch(self, stream: Stream) -> None:
        try:
            stream.watch(self._upkeep.stopped)
        finally:
            with self._lock:
                sound, self._sound = self._sound, None
            if sound is not None:
                self._summary = described(stream, sound)

    def _take_in(self, block: NDArray[np.float32], at_ns: int) -> None:
        """One block ``[n, channels]``, in the device's thread."""
        samples = block.mean(axis=1, dtype=np.float32)
        with self._lock:
            if self._sound is None:
                self._early = [*self._early[-8:], (samples, at_ns)]
            else:
                self._sound.put(samples, at_ns)


def resampler(rate_in: int, rate_out: int, delay_ms: float) -> DriftResampler:
    """A device's sound against ours, with this delay, or a little more after a stall."""
    return DriftResampler(rate_in, rate_out, delay_ms / 1000, (delay_ms + SURPLUS_MS) / 1000)


def described(stream: Stream, sound: DriftResampler) -> str:
    """One line on a stream: its delay, its clock against the run's, and its losses."""
    parts = [f"{stream.name} at {stream.rate_hz} Hz, delay {sound.delay_s * 1000:.0f} ms"]
    if sound.seconds >= MEASURED_S:
        parts.append(f"its clock {sound.drift_ppm:+.0f} ppm")
    losses = {
        "ms of silence for want of sound": 1000 * sound.n_silent / sound.rate_out,
        "ms dropped": 1000 * sound.n_dropped / sound.rate_in,
        "glitches": stream.n_glitches,
    }
    parts += [f"{value:.0f} {what}" for what, value in losses.items() if value >= 1]
    return ", ".join(parts)
