"""Slices that are dropped, repeated or damaged on the way, and sides that lose everything: in the end both are equal."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dialogue_toys import dialogue
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from wangraph.wan_core.cache import resync
from wangraph.wan_core.cache.kvslice import sealed
from wangraph.wan_core.cache.resync import FROM_THE_START, ContextLog
from wangraph.wan_core.config import CacheConfig, preset
from wangraph.wan_core.exchange import persona_prompt
from wangraph.wan_core.flow import Solver
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.performer import Performer
from wangraph.wan_core.thinker import Thinker
from wangraph.wan_core.vocabulary import vocabulary

NANO, WORDS = preset("nano"), vocabulary("toy_world")
UNITS = 30
CACHES = {
    "full": CacheConfig(chunk_units=7),
    "capped": CacheConfig(cap_units=6, chunk_units=2),
    "window": CacheConfig(policy="window", window_units=6, sink_units=2, chunk_units=3),
}


@pytest.fixture(scope="module")
def sessions():
    """By cache: the model, and the slices of a session that was told a prefix, seen by a performer that missed none."""
    return {name: session(cache) for name, cache in CACHES.items()}


def session(cache, prefixes=None):
    """The model, all slices and answers of a session that is told these prefixes, each before its unit."""
    prefixes = prefixes or {0: "your name is red"}
    torch.set_num_threads(1)  # made once for all tests, before the fixture that gives each of them one thread
    torch.manual_seed(0)
    model = DuplexModel(replace(NANO, cache=cache)).eval().requires_grad_(False)
    given, thinker, performer = dialogue(batch=1, units=UNITS), Thinker(model), Performer(model)
    thinking, performing = thinker.new_state(), performer.new_state()
    slices, answers = [], []
    for k in range(UNITS):
        new = thinker.set_prefix(thinking, persona_prompt(prefixes[k], WORDS)) if k in prefixes else []
        new.append(thinker.step(thinking, given.user_unit(k), given.response(k - 1), given.decision(k)).slice)
        for slice_ in new:
            performer.append(performing, slice_)
        slices += new
        answers.append(performer.generate(performing, k, Solver(1)))
    return model, slices, answers


def damaged(slice_):
    keys = slice_.keys.clone()
    keys.view(-1)[7] += 1e-3
    return replace(slice_, keys=keys)


def travel(model, slices, accidents, most=4, state=None):
    """Every unit: what is needed, and the newest slice, with an accident on the way; None where nothing was answered.

    An accident is what becomes of the packet of a unit: nothing, dropped, repeated, or damaged.
    """
    performer, log, need = Performer(model), ContextLog(model.cache), FROM_THE_START
    state = state or performer.new_state()
    before, answers = [], []
    for slice_ in slices:
        log.append(slice_)
        if slice_.is_prefix:
            need = slice_.place if need is None else min(need, slice_.place)
            continue
        older = [] if need is None else [s for s in log.slices_since(need, most) if s.start < slice_.start]
        packet = [*older, slice_]
        accident = accidents.get(slice_.unit)
        arrived = {"repeated": before, "damaged": [*packet[:-1], damaged(slice_)], "dropped": []}.get(accident, packet)
        need, before = performer.follow(state, arrived, slice_.unit), packet
        answers.append(None if need is not None else performer.generate(state, slice_.unit, Solver(1)))
    return answers, state


def check(answers, expected, healthy_from):
    for k, (found, wanted) in enumerate(zip(answers, expected, strict=True)):
        assert found is None or all(map(torch.equal, found, wanted)), k
        assert found is not None or k < healthy_from, k


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("accident", ["dropped", "repeated", "damaged"])
def test_a_slice_that_was_lost_costs_one_answer(sessions, cache, accident):
    model, slices, expected = sessions[cache]
    answers, _ = travel(model, slices, {12: accident})
    assert [k for k, answer in enumerate(answers) if answer is None] == [
        0,
        12,
    ]  # at 0 the prefix is longer than a packet
    check(answers, expected, 13)


@settings(max_examples=25, deadline=None)
@drawn(
    cache=st.sampled_from(list(CACHES)),
    most=st.integers(2, 9),
    accidents=st.dictionaries(st.integers(0, UNITS - 15), st.sampled_from(["dropped", "repeated", "damaged"])),
)
def test_any_accidents_are_made_good_bit_by_bit(sessions, cache, most, accidents):
    model, slices, expected = sessions[cache]
    answers, _ = travel(model, slices, accidents, most)
    check(answers, expected, UNITS if most < 3 else UNITS - 1)
    assert most < 4 or answers[-1] is not None


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("at", [1, 7, 20])
def test_a_performer_that_restarts_empty_is_resynced(sessions, cache, at):
    model, slices, expected = sessions[cache]
    performer, log = Performer(model), ContextLog(model.cache)
    prefix = [s for s in slices if s.is_prefix]
    for slice_ in slices[: len(prefix) + at]:
        log.append(slice_)
    state = performer.new_state()
    assert performer.follow(state, [slices[len(prefix) + at - 1]]) == FROM_THE_START
    assert performer.follow(state, log.slices_since(FROM_THE_START)) is None
    assert all(map(torch.equal, performer.generate(state, at - 1, Solver(1)), expected[at - 1]))
    for k in range(at, UNITS):
        assert performer.follow(state, [slices[len(prefix) + k]]) is None
        assert all(map(torch.equal, performer.generate(state, k, Solver(1)), expected[k])), k


@pytest.mark.parametrize("cache", CACHES)
def test_a_thinker_that_restarts_empty_is_resynced_from_the_performers_log(sessions, cache):
    model, slices, _ = sessions[cache]
    given, thinker, log = dialogue(batch=1, units=UNITS), Thinker(model), ContextLog(model.cache)
    undisturbed, restarted = thinker.new_state(), thinker.new_state()
    thinker.follow(undisturbed, slices)
    for slice_ in slices:
        log.append(slice_)
    assert thinker.follow(restarted, log.slices_since(FROM_THE_START)) is None
    for k in range(4):
        thoughts = [thinker.step(state, given.user_unit(k)) for state in (undisturbed, restarted)]
        assert thoughts[0].slice.digest == thoughts[1].slice.digest
        assert thoughts[0].slice.unit == UNITS + k


@pytest.mark.parametrize("cache", CACHES)
def test_a_performer_with_another_past_begins_anew(sessions, cache):
    model, slices, expected = sessions[cache]
    thinker, performer = Thinker(model), Performer(model)
    state = performer.new_state()
    performer.follow(state, thinker.gap(thinker.new_state(), 9))
    answers, _ = travel(model, slices, {}, state=state)
    assert answers[-1] is not None
    check(answers, expected, UNITS)


def test_a_performer_follows_a_thinker_that_begins_anew(sessions):
    model, slices, _ = sessions["full"]
    thinker, performer = Thinker(model), Performer(model)
    state, other = performer.new_state(), thinker.new_state(first_unit=UNITS)
    performer.follow(state, slices)
    anew = thinker.gap(other, 2)
    assert performer.follow(state, anew[:1]) == FROM_THE_START
    assert performer.follow(state, anew) is None
    assert state.digest.numpy().tobytes() == anew[-1].digest


@pytest.mark.parametrize("bug", ["trusting", "forgetful", "eager"])
def test_a_reader_or_a_log_with_a_bug_is_found_out(sessions, bug, monkeypatch):
    """The planted bugs: digests are not looked at, the log keeps too little, holes are passed over."""
    model, slices, expected = sessions["window"]
    if bug == "trusting":
        monkeypatch.setattr(resync, "chained_digest", lambda s: s.digest)
    elif bug == "forgetful":
        short = lambda cache: resync.ContextLog(cache, retention_units=2)  # noqa: E731
        monkeypatch.setitem(globals(), "ContextLog", short)
    else:
        since = ContextLog.slices_since
        hasty = lambda self, unit, most=None: [replace(s, resumes=True) for s in since(self, unit + 1, most)]  # noqa: E731
        monkeypatch.setattr(ContextLog, "slices_since", hasty)
    with pytest.raises(AssertionError):
        check(travel(model, slices, {12: "damaged", 13: "dropped", 14: "dropped"})[0], expected, 16)


def test_what_a_log_keeps_is_what_a_cache_remembers(sessions):
    for name, kept in (("full", UNITS), ("capped", 7), ("window", 2 + 6)):
        model, slices, _ = sessions[name]
        log = ContextLog(model.cache)
        for slice_ in slices:
            log.append(slice_)
        found = log.slices_since(FROM_THE_START)
        assert [s.is_prefix for s in found].count(False) == kept
        assert [s.unit for s in found if s.resumes] == {"full": [], "capped": [23], "window": [24]}[name]
        assert [s.unit for s in log.slices_since(slices[-2].place)] == [UNITS - 2, UNITS - 1]
        assert [s.unit for s in log.slices_since(slices[-5].place, most=2)] == [UNITS - 5, UNITS - 4]


def test_a_slice_without_its_digest_is_not_taken(sessions):
    model, slices, _ = sessions["full"]
    state = Performer(model).new_state()
    assert Performer(model).follow(state, [replace(slices[0], digest=bytes(8))]) == FROM_THE_START
    assert Performer(model).follow(state, [sealed(slices[0])]) is None
