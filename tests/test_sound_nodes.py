"""Microphone and speakers behind their opener: any rate, any channels, a drifting clock; absent is empty."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from device_toys import PATIENCE_S, Plug, ToyStream
from media_files import CLOCK, unit

from wangraph.nodes.devices import microphone, speakers, upkeep
from wangraph.nodes.devices.microphone import CaptureMicrophone
from wangraph.nodes.devices.portaudio import SoundDevice, chosen
from wangraph.nodes.devices.speakers import Speakers
from wangraph.nodes.devices.upkeep import DeviceAbsent
from wangraph.runtime.errors import MediaError
from wangraph.runtime.node import NodeContext, Timebase
from wangraph.runtime.packet import WHOLE

MS = 1_000_000


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(upkeep, "RETRY_S", 0.001)


@pytest.fixture
def plug():
    return Plug()


@pytest.fixture
def stream(plug):
    toy = ToyStream()
    plug.plugged.put(toy)
    return toy


def opened(node: Any) -> Any:
    """The node, open, with unit 0 beginning at the monotonic instant 0, and its reports."""
    node.reports = []
    report = lambda key, text: node.reports.append(text)  # noqa: E731
    node.open(NodeContext("node", CLOCK, input_shapes={"audio": {WHOLE: (2560,)}}, report=report))
    node.start(Timebase(0, CLOCK))
    return node


def tone(first: int, n: int, rate_hz: int, hz: float = 500.0) -> np.ndarray[Any, Any]:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(first, first + n) / rate_hz)).astype(np.float32)


def hz_of(samples: np.ndarray[Any, Any], rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.fft.rfftfreq(len(samples), 1 / rate_hz)[spectrum.argmax()])


def talk_into(stream: ToyStream, until_ms: int, since_ms: int = 0, channels: int = 2) -> None:
    """A tone in blocks of 10 ms, the same in every channel."""
    n = stream.rate_hz // 100
    for block in range(since_ms // 10, until_ms // 10):
        samples = tone(block * n, n, stream.rate_hz)
        stream.use(np.stack([samples] * channels, axis=1), (block + 1) * 10 * MS)


# Microphone


@pytest.mark.parametrize(("rate_hz", "channels"), [(48000, 2), (44100, 1), (16000, 2), (8000, 1)])
def test_any_rate_and_channels_become_mono_at_the_wanted_rate(plug, rate_hz, channels):
    plug.plugged.put(stream := ToyStream(rate_hz))
    node = opened(CaptureMicrophone(plug.open))
    given = []
    for k in range(5):
        talk_into(stream, 160 * (k + 1), 160 * k, channels)
        given.append(node.step(unit(k))["audio"])
    node.close()
    assert all(samples.shape == (2560,) for samples in given)
    sound = np.concatenate(given[1:])
    assert hz_of(sound, 16000) == pytest.approx(500, abs=2)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.01)
    # Begins with the first sound, 40 ms late; nothing of it is lost.
    assert np.flatnonzero(np.abs(given[0]) > 0.01)[0] == pytest.approx(640, abs=40)
    assert node.reports == [f"toy stream at {rate_hz} Hz, delay 40 ms"]


def test_without_a_microphone_the_stream_is_empty_until_one_is_plugged_in(plug):
    node = opened(CaptureMicrophone(plug.open))
    assert node.step(unit(0)) == {"audio": None}
    plug.plugged.put(stream := ToyStream(name="headset"))
    assert stream.is_open.wait(PATIENCE_S)
    talk_into(stream, 480, 160)
    assert node.step(unit(2))["audio"] is not None
    node.close()
    assert node.reports[:2] == ["found no toy (expected one), plug one in: empty", "headset is there"]


def test_a_microphone_that_is_pulled_out_is_empty_and_back_when_it_is_plugged_in(plug, stream):
    node = opened(CaptureMicrophone(plug.open))
    talk_into(stream, 160)
    assert node.step(unit(0))["audio"] is not None
    stream.pull()
    assert node.step(unit(1)) == {"audio": None}
    plug.plugged.put(again := ToyStream(44100))
    assert again.is_open.wait(PATIENCE_S)
    talk_into(again, 480, 320)
    assert np.abs(node.step(unit(2))["audio"]).max() > 0.4
    node.close()
    assert node.reports[:2] == [
        "toy stream is gone: it gives nothing any more: empty until it is back",
        "toy stream is there",
    ]
    assert plug.closed == ["toy stream"] * 2


def test_a_silent_driver_is_empty_after_a_quarter_of_a_second(plug, stream):
    node = opened(CaptureMicrophone(plug.open))
    talk_into(stream, 160)
    given = [node.step(unit(k))["audio"] is not None for k in range(4)]
    node.close()
    assert given == [True, True, False, False]


def test_a_required_microphone_that_is_not_there_ends_the_run_before_it_begins(plug):
    message = "node 'node': found no toy (expected one), plug one in"
    with pytest.raises(MediaError, match=f"^{re.escape(message)}$"):
        opened(CaptureMicrophone(plug.open, required=True))


# Speakers


def played(stream: ToyStream, until_ms: int, since_ms: int) -> np.ndarray[Any, Any]:
    """What the device asks for in that time, in blocks of 10 ms of two channels."""
    blocks = []
    for block in range(since_ms // 10, until_ms // 10):
        out = np.full((stream.rate_hz // 100, 2), np.nan, np.float32)
        stream.use(out, (block + 1) * 10 * MS)
        blocks.append(out)
    return np.concatenate(blocks)


@pytest.fixture
def now(monkeypatch):
    """The instant that the speakers read, in milliseconds."""
    instant = {"ms": 0}
    monkeypatch.setattr(speakers, "monotonic_ns", lambda: instant["ms"] * MS)
    return instant


@pytest.mark.parametrize("rate_hz", [48000, 44100, 16000])
def test_units_sound_without_a_hole_at_the_devices_rate(plug, now, rate_hz):
    plug.plugged.put(stream := ToyStream(rate_hz))
    node = opened(Speakers(plug.open))
    out = []
    for k in range(6):
        now["ms"] = 240 + 160 * k + k % 2 * 3  # a lane wakes when it can
        out.append(played(stream, now["ms"] // 10 * 10, 0 if k == 0 else (240 + 160 * (k - 1)) // 10 * 10))
        node.step(unit(k), audio=tone(2560 * k, 2560, 16000))
    sound = np.concatenate(out)
    node.close()
    assert (sound[:, 0] == sound[:, 1]).all()
    begins = np.flatnonzero(np.abs(sound[:, 0]) > 0.01)[0] / rate_hz
    assert begins == pytest.approx(0.240 + 0.030, abs=0.004)
    steady = sound[int(0.3 * rate_hz) :, 0]
    assert hz_of(steady, rate_hz) == pytest.approx(500, abs=2)
    largest = 0.5 * 2 * np.pi * 500 / rate_hz
    assert np.abs(np.diff(steady)).max() < 1.1 * largest


def test_a_unit_without_sound_is_silent_and_what_follows_keeps_its_time(plug, stream, now):
    node = opened(Speakers(plug.open))
    for k in range(4):
        now["ms"] = 160 * k
        if k:
            out = played(stream, 160 * k, 160 * (k - 1))
        node.step(unit(k), audio=None if k in (0, 1) else tone(0, 2560, 16000))
    node.close()
    onset = np.flatnonzero(np.abs(out[:, 0]) > 0.01)[0] / stream.rate_hz
    assert onset == pytest.approx(0.030, abs=0.004)


def test_the_volume_can_be_changed_while_it_plays(plug, stream, now):
    node = opened(Speakers(plug.open, volume=0.5))
    node.step(unit(0), audio=np.full(2560, 0.8, np.float32))
    assert played(stream, 160, 0)[4000:].max() == pytest.approx(0.4, abs=0.01)
    node.update({"volume": 2.0})
    now["ms"] = 160
    node.step(unit(1), audio=np.full(2560, 0.8, np.float32))
    assert played(stream, 320, 160)[4000:].max() == pytest.approx(1.0, abs=0.01)  # no louder than full
    node.close()


def test_without_speakers_nothing_waits_and_they_sound_once_they_are_there(plug, now):
    node = opened(Speakers(plug.open))
    for k in range(50):
        node.step(unit(k), audio=tone(0, 2560, 16000))
    plug.plugged.put(stream := ToyStream())
    assert stream.is_open.wait(PATIENCE_S)
    assert not played(stream, 8000, 7990).any()
    now["ms"] = 8000
    node.step(unit(50), audio=tone(0, 2560, 16000))
    assert np.abs(played(stream, 8160, 8000)).max() > 0.4
    node.close()
    assert node.reports[:2] == ["found no toy (expected one), plug one in: empty", "toy stream is there"]


# Which device


KNOWN = [
    SoundDevice(0, "HDA Intel: ALC", 2, 44100, False),
    SoundDevice(3, "USB Headset", 1, 48000, False),
    SoundDevice(5, "default", 32, 44100, True),
]


def test_a_sound_device_is_found_by_number_or_a_part_of_its_name():
    assert [chosen(device, KNOWN, "input").index for device in ("", "3", "headset", "alc")] == [5, 3, 3, 0]
    assert chosen("", KNOWN[:2], "input").index == 0  # the system has no choice of its own


@pytest.mark.parametrize(
    ("device", "known", "direction", "message"),
    [
        ("", [], "input", "found no microphone (there are: none), plug one in or name another: wangraph devices"),
        ("7", KNOWN, "output", "found no speakers '7' (there are: HDA Intel: ALC, USB Headset, default), plug one in or name "
         "another: wangraph devices"),
    ],
)  # fmt: skip
def test_a_sound_device_that_is_not_there_is_named_with_those_that_are(device, known, direction, message):
    with pytest.raises(DeviceAbsent, match=f"^{re.escape(message)}$"):
        chosen(device, known, direction)


def test_a_summary_says_what_was_lost_and_how_the_clock_ran_once_it_is_measured():
    sound = microphone.DriftResampler(16000, 16000)
    sound.put(np.zeros(16000, np.float32), 0)
    stream = ToyStream(16000)
    assert microphone.described(stream, sound) == "toy stream at 16000 Hz, delay 30 ms"
    for _ in range(30):
        sound.put(np.zeros(16000, np.float32), 0)
    sound.n_silent, sound.n_dropped, stream.n_glitches = 800, 1600, 2
    assert microphone.described(stream, sound) == (
        "toy stream at 16000 Hz, delay 30 ms, its clock +0 ppm, 50 ms of silence for want of sound, 100 ms dropped, 2 glitches"
    )
