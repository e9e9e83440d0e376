"""``wangraph devices`` lists what there is, and says why it does not know."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction

import pytest
from click.testing import CliRunner

from wangraph.nodes.devices import portaudio, v4l2
from wangraph.nodes.devices.portaudio import SoundDevice
from wangraph.nodes.devices.v4l2 import Listed, Mode
from wangraph.tools.verbs import doctor
from wangraph.tools.verbs.devices import command

MODES = (
    Mode("YUYV", 640, 480, Fraction(30)),
    Mode("MJPG", 1280, 720, Fraction(30000, 1001)),
    Mode("MJPG", 1280, 720, Fraction(10)),
    Mode("MJPG", 640, 480, Fraction(60)),
)


@pytest.fixture
def a_laptop(monkeypatch):
    monkeypatch.setattr(
        v4l2, "cameras", lambda: [Listed("/dev/video0", "Front [HD]", MODES), Listed("/dev/video2", "Odd")]
    )
    known = {
        "input": [SoundDevice(0, "Headset", 1, 48000, False), SoundDevice(4, "default", 2, 44100, True)],
        "output": [SoundDevice(4, "default", 2, 44100, True)],
    }
    monkeypatch.setattr(portaudio, "sound_devices", lambda direction: known[direction])


def test_devices_are_listed_with_what_they_can_give(a_laptop):
    done = CliRunner().invoke(command, [])
    rows = [" ".join(line.split()) for line in done.output.splitlines()]
    assert rows == [
        "device name gives",
        "cameras /dev/video0 Front [HD] YUYV 640x480 at 30 fps, MJPG 1280x720 at 29.97 fps",
        "/dev/video2 Odd",
        "microphones 0 Headset 48000 Hz, mono",
        "4 default 44100 Hz, up to 2 channels, used where none is named",
        "speakers 4 default 44100 Hz, up to 2 channels, used where none is named",
    ]


def test_machines_get_every_mode(a_laptop):
    found = json.loads(CliRunner().invoke(command, ["--json"]).output)
    assert found["cameras"][0]["modes"][1] == {"format": "MJPG", "width": 1280, "height": 720, "fps": 29.97}
    assert [device["is_default"] for device in found["microphones"]] == [False, True]
    assert "lacking" not in found


def test_without_portaudio_cameras_are_listed_and_the_remedy_is_said(monkeypatch):
    monkeypatch.setattr(v4l2, "cameras", list)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 0
    rows = [" ".join(line.split()) for line in done.output.splitlines()]
    assert rows[1:] == [
        "cameras none found",
        "microphones not known",
        "speakers not known",
        "found no PortAudio (import of sounddevice halted; None in sys.modules) (expected sounddevice and libportaudio2), "
        "pip install 'wangraph[live]', and the library itself: apt install libportaudio2",
    ]


def test_nobody_needs_a_device_or_its_library_to_look_at_a_graph_that_has_some():
    script = (
        "import sys; from wangraph.tools.cli import cli\n"
        "for words in (['nodes'], ['check', 'live']): cli.main(words, standalone_mode=False)\n"
        "print(sorted({'av', 'sounddevice', 'livekit', 'tkinter', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "capture.camera" in done.stdout and "ok: 12 nodes" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_doctor_says_with_what_one_can_talk(a_laptop, monkeypatch):
    monkeypatch.setattr(doctor, "_is_installed", lambda name: False)
    assert [(finding.topic, finding.state, finding.found) for finding in doctor._devices()] == [
        ("camera", "ok", "Front [HD], Odd"),
        ("microphone", "ok", "Headset, default"),
        ("speakers", "ok", "default"),
        ("echo", "note", "open speakers are heard by the microphone"),
    ]
