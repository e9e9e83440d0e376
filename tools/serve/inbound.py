"""Units of a visitor's media, cut as the graph wants them: pictures of any size and rate, sound of any rate and clock.

    carrier -> sender.video, sender.audio      when it comes
    unit(k) -> {"video": [F, H, W, 3] or None, "audio": [S] or None}      `CUT_NS` before unit k is complete

What is not there is None, never black and never silence: a graph that is shown black pictures answers them. Pure: time
is an argument. All of it belongs to one event loop.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from ...nodes.media.drift import DriftResampler
from ...nodes.media.pictures import fitted_size
from ...runtime.units import NS, UnitClock
from .carrier import Pictures, Received, Samples
from .protocol import EndFormats

Device = Literal["on", "off", "absent"]
Unit = dict[str, NDArray[np.uint8] | NDArray[np.float32] | None]

FROZEN_NS = 1_000_000_000
"""A picture older than this is no longer what the visitor looks like: a camera, or the way from it, has stopped."""

CUT_NS = 12_000_000
"""How long before its end a unit is cut. What reaches the visitor's node after the unit's release is a unit late: from
here to there are two threads, a socket and a lane."""

HEAD_S = 0.022
"""Of sound, beyond one piece of it, between its arrival and its unit's end at first: `CUT_NS`, and a piece may be 9 ms
late."""

SHORTEST_PIECE_S, LONGEST_PIECE_S = 0.005, 0.06
"""A longer piece waits no longer than this one. Of shorter ones less than `SEEN_S` are remembered."""

SEEN_S = 5.0
"""The delay would have been enough for every unit of the last five seconds, so that no hole is followed by another."""

USUAL, LATE = 0.5, 0.95
"""Quantiles of arrivals: the delay has to do for late ones wherever the cut falls between two pieces. Still later ones
seldom meet a cut."""

SPARE_S, LATEST_S = 0.004, 0.12
"""And by this longer, as clocks drift; but no longer than that: a way that is less even stalls."""

LONGEST_DELAY_S = 1.0
"""After a stall of the way, sound comes in a burst; what is more than this behind is dropped, oldest first."""

QUIET_PEAK = 100
"""Of 32768, -50 dB: sound below it is left out while there is a surplus, so that a delay ends in the next pause."""

SURPLUS_S = 0.06
"""Above the delay that is wanted: jitter alone does not reach it."""

SETTLE_S = 3.0
"""After quiet sound was left out: the measured delay follows within a second or so."""

KEPT_PICTURES = 16
"""Enough for a unit at 60 pictures a second; none is needed twice."""


@dataclass(frozen=True, slots=True)
class InboundFigures:
    """Counts of a visitor's media so far.

    Attributes:
        pictures: that came.
        pictures_shown: frames of units that had one.
        sound_delay_ms: from the arrival of sound to its unit's end, averaged.
        sound_drift_ppm: how much faster than ours the visitor's clock of samples runs.
        silent_ms: silence that stands for sound which came too late.
        dropped_ms: sound that was never given to the graph: a surplus after a stall, or waiting at a switch. Not what
            came before the first unit.
        quiet_ms: quiet sound that was left out to catch up.
        ignored: pictures and pieces of sound from a carrier that has been replaced.
    """

    pictures: int
    pictures_shown: int
    sound_delay_ms: float
    sound_drift_ppm: float
    silent_ms: float
    dropped_ms: float
    quiet_ms: float
    ignored: int


USUAL_RATES_HZ = (16_000, 48_000)
"""Of the sound that visitors send: by the socket, and by WebRTC."""


def prepare_inbound(inputs: EndFormats) -> None:
    """Cut units before a visitor is there: what the first ones load and compute would hold the loop up by 100 ms."""
    clock = UnitClock()
    for rate_hz in USUAL_RATES_HZ:
        inbound = Inbound(clock, inputs, 0)
        sender = inbound.sender()
        for unit in range(2):
            at_ns = clock.release_ns(unit) - CUT_NS
            sender.video(av.VideoFrame(320, 240, "yuv420p"), at_ns)
            sender.audio(np.zeros(clock.samples(rate_hz), np.int16), rate_hz, at_ns)
            inbound.unit(unit)


class Inbound:
    """A visitor's media on their way into a graph.

    Args:
        clock: of the graph.
        inputs: what the graph takes.
        origin_ns: when unit 0 begins, on the clock that stamps what comes.
    """

    def __init__(self, clock: UnitClock, inputs: EndFormats, origin_ns: int) -> None:
        self._clock = clock
        self._origin_ns = origin_ns
        self._seen = None if inputs.video is None else _Seen(inputs.video.width, inputs.video.height)
        self._heard = (
            None if inputs.audio is None else _Heard(inputs.audio.rate_hz, clock.samples(inputs.audio.rate_hz))
        )
        self._senders = 0
        self._newest = {"video": 0, "audio": 0}
        self._ignored = 0

    def sender(self) -> Received:
        """Sink for what a new carrier receives. From its first picture on, those of the carriers before it are
        ignored, and from its first sound on, theirs: so a visit can change over in the middle of a word."""
        self._senders += 1
        return _Sender(self, self._senders)

    def devices(self, camera: Device, microphone: Device) -> None:
        """Set what the visitor sends from now on. What is not on is nothing, whatever still comes of it."""
        if self._seen is not None:
            self._seen.turn(camera == "on")
        if self._heard is not None:
            self._heard.turn(microphone == "on")

    def unit(self, unit: int) -> Unit:
        """Give what belongs to a unit, once; called in ascending order, `CUT_NS` before its end."""
        begin_ns = self._origin_ns + self._clock.pts_ns(unit)
        end_ns = self._origin_ns + self._clock.release_ns(unit)
        n = self._clock.unit_frames
        # The end of each frame, not its beginning: a picture that waits for the next frame to begin is 28 ms older
        instants = [begin_ns + (end_ns - begin_ns) * (frame + 1) // n - CUT_NS for frame in range(n)]
        return {
            "video": None if self._seen is None else self._seen.frames(instants),
            "audio": None if self._heard is None else self._heard.samples(end_ns),
        }

    def figures(self) -> InboundFigures:
        """Counts of everything so far."""
        seen, heard = self._seen or _Seen(1, 1), self._heard or _Heard(16_000, 1)
        return InboundFigures(
            pictures=seen.n_came,
            pictures_shown=seen.n_shown,
            sound_delay_ms=heard.delay_s * 1000,
            sound_drift_ppm=heard.drift_ppm,
            silent_ms=heard.silent_s * 1000,
            dropped_ms=heard.dropped_s * 1000,
            quiet_ms=heard.quiet_s * 1000,
            ignored=self._ignored,
        )

    def take_video(self, sender: int, picture: av.VideoFrame, at_ns: int) -> None:
        """A sender's picture."""
        if self._seen is not None and self._is_newest("video", sender):
            self._seen.put(picture, at_ns)

    def take_audio(self, sender: int, samples: Samples, rate_hz: int, at_ns: int) -> None:
        """A sender's sound."""
        if self._heard is not None and self._is_newest("audio", sender):
            self._heard.put(samples, rate_hz, at_ns, sender)

    def _is_newest(self, kind: str, sender: int) -> bool:
        if sender < self._newest[kind]:
            self._ignored += 1
            return False
        self._newest[kind] = sender
        return True


class _Sender:
    """One carrier's side of an `Inbound`: a `carrier.Received`."""

    def __init__(self, inbound: Inbound, number: int) -> None:
        self._inbound = inbound
        self._number = number

    def video(self, picture: av.VideoFrame, at_ns: int) -> None:
        self._inbound.take_video(self._number, picture, at_ns)

    def audio(self, samples: Samples, rate_hz: int, at_ns: int) -> None:
        self._inbound.take_audio(self._number, samples, rate_hz, at_ns)

    def state(self, name: Literal["connecting", "connected", "disconnected", "failed", "closed"]) -> None:
        """Nothing: media that no longer come are missed by themselves."""


class _Seen:
    """The newest picture at each frame's instant, at the graph's size."""

    def __init__(self, width: int, height: int) -> None:
        self.n_came = self.n_shown = 0
        self._size = (width, height)
        self._is_on = True
        self._pictures: deque[tuple[int, av.VideoFrame]] = deque(maxlen=KEPT_PICTURES)
        self._fitter = _Fitter(self._size)

    def turn(self, is_on: bool) -> None:
        self._is_on = is_on
        self._pictures.clear()  # the picture before a camera went off is not what it sees when it is on again

    def put(self, picture: av.VideoFrame, at_ns: int) -> None:
        if self._is_on:
            self.n_came += 1
            self._pictures.append((at_ns, picture))

    def frames(self, instants: list[int]) -> Pictures | None:
        """``[F, H, W, 3]``, F the number of instants; None if at none of them a picture was there and fresh."""
        newest = [self._newest(at_ns) for at_ns in instants]
        first = next((picture for picture in newest if picture is not None), None)
        if first is None:
            return None
        shown = first  # a picture that comes within the unit stands for the frames before it, too
        frames = np.empty((len(instants), self._size[1], self._size[0], 3), np.uint8)
        for frame, picture in zip(frames, newest, strict=True):
            shown = shown if picture is None else picture
            frame[:] = self._fitter.fitted(shown)
        self.n_shown += len(instants)
        return frames

    def _newest(self, at_ns: int) -> av.VideoFrame | None:
        """The picture at an instant; None before the first, and when it is frozen. Older ones are let go of."""
        while len(self._pictures) > 1 and self._pictures[1][0] <= at_ns:
            self._pictures.popleft()
        if not self._pictures:
            return None
        came_ns, picture = self._pictures[0]
        return picture if came_ns <= at_ns <= came_ns + FROZEN_NS else None


class _Fitter:
    """Pictures of any size and format as RGB of one size: scaled by area, what overhangs is cropped."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._last: tuple[av.VideoFrame, Pictures] | None = None

    def fitted(self, picture: av.VideoFrame) -> Pictures:
        """The picture as ``[H, W, 3]``; a slow camera's picture is converted once for all its frames."""
        if self._last is None or self._last[0] is not picture:
            self._last = picture, self._converted(picture)
        return self._last[1]

    def _converted(self, picture: av.VideoFrame) -> Pictures:
        (width, height), shape = self._size, (picture.width, picture.height)
        scaled = fitted_size(shape, self._size, "crop")
        scaled = max(width, scaled[0]), max(height, scaled[1])
        is_smaller = scaled[0] < shape[0]
        converted = self._reformatter.reformat(
            picture,
            width=scaled[0],
            height=scaled[1],
            format="rgb24",
            interpolation="AREA" if is_smaller else "BILINEAR",
            threads=1,
        )
        left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
        image: Pictures = converted.to_ndarray()[top : top + height, left : left + width]
        return image


class _Heard:
    """A visitor's sound at the graph's rate and by its clock."""

    def __init__(self, rate_hz: int, n_samples: int) -> None:
        self.quiet_s = 0.0
        self._rate_hz, self._n_samples = rate_hz, n_samples
        self._is_on = True
        self._resampler: DriftResampler | None = None
        self._sender = 0
        self._before_s = (0.0, 0.0)  # dropped and silent, of resamplers that were replaced
        self._left_out_until_s = 0.0  # of quiet sound, in all, by what the delay was at the last unit
        self._settled_ns = 0
        self._piece_s = 0.0
        # Of each piece, by our clock less the sender's, which is counted in samples: without those of a pause, of a
        # microphone that is off, or of quiet that is left out, so that none of them looks like lateness.
        self._arrivals_s: deque[float] = deque()
        # At each cut, how much sound was not there yet that usually would have been
        self._behind_s: deque[float] = deque(maxlen=max(1, round(SEEN_S * rate_hz / n_samples)))

    @property
    def delay_s(self) -> float:
        return 0.0 if self._resampler is None else self._resampler.delay_s

    @property
    def drift_ppm(self) -> float:
        return 0.0 if self._resampler is None else self._resampler.drift_ppm

    @property
    def dropped_s(self) -> float:
        now = self._resampler
        return self._before_s[0] + (0.0 if now is None else now.n_dropped / now.rate_in)

    @property
    def silent_s(self) -> float:
        now = self._resampler
        return self._before_s[1] + (0.0 if now is None else now.n_silent / now.rate_out)

    def turn(self, is_on: bool) -> None:
        self._is_on = is_on
        if not is_on and self._resampler is not None:
            self._resampler.clear()
            self._forget_arrivals()

    def put(self, samples: Samples, rate_hz: int, at_ns: int, sender: int) -> None:
        if not self._is_on:
            return
        if self._resampler is None or self._resampler.rate_in != rate_hz or self._sender != sender:
            self._change_over(rate_hz, sender, len(samples) / rate_hz)
        resampler = self._resampler
        assert resampler is not None
        if self.quiet_s < self._left_out_until_s and np.abs(samples).max(initial=0) < QUIET_PEAK:
            self.quiet_s += len(samples) / rate_hz
            self._forget_arrivals()
            self._settled_ns = at_ns + int(SETTLE_S * NS)
            return
        resampler.put(np.multiply(samples, 1 / 32768, dtype=np.float32), at_ns)
        self._arrivals_s.append(at_ns / NS - resampler.seconds)

    def samples(self, end_ns: int) -> NDArray[np.float32] | None:
        """The samples of the unit that ends at this instant; None where nothing comes."""
        if not self._is_on or self._resampler is None:
            return None
        unit = self._resampler.read(self._n_samples, end_ns)
        if unit is None:
            self._forget_arrivals()
        else:
            self._adapt(self._resampler, end_ns - CUT_NS)
        surplus_s = self._resampler.delay_s - self._resampler.target_delay_s
        if surplus_s < SURPLUS_S:
            self._left_out_until_s = 0.0
        elif end_ns >= self._settled_ns:
            self._left_out_until_s = self.quiet_s + surplus_s
        return unit

    def _adapt(self, resampler: DriftResampler, cut_ns: int) -> None:
        """Wait as long as would have been enough: at once where that is longer, and shorter again once nothing else
        was seen for long."""
        if not self._arrivals_s:
            return
        usual_s, late_s = np.quantile(self._arrivals_s, (USUAL, LATE)).tolist()
        self._behind_s.append(cut_ns / NS - usual_s - resampler.seconds)
        needed_s = max(self._piece_s + late_s - usual_s, *self._behind_s)
        target_s = min(CUT_NS / NS + needed_s + SPARE_S, LATEST_S)
        if target_s > resampler.target_delay_s or len(self._arrivals_s) == self._arrivals_s.maxlen:
            resampler.target_delay_s = target_s

    def _forget_arrivals(self) -> None:
        self._arrivals_s.clear()
        self._behind_s.clear()

    def _change_over(self, rate_hz: int, sender: int, piece_s: float) -> None:
        """Hear another source. What waits of the old one is dropped: it ends where the new one begins."""
        if self._resampler is not None:
            self._resampler.clear()
            self._before_s = (self.dropped_s, self.silent_s)
        self._piece_s = min(piece_s, LONGEST_PIECE_S)
        self._behind_s.clear()
        self._arrivals_s = deque(maxlen=round(SEEN_S / max(self._piece_s, SHORTEST_PIECE_S)))
        self._resampler = DriftResampler(rate_hz, self._rate_hz, HEAD_S + self._piece_s, LONGEST_DELAY_S)
        self._sender = sender
        self._left_out_until_s = 0.0
