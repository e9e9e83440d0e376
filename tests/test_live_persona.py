"""Who the agent is, set while it talks: in nodes side by side, through accidents and restarts, and in a run."""

from __future__ import annotations

import re

import numpy as np
import pytest
import test_recovery
import test_resync_nodes
from hypothesis import given, settings
from hypothesis import strategies as st
from test_backbone_nodes import opened, response, unit, user

import wangraph
from wangraph import UserError, load
from wangraph.nodes.context import unpacked
from wangraph.nodes.performer import PerformerNode
from wangraph.nodes.reference import ReferenceNode
from wangraph.nodes.thinker import ThinkerNode
from wangraph.runtime.packet import Validity
from wangraph.runtime.schedule.events import Updated

ONE, OTHER = "your name is red", "one is zero and you see a card"  # 5 tokens, and 9: with the end of the line
CHANGES = [{6: OTHER}, {6: ""}, {3: OTHER, 4: "", 9: ONE}, {0: OTHER}]


@pytest.fixture(scope="module")
def performer():
    return opened(PerformerNode)


@pytest.mark.parametrize("personas", CHANGES, ids=str)
def test_two_nodes_whose_persona_is_set_equal_one(performer, personas):
    thinker, reference = test_resync_nodes.thinker_of(persona=ONE), opened(ReferenceNode, persona=ONE)
    together = reference.new_state()
    talk = test_resync_nodes.conversation(thinker, performer, 12, personas=personas)
    before = test_resync_nodes.conversation(thinker, performer, 12)
    for k, ((answer, _), (untouched, _)) in enumerate(zip(talk, before, strict=True)):
        if k in personas:
            reference.update(together, {"persona": personas[k]})
        alone = reference.step(together, unit(k), **user(k))
        assert np.array_equal(alone["video"], answer.get("video")), k
        assert np.array_equal(answer["video"], untouched["video"]) == (k < min(personas)), k


def test_a_persona_that_is_not_told_when_it_is_set_is_found_out(performer, monkeypatch):
    """The planted bug: the thinker thinks with it, the performer never learns of it."""
    tell = ThinkerNode._set_persona

    def quietly(self, state):
        need = state.need
        tell(self, state)
        state.need = need

    monkeypatch.setattr(ThinkerNode, "_set_persona", quietly)
    with pytest.raises(AssertionError):
        test_two_nodes_whose_persona_is_set_equal_one(performer, {6: OTHER})


@pytest.mark.parametrize("resync_units", [32, 4])
def test_a_persona_that_is_longer_than_a_packet_costs_answers_and_no_more(performer, resync_units):
    thinker = test_resync_nodes.thinker_of(persona=ONE, resync_units=resync_units)
    lost = {0, 6, 7} if resync_units == 4 else set()
    test_resync_nodes.check(thinker, performer, lost, personas={6: OTHER, 13: ""})


@pytest.mark.parametrize(
    "accident", [lambda k, packet: None if k == 6 else packet, test_resync_nodes.spoiled], ids=["lost", "damaged"]
)
def test_a_persona_whose_packet_has_an_accident_is_persona_set_again(performer, accident):
    at = 6 if accident is not test_resync_nodes.spoiled else 5
    test_resync_nodes.check(test_resync_nodes.thinker_of(persona=ONE), performer, {at}, accident, personas={at: OTHER})


def test_a_performer_that_restarts_is_persona_set_the_persona_that_holds(performer):
    thinker = test_resync_nodes.thinker_of(persona=ONE)
    answers = test_resync_nodes.check(thinker, performer, {9}, restarts=(9,), personas={6: OTHER})
    assert answers[9]["need"].tolist() == [0]


def test_absorbed_and_lost_units_are_taken_in_by_who_the_agent_is_by_then():
    thinker, reference = test_resync_nodes.thinker_of(persona=ONE), opened(ReferenceNode, persona=ONE)
    for call in ("absorb", "gap"):
        thinking, together = thinker.new_state(), reference.new_state()
        thinker.step(thinking, unit(0), **user(0), **response({}))
        reference.step(together, unit(0), **user(0))
        for node, state in ((thinker, thinking), (reference, together)):
            node.update(state, {"persona": OTHER})
            units = [unit(1), unit(2)] if call == "gap" else [(unit(k), {**user(k), **response({})}) for k in (1, 2)]
            given_ = getattr(node, call)(state, units)
            if node is thinker:
                slices = [s for out in given_ for s in unpacked(out["context"])]
        assert [s.is_prefix for s in slices] == [True] * 9 + [False] * 2
        assert thinking.model.cache.n_prefix == together.model.thinker.cache.n_prefix == 9


# Restarts


def test_a_thinker_that_restarts_is_who_it_had_become(performer):
    thinker = test_recovery.opened(ThinkerNode, persona=ONE)
    units = list(test_recovery.conversation(thinker, test_recovery.opened(PerformerNode), 14, [9], personas={4: OTHER}))
    assert "lost" in units[9][0] and "video" in units[-1][1]
    assert units[-1][2].model.cache.n_prefix == 9
    test_recovery.agree(*units[-1][2:])


def test_a_persona_set_while_the_past_is_lost_is_persona_set_when_it_is_back():
    thinker, performer = test_recovery.opened(ThinkerNode, persona=ONE), test_recovery.opened(PerformerNode)
    units = list(test_recovery.conversation(thinker, performer, 14, [8], personas={8: OTHER}))
    assert "lost" in units[8][0]
    sent = unpacked(units[9][0]["context"])
    assert [(s.is_prefix, s.answers) for s in sent] == [(False, False), *[(True, False)] * 9, (False, True)]
    test_recovery.agree(*units[-1][2:])


@settings(max_examples=12, deadline=None)
@given(
    restarts=st.sets(st.integers(1, 14), max_size=2),
    accidents=st.dictionaries(st.integers(1, 18), st.sampled_from(["dropped", "repeated", "damaged"]), max_size=4),
    personas=st.dictionaries(st.integers(0, 16), st.sampled_from([ONE, OTHER, "yes", ""]), max_size=3),
)
def test_any_restarts_and_changes_end_with_two_sides_that_agree(restarts, accidents, personas):
    thinker = test_recovery.opened(ThinkerNode, persona=ONE, resync_units=6)
    performer = test_recovery.opened(PerformerNode, resync_units=6)
    units = list(test_recovery.conversation(thinker, performer, 34, restarts, accidents, personas=personas))
    assert set(units[-1][1]) == {"video", "audio"}
    test_recovery.agree(*units[-1][2:])


# Runs


def start(tmp_path, **options):
    sets = {"output": str(tmp_path / "out.mp4"), "checkpoint": "nano", "user.width": 32, "user.height": 32}
    return wangraph.start(load("duplex", settings=sets), units=14, clock="virtual", taps=["perform.video"], **options)


def talk(tmp_path, changes=(), **options):
    run = start(tmp_path, **options)
    for first_unit, persona in changes:
        run.set("think", first_unit=first_unit, persona=persona)
    return run.wait()


def videos(result):
    return [p.array for p in result.packets["perform.video"] if p.validity is Validity.REAL]


def test_a_persona_is_set_in_a_run_and_set_again_by_its_replay(tmp_path):
    changed, before = talk(tmp_path, [(6, OTHER), (10, "")]), talk(tmp_path)
    assert [(e.node, e.first_unit) for e in changed.log if isinstance(e, Updated)] == [("think", 6), ("think", 10)]
    same = [np.array_equal(a, b) for a, b in zip(videos(changed), videos(before), strict=True)]
    assert same == [True] * 6 + [False] * 8
    again = talk(tmp_path, log=changed.log)
    assert all(map(np.array_equal, videos(changed), videos(again)))


UNKNOWN = "persona: found 'purple' (checkpoint 'nano' knows: "


def test_words_that_the_checkpoint_does_not_know_are_refused_where_they_are_set(tmp_path):
    run = start(tmp_path)
    with pytest.raises(UserError, match=f"^set: node 'think': {re.escape(UNKNOWN)}.*, say it in these words$"):
        run.set("think", persona="one is purple")
    assert not [event for event in run.wait().log if isinstance(event, Updated)], "what is refused does not happen"


@pytest.mark.parametrize("kind", [ThinkerNode, ReferenceNode])
def test_a_node_that_refuses_words_stays_who_it_is(kind):
    node = opened(kind, persona=ONE)
    state = node.new_state()
    with pytest.raises(UserError, match=f"^{re.escape(UNKNOWN)}.*, say it in these words$"):
        node.update(state, {"persona": "one is purple"})
    assert (state.listener.persona, state.listener.is_persona_set) == (ONE, True)
