from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from dialogue_toys import Dialogue, dialogue, offline, streamed, worst

from wangraph.wan_core import performer as performer_module
from wangraph.wan_core import thinker as thinker_module
from wangraph.wan_core.backbone import attention, rope
from wangraph.wan_core.cache import kvstate
from wangraph.wan_core.cache.kvcache import KVCache
from wangraph.wan_core.config import CacheConfig, preset
from wangraph.wan_core.embed import AgentTrack, DecisionTrack, UserTrack
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.exchange import Decision, ResponseUnit, UserUnit
from wangraph.wan_core.flow import Latents, Solver
from wangraph.wan_core.model import DuplexModel, laid_out
from wangraph.wan_core.performer import Performer
from wangraph.wan_core.reference import Reference
from wangraph.wan_core.thinker import Thinker

NANO = preset("nano")


@pytest.fixture
def model(randomise):
    return randomise(DuplexModel(NANO))


@pytest.fixture
def capped(randomise):
    return randomise(DuplexModel(replace(NANO, cache=CacheConfig(cap_units=6, chunk_units=2))))


def test_streaming_equals_one_pass(model):
    given = dialogue(batch=2, units=40)
    assert worst(streamed(model, given), offline(model, given)) < 1e-4


def test_streaming_equals_one_pass_with_grouped_heads(randomise):
    backbone = replace(
        NANO.backbone, heads=6, kv_heads=2, head_dim=16, alibi_slopes=preset("tiny").backbone.alibi_slopes
    )
    model, given = randomise(DuplexModel(replace(NANO, backbone=backbone))), dialogue(batch=2, units=40)
    assert worst(streamed(model, given), offline(model, given)) < 1e-4


def test_streaming_equals_one_pass_where_sound_and_picture_are_not_joint(randomise):
    model, given = randomise(DuplexModel(replace(NANO, is_joint=False))), dialogue(batch=2, units=20)
    assert worst(streamed(model, given), offline(model, given)) < 1e-4
    model.noisy_mask = None  # the planted bug: the performer lets them see each other all the same
    assert worst(streamed(model, given), offline(model, given)) > 1e-3


def test_how_matrices_lie_in_memory_changes_nothing_but_rounding(model):
    given, before = dialogue(batch=1, units=20), {name: x.clone() for name, x in model.state_dict().items()}
    expected = streamed(model, given)
    assert worst(streamed(laid_out(model), given), expected) < 1e-4
    assert model.backbone.blocks[0].ffn.gate_up.weight.stride(0) == 1
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


@pytest.mark.parametrize("commit_first", [lambda k: True, lambda k: False], ids=["committed before", "in one pass"])
def test_when_a_response_is_committed_does_not_matter(model, commit_first):
    given = dialogue(batch=1, units=12)
    assert worst(streamed(model, given, commit_first=commit_first), offline(model, given)) < 1e-4


@pytest.mark.parametrize("bug", ["mask", "user_audio", "order", "rotation", "base"])
def test_a_stream_that_sees_something_else_than_training_is_found_out(model, bug, monkeypatch):
    """The planted bugs: tokens of a slice all see each other, the audio encoder forgets, slices are cut elsewhere, the performer
    rotates what it receives by one unit more, the distances of ALiBi are counted from elsewhere."""
    given = dialogue(batch=1, units=12)
    expected = offline(model, given)
    if bug == "mask":
        monkeypatch.setattr(thinker_module, "visible", lambda q, k: torch.ones(len(q.unit), len(k.unit)).bool())
    elif bug == "user_audio":
        fresh = model.embed.hearing.new_state(1)
        forward = type(model.embed.hearing).forward
        monkeypatch.setattr(type(model.embed.hearing), "forward", lambda self, mel, state: forward(self, mel, fresh))
    elif bug == "rotation":
        rotated = rope.rotation
        monkeypatch.setattr(attention, "rotation", lambda units, *rest: rotated(units + (len(units) == 12), *rest))
    elif bug == "base":
        write = KVCache.write_channels
        shifted = lambda self, state, first, units: write(self, state, first, units // 2)  # noqa: E731
        monkeypatch.setattr(KVCache, "write_channels", shifted)
    else:
        given.agent = AgentTrack(given.agent.audio.roll(1, 1), given.agent.video.roll(1, 1))
    assert worst(streamed(model, given), expected) > 1e-3


def test_a_changed_past_changes_the_present(model):
    given, other = dialogue(1, 12), dialogue(1, 12)
    other.user.mel[:, 1] += 1.0
    there, here = streamed(model, other), streamed(model, given)
    assert worst(there[:1], here[:1]) == 0
    assert all(float((a - b).abs().max()) > 1e-6 for a, b in zip(there[1:], here[1:], strict=True))


@pytest.mark.parametrize("first_unit", [1, 33, 1_000_000])
def test_unit_numbers_do_not_matter(model, first_unit):
    given = dialogue(batch=1, units=40)
    assert worst(streamed(model, given, first_unit=first_unit), streamed(model, given)) < 1e-4


def test_rows_of_a_batch_are_independent(model):
    given = dialogue(batch=3, units=12)
    alone = Dialogue(
        UserTrack(given.user.video[1:2], given.user.mel[1:2], given.user.text[1:2]),
        AgentTrack(given.agent.audio[1:2], given.agent.video[1:2]),
        DecisionTrack(given.decisions.event[1:2], given.decisions.text[1:2], given.decisions.unplayed[1:2]),
        Latents(given.noisy.audio[1:2], given.noisy.video[1:2]),
    )
    together = [x[1:2] for x in streamed(model, given)]
    assert worst(together, streamed(model, alone)) < 1e-4


@pytest.mark.parametrize("shape", ["open", "capped"])
def test_a_restored_session_goes_on_bit_by_bit(model, capped, shape):
    model = model if shape == "open" else capped
    given = dialogue(batch=1, units=20)
    thinker, performer = Thinker(model), Performer(model)
    states = thinker.new_state(1), performer.new_state(1)
    streamed(model, given, range(10), states=states)
    thinker.commit(states[0], given.agent.audio[:, 9], given.agent.video[:, 9])
    copies = thinker.new_state(1), performer.new_state(1)
    for copy, state in zip(copies, states, strict=True):
        copy.restore(state.save())
    for each in (states, copies):
        performer.append(each[1], thinker.step(each[0], given.user_unit(10), None, given.decision(10)).slice)
    rest = [streamed(model, given, range(11, 20), states=each) for each in (states, copies)]
    assert worst(*rest) == 0


def test_a_row_that_is_reset_begins_a_new_session_while_the_others_go_on(model):
    given = dialogue(batch=2, units=16)
    thinker, performer = Thinker(model), Performer(model)
    states = thinker.new_state(2), performer.new_state(2)
    undisturbed = streamed(model, given)
    streamed(model, given, range(8), states=states)
    for state in states:
        state.reset([1])
    after = streamed(model, given, range(8, 16), states=states)
    assert worst([x[:1] for x in after], [x[:1] for x in undisturbed[8:]]) < 1e-5
    part = slice(8, 16)
    anew = Dialogue(
        UserTrack(given.user.video[1:, part], given.user.mel[1:, part], given.user.text[1:, part]),
        AgentTrack(given.agent.audio[1:, part], given.agent.video[1:, part]),
        DecisionTrack(*(x[1:, part] for x in (given.decisions.event, given.decisions.text, given.decisions.unplayed))),
        Latents(given.noisy.audio[1:, part], given.noisy.video[1:, part]),
    )
    assert worst([x[1:] for x in after], streamed(model, anew)) < 1e-4


@pytest.mark.parametrize("shape", ["open", "capped"])
def test_rows_at_different_units_are_the_sessions_that_they_would_be_alone(model, capped, shape):
    """Sessions that join a batch at any time, with unit numbers of their own."""
    model = model if shape == "open" else capped
    joins, units = {0: (0, 1_000_000), 1: (5, 3), 2: (11, 77_777)}, 24  # row: (joins at, as its unit)
    given = dialogue(batch=3, units=units)
    reference, alone = Reference(model), Reference(model)
    together, results = reference.new_state(3, [first for _, first in joins.values()]), []
    for k in range(units):
        for row, (at, first) in joins.items():
            if at == k and k:
                together.reset([row], first)
        results.append(reference.step(together, given.user_unit(k), sessions=[0, 1, 2]))
    assert together.thinker.cache.units == (1_000_024, 22, 77_790)
    for row, (at, first) in joins.items():
        state = alone.new_state(1, first)
        for k in range(at, units):
            user = given.user_unit(k)
            mine = UserUnit(*(x[row : row + 1] for x in (user.video, user.audio, user.text, user.unplayed)))
            thought, latents = alone.step(state, mine, sessions=[row])
            other, both = results[k]
            assert int(thought.text) == int(other.text[row])
            pairs = zip((thought.text_logits, *latents), (other.text_logits, *both), strict=True)
            assert max(float((a[0] - b[row]).abs().max()) for a, b in pairs) < 1e-4, (row, k)


def test_rows_that_share_the_noise_of_one_unit_are_found_out(model, monkeypatch):
    """The planted bug: every row draws its noise for the unit of the first."""
    given, reference = dialogue(batch=2, units=1), Reference(model)
    drawn = performer_module._starting_noise
    latents = []
    for _ in range(2):
        latents.append(reference.step(reference.new_state(2, [3, 9]), given.user_unit(0), sessions=[0, 0])[1])
        shared = lambda model, seed, rows, units: drawn(model, seed, rows, [units[0]] * len(units))  # noqa: E731
        monkeypatch.setattr(performer_module, "_starting_noise", shared)
    assert torch.equal(latents[0].audio[0], latents[1].audio[0])
    assert not torch.allclose(latents[0].audio[1], latents[1].audio[1])


@pytest.mark.parametrize(
    "field", ["user_audio.layers.0.steps", "cache.keys", "cache.base", "cache.used", "is_committed"]
)
def test_a_session_restored_in_part_is_found_out(model, field):
    """The planted bug: one field of the state is not saved."""
    given, thinker = dialogue(batch=1, units=40), Thinker(model)
    state, copy = thinker.new_state(), thinker.new_state()
    for k in range(38):
        thinker.step(state, given.user_unit(k), given.response(k - 1), given.decision(k))
    thinker.commit(state, given.response(37).audio, given.response(37).video)
    saved = state.save()
    copy.restore({**saved, field: torch.zeros_like(saved[field])})
    texts = [thinker.step(each, given.user_unit(38)).text_logits for each in (state, copy)]
    assert worst(texts[:1], texts[1:]) > 1e-6


def test_a_saved_session_holds_no_empty_room(model):
    state = Thinker(model).new_state()
    Thinker(model).gap(state, 3)
    assert state.save()["cache.keys"].shape[-2] == 3 * NANO.slots.clean


def test_a_session_of_another_model_is_not_restored(model, randomise):
    other = randomise(DuplexModel(replace(NANO, backbone=replace(NANO.backbone, layers=3))))
    with pytest.raises(ModelError, match=re.escape(
        "state of ThinkerState: 'cache.keys' is [1, 2, 1, 0, 34] (expected [1, 3, 1, 0, 34])"
    )):  # fmt: skip
        Thinker(other).new_state().restore(Thinker(model).new_state().save())


def test_a_row_that_only_seems_to_forget_is_found_out(model, monkeypatch):
    """The planted bug: what the row has seen stays visible."""
    given, thinker = dialogue(batch=2, units=6), Thinker(model)
    forgetting, seeming = thinker.new_state(2), thinker.new_state(2)
    for state in (forgetting, seeming):
        for k in range(5):
            thinker.step(state, given.user_unit(k), given.response(k - 1), given.decision(k))
    forgetting.reset([1])
    monkeypatch.setattr(kvstate, "HIDDEN", 0.0)
    seeming.reset([1])
    texts = [thinker.step(state, given.user_unit(5)).text_logits for state in (forgetting, seeming)]
    assert worst([x[1:] for x in texts[:1]], [x[1:] for x in texts[1:]]) > 1e-3


def test_rows_are_reset_between_units_only(model):
    state = Thinker(model).new_state(2)
    Thinker(model).commit(state)
    with pytest.raises(
        ModelError,
        match=re.escape("thinker: unit 0: found a committed response (expected a whole slice), reset rows after step"),
    ):
        state.reset([0])


def test_a_reset_session_is_a_fresh_one(model):
    given = dialogue(batch=1, units=6)
    states = Thinker(model).new_state(1), Performer(model).new_state(1)
    first = streamed(model, given, states=states)
    for state in states:
        state.reset()
    assert worst(first, streamed(model, given, states=states)) == 0


@pytest.mark.parametrize("chunks", [(20,), (7, 13), (1,) * 20])
@pytest.mark.parametrize("committed", [True, False])
def test_absorbing_units_is_taking_them_in_without_deciding(model, chunks, committed):
    given, thinker = dialogue(batch=2, units=21), Thinker(model)
    one, other = thinker.new_state(2), thinker.new_state(2)
    slices = []
    steps = [thinker.step(one, given.user_unit(k), given.response(k - 1), Decision()).slice for k in range(20)]
    for size in chunks:
        k = len(slices)
        if committed:
            thinker.commit(other, given.response(k - 1).audio, given.response(k - 1).video)
        units = range(k, k + size)
        users, responses = [given.user_unit(i) for i in units], [given.response(i - 1) for i in units]
        slices += thinker.absorb(other, users, responses)
    for a, b in zip(slices, steps, strict=True):
        assert (a.unit, a.start, a.answers, b.answers) == (b.unit, b.start, False, True)
        torch.testing.assert_close(a.keys, b.keys, atol=1e-4, rtol=0)
        torch.testing.assert_close(a.values, b.values, atol=1e-4, rtol=0)
    ends = [thinker.step(s, given.user_unit(20), given.response(19), given.decision(20)) for s in (one, other)]
    assert worst([ends[0].text_logits], [ends[1].text_logits]) < 1e-4


def test_absorbing_with_a_decision_made_is_something_else(model):
    """The planted bug: an absorbed unit that records a decision nobody made."""
    given, thinker = dialogue(batch=1, units=3), Thinker(model)
    one, other = thinker.new_state(), thinker.new_state()
    thinker.absorb(one, [given.user_unit(0)])
    thinker.step(other, given.user_unit(0))
    texts = [thinker.step(state, given.user_unit(1)).text_logits for state in (one, other)]
    assert worst(texts[:1], texts[1:]) > 1e-3


def test_a_gap_is_units_of_absence(model):
    given, thinker = dialogue(batch=1, units=3), Thinker(model)
    one, other = thinker.new_state(), thinker.new_state()
    lost = thinker.gap(one, 5)
    assert [s.unit for s in lost] == list(range(5)) and not any(s.answers for s in lost)
    for _ in range(5):
        thinker.step(other, UserUnit(), decision=Decision())
    texts = [thinker.step(state, given.user_unit(1)).text_logits for state in (one, other)]
    assert worst(texts[:1], texts[1:]) < 1e-4


def free_running(model, units, seed=0, session=0):
    """Thinker and performer apart, each with a cache of its own, feeding each other."""
    given = dialogue(batch=1, units=units)
    thinker, performer = Thinker(model), Performer(model)
    thinking, performing = thinker.new_state(), performer.new_state()
    response = ResponseUnit()
    for k in range(units):
        thought = thinker.step(thinking, given.user_unit(k), response, seed=seed, sessions=[session])
        performer.append(performing, thought.slice)
        latents = performer.generate(performing, k, Solver(), seed, [session])
        response = ResponseUnit(*latents)
        yield thought.event, thought.text, *latents


def free_running_reference(model, units, seed=0, session=0):
    given, reference = dialogue(batch=1, units=units), Reference(model)
    state = reference.new_state()
    for k in range(units):
        thought, latents = reference.step(state, given.user_unit(k), seed=seed, sessions=[session])
        yield thought.event, thought.text, *latents


@pytest.mark.parametrize("shape", ["open", "capped"])
def test_two_sides_equal_one_bit_by_bit(model, capped, shape):
    model = model if shape == "open" else capped
    pairs = zip(free_running(model, 200), free_running_reference(model, 200), strict=True)
    said = set()
    for k, (apart, together) in enumerate(pairs):
        assert all(torch.equal(a, b) for a, b in zip(apart, together, strict=True)), k
        said.add((int(apart[1]), *apart[0][0].tolist()))
    assert len(said) > 3, "the agent should not say the same all the time"


def test_another_seed_or_session_is_another_answer(model):
    run = [torch.cat([x.flatten().float() for x in out]) for out in free_running(model, 5)]
    for other in (free_running(model, 5, seed=1), free_running(model, 5, session=1)):
        assert worst(run, [torch.cat([x.flatten().float() for x in out]) for out in other]) > 1e-3


def test_more_steps_give_another_answer_from_the_same_log(model):
    thinker, performer = Thinker(model), Performer(model)
    state = performer.new_state()
    for slice_ in thinker.gap(thinker.new_state(), 3):
        performer.append(state, slice_)
    one, four, again = (performer.generate(state, 2, Solver(steps)) for steps in (1, 4, 1))
    assert torch.equal(one.audio, again.audio) and not torch.allclose(one.audio, four.audio)


def test_a_temperature_scales_the_noise_of_the_voice_alone(model, monkeypatch):
    thinker, performer = Thinker(model), Performer(model)
    state = performer.new_state()
    for slice_ in thinker.gap(thinker.new_state(), 3):
        performer.append(state, slice_)
    half = performer.generate(state, 2, Solver(3, audio_temperature=0.5))
    assert not torch.allclose(half.audio, performer.generate(state, 2, Solver(3)).audio)
    drawn = performer_module._starting_noise

    def halved(*args):
        noise = drawn(*args)
        return Latents(noise.audio * 0.5, noise.video)

    monkeypatch.setattr(performer_module, "_starting_noise", halved)
    assert all(map(torch.equal, half, performer.generate(state, 2, Solver(3))))


def test_the_cap_is_a_sliding_window(capped, model):
    given = dialogue(batch=1, units=30)
    results = streamed(capped, given)
    assert worst(results[:6], streamed(model, given)[:6]) < 1e-4
    assert all(bool(x.isfinite().all()) for x in results)
    state = Thinker(capped).new_state()
    streamed(capped, given, states=(state, Performer(capped).new_state()))
    assert state.cache.used == 6 * NANO.slots.clean and state.unit == 30


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s[2:], "found slice of unit 2 at token 24 (expected unit 1 at token 12), "
                          "slices were lost or repeated: send the log again from there"),
        (lambda s: s[:1], "found slice of unit 0 at token 0 (expected unit 1 at token 12), "
                          "slices were lost or repeated: send the log again from there"),
    ],
    ids=["dropped", "repeated"],
)  # fmt: skip
def test_a_log_with_a_hole_is_refused(model, damage, message):
    thinker, performer = Thinker(model), Performer(model)
    slices, state = thinker.gap(thinker.new_state(), 4), performer.new_state()
    performer.append(state, slices[0])
    before = state.save()
    with pytest.raises(ModelError, match=f"^context: {re.escape(message)}$"):
        performer.append(state, damage(slices)[0])
    assert all(torch.equal(before[name], x) for name, x in state.save().items())
    performer.append(state, slices[1])


def test_a_slice_that_changed_on_the_way_is_refused(model):
    thinker, performer = Thinker(model), Performer(model)
    (slice_,) = thinker.gap(thinker.new_state(), 1)
    keys = slice_.keys.clone()
    keys[0, 0, 0, 0, 0] += 1e-6
    with pytest.raises(
        ModelError, match=rf"^context: unit 0: found digest {slice_.digest.hex()} \(expected \w{{16}}\), "
    ):
        performer.append(performer.new_state(), replace(slice_, keys=keys))


def test_histories_that_differ_are_told_apart_by_their_digests(model):
    given, thinker = dialogue(batch=1, units=3), Thinker(model)
    one, other = thinker.new_state(), thinker.new_state()
    thinker.step(one, given.user_unit(0))
    thinker.step(other, given.user_unit(1))
    performer = Performer(model)
    state, foreign = performer.new_state(), thinker.gap(other, 1)[0]
    performer.append(state, thinker.gap(thinker.new_state(), 1)[0])
    message = (
        r"^context: unit 1: found a slice after \w{16} \(expected \w{16}\), "
        r"the two histories differ: send the log again from its beginning$"
    )
    with pytest.raises(ModelError, match=message):
        performer.append(state, foreign)


def test_mistakes_are_told_in_words(model):
    thinker, performer = Thinker(model), Performer(model)
    state = thinker.new_state()
    one = torch.ones(1, dtype=torch.int64)
    cases = {
        "user audio: found shape [1, 1, 8, 40] (expected [1, 1, 16, 40]), resize it or change the preset":
            lambda: thinker.step(state, UserUnit(audio=torch.zeros(1, 8, 40))),
        "user video: found NaN or infinity (expected finite numbers), check what produced it":
            lambda: thinker.step(state, UserUnit(video=torch.full((1, 2, 2, 16), float("nan")))),
        "response audio: found NaN or infinity (expected finite numbers), check what produced it":
            lambda: thinker.commit(state, torch.full((1, 8, 16), float("inf"))),
        "user text: found torch.int64 [2, 1] (expected whole numbers [1, 1])":
            lambda: thinker.step(state, UserUnit(text=one.expand(2))),
        "decision gesture: found tokens 3..3 (expected 0..2)":
            lambda: thinker.step(state, UserUnit(), decision=Decision(torch.tensor([[0, 3]]), one)),
        "thinker: found 1 responses for 2 units (expected as many, or none)":
            lambda: thinker.absorb(state, [UserUnit()] * 2, [ResponseUnit()]),
        "performer: found unit 3 to generate (expected -1, the last appended slice)":
            lambda: performer.generate(performer.new_state(), 3),
    }  # fmt: skip
    for message, mistake in cases.items():
        with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
            mistake()
    assert state.unit == 0 and state.cache.filled == 0, "a refused unit leaves no trace"
    thinker.commit(state)
    for again in (lambda: thinker.commit(state), lambda: thinker.step(state, UserUnit(), ResponseUnit())):
        with pytest.raises(ModelError, match=r"^thinker: unit 0: found a second response \(expected one per unit\), "):
            again()


def test_a_pass_that_is_cut_short_is_done_again_as_if_it_had_not_been(model, monkeypatch):
    given, thinker = dialogue(batch=1, units=4), Thinker(model)
    state, undisturbed = thinker.new_state(), thinker.new_state()
    for each in (state, undisturbed):
        thinker.step(each, given.user_unit(0))
    with monkeypatch.context() as patch:
        patch.setattr(model, "read_text", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            thinker.step(state, given.user_unit(1), given.response(0))
    slices = [thinker.step(each, given.user_unit(1), given.response(0)).slice for each in (state, undisturbed)]
    assert slices[0].digest == slices[1].digest


def test_gestures_are_drawn_and_states_are_the_likeliest(model):
    given, thinker = dialogue(batch=1, units=1), Thinker(model)
    drawn = set()
    for seed in range(40):
        thought = thinker.step(thinker.new_state(), given.user_unit(0), seed=seed)
        assert int(thought.event[0, 0]) == int(thought.state_logits.argmax())
        drawn.add(int(thought.event[0, 1]))
    assert drawn == {0, 1, 2}
