"""What comes from a visitor in any pieces, rates and order, cut into units: nothing invented, nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import numpy as np
import pytest

from wangraph.nodes.media import drift
from wangraph.runtime.units import UnitClock
from wangraph.tools.serve.carrier import Received
from wangraph.tools.serve.inbound import (
    CUT_NS,
    FROZEN_NS,
    HEAD_S,
    LATEST_S,
    Inbound,
    InboundFigures,
    Unit,
    prepare_inbound,
)
from wangraph.tools.serve.protocol import AudioFormat, EndFormats, VideoFormat

ORIGIN_NS = 7_000_000_000
BOTH = EndFormats(video=VideoFormat(64, 48, 25.0), audio=AudioFormat(16_000))
UNIT_S = 0.16
CUT_S = CUT_NS / 1e9


def at_ns(seconds: float) -> int:
    return ORIGIN_NS + round(seconds * 1e9)


def picture(level: int, width: int = 64, height: int = 48) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), level, np.uint8), format="rgb24")


@dataclass(frozen=True)
class Event:
    """Something that a carrier hands on, and when."""

    at_s: float
    give: Callable[[Received, int], None]
    sender: int = 0


def shows(at_s: float, frame: av.VideoFrame, sender: int = 0) -> Event:
    return Event(at_s, lambda to, ns: to.video(frame, ns), sender)


def sounds(at_s: float, samples: np.ndarray, rate_hz: int, sender: int = 0) -> Event:
    return Event(at_s, lambda to, ns: to.audio(samples, rate_hz, ns), sender)


def cut(
    inbound: Inbound, events: list[Event], n_units: int, first: int = 0, each: Callable[[], None] = lambda: None
) -> list[Unit]:
    """The units, each asked for when it is due and everything before has come."""
    senders = [inbound.sender() for _ in range(1 + max((e.sender for e in events), default=0))]
    waiting, units = sorted(events, key=lambda e: e.at_s), []
    for k in range(first, first + n_units):
        while waiting and waiting[0].at_s <= (k + 1) * UNIT_S - CUT_S:
            event = waiting.pop(0)
            event.give(senders[event.sender], at_ns(event.at_s))
        units.append(inbound.unit(k))
        each()
    return units


def levels(unit: Unit) -> list[int] | None:
    video = unit["video"]
    return None if video is None else [int(frame.mean().round()) for frame in video]


def heard(units: list[Unit]) -> np.ndarray:
    """The sound of all units; nothing is as long as silence."""
    return np.concatenate([np.zeros(2560, np.float32) if u["audio"] is None else u["audio"] for u in units])


@dataclass(frozen=True)
class Voice:
    """A visitor's microphone and the way from it."""

    rate_hz: int = 48_000
    piece: int = 480
    jitter_s: float = 0.008
    ppm: float = 0.0
    sender: int = 0

    @property
    def delay_s(self) -> float:
        return HEAD_S + self.piece / self.rate_hz

    def events(self, sound: np.ndarray, begin_s: float = 0.0, seed: int = 0) -> Iterator[Event]:
        rng, at_s = np.random.default_rng(seed), begin_s
        for end in range(self.piece, len(sound) + 1, self.piece):
            sent_s = begin_s + end / self.rate_hz / (1 + self.ppm * 1e-6)
            at_s = max(at_s, sent_s + rng.uniform(0, self.jitter_s))
            yield sounds(at_s, sound[end - self.piece : end], self.rate_hz, self.sender)


def sine(seconds: float, rate_hz: int, hz: float = 440) -> np.ndarray:
    return (10_000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.int16)


def spurious_db(samples: np.ndarray) -> float:
    """How loud everything is that is not within 20 Hz of the loudest tone."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / 16_000)
    is_tone = np.abs(hz - hz[power.argmax()]) < 20
    return float(10 * np.log10(power[~is_tone].sum() / power.sum()))


# Pictures -------------------------------------------------------------------------------------------------------------


def newest_at_each_instant(kind: type[Inbound], rate_hz: float, jitter_s: float, seed: int) -> None:
    """Each frame is the picture that came last before its end, less the cut, whatever the camera's rate."""
    rng = np.random.default_rng(seed)
    sent = np.arange(0.001, 4, 1 / rate_hz)
    came = np.sort(sent + rng.uniform(0, jitter_s, len(sent)))
    shades = [(k * 7) % 250 for k in range(len(came))]
    events = [shows(at_s, picture(shade)) for at_s, shade in zip(came.tolist(), shades, strict=True)]
    units = cut(kind(UnitClock(), BOTH, ORIGIN_NS), events, 24)
    for k, unit in enumerate(units[2:], start=2):
        ends_s = [k * UNIT_S + (f + 1) * 0.04 - CUT_S for f in range(4)]
        assert levels(unit) == [shades[int(np.searchsorted(came, at_s, side="right")) - 1] for at_s in ends_s]


class Tardy(Inbound):
    """Shows each frame what came by its beginning."""

    def unit(self, unit: int) -> Unit:
        self._origin_ns -= 40_000_000 - CUT_NS
        try:
            return super().unit(unit)
        finally:
            self._origin_ns += 40_000_000 - CUT_NS


@pytest.mark.parametrize(("rate_hz", "jitter_s"), [(25, 0), (30, 0.02), (15, 0.03), (60, 0.005), (7.5, 0.1)])
def test_each_frame_is_the_picture_that_was_newest_at_its_instant(rate_hz, jitter_s):
    newest_at_each_instant(Inbound, rate_hz, jitter_s, seed=1)


def test_the_law_of_pictures_notices_frames_of_another_instant():
    with pytest.raises(AssertionError):
        newest_at_each_instant(Tardy, 25, 0.0, seed=1)


def test_a_picture_that_comes_within_a_unit_stands_for_the_frames_before_it():
    units = cut(Inbound(UnitClock(), BOTH, ORIGIN_NS), [shows(0.07, picture(90)), shows(0.14, picture(200))], 1)
    assert levels(units[0]) == [90, 90, 90, 200]


def test_no_camera_a_camera_that_is_off_and_a_frozen_one_are_nothing_and_no_black():
    inbound = Inbound(UnitClock(), BOTH, ORIGIN_NS)
    sender = inbound.sender()
    assert inbound.unit(0)["video"] is None, "nothing has come"
    sender.video(picture(90), at_ns(0.17))
    assert levels(inbound.unit(1)) == [90] * 4
    frozen = [inbound.unit(k)["video"] is None for k in range(2, 10)]
    assert frozen == [k * UNIT_S > 0.17 + FROZEN_NS / 1e9 for k in range(2, 10)] and any(frozen)
    sender.video(picture(120), at_ns(1.61))
    inbound.devices("off", "on")
    sender.video(picture(130), at_ns(1.65))
    assert inbound.unit(10)["video"] is None
    inbound.devices("on", "on")
    assert inbound.unit(11)["video"] is None, "what it saw before it went off is old"
    sender.video(picture(140), at_ns(1.93))
    assert levels(inbound.unit(12)) == [140] * 4


@pytest.mark.parametrize("shape", [(64, 48), (320, 240), (640, 360), (48, 64), (33, 21), (1280, 720)])
def test_pictures_of_any_size_are_scaled_and_cropped_in_the_middle(shape):
    width, height = shape
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, 1] = 200
    image[: height // 2, :, 0] = 200
    source = av.VideoFrame.from_ndarray(image, format="rgb24")
    unit = cut(Inbound(UnitClock(), BOTH, ORIGIN_NS), [shows(0.0, source)], 1)[0]
    frame = unit["video"][0].astype(int)
    assert unit["video"].shape == (4, 48, 64, 3) and unit["video"].dtype == np.uint8
    assert np.abs(frame[4, [2, 32, 61]] - (200, 200, 0)).max() < 12
    assert np.abs(frame[44, [2, 32, 61]] - (0, 200, 0)).max() < 12


def test_a_flood_of_pictures_is_not_kept():
    inbound = Inbound(UnitClock(), BOTH, ORIGIN_NS)
    sender = inbound.sender()
    for k in range(5000):
        sender.video(picture(k % 200), at_ns(k / 1000))
    assert len(inbound._seen._pictures) == 16


# Sound ----------------------------------------------------------------------------------------------------------------

VOICES = [
    Voice(),
    Voice(ppm=500, jitter_s=0.004),
    Voice(ppm=-500),
    Voice(rate_hz=16_000, piece=320, ppm=300, jitter_s=0.015),
    Voice(rate_hz=16_000, piece=256, ppm=-300),
    Voice(rate_hz=44_100, piece=441, ppm=100),
]


@pytest.mark.parametrize(
    "voice", VOICES, ids=lambda v: f"{v.rate_hz}/{v.piece} {v.ppm:+g} ppm {v.jitter_s * 1000:g} ms"
)
def test_any_pieces_any_jitter_any_drift_keep_the_delay_and_a_sine_a_sine(voice):
    inbound = Inbound(UnitClock(), BOTH, ORIGIN_NS)
    units = cut(inbound, list(voice.events(sine(26, voice.rate_hz))), 160)
    figures = inbound.figures()
    assert figures.sound_delay_ms == pytest.approx(voice.delay_s * 1000, abs=2 + voice.jitter_s * 1000)
    assert figures.silent_ms == figures.dropped_ms == figures.quiet_ms == 0
    assert all(unit["audio"] is not None for unit in units[2:])
    assert spurious_db(heard(units[80:])) < -50


def test_sound_is_given_to_the_unit_in_which_it_is_due():
    click = np.zeros(48_000 * 3, np.int16)
    click[48_000 * 2] = 30_000
    units = cut(Inbound(UnitClock(), BOTH, ORIGIN_NS), list(Voice(jitter_s=0).events(click + 200)), 15)
    due_s = 2 + Voice().delay_s
    assert np.argmax(np.abs(heard(units))) / 16_000 == pytest.approx(due_s, abs=0.011)


def test_no_microphone_one_that_is_off_and_one_that_has_stopped_are_nothing_and_no_silence():
    inbound = Inbound(UnitClock(), BOTH, ORIGIN_NS)
    assert inbound.unit(0)["audio"] is None
    units = cut(inbound, [e for e in Voice().events(sine(3, 48_000)) if not 1 < e.at_s < 2], 17, first=1)
    is_there = [unit["audio"] is not None for unit in units]
    assert is_there[2:5] == [True] * 3 and is_there[8:11] == [False] * 3 and is_there[13:] == [True] * 4
    inbound.devices("on", "off")
    sender = inbound.sender()
    sender.audio(np.full(480, 9000, np.int16), 48_000, at_ns(2.9))
    assert inbound.unit(18)["audio"] is None
    inbound.devices("on", "on")
    assert inbound.unit(19)["audio"] is None, "what it heard while it was off is not made up for"


def test_a_hole_in_the_sound_is_silence_without_a_click_and_is_counted():
    events = [e for e in Voice(jitter_s=0).events(sine(6, 48_000)) if not 2.995 < e.at_s < 3.095]
    inbound = Inbound(UnitClock(), BOTH, ORIGIN_NS)
    sound = heard(cut(inbound, events, 36))
    assert 50 < inbound.figures().silent_ms < 140
    assert np.abs(np.diff(sound[8000:])).max() < 2 * (10_000 / 32768) * 2 * np.pi * 440 / 16_000


def test_an_uneven_way_makes_the_delay_longer_until_holes_are_few_and_an_even_one_shorter():
    uneven = Voice(16_000, 320, jitter_s=0.08)
    inbound, delays, silent = Inbound(UnitClock(), BOTH, ORIGIN_NS), [], []

    def watch() -> None:
        delays.append(inbound.figures().sound_delay_ms)
        silent.append(inbound.figures().silent_ms)

    events = list(uneven.events(sine(30, 16_000)))
    events += list(Voice(16_000, 320, jitter_s=0.005).events(sine(170, 16_000), begin_s=30.1))
    cut(inbound, events, 1240, each=watch)
    assert silent[60] > 50 and silent[180] - silent[90] < 30, "what it learnt in 14 s does for almost all"
    assert delays[180] > 1000 * (uneven.delay_s + 0.01)
    assert max(delays) <= 1000 * LATEST_S + 80
    assert delays[-1] < max(delays) - 25


def test_a_microphone_that_was_off_is_no_later_when_it_is_on_again():
    inbound, done = Inbound(UnitClock(), BOTH, ORIGIN_NS), iter(range(200))
    events = list(Voice(jitter_s=0.004).events(sine(20, 48_000)))
    cut(inbound, events, 80, each=lambda: inbound.devices("on", "off" if 30 <= next(done) < 55 else "on"))
    assert inbound.figures().sound_delay_ms < 40


def late(events: Iterator[Event], begin_s: float, end_s: float) -> list[Event]:
    """The way stalls: what was sent between these instants comes at the second one."""
    return [Event(end_s if begin_s < e.at_s < end_s else e.at_s, e.give, e.sender) for e in events]


def test_what_a_stall_held_back_is_heard_late_and_the_delay_ends_in_the_next_pause():
    sound = sine(12, 48_000)
    sound[48_000 * 6 : 48_000 * 8] //= 1000  # a pause that is no digital silence
    inbound, figures = Inbound(UnitClock(), BOTH, ORIGIN_NS), []
    cut(inbound, late(Voice(jitter_s=0).events(sound), 3, 3.6), 74, each=lambda: figures.append(inbound.figures()))
    assert figures[30].sound_delay_ms > 200 and figures[30].quiet_ms == 0
    assert figures[-1].sound_delay_ms < 120 and 150 < figures[-1].quiet_ms < 700
    assert figures[-1].dropped_ms == 0


def test_more_than_a_second_of_surplus_is_dropped_oldest_first_and_counted():
    events = late(Voice(jitter_s=0).events(sine(9, 48_000)), 3, 4.8)
    inbound = Inbound(UnitClock(), BOTH, ORIGIN_NS)
    cut(inbound, events, 50)
    figures = inbound.figures()
    assert figures.dropped_ms > 600
    assert figures.sound_delay_ms < 1000


def test_what_came_long_before_the_first_unit_is_not_heard():
    inbound = Inbound(UnitClock(), BOTH, at_ns(5))
    sender = inbound.sender()
    for event in Voice(jitter_s=0).events(np.linspace(0, 30_000, 48_000 * 5, dtype=np.int16)):
        event.give(sender, at_ns(event.at_s))
    for event in Voice(jitter_s=0).events(np.full(48_000, 30_000, np.int16), begin_s=5):
        if event.at_s <= 5.16:
            event.give(sender, at_ns(event.at_s))
    sound = inbound.unit(0)["audio"]
    assert sound is not None and sound[200:].min() > 0.9 * 30_000 * 4.9 / 5 / 32768
    assert inbound.figures().sound_delay_ms < 60 and inbound.figures().dropped_ms == 0


# Two carriers ---------------------------------------------------------------------------------------------------------


def a_changeover_in_the_middle_of_a_word(kind: type[Inbound]) -> InboundFigures:
    """The old carrier goes on for a while after the new one has begun: nothing is heard twice, or at double speed."""
    webrtc = [e for e in Voice().events(sine(6, 48_000)) if e.at_s < 4]
    socket = [e for e in Voice(16_000, 320, sender=1).events(sine(6, 16_000)) if e.at_s > 3]
    pictures = [shows(k * 0.04, picture(90)) for k in range(100)]
    pictures += [shows(k * 0.04 + 0.01, picture(200), 1) for k in range(75, 150)]
    inbound = kind(UnitClock(), BOTH, ORIGIN_NS)
    units = cut(inbound, [*webrtc, *socket, *pictures], 36)
    assert {shade for unit in units[20:] for shade in levels(unit)} == {200}
    assert spurious_db(heard(units[22:])) < -50
    return inbound.figures()


class Polygamous(Inbound):
    """Listens to everybody."""

    def _is_newest(self, kind: str, sender: int) -> bool:
        return True


def test_a_changeover_of_carriers_in_the_middle_of_a_word_is_harmless():
    figures = a_changeover_in_the_middle_of_a_word(Inbound)
    assert figures.ignored > 100
    assert figures.sound_delay_ms == pytest.approx(Voice(16_000, 320).delay_s * 1000, abs=12)


def test_the_law_of_changeovers_notices_a_listener_to_both():
    with pytest.raises(AssertionError):
        a_changeover_in_the_middle_of_a_word(Polygamous)


def test_a_graph_that_takes_no_sound_or_no_pictures_gets_none():
    inbound = Inbound(UnitClock(), EndFormats(text=True), ORIGIN_NS)
    sender = inbound.sender()
    sender.video(picture(9), at_ns(0.01))
    sender.audio(np.ones(480, np.int16), 48_000, at_ns(0.01))
    sender.state("closed")
    inbound.devices("off", "off")
    assert inbound.unit(0) == {"video": None, "audio": None}
    assert inbound.figures().pictures == 0


def test_what_the_first_unit_computes_is_there_before_a_visitor_is():
    drift._sinc_table.cache_clear()
    prepare_inbound(BOTH)
    n_computed = drift._sinc_table.cache_info().misses
    for rate_hz in (16_000, 48_000):
        cut(Inbound(UnitClock(), BOTH, ORIGIN_NS), list(Voice(rate_hz, rate_hz // 100).events(sine(1, rate_hz))), 5)
    assert drift._sinc_table.cache_info().misses == n_computed == 2
