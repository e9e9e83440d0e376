"""What a visit makes of units: what was heard, what is handed out, and how long it took."""

from __future__ import annotations

import random

import numpy as np
import observe_toys as toys
import pytest

from wangraph.runtime.errors import GraphError
from wangraph.runtime.observe.run_view import outcomes_of
from wangraph.runtime.packet import WHOLE, Packet, Validity
from wangraph.runtime.schedule.events import Firing
from wangraph.tools.serve.ends import Recording, ServedGraph
from wangraph.tools.serve.feed import SILENCE_DB, loudness, png
from wangraph.tools.serve.played import PATIENCE_UNITS, PlayedUnits
from wangraph.tools.serve.playout import QUIET_S, Playout
from wangraph.tools.serve.protocol import AudioFormat, Caption, EndFormats, State, VideoFormat
from wangraph.tools.serve.strip import Strip

# Ends


def test_the_shipped_agent_is_served_with_all_that_it_exports():
    served = ServedGraph("duplex")
    assert served.takes == ("video", "audio", "text", "played")
    assert served.inputs == EndFormats(VideoFormat(64, 64, 25.0), AudioFormat(16000), text=True)
    assert served.outputs == EndFormats(VideoFormat(64, 64, 25.0), AudioFormat(16000), text=True, event=True)
    assert [(p.node, p.name) for p in served.params] == [("graph/think", "persona")]
    plan = served.plan()
    assert plan.streams["visitor.video"].tensors == plan.streams["graph/sync.video"].tensors
    assert not {"graph/user", "graph/side", "graph/file"} & set(plan.nodes)
    think = {i.port: i.stream for i in plan.nodes["graph/think"].inputs}
    assert think["played"] == "visitor.played", "what was heard is known at the visitor's, not at the playout"


def test_settings_hold_in_the_served_graph():
    served = ServedGraph("duplex", {"think.persona": "hello", "latency_ms": "320"})
    assert served.plan().nodes["graph/think"].params["persona"] == "hello"
    assert served.plan().latency_ns == 320_000_000


def test_a_recorded_visit_has_both_pictures_and_both_voices_in_its_video(tmp_path):
    plan = ServedGraph("duplex").plan(Recording(tmp_path))
    video = {i.port: i.stream for i in plan.nodes["mp4"].inputs}
    assert video == {"video": "both.video", "audio": "voices.mixed", "text": "graph/sync.text"}
    assert plan.nodes["mp4"].params["path"] == tmp_path / "visit.mp4"


def test_a_graph_without_a_live_end_is_refused_with_what_to_write(tmp_path):
    path = tmp_path / "mute.yaml"
    path.write_text("nodes:\n  a: {type: capture.pattern}\n  b: {type: sink.null, inputs: {value: a.video}}\n")
    with pytest.raises(GraphError) as error:
        ServedGraph(str(path))
    assert str(error.value) == (
        "serve: graph 'mute': found the exported outputs: none (expected video, audio or text), name its ends: "
        "exports: {inputs: {video: NODE.PORT}, outputs: {video: NODE.PORT}}"
    )


# What was heard


def outcomes(story):
    decided: list[tuple[int, bool]] = []
    units = PlayedUnits(lambda unit, was_heard: decided.append((unit, was_heard)))
    story(units)
    return decided


def test_a_unit_counts_as_heard_when_the_visitor_says_so():
    def story(units):
        for unit in range(4):
            units.sent(unit, True)
        units.acknowledged(2)

    assert outcomes(story) == [(0, True), (1, True), (2, True)]


def test_what_was_flushed_was_not_heard_and_what_came_before_was():
    def story(units):
        for unit in range(4):
            units.sent(unit, True)
        units.acknowledged(1)
        units.flushed(2)
        units.sent(4, True)
        units.acknowledged(4)

    assert outcomes(story) == [(0, True), (1, True), (2, False), (3, False), (4, True)]


def test_a_client_that_never_says_what_it_heard_is_believed_to_hear():
    def story(units):
        for unit in range(PATIENCE_UNITS + 3):
            units.sent(unit, unit != 1)

    assert outcomes(story) == [(0, True), (1, False), (2, True)]


def test_every_unit_is_decided_once_and_in_order_whatever_is_said():
    for seed in range(200):
        chance = random.Random(seed)
        decided: list[int] = []
        units, sent = PlayedUnits(lambda unit, _, decided=decided: decided.append(unit)), 0
        for _ in range(60):
            kind = chance.random()
            if kind < 0.6:
                units.sent(sent, chance.random() < 0.8)
                sent += chance.choice([1, 1, 1, 2])
            elif kind < 0.9:
                units.acknowledged(chance.randrange(-1, sent + 2))
            else:
                units.flushed(chance.randrange(0, sent + 1))
        assert decided == sorted(set(decided))


# What is handed out


class Pacer:
    def __init__(self) -> None:
        self.units: list[tuple[int, bool, bool, int]] = []

    def put(self, unit, video, audio, deadline_ns, now_ns):
        self.units.append((unit, video is not None, audio is not None, deadline_ns))


def playout(streams=("video", "audio", "text", "event"), symbols=(("idle", "listen", "speak"), ("none",))):
    plan = ServedGraph("duplex").plan()
    pacer, sent = Pacer(), []
    named = {kind: f"graph/x.{kind}" for kind in streams}
    return Playout(plan, named, 1000, symbols, pacer, sent.append, lambda: 0), pacer, sent


def packet(unit, array=None):
    tensors = {} if array is None else {WHOLE: np.asarray(array)}
    return Packet("s", unit, 0, 0, 0, Validity.REAL if tensors else Validity.EMPTY, tensors=tensors)


PICTURES, SOUND = np.zeros((4, 2, 2, 3), np.uint8), np.zeros(2560, np.float32)


def test_both_halves_of_a_unit_leave_together_at_its_deadline():
    out, pacer, _ = playout()
    out.take("video", packet(0, PICTURES))
    assert pacer.units == []
    out.take("audio", packet(0, SOUND))
    assert pacer.units == [(0, True, True, 1000 + 160_000_000 + 240_000_000)]


def test_a_half_that_never_comes_holds_nothing_up_for_long():
    out, pacer, _ = playout()
    for unit in range(4):
        out.take("video", packet(unit, PICTURES))
    assert [(unit, sound) for unit, _, sound, _ in pacer.units] == [(0, False), (1, False)]


def test_words_and_states_become_messages_when_they_change():
    out, _, sent = playout()
    for unit, (state, word) in enumerate([(0, ""), (1, ""), (1, "four"), (2, "")]):
        out.take("event", packet(unit, np.array([state, 0])))
        out.take("text", packet(unit, np.frombuffer(word.encode(), np.uint8) if word else None))
    assert sent == [State(0, "idle"), State(1, "listen"), Caption(2, "agent", "four"), State(3, "speak")]


def test_an_interruption_lasts_until_the_agent_has_stopped_speaking():
    out, pacer, _ = playout()

    def unit(number, state):
        out.take("event", packet(number, np.array([state, 0])))
        out.take("video", packet(number, PICTURES))
        out.take("audio", packet(number, SOUND))

    unit(0, 2)
    out.interrupt(1)
    for number, state in [(1, 2), (2, 2), (3, 1), (4, 2)]:
        unit(number, state)
    assert [(number, sound) for number, _, sound, _ in pacer.units] == [
        (0, True), (1, False), (2, False), (3, True), (4, True),
    ]  # fmt: skip


def test_an_interruption_of_a_graph_that_tells_no_states_has_an_end():
    out, pacer, _ = playout(streams=("audio",), symbols=())
    out.interrupt(0)
    for number in range(40):
        out.take("audio", packet(number, SOUND))
    heard = [number for number, _, sound, _ in pacer.units if sound]
    assert heard[0] == int(QUIET_S / 0.16) + 1


# How long it took


def test_the_strip_tells_every_unit_once_and_says_what_the_run_says():
    told = 0
    for seed in range(30):
        plan, records = toys.any_run(seed, 60)
        strip = Strip(plan, list(plan.nodes))
        times = [time for i in range(0, len(records), 7) for time in strip.add(records[i : i + 7])]
        numbers = [time.unit for time in times]
        assert numbers == sorted(set(numbers))
        presented = {outcome.unit: outcome for outcome in outcomes_of(plan, records)}
        assert set(numbers) <= set(presented)
        for time in times:
            ran = {f.node for f in records if isinstance(f, Firing) and f.last == time.unit and f.verdict != "end"}
            assert {name for name, ms in zip(plan.nodes, time.node_ms, strict=True) if ms >= 0} <= ran
        told += len(times)
    assert told > 100


# What was taken in


def test_loudness_is_that_of_full_scale():
    sine = np.sin(np.arange(16000) / 5).astype(np.float32)
    assert loudness(sine) == pytest.approx(-3.0, abs=0.1)
    assert loudness(sine / 10) == pytest.approx(-23.0, abs=0.1)
    assert loudness(np.zeros(5, np.float32)) == loudness(np.zeros(0, np.float32)) == SILENCE_DB


def test_the_picture_that_the_graph_saw_is_shown_as_it_was():
    import av

    picture = np.random.default_rng(0).integers(0, 255, (64, 48, 3)).astype(np.uint8)
    decoder = av.CodecContext.create("png", "r")
    (frame,) = decoder.decode(av.Packet(png(picture)))
    assert (frame.to_ndarray(format="rgb24") == picture).all()
