"""PortAudio with a library that the test leads: when its list of devices is renewed, and how a stream is lost."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from device_toys import Turns

from wangraph.nodes.devices import portaudio
from wangraph.nodes.devices.portaudio import PortAudio, SoundStream
from wangraph.nodes.devices.upkeep import DeviceAbsent

SECOND = 1_000_000_000


class PortAudioError(Exception):
    """As sounddevice raises it."""


class ToyLibrary:
    """sounddevice, as far as it is used: one device each way."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        self.n_renewed = 0
        self.refusal: str | None = None
        self.default = type("default", (), {"device": (0, 0)})
        self.streams: list[Any] = []

    def _terminate(self) -> None:
        pass

    def _initialize(self) -> None:
        self.n_renewed += 1

    def query_devices(self) -> list[dict[str, Any]]:
        return [{"name": "toy", "max_input_channels": 1, "max_output_channels": 8, "default_samplerate": 48000.0}]

    def InputStream(self, **wanted: Any) -> Any:  # noqa: N802 (its name there)
        return self._made(wanted)

    OutputStream = InputStream

    def _made(self, wanted: dict[str, Any]) -> Any:
        if self.refusal:
            raise PortAudioError(self.refusal)
        stream = type(
            "Stream", (), {"active": True, "start": lambda self: None, "close": lambda self, ignore_errors: None}
        )()
        stream.wanted = wanted
        self.streams.append(stream)
        return stream


@pytest.fixture
def cards(monkeypatch):
    """The kernel's list of sound cards."""
    known = {"list": "0 Intel"}
    monkeypatch.setattr(portaudio, "_cards", lambda: known["list"])
    return known


@pytest.fixture
def library(monkeypatch, cards):
    toy, host = ToyLibrary(), PortAudio()
    monkeypatch.setattr(host, "library", lambda: toy)
    monkeypatch.setattr(portaudio, "PORTAUDIO", host)
    return toy


@pytest.fixture
def now(monkeypatch):
    instant = {"ns": 0}
    monkeypatch.setattr(portaudio, "monotonic_ns", lambda: instant["ns"])
    return instant


def ignore(block: np.ndarray[Any, Any], at_ns: int) -> None:
    pass


def test_the_list_of_devices_is_renewed_whenever_nobody_is_open(library, cards, now):
    first = SoundStream("", "input", ignore)
    second = SoundStream("", "output", ignore)
    assert library.n_renewed == 1
    cards["list"] = "0 Intel, 1 Headset"
    first.close()
    third = SoundStream("", "input", ignore)
    assert library.n_renewed == 1  # the speakers are still open over the old list
    second.close()
    third.close()
    SoundStream("", "input", ignore).close()
    assert library.n_renewed == 2
    portaudio.sound_devices("input")  # a sound server's devices are not in the kernel's list
    assert library.n_renewed == 3


def test_open_streams_give_way_when_cards_changed(library, cards, now):
    stream = SoundStream("", "input", ignore)
    stream.watch(Turns(3))
    cards["list"] = ""
    with pytest.raises(DeviceAbsent, match=r"^sound cards came or went$"):
        stream.watch(Turns(3))


def test_a_stream_whose_device_no_longer_calls_is_lost(library, now):
    block, stream = np.zeros((480, 1), np.float32), SoundStream("", "input", ignore)
    now["ns"] = 2 * SECOND
    library.streams[0].wanted["callback"](block, 480, None, None)
    now["ns"] = 4 * SECOND
    stream.watch(Turns(3))
    now["ns"] = 6 * SECOND
    with pytest.raises(DeviceAbsent, match=r"^it gives nothing any more$"):
        stream.watch(Turns(3))


def test_a_stream_that_ended_is_lost(library, now):
    stream = SoundStream("", "output", ignore)
    library.streams[0].active = False
    with pytest.raises(DeviceAbsent, match=r"^it gives nothing any more$"):
        stream.watch(Turns(3))


def test_blocks_reach_the_node_with_their_instants_and_glitches_are_counted(library, now):
    blocks: list[tuple[int, int]] = []
    stream = SoundStream("", "input", lambda block, at_ns: blocks.append((len(block), at_ns)))
    wanted = library.streams[0].wanted
    assert (wanted["channels"], wanted["samplerate"], wanted["blocksize"]) == (1, 48000, 480)
    now["ns"] = 7
    wanted["callback"](np.zeros((480, 1), np.float32), 480, None, "input overflow")
    assert blocks == [(480, 7)] and stream.n_glitches == 1


def test_a_device_that_cannot_be_opened_is_named_and_leaves_nothing_open(library, cards, now):
    library.refusal = "Device unavailable"
    message = "found toy: Device unavailable (expected speakers to open), see: wangraph devices"
    with pytest.raises(DeviceAbsent, match=f"^{re.escape(message)}$"):
        SoundStream("", "output", ignore)
    library.refusal, cards["list"] = None, "another"
    SoundStream("", "output", ignore).close()
    assert library.n_renewed == 2  # nobody was counted as open
