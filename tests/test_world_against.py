"""A user of the world in a graph: what he hears, that he can be made again, and which graphs he can talk with."""

import re
from pathlib import Path

import numpy as np
import pytest
import world_toys
from world_toys import ONLY_TONES, Babbler, Beeper, Deep, Depth, Slow, tones

from wangraph import Edge, Graph, run
from wangraph.runtime.errors import GraphError, UserError
from wangraph.tools.lab.world.adapter import AUTOMATIC, WorldAdapter
from wangraph.tools.lab.world.against import PresentUser, check_graph, converse, converse_with_graph
from wangraph.tools.lab.world.conversation import arrivals, shown, written
from wangraph.tools.lab.world.node import UserConfig, WorldUser, replayed, typed
from wangraph.tools.lab.world.tokens import TOKENS, VOCABULARY
from wangraph.wan_core.text import TypedText
from wangraph.wan_core.vocabulary import ENTER, PAD, STOP

UNITS = 60
NANO = {"checkpoint": "nano", "user.width": 32, "user.height": 32}


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    return tones(tmp_path_factory.mktemp("people"))


@pytest.fixture
def config(voices):
    return UserConfig(5, "digits", voices=voices, hold_out=ONLY_TONES, size=32)


def agent(g, user, audio="audio", video="video"):
    beeper = g.add("beeper", Beeper, inputs={"audio": user[audio], "video": user[video]})
    g.add(
        "sync", "sync.playout", inputs={"video": beeper["frames"], "audio": beeper["samples"], "text": beeper["words"]}
    )
    return beeper


def with_source(tmp_path, type_="capture.pattern", audio="audio", video="video", **params):
    """A graph as users have it: some source, an agent, and a file."""
    g = Graph("mine", latency_ms=240)
    user = g.add("eyes", type_, **params)
    beeper = agent(g, user, audio, video)
    g.add("file", "sink.mp4", path=str(tmp_path / "out.mp4"), inputs={"video": "sync.video", "audio": "sync.audio"})
    return g, beeper


def square(tmp_path):
    return with_source(tmp_path, width=192, height=192)[0]


def with_world(config, delay=1, agent_from="beeper.samples"):
    """A graph with the user of the world written into it."""
    g = Graph("mine", latency_ms=240)
    g.add("clock", "capture.clock", units=UNITS)
    voices = {"voices": str(config.voices), "hold_out": list(config.hold_out)}
    user = g.add(
        "user", WorldUser, seed=config.seed, scenario=config.scenario, size=config.size, **voices,
        inputs={"tick": "clock.tick", "agent": Edge(agent_from, delay, "empty")},
    )  # fmt: skip
    agent(g, user)
    return g


def same(ones, others, pictures=True):
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert np.array_equal(one.samples, other.samples), one.unit
        assert not pictures or np.array_equal(one.frames, other.frames), one.unit
        assert (one.text, one.cues) == (other.text, other.cues), one.unit


def sounds(result, stream):
    return np.stack([packet.array for packet in result.packets[stream] if packet.is_payload])


def test_a_user_in_a_graph_is_the_user_replayed_from_what_the_agent_said(config):
    taps = ["user.audio", "user.video", "beeper.samples"]
    result = run(with_world(config), clock="virtual", taps=taps)
    again = replayed(config, sounds(result, "beeper.samples"))
    assert len(again) == UNITS
    assert np.array_equal(sounds(result, "user.audio"), np.stack([unit.samples for unit in again]))
    assert np.array_equal(sounds(result, "user.video"), np.stack([unit.frames for unit in again]))
    assert any(cue.kind == "end" for unit in again for cue in unit.cues)


def test_the_user_reacts_so_silence_makes_another_user(config):
    result = run(with_world(config), clock="virtual", taps=["user.audio", "beeper.samples"])
    unanswered = replayed(config, np.zeros_like(sounds(result, "beeper.samples")))
    assert not np.array_equal(sounds(result, "user.audio"), np.stack([unit.samples for unit in unanswered]))


def test_a_longer_way_to_the_user_is_a_later_user(config):
    """From the playout, three units later."""
    result = run(with_world(config, 3, "sync.audio"), clock="virtual", taps=["user.audio", "beeper.samples"])
    late = UserConfig(config.seed, config.scenario, voices=config.voices, hold_out=config.hold_out, size=32, delay=2)
    again = replayed(late, sounds(result, "beeper.samples"))
    assert np.array_equal(sounds(result, "user.audio"), np.stack([unit.samples for unit in again]))


def test_what_is_typed_word_by_word_is_what_the_model_reads_in_the_same_units(config):
    units = replayed(UserConfig(11, "digits", voices=config.voices, hold_out=ONLY_TONES, size=0), np.zeros((400, 2560)))
    keyboard, read = TypedText(VOCABULARY), []
    for unit in units:
        keyboard.type(typed(unit.text) or "")
        read.append(keyboard.next())
    assert ENTER in read and read == [unit.text for unit in units]


def test_a_graph_meets_the_world_in_the_place_of_its_own_source(tmp_path, config):
    talk = converse(square(tmp_path), arrivals([config]), UNITS)[0]
    same(
        replayed(UserConfig(5, "digits", voices=config.voices, hold_out=ONLY_TONES, size=192), talk.samples), talk.user
    )
    assert np.array_equal(talk.frames, 255 - np.stack([unit.frames for unit in talk.user]))
    begins = np.flatnonzero(np.diff(np.abs(talk.samples).max(1) > 0.1, prepend=False) == 1)[0]
    assert talk.text[begins : begins + 2].tolist() == [TOKENS["one"], TOKENS["two"]]
    assert not (tmp_path / "out.mp4").exists()


def test_the_user_in_the_place_of_a_source_is_the_one_written_into_the_graph(tmp_path, config):
    """Whether the world replaces a source or itself."""
    inside = converse(with_world(config), arrivals([config]), UNITS)[0]
    result = run(with_world(config), clock="virtual", taps=["user.audio", "beeper.samples"])
    assert np.array_equal(inside.samples, sounds(result, "beeper.samples"))
    assert np.array_equal(np.stack([unit.samples for unit in inside.user]), sounds(result, "user.audio"))


def test_every_dialogue_has_its_own_user_and_each_can_be_held_again(tmp_path, voices):
    configs = [UserConfig(seed, "digits", voices=voices, hold_out=ONLY_TONES) for seed in (5, 6)]
    one, two = converse(square(tmp_path), arrivals(configs), 30)
    assert not np.array_equal(one.user[-1].samples, two.user[-1].samples)
    again = converse(square(tmp_path), arrivals(configs[1:]), 30, seeds=[1])[0]
    same(again.user, two.user)
    assert np.array_equal(again.samples, two.samples)
    assert not PresentUser.present, "nobody stays when the dialogue is over"


def test_what_the_user_types_reaches_idle_text_inputs(tmp_path, voices):
    types = next(
        seed for seed in range(50)
        if any(u.text == ENTER for u in replayed(UserConfig(seed, "digits", voices=voices, hold_out=ONLY_TONES, size=0), np.zeros((40, 2560))))
    )  # fmt: skip
    config = UserConfig(types, "digits", voices=voices, hold_out=ONLY_TONES)
    talk = converse(square(tmp_path), arrivals([config]), 40)[0]
    assert {int(t) for t, unit in zip(talk.text, talk.user, strict=True) if unit.text == ENTER} <= {
        STOP,
        TOKENS["one"],
    }
    assert STOP in talk.text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["duplex", "duplex_solo", "mirror"])
def test_shipped_graphs_meet_the_world(name, voices):
    config = UserConfig(3, voices=voices, hold_out=ONLY_TONES)
    talk = converse(name, arrivals([config]), 12, settings=NANO)[0]
    size = talk.user[0].frames.shape[1]
    assert talk.samples.shape == (12, 2560) and talk.frames.shape == (12, 4, size, size, 3)
    assert (talk.text is None) == (name == "mirror")
    same(replayed(UserConfig(3, voices=voices, hold_out=ONLY_TONES, size=size), talk.samples), talk.user)


@pytest.mark.slow
def test_seeds_name_users_whose_voices_training_never_heard(voices):
    talks = converse_with_graph("mirror", [3], 4, voices=voices, hold_out=("tone",), settings=NANO)
    config = UserConfig(3, "everything", "held-out", voices, ("tone",), talks[0].user[0].frames.shape[1])
    same(replayed(config, talks[0].samples), talks[0].user)


@pytest.mark.slow
def test_the_graph_of_the_document_is_put_before_the_world(capsys):
    document = (Path(__file__).parents[1] / "docs" / "benchmark.md").read_text()
    plain, adapted = (code for code in re.findall(r"```python\n(.*?)```", document, re.DOTALL) if '"mirror"' in code)
    names = {}
    exec(adapted, names)
    assert [len(talk) for talk in names["talks"]] == [5]
    exec(plain, {})
    assert capsys.readouterr().out.count("(25, 2560) (25, 4, 64, 64, 3)") == 2


def test_the_node_of_the_document_is_the_user_of_its_guest(tmp_path, config):
    document = (Path(__file__).parents[1] / "docs" / "benchmark.md").read_text()
    node = next(block for block in re.findall(r"```yaml\n(.*?)```", document, re.DOTALL) if "world.user" in block)
    (tmp_path / "g.yaml").write_text(
        f"nodes:\n{node}  speak: {{type: {world_toys.__file__}:Echo, inputs: {{audio: user.audio}}}}\n"
    )
    plan = Graph.load(tmp_path / "g.yaml").plan()
    assert plan.nodes["clock"].params == {"units": 400}
    assert WorldUser(**plan.nodes["user"].params).config == UserConfig(7, "overlap", "held-out")


def test_words_come_one_a_unit_and_pictures_stay():
    assert written(["one two", None, "—", "? xyzzy"]).tolist() == [TOKENS["one"], TOKENS["two"], STOP, 3]
    assert written([None, ""]).tolist() == [PAD, PAD]
    picture = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
    whole = shown([None, picture, None])
    assert not whole[0].any() and np.array_equal(whole[1], picture) and (whole[2] == picture[-1]).all()
    assert shown([None]) is None


def refused(graph, config, adapter=AUTOMATIC, kind=GraphError):
    with pytest.raises(kind) as early:
        check_graph(graph, adapter=adapter)
    with pytest.raises(kind) as caught:
        converse(graph, arrivals([config]), 4, adapter=adapter)
    assert str(early.value) == str(caught.value)
    return str(caught.value)


def test_a_graph_that_can_be_put_before_the_world_is_not_refused(tmp_path):
    check_graph(square(tmp_path))
    check_graph("cascade", settings={"timeout_ms": "400"})
    with pytest.raises(GraphError, match="timeout_ms"):
        check_graph("cascade", settings={"timeout_ms": "never"})


def test_words_of_a_graph_that_the_world_does_not_know_are_named_once(voices, caplog):
    talks = converse_with_graph(babbling(), [3, 4], 2, "digits", held_out=False, voices=voices, hold_out=ONLY_TONES)
    assert [talk.unknown for talk in talks] == [("twelve",)] * 2
    assert [record.getMessage() for record in caplog.records if record.name == "wangraph.world"] == [
        "graph 'babbler': found 'twelve' in the agent's text (expected words of the world, see docs/benchmark.md), write those: "
        "each other is read as <unknown> and counts as a wrong word"
    ]


def babbling():
    g = Graph("babbler", latency_ms=240)
    user = g.add("user", "capture.pattern", width=64, height=64)
    babbler = g.add("babbler", Babbler, inputs={"audio": user["audio"]})
    g.add("sync", "sync.playout", inputs={"audio": babbler["samples"], "text": babbler["words"]})
    return g


def test_a_graph_without_such_a_node_or_stream_is_told_what_it_has(tmp_path, config):
    g = square(tmp_path)
    assert refused(g, config, WorldAdapter(user="eye")) == (
        "graph 'mine': no node 'eye' (available: beeper, eyes, file, sync); did you mean 'eyes'?"
    )
    assert refused(g, config, WorldAdapter(audio="beeper.sample")) == (
        "graph 'mine': no stream 'beeper.sample' (audio: beeper.samples, eyes.audio, sync.audio); "
        "did you mean 'beeper.samples'?"
    )


def test_a_graph_with_several_sources_must_say_which_is_the_user(tmp_path, config):
    g = square(tmp_path)
    g.add("other", "capture.pattern")
    assert refused(g, config) == (
        "graph 'mine': found 2 sources of pictures or sound (eyes, other; expected one, or one called user), "
        "name the user's node: user=NODE"
    )
    assert len(converse(g, arrivals([config]), 2, adapter=WorldAdapter(user="eyes"))[0]) == 2


def test_a_graph_without_a_voice_is_refused(config):
    g = Graph("mute")
    user = g.add("user", "capture.pattern", width=192, height=192)
    g.add("sync", "sync.playout", inputs={"video": user["video"]})
    assert refused(g, config) == (
        "graph 'mute': found no voice of the agent (expected audio that enters the playout or a sink), "
        "name its stream: audio=NODE.PORT"
    )


def test_a_graph_with_two_voices_must_say_which(tmp_path, config):
    g = square(tmp_path)
    g.add("again", "sync.playout", inputs={"audio": "eyes.audio"})
    assert refused(g, config) == (
        "graph 'mine': found 2 streams that may be the agent's audio (beeper.samples, eyes.audio; expected one), "
        "name it: audio=NODE.PORT"
    )


def test_a_voice_at_another_rate_is_refused(config):
    g = Graph("mine")
    user = g.add("user", "capture.pattern", width=192, height=192)
    slow = g.add("slow", Slow, inputs={"samples": user["audio"]})
    g.add("sync", "sync.playout", inputs={"audio": slow["low"]})
    assert refused(g, config) == (
        "graph 'mine': the agent's voice, stream 'slow.low': found (1280,) samples a unit (expected audio of (2560,) "
        "samples a unit: 16000 Hz), name another stream or decode at that rate"
    )


def test_a_voice_that_is_a_picture_is_refused(tmp_path, config):
    assert refused(square(tmp_path), config, WorldAdapter(audio="beeper.frames")) == (
        "graph 'mine': the agent's voice, stream 'beeper.frames': found video (expected audio of (2560,) samples a "
        "unit: 16000 Hz), name another stream or decode at that rate"
    )


def test_pictures_that_the_world_does_not_draw_are_refused(tmp_path, config):
    assert refused(with_source(tmp_path)[0], config) == (
        "graph 'mine': stream 'eyes.video': found pictures of 336x192 (expected square ones: the world draws no "
        "others), set eyes.width and eyes.height to the same"
    )


def test_what_a_user_does_not_give_cannot_be_taken_of_him(config):
    g = Graph("deep")
    user = g.add("user", Deep)
    depth = g.add("depth", Depth, inputs={"samples": user["ears"], "depth": user["depth"]})
    g.add("sync", "sync.playout", inputs={"audio": depth["voice"]})
    assert refused(g, config) == (
        "graph 'deep': node 'depth': input 'depth' takes 'user.depth' of kind latent (a user of the world gives: "
        "audio, text, video), connect it to something else"
    )


def test_ports_of_the_users_node_are_found_by_their_kind(tmp_path, config):
    g, _ = with_source(tmp_path, Deep, audio="ears", video="eyes")
    assert converse(g, arrivals([config]), 3)[0].frames.shape == (3, 4, 32, 32, 3)


def test_another_clock_is_refused(config):
    g = Graph("fast", fps=50)
    user = g.add("user", "capture.pattern", width=192, height=192)
    g.add("sync", "sync.playout", inputs={"audio": user["audio"]})
    expected = (
        "found units of 4 frames and 1280 samples (expected 4 and 2560: the world knows no other), "
        "write clock: {fps: 25, unit_frames: 4}"
    )
    assert refused(g, config) == f"graph 'fast': {expected}"


def test_the_voice_may_be_what_the_playout_played(tmp_path, config):
    talk = converse(square(tmp_path), arrivals([config]), UNITS, adapter=WorldAdapter(audio="sync.audio", delay=2))[0]
    late = UserConfig(5, "digits", voices=config.voices, hold_out=ONLY_TONES, size=192, delay=talk.delay)
    assert talk.delay == 1
    same(replayed(late, talk.samples), talk.user)


def test_wrong_voices_are_told_before_the_run(tmp_path):
    with pytest.raises(UserError) as caught:
        WorldUser.check({"hold_out": ["nobody"]})
    assert str(caught.value) == ("hold-out: nobody is called 'nobody' (people: none; synthesisers: espeak-ng, flite)")
