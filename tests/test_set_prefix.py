"""Another prefix told between two units: what follows is thought with it, what was thought stays as it was thought."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dialogue_toys import TIME, dialogue, streamed, worst
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from test_resync import WORDS, check, damaged, session, travel
from test_window import ByDefinition

from wangraph.wan_core import model as model_module
from wangraph.wan_core import prefix as prefixing
from wangraph.wan_core.cache import context, kvcache, resync
from wangraph.wan_core.cache.resync import FROM_THE_START, ContextLog
from wangraph.wan_core.config import CacheConfig, preset
from wangraph.wan_core.embed import AgentTrack, PrefixTrack, UserTrack
from wangraph.wan_core.exchange import PrefixUnit, ResponseUnit, UserUnit, persona_prompt
from wangraph.wan_core.flow import Solver
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.performer import Performer
from wangraph.wan_core.reference import Reference
from wangraph.wan_core.thinker import Thinker

NANO = preset("nano")
UNITS, REACH = 16, 4
CACHES = {
    "full": CacheConfig(chunk_units=7, prefix_reach_units=REACH),
    "capped": CacheConfig(cap_units=6, chunk_units=2, prefix_reach_units=REACH),
    "window": CacheConfig(policy="window", window_units=6, sink_units=0, chunk_units=3, prefix_reach_units=REACH),
    "sinks": CacheConfig(policy="window", window_units=6, sink_units=2, chunk_units=3, prefix_reach_units=REACH),
}
LENGTHS = [(0, 3), (3, 5), (4, 4), (5, 0)]
"""Units of the first prefix and of the second."""

ONE, OTHER = 7, 8
"""Seeds of prefixes."""


@pytest.fixture(params=CACHES)
def model(request, randomise):
    return randomise(DuplexModel(replace(NANO, cache=CACHES[request.param])))


@pytest.fixture
def sinks(randomise):
    return randomise(DuplexModel(replace(NANO, cache=CACHES["sinks"])))


def prefix_of(units, seed, batch=1):
    given = dialogue(batch, max(1, units), seed)
    return [PrefixUnit(replace(given.user_unit(k), unplayed=None), given.response(k)) for k in range(units)]


class Pair:
    """A thinker and a performer that share nothing but slices."""

    def __init__(self, model, batch=1, first_unit=0):
        self.model, self.thinker, self.performer = model, Thinker(model), Performer(model)
        self.states = self.thinker.new_state(batch, first_unit), self.performer.new_state(batch)

    def told(self, prefix):
        """Told this, one through the other."""
        slices = self.thinker.set_prefix(self.states[0], prefix)
        assert [(s.is_prefix, s.answers, s.count) for s in slices] == [(True, False, k) for k in range(len(prefix))]
        for slice_ in slices:
            self.performer.append(self.states[1], slice_)
        return self

    def lived(self, given, units):
        """What comes of these units."""
        return streamed(self.model, given, units, states=self.states)


def changed(model, at, lengths, given, first_unit=0):
    """What comes of a session that is told one prefix, and another one before unit ``at``."""
    batch = given.shape[0]
    pair = Pair(model, batch, first_unit).told(prefix_of(lengths[0], ONE, batch))
    before = pair.lived(given, range(at))
    return before + pair.told(prefix_of(lengths[1], OTHER, batch)).lived(given, range(at, given.shape[1]))


def anchors(state):
    """What a query sees of the prefix, and where."""
    cache = state.cache
    first = cache.sinks.shape[-2]
    return [x[..., first : cache.anchored, :] for x in (cache.keys, cache.values)]


class TwoWorlds(ByDefinition):
    """Attention by definition: a slice sees the dialogue, and of the two prefixes the one that holds."""

    at, lengths = 0, (0, 0)

    def __init__(self, geometry, config, tokens, origin, *rest):
        first, second = self.lengths
        n = first * NANO.slots.clean
        shift = torch.zeros_like(tokens.unit)
        shift[:n] = second  # both stand right before the first unit
        tokens = tokens._replace(
            unit=tokens.unit + shift, order=tokens.order + 3 * shift, position=tokens.position + shift
        )
        super().__init__(geometry, config, tokens, origin)
        index = torch.arange(len(tokens.unit)) // NANO.slots.clean
        self.of_prefix = torch.where(index < first, 0, torch.where(index < first + second, 1, -1))
        self.sees = torch.where(self.of_prefix < 0, (tokens.slices >= origin + self.at).long(), self.of_prefix)

    def is_held(self, mine):
        return (self.of_prefix[None] < 0) | (self.of_prefix[None] == self.sees[mine][:, None])


@torch.inference_mode()
def by_definition(model, at, lengths, given, monkeypatch):
    """The same in one pass over both prefixes and the dialogue."""
    tracks = [dialogue(given.shape[0], max(1, n), seed) for n, seed in zip(lengths, (ONE, OTHER), strict=True)]

    def joined(part, name):
        pieces = [getattr(getattr(t, part), name)[:, :n] for t, n in zip(tracks, lengths, strict=True)]
        return torch.cat(pieces, 1)

    prefix = PrefixTrack(
        UserTrack(*(joined("user", name) for name in ("video", "mel", "text"))),
        AgentTrack(*(joined("agent", name) for name in ("audio", "video"))),
    )
    # each prefix is heard by itself, as it is told
    each = [model.embed.prefix(PrefixTrack(UserTrack(t.user.video[:, :n], t.user.mel[:, :n], t.user.text[:, :n]),
                                         AgentTrack(t.agent.audio[:, :n], t.agent.video[:, :n])), given.shape[0], n)
            for t, n in zip(tracks, lengths, strict=True) if n]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(TwoWorlds, "at", at)
        patch.setattr(TwoWorlds, "lengths", lengths)
        patch.setattr(model_module, "AnchoredSequence", TwoWorlds)
        patch.setattr(model.embed, "prefix", lambda *_: torch.cat(each, 1))
        t = torch.full(given.shape, TIME)
        out = model(given.user, given.agent, given.decisions, given.noisy, t, prefix=prefix)
    parts = (out.state_logits, out.gesture_logits, out.text_logits, *out.clean)
    return [torch.cat([x[:, k].flatten(1) for x in parts], 1) for k in range(given.shape[1])]


@pytest.mark.parametrize("lengths", LENGTHS)
def test_another_prefix_is_attention_by_definition(model, lengths, monkeypatch):
    given = dialogue(batch=2, units=UNITS)
    for at in (1, 11):
        expected = by_definition(model, at, lengths, given, monkeypatch)
        assert worst(changed(model, at, lengths, given), expected) < 1e-4, at


def only_counted(cache, state, by):
    cache.reserve(state, max(0, by))
    state.used += by


@pytest.mark.parametrize("bug", ["kept", "not moved", "never follows", "mixed up", "after the dialogue"])
def test_a_prefix_that_is_changed_otherwise_is_found_out(sinks, bug, monkeypatch):
    """The planted bugs: the old one stays; the history stays where the new one belongs; it is left behind; its units
    change places; it stands where the dialogue is."""
    given, at, lengths = dialogue(batch=1, units=UNITS), 11, (3, 5)
    expected = by_definition(sinks, at, lengths, given, monkeypatch)
    set_prefix, stand = kvcache.KVCache.set_prefix, kvcache.KVCache._stand
    if bug == "kept":
        once = lambda self, state, *prefix: None if state.count else set_prefix(self, state, *prefix)  # noqa: E731
        monkeypatch.setattr(kvcache.KVCache, "set_prefix", once)
    elif bug == "not moved":
        monkeypatch.setattr(kvcache.KVCache, "_move", only_counted)
    elif bug == "never follows":
        monkeypatch.setattr(kvcache.KVCache, "_turn", lambda *_: None)
    elif bug == "mixed up":
        monkeypatch.setattr(prefixing, "prefix_track", lambda prefix, track=prefixing.prefix_track: track(prefix[::-1]))
    else:
        near = lambda self, state, keys, first, units, moved: stand(self, state, keys, first, units, state.age)  # noqa: E731
        monkeypatch.setattr(kvcache.KVCache, "_stand", near)
    assert worst(changed(sinks, at, lengths, given), expected) > 1e-3


@pytest.mark.parametrize("lengths", LENGTHS)
def test_a_prefix_changed_before_the_first_unit_is_as_if_told_at_once(model, lengths):
    given = dialogue(batch=1, units=UNITS)
    at_once = Pair(model).told(prefix_of(lengths[1], OTHER)).lived(given, range(UNITS))
    assert worst(changed(model, 0, lengths, given), at_once) == 0
    without = Pair(model).lived(given, range(UNITS))
    assert (worst(at_once, without) > 1e-3) == bool(lengths[1])


@pytest.mark.parametrize("lengths", LENGTHS)
def test_two_sides_equal_one_bit_by_bit_after_a_change(model, lengths):
    given, pair, reference = dialogue(batch=1, units=UNITS), Pair(model), Reference(model)
    together, latents = reference.new_state(), None
    for k in range(UNITS):
        if k in (0, 9, 13):
            prefix = prefix_of(lengths[k == 9], OTHER if k == 9 else ONE)
            pair.told(prefix)
            reference.set_prefix(together, prefix)
        response = None if latents is None else ResponseUnit(*latents)
        thought = pair.thinker.step(pair.states[0], given.user_unit(k), response)
        pair.performer.append(pair.states[1], thought.slice)
        latents = pair.performer.generate(pair.states[1], k, Solver(1))
        assert all(map(torch.equal, latents, reference.step(together, given.user_unit(k), Solver(1))[1])), k


@pytest.mark.parametrize("lengths", LENGTHS)
def test_what_does_not_see_the_prefix_is_unchanged(model, lengths):
    given, pair = dialogue(batch=1, units=UNITS), Pair(model).told(prefix_of(lengths[0], ONE))
    pair.lived(given, range(9))
    before = [state.save() for state in pair.states]
    pair.told(prefix_of(lengths[1], OTHER))
    for state, saved in zip(pair.states, before, strict=True):
        told, after = {"digest", "cache.keys", "cache.values", "cache.used", "cache.prefix"}, state.save()
        differ = {name for name, value in after.items() if not torch.equal(value, saved[name])}
        assert differ <= told | {"cache.n_prefix", "cache.slices"}
        assert torch.equal(history(after), history(saved)), "what was thought stays as it was thought"
    # the keys and values of the first layer come from what enters the model alone
    kept = Pair(model).told(prefix_of(lengths[0], ONE))
    kept.lived(given, range(9))
    slices = [each.thinker.step(each.states[0], given.user_unit(9), given.response(8), given.decision(9)).slice
              for each in (pair, kept)]  # fmt: skip
    assert all(torch.equal(getattr(slices[0], x)[:, 0], getattr(slices[1], x)[:, 0]) for x in ("keys", "values"))
    assert not torch.allclose(slices[0].keys[:, 1], slices[1].keys[:, 1], atol=1e-3)


def history(saved):
    """Keys and values behind the prefix, and those of the sinks before it."""
    first, last = saved["cache.sinks"].shape[-2], saved["cache.sinks"].shape[-2] + saved["cache.prefix"].shape[-2]
    both = torch.stack([saved["cache.keys"], saved["cache.values"]])
    return torch.cat([both[..., :first, :], both[..., last:, :]], -2)


def test_what_was_thought_before_is_still_remembered(model):
    """The same prefix and the same present after it, behind two pasts."""
    given, prefix, last = dialogue(batch=1, units=UNITS), prefix_of(3, OTHER), []
    for said in (0, 1):
        pair = Pair(model).told(prefix_of(3, ONE))
        pair.thinker.step(pair.states[0], given.user_unit(said))
        for k in range(2, 6):
            pair.thinker.step(pair.states[0], given.user_unit(k), given.response(k - 1), given.decision(k))
        pair.thinker.set_prefix(pair.states[0], prefix)
        last.append(pair.thinker.step(pair.states[0], given.user_unit(6)).text_logits)
    assert worst(last[:1], last[1:]) > 1e-4


def test_a_prefix_that_is_changed_stands_where_it_would_stand_had_it_been_told_first(model):
    given, prefix = dialogue(batch=2, units=UNITS), prefix_of(5, OTHER, batch=2)
    first, later = Pair(model, 2).told(prefix), Pair(model, 2).told(prefix_of(2, ONE, batch=2))
    for k in range(UNITS):
        if k == 8:
            later.told(prefix)
        for pair in (first, later):
            pair.lived(given, [k])
            if k >= 8:
                assert all(map(torch.equal, anchors(pair.states[0]), anchors(pair.states[1])))
        if k >= 8:
            assert all(map(torch.equal, anchors(first.states[0]), anchors(later.states[0])))


def test_rows_at_different_units_are_told_alike(model):
    given = dialogue(batch=2, units=UNITS)
    alone = changed(model, 9, (3, 5), given)
    apart = changed(model, 9, (3, 5), given, first_unit=[1000, 3])
    assert worst(apart, alone) < 1e-4


def test_a_row_that_began_after_the_last_prefix_sees_the_next_one(sinks):
    given, pair = dialogue(batch=2, units=UNITS), Pair(sinks, 2).told(prefix_of(3, ONE, batch=2))
    pair.lived(given, range(5))
    for state in pair.states:
        state.reset([1])
    found = pair.told(prefix_of(4, OTHER, batch=2)).lived(given, range(5, UNITS))
    fresh = Pair(sinks, 2).told(prefix_of(4, OTHER, batch=2)).lived(given, range(5, UNITS))
    assert worst([x[1:] for x in found], [x[1:] for x in fresh]) < 1e-4


def test_a_step_that_was_cut_short_is_no_part_of_what_is_moved(sinks, monkeypatch):
    given, pair = dialogue(batch=1, units=UNITS), Pair(sinks)
    pair.lived(given, range(4))
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(sinks, "read_event", lambda _: 1 / 0)
        pair.thinker.step(pair.states[0], UserUnit())
    found = pair.told(prefix_of(3, ONE)).lived(given, range(4, UNITS))
    undisturbed = Pair(sinks)
    undisturbed.lived(given, range(4))
    assert worst(found, undisturbed.told(prefix_of(3, ONE)).lived(given, range(4, UNITS))) == 0


# Logs


@pytest.mark.parametrize("at", [9, 10, 13])
def test_a_session_is_restored_bit_by_bit_wherever_it_was_saved(model, at):
    given, pair = dialogue(batch=1, units=UNITS), Pair(model).told(prefix_of(3, ONE))
    pair.lived(given, range(9))
    pair.told(prefix_of(5, OTHER))
    pair.lived(given, range(9, at))
    copy = Pair(model)
    for fresh, state in zip(copy.states, pair.states, strict=True):
        fresh.restore(state.save())
    assert worst(*(each.lived(given, range(at, UNITS)) for each in (pair, copy))) == 0


def test_a_performer_that_is_saved_with_half_a_prefix_goes_on_with_the_other_half(model):
    given, pair = dialogue(batch=1, units=UNITS), Pair(model).told(prefix_of(3, ONE))
    pair.lived(given, range(9))
    slices, copy = pair.thinker.set_prefix(pair.states[0], prefix_of(5, OTHER)), Performer(model).new_state()
    old = anchors(pair.states[1])
    for slice_ in slices[:2]:
        pair.performer.append(pair.states[1], slice_)
    assert pair.states[1].cache.is_coming
    assert all(map(torch.equal, anchors(pair.states[1]), old)), "the old one holds until the new one is whole"
    copy.restore(pair.states[1].save())
    for slice_ in [*slices[2:], pair.thinker.step(pair.states[0], given.user_unit(9)).slice]:
        for state in (pair.states[1], copy):
            pair.performer.append(state, slice_)
    first, second = (pair.performer.generate(state, 9, Solver(1)) for state in (pair.states[1], copy))
    assert all(map(torch.equal, first, second))


WORLDS = {0: "your name is red", 9: "one is zero and you see a card", 17: "", 19: "yes", 22: "no is yes"}
"""Before these units of a session; the last two within what a packet can carry."""


@pytest.fixture(scope="module")
def sessions():
    return {name: session(cache, WORLDS) for name, cache in CACHES.items()}


@settings(max_examples=25, deadline=None)
@drawn(
    cache=st.sampled_from(list(CACHES)),
    most=st.integers(3, 9),
    accidents=st.dictionaries(st.integers(0, 26), st.sampled_from(["dropped", "repeated", "damaged"])),
)
def test_any_accidents_around_a_change_are_made_good_bit_by_bit(sessions, cache, most, accidents):
    model, slices, expected = sessions[cache]
    answers, state = travel(model, slices, accidents, most)
    check(answers, expected, len(expected))
    if most > 3 and max(accidents, default=0) < 15:
        assert answers[-1] is not None
        assert state.last_digest == slices[-1].digest


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("at", [8, 10, 17, 18, 25])
def test_a_side_that_restarts_empty_is_resynced_with_the_prefix_that_holds(sessions, cache, at):
    model, slices, expected = sessions[cache]
    log, performer, thinker = ContextLog(model.cache), Performer(model), Thinker(model)
    end = next(i for i, s in enumerate(slices) if s.unit == at and not s.is_prefix)
    for slice_ in slices[: end + 1]:
        log.append(slice_)
    told = WORLDS[max(k for k in WORLDS if k <= at)]
    sent = log.slices_since(FROM_THE_START)
    assert sum(s.is_prefix for s in sent) == len(persona_prompt(told, WORDS)), "prefixes that hold no more are not sent"
    state, thinking = performer.new_state(), thinker.new_state()
    assert performer.follow(state, sent) is None
    assert thinker.follow(thinking, sent) is None
    assert torch.equal(state.cache.save()["keys"], thinking.cache.save()["keys"])
    assert all(map(torch.equal, performer.generate(state, at, Solver(1)), expected[at]))
    for slice_ in slices[end + 1 :]:
        assert performer.follow(state, [slice_]) is None
        if not slice_.is_prefix:
            assert all(map(torch.equal, performer.generate(state, slice_.unit, Solver(1)), expected[slice_.unit]))


@pytest.mark.parametrize("cache", CACHES)
def test_a_prefix_that_is_lost_on_the_way_costs_a_few_answers(sessions, cache):
    model, slices, expected = sessions[cache]
    answers, _ = travel(model, slices, {9: "dropped"})
    check(answers, expected, 12)
    lost = [k for k, answer in enumerate(answers) if answer is None]
    assert lost == [0, 9, 10, 11], "the first two prefixes are longer than a packet"


@pytest.mark.parametrize("bug", ["hasty", "deaf", "forgetful"])
def test_a_log_or_a_reader_that_loses_a_prefix_is_found_out(sessions, bug, monkeypatch):
    """The planted bugs: half a prefix holds; the end of one is not noticed; the log keeps none."""
    model, slices, expected = sessions["sinks"]
    if bug == "hasty":
        add = kvcache.KVCache.add_to_prefix
        soon = lambda self, state, keys, values, index, told: add(self, state, keys, values, index, min(told, 3))  # noqa: E731
        monkeypatch.setattr(kvcache.KVCache, "add_to_prefix", soon)
    elif bug == "deaf":
        take = context.take_slice
        monkeypatch.setattr(
            resync, "take_slice", lambda cache, state, s: take(cache, state, replace(s, n_prefix=s.n_prefix or 1))
        )
    else:
        kept = ContextLog._kept
        monkeypatch.setattr(ContextLog, "_kept", lambda self: [s for s in kept(self) if not s.is_prefix])
    with pytest.raises(AssertionError):
        check(travel(model, slices, {9: "dropped"})[0], expected, 12)


@pytest.mark.parametrize("is_trusting", [False, True])
def test_nothing_is_passed_over_that_came_to_harm_on_the_way(sessions, is_trusting):
    """The planted bug: what resumes the log is taken, though the prefix before it in the packet was damaged."""
    model, slices, _ = sessions["sinks"]
    performer, log, state = Performer(model), ContextLog(model.cache), Performer(model).new_state()
    for slice_ in slices:
        log.append(slice_)
    for slice_ in slices[: next(i for i, s in enumerate(slices) if s.unit == 15)]:
        performer.append(state, slice_)
    sent = log.slices_since(state.place)
    packet = [damaged(sent[0]), *sent[1:]]
    assert [s.is_prefix for s in sent[:5]] == [True] * 4 + [False] and sent[4].resumes
    need = [performer.follow(state, part) for part in ([[s] for s in packet] if is_trusting else [packet])][-1]
    assert need == (None if is_trusting else state.place)
    if not is_trusting:
        assert performer.follow(state, sent) is None and state.last_digest == slices[-1].digest
