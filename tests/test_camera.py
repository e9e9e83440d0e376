"""The camera behind its opener: any size, rate and format on the clock, empty without one, and there again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
from device_toys import Plug, ToyCamera, picture
from media_files import CLOCK, make_video, regular, unit

from wangraph.nodes.devices import camera as module
from wangraph.nodes.devices import upkeep
from wangraph.nodes.devices.camera import CaptureCamera, open_camera
from wangraph.nodes.devices.upkeep import DeviceAbsent
from wangraph.nodes.devices.v4l2 import Listed
from wangraph.runtime.errors import MediaError
from wangraph.runtime.node import NodeContext, Timebase

MS = 1_000_000


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(upkeep, "RETRY_S", 0.001)


class Seen:
    """A camera node, open, with unit 0 beginning at the monotonic instant 0."""

    def __init__(self, plug: Plug, **params: Any) -> None:
        self.plug = plug
        self.node = CaptureCamera(plug.open, **{"width": 64, "height": 48, **params})
        self.reports: list[tuple[str, str]] = []
        self.closing: list[Any] = []
        report = lambda key, text: self.reports.append((key, text))  # noqa: E731
        self.node.open(NodeContext("cam", CLOCK, report=report, on_close=self.closing.append))
        self.node.start(Timebase(0, CLOCK))

    def shades(self, index: int) -> list[int] | None:
        """Grey of each of the unit's pictures."""
        given = self.node.step(unit(index)).get("video")
        return None if given is None else [int(frame.mean().round()) for frame in given.value]

    def close(self) -> None:
        """Close the node; a camera gives one picture more, as one that runs does, and is noticed to be unwanted."""
        self.node._upkeep.stopped.set()
        if self.plug.opened:
            self.plug.opened[-1].shown.put((picture(0), 0))
        self.node.close()


@pytest.fixture
def plug():
    return Plug()


@pytest.fixture
def camera(plug):
    toy = ToyCamera()
    plug.plugged.put(toy)
    return toy


def test_each_picture_is_the_newest_at_its_end(plug, camera):
    seen = Seen(plug)
    camera.show(*[(picture(10 * n), (33 * n + 5) * MS) for n in range(6)])
    assert seen.shades(0) == [10, 20, 30, 40]  # at 40, 80, 120, 160 ms: those of 38, 71, 104, 137 ms
    seen.close()
    assert plug.closed == ["toy camera"]
    assert seen.reports == [("camera", "30.30 pictures a second, 1 left out, 0 repeated")]


def test_a_unit_says_when_it_was_captured(plug, camera):
    seen = Seen(plug)
    camera.show((picture(50), 10 * MS))
    given = seen.node.step(unit(0))["video"]
    assert (given.capture_ns, given.capture_clock) == (160 * MS, "monotonic")
    seen.close()


@pytest.mark.parametrize("format", ["rgb24", "yuyv422", "nv12", "yuvj422p", "gray"])
@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (64, 48)])
def test_any_format_and_size_becomes_the_same_picture(plug, camera, format, size):
    seen = Seen(plug)
    camera.show((picture(100, *size, format=format), 10 * MS))
    frames = seen.node.step(unit(0))["video"].value
    assert frames.shape == (4, 48, 64, 3)
    assert abs(int(frames.mean()) - 100) <= 4
    seen.close()


def test_another_shape_is_fitted_as_a_file_is(plug, camera):
    seen = Seen(plug, fit="pad")
    camera.show((picture(200, 64, 24), 10 * MS))
    frame = seen.node.step(unit(0))["video"].value[0]
    assert frame[:12].max() == 0 and frame[36:].max() == 0 and frame[14:34].min() > 190
    seen.close()


def test_a_mirrored_picture_has_left_and_right_exchanged(plug, camera):
    half = np.zeros((48, 64, 3), np.uint8)
    half[:, :32] = 255
    seen = Seen(plug, mirror=True)
    camera.show((av.VideoFrame.from_ndarray(half, format="rgb24"), 10 * MS))
    frame = seen.node.step(unit(0))["video"].value[0]
    assert frame[:, :28].max() == 0 and frame[:, 36:].min() == 255
    seen.close()


def test_without_a_camera_the_stream_is_empty_until_one_is_plugged_in(plug):
    seen = Seen(plug)
    assert seen.shades(0) is None
    late = ToyCamera("late camera")
    plug.plugged.put(late)
    late.show((picture(70), 200 * MS))
    assert seen.shades(1) == [70] * 4
    seen.close()
    assert [text for _, text in seen.reports] == [
        "found no toy (expected one), plug one in: empty",
        "late camera is there",
    ]


def test_a_camera_that_is_pulled_out_is_empty_at_once_and_back_when_it_is_plugged_in(plug, camera):
    seen = Seen(plug)
    camera.show((picture(70), 10 * MS))
    assert seen.shades(0) == [70] * 4
    camera.pull()
    assert seen.shades(1) is None
    again = ToyCamera()
    plug.plugged.put(again)
    again.show((picture(90), 400 * MS))
    assert seen.shades(2) == [90] * 4
    seen.close()
    gone = "found /dev/video0: No such device (expected a camera to read), see: wangraph devices"
    assert [text for _, text in seen.reports] == [
        f"toy camera is gone: {gone}: empty until it is back",
        "toy camera is there",
        "2 pictures, 0 left out, 5 repeated",
    ]


def test_a_frozen_camera_is_empty_after_a_second(plug, camera):
    seen = Seen(plug)
    camera.show((picture(70), 10 * MS))
    assert seen.shades(0) == [70] * 4
    assert seen.shades(5) == [70] * 4  # until 960 ms
    assert seen.shades(7) is None
    seen.close()


def test_a_required_camera_that_is_not_there_ends_the_run_before_it_begins(plug):
    message = "node 'cam': found no toy (expected one), plug one in"
    with pytest.raises(MediaError, match=f"^{re.escape(message)}$"):
        Seen(plug, required=True)


def test_the_camera_is_asked_for_what_the_node_is_to_give(plug, camera):
    Seen(plug, device="front", width=640, height=360).close()
    assert plug.asked[0] == ("front", (640, 360), CLOCK.fps)


KNOWN = [Listed("/dev/video0", "Front: cam"), Listed("/dev/video2", "Document view")]


def test_a_camera_is_found_by_path_number_or_a_part_of_its_name(monkeypatch):
    monkeypatch.setattr(module, "cameras", lambda: KNOWN)
    chosen = [module._chosen(device, KNOWN).path for device in ("", "/dev/video2", "2", "docu", "0")]
    assert chosen == ["/dev/video0", "/dev/video2", "/dev/video2", "/dev/video2", "/dev/video0"]


@pytest.mark.parametrize(
    ("device", "known", "message"),
    [
        ("", [], "found no camera (there are: none), plug one in or name another: wangraph devices"),
        ("back", KNOWN, "found no camera 'back' (there are: /dev/video0 Front: cam, /dev/video2 Document view), plug one "
         "in or name another: wangraph devices"),
    ],
)  # fmt: skip
def test_a_camera_that_is_not_there_is_named_with_those_that_are(monkeypatch, device, known, message):
    monkeypatch.setattr(module, "cameras", lambda: known)
    with pytest.raises(DeviceAbsent, match=f"^{re.escape(message)}$"):
        open_camera(device, (64, 48), CLOCK.fps)


def test_what_cannot_be_opened_is_said_with_its_reason(monkeypatch, tmp_path):
    path = str(tmp_path / "video0")
    monkeypatch.setattr(module, "cameras", lambda: [Listed(path, "gone")])
    message = f"found {path}: No such file or directory (expected a camera to read), see: wangraph devices"
    with pytest.raises(DeviceAbsent, match=f"^{re.escape(message)}$"):
        open_camera("", (64, 48), CLOCK.fps)


def test_pictures_of_a_device_come_until_it_ends(monkeypatch, tmp_path):
    path = make_video(tmp_path / "a.mp4", regular(10, 25))
    real = av.open
    monkeypatch.setattr(av, "open", lambda name, format, options: real(str(path)))
    opened, came = module._Opened(KNOWN[0], {}), []
    with pytest.raises(DeviceAbsent, match=r"^its pictures ended$"):
        came.extend(opened.pictures())  # keeps those that came before it raised
    opened.close()
    assert opened.name == "Front: cam" and len(came) == 10
    assert [at_ns > 0 for _, at_ns in came] == [True] * 10


def test_a_damaged_picture_is_passed_over(monkeypatch):
    class Packet:
        def __init__(self, error: Exception | None) -> None:
            self.error = error

        def decode(self) -> list[Any]:
            if self.error is not None:
                raise self.error
            return [picture(9)]

    damage = av.error.InvalidDataError(1, "Invalid data found", "")
    packets = [Packet(None), Packet(damage), Packet(None)]

    class Container:
        streams = type("Streams", (), {"video": [None]})

        def demux(self, stream: Any) -> Iterator[Packet]:
            yield from packets
            raise av.error.OSError(19, "No such device", "")

    monkeypatch.setattr(av, "open", lambda name, format, options: Container())
    came: list[Any] = []
    with pytest.raises(DeviceAbsent, match=r"^No such device$"):
        came.extend(module._Opened(KNOWN[0], {}).pictures())
    assert len(came) == 2


def test_the_drivers_time_stamp_counts_where_it_is_of_the_same_clock():
    now_ns = 1_000_000 * MS
    assert module._captured_ns(999.97, now_ns) == 999_970 * MS
    assert module._captured_ns(1_700_000_000.0, now_ns) == now_ns  # of the calendar
    assert module._captured_ns(None, now_ns) == now_ns
