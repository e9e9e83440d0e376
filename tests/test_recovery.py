"""A thinker that has lost its past gets it back from the performer, whatever happens to the packets on their way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_backbone_nodes import CLOCK, response, unit, user

from wangraph import load, run
from wangraph.nodes import recovery
from wangraph.nodes import thinker as thinking_node
from wangraph.nodes.context import unpacked
from wangraph.nodes.performer import PerformerNode
from wangraph.nodes.thinker import ThinkerNode
from wangraph.runtime.node import NodeContext
from wangraph.runtime.packet import Validity
from wangraph.wan_core.cache.resync import FROM_THE_START, ContextLog
from wangraph.wan_core.config import CacheConfig, preset

PERSONA = "your name is red"
RESTARTING = f"{Path(__file__).with_name('restarting_thinker.py')}:Restarting"


def opened(kind, **params):
    node = kind(checkpoint="nano", **params)
    node.open(NodeContext("node", CLOCK, connected_inputs=frozenset({"need", "log", "lost"})))
    return node


@pytest.fixture(scope="module")
def performer():
    return opened(PerformerNode, resync_units=4)


def conversation(thinker, performer, units, restarts=(), accidents=None, forget=(), personas=None):
    """Per unit: what the thinker and the performer put out; ``accidents``: what becomes of the log of a unit.

    A thinker restarts before the units ``restarts``; before those in ``forget`` it falls back to what it was 3 units
    ago; ``personas`` are set before their units.
    """
    thinking, performing, answer, before = thinker.new_state(), performer.new_state(), {}, {}
    pasts = {}
    for k in range(units):
        thinking = thinker.new_state() if k in restarts else thinking
        if k in forget:
            thinking = thinker.new_state()
            thinking.model.restore(pasts[k - 3])
        pasts[k] = thinking.model.save()
        if k in (personas or {}):
            thinker.update(thinking, {"persona": personas[k]})
        log = {"dropped": None, "repeated": before.get("log"), "damaged": damaged(answer.get("log"))}.get(
            (accidents or {}).get(k), answer.get("log")
        )
        before = answer
        said = {"need": answer.get("need"), "log": log, **response(answer)}
        thought = thinker.step(thinking, unit(k), **user(k), **said)
        answer = performer.step(performing, unit(k), context=thought.get("context"), lost=thought.get("lost"))
        yield thought, answer, thinking, performing


def damaged(log):
    return None if log is None else {**log, "keys": log["keys"] + 1}


def agree(thinking, performing):
    """Both sides hold the same past, so that what follows is the same."""
    assert thinking.model.last_digest == performing.model.last_digest
    assert thinking.model.unit == performing.model.unit
    assert np.array_equal(*(s.model.cache.save()["keys"].numpy() for s in (thinking, performing)))


def only_asking_was_lost(units):
    """Whatever was thought before is still known: only units in which the thinker asked have no answer."""
    asked = [k for k, (thought, *_) in enumerate(units) if "lost" in thought]
    held = units[-1][2].log.slices_since(0)
    assert [s.unit for s in held] == list(range(len(units)))
    assert [s.unit for s in held if not s.answers] == asked


def test_a_thinker_that_restarts_is_resynced_and_costs_one_answer(performer):
    units = list(conversation(opened(ThinkerNode), performer, 6, restarts=[3]))
    for k, (thought, answer, *_) in enumerate(units):
        assert set(thought) == ({"lost"} if k == 3 else {"context", "text", "event"}), k
        assert ("video" in answer) == (k != 3), k
    assert units[3][0]["lost"].tolist() == [FROM_THE_START]
    assert [s.unit for s in unpacked(units[3][1]["log"])] == [0, 1, 2]
    assert [(s.unit, s.answers) for s in unpacked(units[4][0]["context"])] == [(3, False), (4, True)]
    agree(*units[-1][2:])


def test_a_longer_past_takes_several_packets(performer):
    units = list(conversation(opened(ThinkerNode), performer, 20, restarts=[9]))
    lost = [k for k, (thought, *_) in enumerate(units) if "lost" in thought]
    assert lost == [9, 10]  # nine slices: four, and four with the newest
    assert "video" in units[11][1]
    agree(*units[-1][2:])


def test_a_thinker_with_a_persona_keeps_it(performer):
    units = list(conversation(opened(ThinkerNode, persona=PERSONA), performer, 14, restarts=[4]))
    assert units[4][0]["lost"].tolist() == [5] and "video" in units[-1][1]
    assert units[-1][2].model.cache.n_prefix == 5
    agree(*units[-1][2:])


def test_a_thinker_that_fell_back_takes_only_what_it_lost(performer):
    units = list(conversation(opened(ThinkerNode), performer, 14, forget=[8]))
    assert units[8][0]["lost"].tolist() == [5]
    assert [s.unit for s in unpacked(units[8][1]["log"])] == [5, 6, 7]
    agree(*units[-1][2:])


def test_a_performer_that_restarts_later_can_be_resynced_with_what_the_thinker_got_back(performer):
    *_, (_, _, thinking, performing) = conversation(opened(ThinkerNode), performer, 8, restarts=[4])
    assert [s.unit for s in thinking.log.slices_since(FROM_THE_START)] == list(range(8))
    assert [s.digest for s in performing.log.slices_since(3)] == [s.digest for s in thinking.log.slices_since(3)]


@settings(max_examples=15, deadline=None)
@given(
    restarts=st.sets(st.integers(1, 14), max_size=2),
    accidents=st.dictionaries(st.integers(1, 18), st.sampled_from(["dropped", "repeated", "damaged"]), max_size=6),
)
@example(restarts={3, 5}, accidents={5: "repeated"})  # an old answer reaches a thinker that has not asked
def test_any_accidents_are_made_good(performer, restarts, accidents):
    units = list(conversation(opened(ThinkerNode), performer, 30, restarts, accidents))
    assert set(units[-1][1]) == {"video", "audio"}
    agree(*units[-1][2:])
    only_asking_was_lost(units)


@pytest.mark.parametrize("bug", ["believes it has all", "does not record the lost units", "keeps nothing"])
def test_a_recovery_with_a_bug_is_found_out(performer, monkeypatch, bug):
    """The planted bugs: the first packet is taken for all, units of nobody are left out, the log is not kept by the reader."""
    if bug == "believes it has all":
        monkeypatch.setattr(thinking_node, "catch_up", lambda *args: recovery.catch_up(*args) and None)
    elif bug == "keeps nothing":
        monkeypatch.setattr(ContextLog, "keep", lambda *_: None)
    else:
        monkeypatch.setattr(thinking_node, "record_lost", lambda thinker, state, log, unit: None)
    with pytest.raises(AssertionError):
        units = list(conversation(opened(ThinkerNode), performer, 16, restarts=[9]))
        assert "video" in units[-1][1]
        agree(*units[-1][2:])
        only_asking_was_lost(units)


def test_when_nobody_holds_the_past_the_thinker_begins_anew():
    thinker, performer = opened(ThinkerNode, persona=PERSONA), opened(PerformerNode)
    thinking, performing, answer, lost = thinker.new_state(), performer.new_state(), {}, []
    for k in range(5, 30):  # both restarted before unit 5
        said = {"need": answer.get("need"), "log": answer.get("log"), **response(answer)}
        thought = thinker.step(thinking, unit(k), **user(k), **said)
        lost += [k] if "lost" in thought else []
        answer = performer.step(performing, unit(k), context=thought.get("context"), lost=thought.get("lost"))
    assert lost == list(range(5, 5 + recovery.PATIENCE_UNITS))
    assert "video" in answer and thinking.model.cache.n_prefix == 5
    agree(thinking, performing)


def test_what_is_typed_meanwhile_is_read_later(performer):
    thinker = opened(ThinkerNode)
    state = thinker.new_state()
    assert "lost" in thinker.step(state, unit(3), **{**user(3), "text": "yes\n"}, **response({}))
    thinker.absorb(state, [(unit(4), {**user(4), "text": "no\n", **response({})})])
    assert thinker.gap(state, [unit(5)]) == [{}]
    assert len(state.listener.typed.waiting) == 4


def test_a_thinker_that_cannot_ask_does_not(performer):
    thinker = ThinkerNode(checkpoint="nano")
    thinker.open(NodeContext("think", CLOCK))
    assert "context" in thinker.step(thinker.new_state(), unit(3), **user(3), **response({}))


@pytest.mark.parametrize("cache", [CacheConfig(cap_units=6, chunk_units=2),
                                   CacheConfig(policy="window", window_units=6, sink_units=2, chunk_units=3)],
                         ids=["capped", "window"])  # fmt: skip
def test_a_past_that_has_been_forgotten_in_part_is_resynced_with_the_rest(cache, monkeypatch):
    from wangraph.wan_core.config import PRESETS

    monkeypatch.setitem(PRESETS, "nano", replace(preset("nano"), cache=cache))
    thinker, performer = opened(ThinkerNode), opened(PerformerNode)
    units = list(conversation(thinker, performer, 24, restarts=[15]))
    assert "lost" in units[15][0] and "video" in units[16][1]
    assert units[-1][2].model.last_digest == units[-1][3].model.last_digest


def test_a_run_goes_on_when_its_thinker_restarts(tmp_path):
    wired = {
        "think.inputs.log": {"from": "perform.log", "delay": 1, "init": "empty"},
        "perform.inputs.lost": "think.lost",
    }
    sets = {"output": str(tmp_path / "out.mp4"), "checkpoint": "nano", "user.width": 32, "user.height": 32,
            "think.type": RESTARTING, "think.params.restarts": [7], **wired}  # fmt: skip
    taps = ["perform.video", "think.lost", "perform.log"]
    packets = run(load("duplex", settings=sets), units=14, clock="virtual", taps=taps).packets
    assert [p.unit for p in packets["perform.video"] if p.validity is Validity.EMPTY] == [7]
    assert [p.unit for p in packets["think.lost"] if p.is_payload] == [7]
    assert [len(p.tensors["place"]) for p in packets["perform.log"] if p.is_payload] == [7]
