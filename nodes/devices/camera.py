"""The camera: whatever size, rate and format it gives, as equal pictures on the clock; empty while there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, Protocol

from ...runtime.node import Emission, Node, NodeContext, Param, Timebase, Unit
from ...runtime.ports import Input, Output
from ..media.newest import NewestPictures
from ..media.pictures import Fit, Scaler
from ..media.probe import decoded
from .upkeep import Device, DeviceAbsent, Upkeep, monotonic_ns
from .v4l2 import FORMATS, Listed, best_mode, cameras

REMEDIES = {
    "PermissionError": "add yourself to the group 'video', and log in again",
    "BlockingIOError": "close the program that uses it",
    "OSError": "close the program that uses it",  # device or resource busy
}


class Camera(Device, Protocol):
    """An open camera."""

    def pictures(self) -> Iterator[tuple[Any, int]]:
        """PyAV frames as they come, each with the monotonic instant at which it was captured.

        Raises:
            DeviceAbsent: the camera is gone.
        """
        ...


OpenCamera = Callable[[str, tuple[int, int], Fraction], Camera]
"""``open_camera(device, size, fps)``, or `DeviceAbsent`."""


def open_camera(device: str, size: tuple[int, int], fps: Fraction) -> Camera:
    """Open a camera by FFmpeg.

    Args:
        device: a path, a number, or a part of the name; empty: the first.
        size: ``(width, height)`` that its pictures should fill.
        fps: rate that it should reach.

    Raises:
        DeviceAbsent: there is none, or it cannot be opened.
    """
    found = _chosen(device, cameras())
    mode = best_mode(found.modes, size, fps)
    options = {}
    if mode is not None:
        options = {
            "input_format": FORMATS[mode.format],
            "video_size": f"{mode.width}x{mode.height}",
            "framerate": str(mode.fps),
        }
    return _Opened(found, options)


def _chosen(device: str, known: list[Listed]) -> Listed:
    names = ", ".join(f"{camera.path} {camera.name}" for camera in known) or "none"
    if not device and known:
        return known[0]
    path = f"/dev/video{device}" if device.isdigit() else device
    for camera in known:
        if camera.path == path or (device and device.lower() in camera.name.lower()):
            return camera
    wanted = f"no camera '{device}'" if device else "no camera"
    raise DeviceAbsent(f"found {wanted} (there are: {names}), plug one in or name another: wangraph devices")


class _Opened:
    """A camera that FFmpeg reads."""

    def __init__(self, found: Listed, options: Mapping[str, str]) -> None:
        import av

        self.name = found.name
        self._damage = ""
        try:
            self._container = av.open(found.path, format="v4l2", options=dict(options))
        except (av.error.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            remedy = REMEDIES.get(type(error).__name__, "see: wangraph devices")
            raise DeviceAbsent(f"found {found.path}: {reason} (expected a camera to read), {remedy}") from error
        self._stream = self._container.streams.video[0]

    def pictures(self) -> Iterator[tuple[Any, int]]:
        """See `Camera.pictures`. A damaged picture, as cables make them, is passed over."""
        for frame in decoded(self._container, self._stream, self._on_damage):
            self._damage = ""
            yield frame, _captured_ns(frame.time, monotonic_ns())
        raise DeviceAbsent(self._damage or "its pictures ended")

    def _on_damage(self, reason: str) -> None:
        self._damage = reason

    def close(self) -> None:
        """Give the camera back."""
        self._container.close()


def _captured_ns(stamp_s: float | None, now_ns: int) -> int:
    """The driver's own time stamp where it is of the monotonic clock, as nearly all are, else the arrival."""
    if stamp_s is not None and 0 <= now_ns - stamp_s * 1e9 < 500_000_000:
        return int(stamp_s * 1e9)
    return now_ns


class CaptureCamera(Node):
    """Give out what a camera sees, on the clock: any rate, size and format is converted.

    Each picture is the newest at its instant, so that others are repeated or left out as the camera's own clock wants.
    While there is no camera, or it gives nothing new for a second, the stream is empty; it is looked for every second.
    """

    video = Output("video", "F H W 3", "uint8", help="RGB pictures")

    device: str = Param("", help="a path, a number, or a part of the name; empty: the first camera")
    width: int = Param(640, min=16, max=8192, help="pixels")
    height: int = Param(360, min=16, max=8192, help="pixels")
    fit: str = Param("crop", choices=("crop", "pad", "stretch"), help="how another shape becomes width x height")
    mirror: bool = Param(False, help="left and right exchanged, as in a looking-glass")
    required: bool = Param(False, help="without a camera at the start the run fails, instead of going on without")

    is_live = True

    def __init__(self, opener: OpenCamera = open_camera, **values: Any) -> None:
        super().__init__(**values)
        self._opener = opener

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """The picture's size as it is set."""
        width, height = params.get("width", 640), params.get("height", 360)
        return cls.inputs, {"video": Output("video", f"F {height} {width} 3", "uint8", help=cls.video.help)}

    def open(self, ctx: NodeContext) -> None:
        """Open the camera, or begin to look for it."""
        self._ctx = ctx
        self._origin_ns: int | None = None
        self._lock = threading.Lock()
        self._pictures = NewestPictures(most=4 * ctx.clock.unit_frames + 8)
        self._scaler = Scaler()
        self._first_ns = self._last_ns = 0
        size = self.width, self.height
        self._upkeep = Upkeep("camera", lambda: self._opener(self.device, size, ctx.clock.fps), self._watch)
        self._upkeep.start(ctx, self.required)

    def start(self, timebase: Timebase) -> None:
        """Learn when the units are."""
        self._origin_ns = timebase.origin_ns

    def step(self, unit: Unit) -> dict[str, Any]:
        """The unit's pictures ``[F, H, W, 3]``, each the newest at its end."""
        assert self._origin_ns is not None
        n, begin = self._ctx.clock.unit_frames, self._origin_ns + unit.pts_ns
        instants = [begin + unit.duration_ns * (j + 1) // n for j in range(n)]
        with self._lock:
            images = self._pictures.read(instants)
        if images is None:
            return {}
        frames: Any = self._ctx.empty("video", (n, self.height, self.width, 3), "uint8")
        for j, image in enumerate(images):
            frames[j] = image
        return {"video": Emission(frames, capture_ns=instants[-1], capture_clock="monotonic")}

    def close(self) -> None:
        """Give the camera back, and say what it did."""
        self._upkeep.stop()
        n, seconds = self._pictures.n_put, (self._last_ns - self._first_ns) / 1e9
        if n > 1 and seconds > 0:
            rate = f"{(n - 1) / seconds:.2f} pictures a second" if not self._upkeep.n_lost else f"{n} pictures"
            text = f"{rate}, {self._pictures.n_dropped} left out, {self._pictures.n_held} repeated"
            self._ctx.report("camera", text)

    def _watch(self, camera: Camera) -> None:
        """Take in pictures until the end, in the camera's thread: what is large is made small at once."""
        fit: Fit = self.fit  # type: ignore[assignment]  # one of its choices
        try:
            for frame, at_ns in camera.pictures():
                if self._upkeep.stopped.is_set():
                    return
                shape = (frame.width, frame.height)
                image = self._scaler.fitted(frame, shape, (self.width, self.height), fit, 0)
                if self.mirror:
                    image = image[:, ::-1]
                with self._lock:
                    self._pictures.put(image, at_ns)
                self._first_ns, self._last_ns = self._first_ns or at_ns, at_ns
        finally:
            with self._lock:
                self._pictures.clear()
