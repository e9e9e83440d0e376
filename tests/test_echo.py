"""The speakers' sound is taken out of the microphone's, and the user's is left."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from media_files import unit

from wangraph import NodeRunner
from wangraph.nodes.echo import CancelEcho, load_webrtc
from wangraph.runtime.errors import MissingExtra
from wangraph.runtime.node import NodeContext
from wangraph.runtime.packet import WHOLE
from wangraph.runtime.units import UnitClock

RATE_HZ = 16000
SECONDS = 12
Sound = np.ndarray[Any, np.dtype[np.float32]]


def voice(pitch_hz: float, seed: int, is_speaking: Callable[[float], bool]) -> Sound:
    """Syllables of a buzzing sound, in words with pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    glide = np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.5, 1) * t)) / RATE_HZ)
    buzz = sum(np.sin(2 * np.pi * n * glide) / n for n in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * t + rng.uniform(0, 6)), 0, 1) ** 0.5
    gate = np.array([is_speaking(float(s)) for s in t[::160]]).repeat(160)
    return (0.08 * buzz * syllables * gate).astype(np.float32)


def in_the_room(played: Sound, delay_s: float) -> Sound:
    """What comes back from the speakers: late, coloured and with a tail."""
    rng = np.random.default_rng(0)
    tail = np.exp(-np.arange(1600) / 200) * rng.standard_normal(1600)
    delayed = np.concatenate([np.zeros(int(delay_s * RATE_HZ)), played])[: len(played)]
    return (0.5 * np.convolve(delayed, tail / np.linalg.norm(tail))[: len(played)]).astype(np.float32)


def opened(node: CancelEcho, unit_frames: int = 4, fps: int = 25, samples: int = 2560) -> Any:
    shapes = {port: {WHOLE: (samples,)} for port in ("samples", "reference")}
    clock = UnitClock(fps=Fraction(fps), unit_frames=unit_frames)
    node.reports = []  # type: ignore[attr-defined]
    report = lambda key, text: node.reports.append(text)  # type: ignore[attr-defined]  # noqa: E731
    node.open(NodeContext("node", clock, input_shapes=shapes, report=report))
    return node


def cleaned(node: CancelEcho, microphone: Sound, played: Sound) -> Sound:
    """The session through the node, unit by unit."""
    node = opened(node)
    state = node.new_state()
    units = [(microphone[i : i + 2560], played[i : i + 2560]) for i in range(0, len(microphone) - 2559, 2560)]
    out = [node.step(state, unit(k), samples=near, reference=far)["cleaned"] for k, (near, far) in enumerate(units)]
    return np.concatenate(out)


def db(sound: Sound, begin_s: float, end_s: float) -> float:
    return float(10 * np.log10((sound[int(begin_s * RATE_HZ) : int(end_s * RATE_HZ)] ** 2).mean() + 1e-12))


AGENT = voice(180, 1, lambda s: True)
USER = voice(110, 2, lambda s: s > 8)


def the_echo_goes_and_the_user_stays(node: CancelEcho, delay_s: float) -> None:
    echo = in_the_room(AGENT, delay_s)
    left = cleaned(node, echo + USER, AGENT)
    assert db(left, 4, 8) < db(echo, 4, 8) - 20
    assert db(left, 9, 12) == pytest.approx(db(USER, 9, 12), abs=6)  # while both talk at once


@pytest.mark.parametrize("delay_s", [0.03, 0.16, 0.3])
def test_the_echo_goes_and_the_user_stays_however_late_it_comes_back(delay_s):
    the_echo_goes_and_the_user_stays(CancelEcho(mode="on"), delay_s)


def test_an_echo_that_stays_is_noticed():
    with pytest.raises(AssertionError):
        the_echo_goes_and_the_user_stays(CancelEcho(mode="off"), 0.16)


def test_switched_off_the_sound_is_as_it_was():
    assert (cleaned(CancelEcho(mode="off"), USER, AGENT) == USER[: len(USER) // 2560 * 2560]).all()


class Counting:
    """Counts frames, and gives back the microphone's as they are."""

    def __init__(self, rate_hz: int, reference_hz: int, noise: bool) -> None:
        self.rates = rate_hz, reference_hz
        self.lengths: set[int] = set()
        self.played: list[Sound] = []

    def reference(self, frame: Sound) -> None:
        self.played.append(frame)

    def cleaned(self, frame: Sound) -> Sound:
        self.lengths.add(len(frame))
        return frame


@pytest.mark.parametrize(("fps", "unit_frames", "samples"), [(25, 4, 2560), (25, 1, 640), (32, 1, 500)])
def test_units_that_are_no_whole_frames_lose_nothing(fps, unit_frames, samples):
    node = opened(CancelEcho(Counting), unit_frames, fps, samples)
    state = node.new_state()
    sound = np.arange(1, 40 * samples + 1, dtype=np.float32)
    out = [
        node.step(state, unit(k), samples=sound[k * samples : (k + 1) * samples], reference=None)["cleaned"]
        for k in range(40)
    ]
    assert {len(part) for part in out} == {samples}
    joined = np.concatenate(out)
    n_late = int((joined == 0).sum())
    assert n_late < 160
    assert (joined[n_late:] == sound[: len(sound) - n_late]).all()
    assert state.canceller.lengths == {160} and state.canceller.rates == (16000, 16000)


def test_where_the_microphone_is_empty_so_is_what_is_left_and_what_was_played_still_counts():
    node = opened(CancelEcho(Counting))
    state = node.new_state()
    node.step(state, unit(0), samples=USER[:2560], reference=AGENT[:2560])
    assert node.step(state, unit(0), samples=None, reference=AGENT[:2560]) == {}
    node.gap(state, [unit(1), unit(2)])
    assert len(state.canceller.played) == 64
    assert not any(frame.any() for frame in state.canceller.played[32:])


@pytest.fixture
def without_livekit(monkeypatch):
    monkeypatch.setitem(sys.modules, "livekit", None)


MISSING = (
    "flow.cancel_echo: found no livekit (import of livekit halted; None in sys.modules) (expected the extra echo), pip "
    "install 'wangraph[echo]', or use headphones, or talk in the browser: wangraph serve"
)


def test_without_the_extra_the_sound_stays_as_it_is_and_that_is_said(without_livekit):
    node = opened(CancelEcho())
    assert node.step(node.new_state(), unit(0), samples=USER[:2560], reference=None)["cleaned"] is not None
    assert node.reports == [
        "the echo of open speakers stays: pip install 'wangraph[echo]', or use headphones, or talk in the browser: wangraph serve"
    ]


def test_without_the_extra_a_graph_that_insists_is_refused(without_livekit):
    with pytest.raises(MissingExtra, match=f"^{re.escape(MISSING)}$"):
        load_webrtc()
    with pytest.raises(MissingExtra, match=f"^{re.escape(MISSING)}$"):
        opened(CancelEcho(mode="on"))


def test_it_holds_to_its_ports_in_a_graph():
    with NodeRunner(CancelEcho(mode="on")) as node:
        given = node.step(samples=np.zeros(2560, np.float32), reference=np.zeros(2560, np.float32))
        assert given["cleaned"].shape == (2560,)
