"""Agents that are measured, on random weights: many dialogues at once are what each is by itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wangraph.tools.lab.evaluate import measures as m
from wangraph.tools.lab.evaluate import probes
from wangraph.tools.lab.evaluate.agents import AblatedVision, IdealAgent, ModelAgent, Weights, check_world
from wangraph.tools.lab.evaluate.face_reader import count_events, reader
from wangraph.tools.lab.evaluate.figures import NOTHING
from wangraph.tools.lab.evaluate.measures import in_sound, in_text
from wangraph.tools.lab.evaluate.recogniser import recogniser
from wangraph.tools.lab.evaluate.runners import fitted, graph_runner, talk_of
from wangraph.tools.lab.evaluate.talk import DialogueSpec, hold
from wangraph.tools.lab.evaluate.turns import turns
from wangraph.tools.lab.evaluate.voices import Voices
from wangraph.tools.lab.train.data import WORLD_VERSION
from wangraph.tools.lab.world.conversation import Conversation
from wangraph.tools.lab.world.face import Pose, render
from wangraph.tools.lab.world.persona import PERSONAS
from wangraph.tools.lab.world.signal import UNIT
from wangraph.tools.lab.world.words import AGENT_WORDS
from wangraph.wan_core.checkpoint import save, untrained
from wangraph.wan_core.config import preset
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.media.audio import AudioCodec
from wangraph.wan_core.media.video import VideoCodec
from wangraph.wan_core.model import DuplexModel


@pytest.fixture(scope="module")
def voices():
    return Voices.held_out(None)


@pytest.fixture(scope="module")
def read():
    return reader(32)


@pytest.fixture(scope="module")
def weights():
    """A model whose every choice depends on what it meets: random, and not one that begins as the identity."""
    shapes = preset("nano")
    model = untrained(shapes, "model", DuplexModel)
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    audio = untrained(shapes, "audio_codec", lambda s: AudioCodec(s.audio))
    video = untrained(shapes, "video_codec", lambda s: VideoCodec(s.video))
    return Weights(model, audio, video, "random")


def talks(agent, specs, units, voices, read):
    return hold(agent, specs, units, voices.bank, read, 32)


def test_dialogues_in_a_batch_are_those_held_one_by_one(weights, voices, read):
    specs = probes.asks(voices.synthetic, 3).specs
    together = talks(ModelAgent(weights), specs, 12, voices, read)
    alone = [talks(ModelAgent(weights), [spec], 12, voices, read)[0] for spec in specs]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.text, other.text) and np.array_equal(one.events, other.events)
        assert one.cues == other.cues
        np.testing.assert_allclose(one.samples, other.samples, atol=1e-4)
        np.testing.assert_allclose(one.face["mouth"], other.face["mouth"], atol=0.05)
    assert not np.array_equal(together[0].samples, together[1].samples)


def test_an_agent_that_is_told_who_it_is_says_something_else(weights, voices, read):
    spec = probes.asks(voices.synthetic, 1).specs[0]
    told = replace(spec, persona=PERSONAS["otto"], is_prompted=True)
    plain, other = (talks(ModelAgent(weights), [c], 4, voices, read)[0] for c in (spec, told))
    assert not np.allclose(plain.samples, other.samples, atol=1e-3)


def test_the_shipped_agent_looks_like_who_it_was_told_to_be(voices):
    shipped = Weights.load("tiny")
    specs = [
        replace(spec, persona=persona, is_prompted=True)
        for spec in probes.asks(voices.synthetic, 2).specs
        for persona in PERSONAS.values()
    ]
    held = hold(ModelAgent(shipped), specs, 4, voices.bank, reader(shipped.size), shipped.size)
    assert [m.looks_like(talk) for talk in held] == [spec.persona.name for spec in specs]


def test_with_ablated_vision_an_agent_sees_another_user_and_hears_its_own(weights, voices, read):
    specs = probes.cards(voices.synthetic, 2).specs
    straight, ablated = (
        talks(agent, specs, 12, voices, read) for agent in (ModelAgent(weights), AblatedVision(ModelAgent(weights)))
    )
    assert not np.allclose(straight[0].samples, ablated[0].samples, atol=1e-4)
    assert np.array_equal(straight[0].user_samples[: 4 * UNIT], ablated[0].user_samples[: 4 * UNIT])


@pytest.mark.slow
def test_with_random_weights_every_measure_falls_to_its_floor(weights, voices, read):
    heard = in_sound(recogniser())
    asked = talks(ModelAgent(weights), probes.asks(voices.synthetic, 4).specs, 60, voices, read)
    shown = talks(ModelAgent(weights), probes.cards(voices.synthetic, 4).specs, 70, voices, read)
    assert m.words_right(asked, in_text).value < 0.15 and m.words_right(asked, heard).value < 0.15
    assert m.turns_right(asked, in_text).value == 0.0
    assert m.cards_named(shown, in_text).value == m.cards_named(shown, heard).value == 0.0


def test_the_ideal_agent_decides_the_same_through_any_codecs(weights, voices, read):
    specs = probes.typed(voices.synthetic, 2).specs
    for talk in talks(IdealAgent(weights, voices.bank), specs, 80, voices, read):
        turn = turns(talk)[0]
        assert in_text(talk, turn.end, turn.until) == list(turn.words)


def test_the_recogniser_hears_every_word_of_every_agent_and_no_other(voices):
    net, bank = recogniser(), voices.bank
    for persona in PERSONAS.values():
        for word in AGENT_WORDS:
            sound = np.zeros(6 * UNIT, np.float32)
            take = bank.takes(persona.quick)[word][0]
            sound[2000 : 2000 + len(take)] = take
            assert [w for w, _ in net.words(sound)] == [word], (persona.name, word)
            assert [w for w, _ in net.words(np.ascontiguousarray(sound[::-1]))] != [word], (persona.name, word)
    assert net.words(np.zeros(6 * UNIT, np.float32)) == []


def test_a_checkpoint_of_another_world_is_refused(weights, tmp_path):
    path = tmp_path / "old.safetensors"
    save(path, {"model": weights.model}, "nano", {"world": "1"})
    with pytest.raises(ModelError) as caught:
        check_world(path)
    assert str(caught.value) == (
        f"checkpoint {path}: trained in version 1 of the world (expected {WORLD_VERSION}), train again"
    )
    save(path, {"model": weights.model}, "nano", {"world": str(WORLD_VERSION)})
    check_world(path)


def test_casts_are_the_same_people_every_time(voices):
    one, other = (probes.free(voices.synthetic, 3).specs for _ in range(2))
    assert [c.seed for c in one] == [c.seed for c in other]
    assert len({c.seed for c in one}) == 3
    worlds = [DialogueSpec.world(c, voices.bank, 0) for c in (one[0], other[0])]
    assert np.array_equal(worlds[0].step().samples, worlds[1].step().samples)


def test_a_graph_is_measured_like_the_model(voices):
    specs = probes.typed(voices.synthetic, 2).specs
    found = graph_runner("mirror", {}, voices.bank, reader(64), 64)(specs, 10)
    assert [talk.spec.seed for talk in found] == [spec.seed for spec in specs]
    for talk in found:
        assert len(talk) == 10 and talk.samples.shape == talk.user_samples.shape == (10 * UNIT,)
        assert talk.face["mouth"].shape == (40,) and talk.events is None
    small = graph_runner("mirror", {}, voices.bank, reader(32), 32)(specs[:1], 4)[0]
    assert small.face["mouth"].shape == (16,), "pictures of another size than the reader's are scaled to it"


def drawn(persona, size):
    pose = Pose.still(40)
    pose.mouth[:], pose.blink[:] = np.linspace(0, 1, 40), np.arange(40) % 10 == 0
    return pose, render(pose, PERSONAS[persona].looks, size)


@pytest.mark.parametrize("size", [48, 192])
@pytest.mark.parametrize("margin", [0, 30])
def test_a_face_of_another_size_is_read_as_at_its_own(read, size, margin):
    pose, frames = drawn("vera", size)
    wide = np.pad(frames, [(0, 0), (0, 0), (margin, margin), (0, 0)], mode="edge")
    high = np.pad(frames, [(0, 0), (margin, margin), (0, 0), (0, 0)], mode="edge")
    plain = read(drawn("vera", 32)[1])
    for seen in (wide, high):
        found = read(fitted(seen, 32))
        assert np.corrcoef(found["mouth"], pose.mouth)[0, 1] > 0.97
        assert np.abs(found["mouth"] - plain["mouth"]).mean() < 0.1
        assert count_events(found["blink"], 0.5) == 4


def test_pictures_of_the_readers_size_are_read_as_they_are():
    frames = drawn("iris", 32)[1]
    assert fitted(frames, 32) is frames


def test_fine_stripes_become_an_even_grey():
    stripes = np.zeros((1, 128, 128, 3), np.uint8)
    stripes[:, :, ::2] = 200
    assert np.abs(fitted(stripes, 32)[:, :, 2:-2].astype(int) - 100).max() <= 2


def test_an_agent_without_pictures_has_no_face_and_is_not_blamed_for_it(voices, read):
    spec = probes.asks(voices.synthetic, 1).specs[0]
    heard = spec.world(voices.bank, 0).step()
    talk = talk_of(spec, Conversation((heard,), np.zeros((1, UNIT), np.float32), unknown=("eleven",)), read, 32)
    assert talk.face == {} and talk.unknown == ("eleven",)
    assert m.lips([talk]) == (NOTHING, NOTHING) and m.gestures([talk], "blink", 0.5) == NOTHING
