"""Small media files made for the tests, of every kind that users bring, and helpers to call nodes by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from wangraph.nodes.media.timecode import draw_timecode
from wangraph.runtime.node import Node, NodeContext, Unit
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.units import UnitClock

CLOCK = UnitClock()


def unit(index: int, clock: UnitClock = CLOCK, **packets: Packet | None) -> Unit:
    """Unit ``index``, of the 160 ms clock unless said otherwise."""
    return Unit(index, clock.pts_ns(index), clock.duration_ns(index), "node", packets=packets)


def packet(index: int, validity: Validity, **tensors: Any) -> Packet:
    """A packet of that unit without a payload."""
    return Packet("from.port", index, 0, CLOCK.pts_ns(index), CLOCK.duration_ns(index), validity, tensors)


def opened(node: Any, *connected: str, clock: UnitClock = CLOCK, **context: Any) -> Any:
    """The node, opened, and what it reported in ``node.reports``."""
    assert isinstance(node, Node)
    reports: list[tuple[str, str]] = []
    node.open(
        NodeContext(
            "node",
            clock,
            connected_inputs=frozenset(connected),
            report=lambda key, text: reports.append((key, text)),
            **context,
        )
    )
    node.reports = reports  # type: ignore[attr-defined]
    return node


def coded(frame: int, width: int, height: int) -> np.ndarray[Any, Any]:
    """A grey picture with a time code."""
    image = np.full((height, width, 3), 90, np.uint8)
    draw_timecode(image, frame)
    return image


def make_video(
    path: Path,
    times: Sequence[Fraction],
    size: tuple[int, int] = (128, 96),
    *,
    codec: str = "libx264",
    picture: Callable[[int, int, int], np.ndarray[Any, Any]] = coded,
    rotation: int = 0,
    sound: np.ndarray[Any, Any] | None = None,
    rate_hz: int = 16000,
    layout: str = "mono",
    sound_codec: str = "aac",
    sound_start_s: Fraction = Fraction(0),
    options: dict[str, str] | None = None,
) -> Path:
    """A file whose picture i is shown at ``times[i]``; ``sound`` is ``[channels, samples]``."""
    with av.open(str(path), "w", options=options or {}) as container:
        if times:
            video = container.add_stream(codec, rate=30)
            video.width, video.height = size
            video.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
            video.codec_context.time_base = Fraction(1, 90000)
            video.codec_context.thread_count = 1
            if codec == "libx264":
                video.options = {"preset": "ultrafast", "crf": "18"}
            if rotation:
                video.set_display_rotation(rotation)
        if sound is not None:
            audio = container.add_stream(sound_codec, rate=rate_hz, layout=layout)
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24")
            frame = frame.reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = round(time * 90000), Fraction(1, 90000)
            container.mux(video.encode(frame))
        if times:
            container.mux(video.encode(None))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32), format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
            frame.pts = round(sound_start_s * rate_hz)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def regular(n_frames: int, fps: Fraction | int) -> list[Fraction]:
    """Times of ``n_frames`` pictures at a constant rate."""
    return [Fraction(i) / fps for i in range(n_frames)]


def click(seconds: float, at_s: float, rate_hz: int, channels: int = 1) -> np.ndarray[Any, Any]:
    """Silence with a 1 kHz burst of 60 ms that starts at ``at_s``, on every channel."""
    n = np.arange(int(seconds * rate_hz))
    inside = (n >= round(at_s * rate_hz)) & (n < round((at_s + 0.06) * rate_hz))
    tone = np.where(inside, 0.6 * np.sin(2 * np.pi * 1000 / rate_hz * (n - round(at_s * rate_hz))), 0)
    return np.repeat(tone[None], channels, axis=0)


def write_floats(path: Path, samples: np.ndarray[Any, Any], rate_hz: int = 16000) -> Path:
    """A mono WAV of 32-bit floats, which can hold what is no number; the module ``wave`` writes whole numbers only."""
    data = samples.astype("<f4").tobytes()
    chunks = struct.pack("<4sIHHIIHH4sI", b"fmt ", 16, 3, 1, rate_hz, 4 * rate_hz, 4, 32, b"data", len(data)) + data
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks)
    return path


def play(node: Any, first: int = 0, limit: int = 500) -> list[dict[str, Any]]:
    """What an opened source gives until it ends: emissions by port."""
    from wangraph.runtime.node import END

    state = (node.new_state(),) if node.is_stateful() else ()
    outputs = []
    for index in range(first, limit):
        given = node.step(*state, unit(index))
        if given is END:
            return outputs
        outputs.append(given)
    raise AssertionError(f"no end within {limit} units")


def onset_s(samples: np.ndarray[Any, Any], rate_hz: int = 16000) -> float:
    """When it first gets loud."""
    return float(np.flatnonzero(np.abs(samples) > 0.3 * np.abs(samples).max())[0] / rate_hz)
