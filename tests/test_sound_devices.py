"""Microphone and speakers by PortAudio, in a room that PulseAudio makes up: what is played is heard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sound_server import a_room

import wangraph
from wangraph import Graph
from wangraph.nodes.devices.portaudio import SoundStream, sound_devices

pytestmark = [pytest.mark.needs("pulseaudio"), pytest.mark.slow]

HZ = 1000


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Iterator[None]:
    with a_room(tmp_path_factory.mktemp("room")) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.items():
            patch.setenv(name, value)
        yield


def talking(folder: Path) -> Graph:
    """A tone out of the speakers, and the microphone, on their own."""
    (folder / "tone.py").write_text(
        "import numpy as np\n"
        "from wangraph import Node, Output\n"
        "class Tone(Node):\n"
        "    samples = Output('audio', 'S', 'float32', rate_hz=16000)\n"
        "    def step(self, unit):\n"
        "        n = np.arange(2560 * unit.index, 2560 * (unit.index + 1))\n"
        f"        return {{'samples': (0.4 * np.sin(2 * np.pi * {HZ} * n / 16000)).astype('float32')}}\n"
    )
    graph = Graph("room", latency_ms=80)
    graph.process("main", lanes=["loop", "play", "in", "out"])
    tone = graph.add("tone", f"{folder}/tone.py:Tone")
    sync = graph.add("sync", "sync.playout", lane="play", inputs={"audio": tone["samples"]})
    graph.add("speakers", "sink.speakers", lane="out", required=True, inputs={"audio": sync["audio"]})
    microphone = graph.add("microphone", "capture.microphone", lane="in", required=True)
    graph.add("shown", "sink.null", lane="in", inputs={"value": microphone["audio"]})
    return graph


def test_what_the_speakers_play_the_microphone_hears(room, tmp_path):
    tones = []
    with wangraph.start(talking(tmp_path)) as run:
        for packet in run.packets("microphone.audio"):
            if packet.tensors:
                samples = packet.array.copy()
                spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
                tones.append(np.fft.rfftfreq(len(samples), 1 / 16000)[spectrum.argmax()])
            if tones[-3:] == [HZ] * 3 or packet.unit > 150:
                break
    assert tones[-3:] == [HZ] * 3


def test_the_room_is_listed_with_what_it_can_give(room):
    for direction in ("input", "output"):
        [default] = [device for device in sound_devices(direction) if device.is_default]
        assert default.rate_hz >= 8000 and default.channels >= 2


def test_a_stream_can_be_opened_again_and_again(room):
    for _ in range(3):
        stream = SoundStream("", "output", lambda block, at_ns: block.fill(0))
        assert stream.rate_hz >= 8000
        stream.close()


def test_without_a_server_there_are_no_devices_and_the_run_goes_on(room, tmp_path, monkeypatch):
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nobody")
    graph = Graph("silent")
    graph.process("alone")
    microphone = graph.add("microphone", "capture.microphone", process="alone")
    graph.add("shown", "sink.null", process="alone", inputs={"value": microphone["audio"]})
    result = wangraph.run(graph, units=2)
    [(_, key, text)] = result.reports
    assert key == "microphone" and text.startswith("found ") and text.endswith(": empty")
