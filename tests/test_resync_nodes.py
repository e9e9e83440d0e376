"""Thinker and performer as nodes, when packets of the context log have accidents on their way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_backbone_nodes import CLOCK, opened, response, unit, user

from wangraph import load, run
from wangraph.nodes.context import unpacked
from wangraph.nodes.performer import PerformerNode
from wangraph.nodes.reference import ReferenceNode
from wangraph.nodes.thinker import ThinkerNode
from wangraph.runtime.node import NodeContext
from wangraph.runtime.packet import Validity
from wangraph.wan_core.cache.resync import FROM_THE_START
from wangraph.wan_core.flow import Solver

LOSSY = f"{Path(__file__).with_name('lossy_thinker.py')}:Lossy"
PERSONA = "your name is red you see a card"  # 8 words and the end of the line


def thinker_of(**params):
    node = ThinkerNode(checkpoint="nano", **params)
    node.open(NodeContext("think", CLOCK, connected_inputs=frozenset({"need"})))
    return node


@pytest.fixture(scope="module")
def performer():
    return opened(PerformerNode)


def conversation(thinker, performer, units, accident=lambda k, packet: packet, restarts=(), personas=None):
    """Answers of the performer, and all slices that the thinker wrote; ``personas`` are set before their units."""
    thinking, performing, answer, slices = thinker.new_state(), performer.new_state(), {}, []
    for k in range(units):
        if k in (personas or {}):
            thinker.update(thinking, {"persona": personas[k]})
        said = {"need": answer.get("need"), **response(answer)}
        packet = thinker.step(thinking, unit(k), **user(k), **said)["context"]
        slices.append(packet)
        performing = performer.new_state() if k in restarts else performing
        answer = performer.step(performing, unit(k), context=accident(k, packet))
        yield answer, packet


def afresh(performer, packets):
    """The answers of a performer that gets the same slices, each as soon as it was first written."""
    slices = {s.place: s for packet in packets for s in unpacked(packet)}
    state = performer.new_state()
    for _, slice_ in sorted(slices.items()):
        performer._performer.append(state.model, slice_)
        if not slice_.is_prefix:
            yield performer._performer.generate(state.model, slice_.unit, Solver(performer.steps))


def check(thinker, performer, lost, accident=lambda k, packet: packet, restarts=(), units=20, personas=None):
    answers, packets = zip(*conversation(thinker, performer, units, accident, restarts, personas), strict=True)
    expected = list(afresh(performer, packets))
    for k, answer in enumerate(answers):
        assert set(answer) == ({"need"} if k in lost else {"video", "audio"}), k
        if k not in lost:
            assert np.array_equal(answer["video"], expected[k].video[0].numpy()), k
    return answers


def spoiled(k, packet):
    return {**packet, "values": packet["values"] + 1} if k == 5 else packet


@pytest.mark.parametrize(
    ("accident", "restarts", "need"),
    [
        (lambda k, packet: None if k == 5 else packet, (), 5),
        (spoiled, (), 5),
        (lambda k, packet: {**packet, "place": packet["place"] * 0} if k == 5 else packet, (), 5),
        (lambda k, packet: {**packet, "digest": packet["digest"][:0]} if k == 5 else packet, (), 5),
        (lambda k, packet: packet, (5,), FROM_THE_START),
    ],
    ids=["lost", "damaged", "misplaced", "cut", "restarted"],
)
def test_one_accident_costs_one_answer(performer, accident, restarts, need):
    answers = check(thinker_of(), performer, {5}, accident, restarts)
    assert answers[5]["need"].tolist() == [need]


def test_a_longer_past_takes_several_packets(performer):
    check(thinker_of(resync_units=4), performer, {12, 13, 14, 15}, restarts=(12,))


def test_a_thinker_that_nobody_asks_keeps_nothing(performer):
    thinker = opened(ThinkerNode)
    state = thinker.new_state()
    for k in range(3):
        thinker.step(state, unit(k), **user(k), **response({}))
    assert state.log.slices_since(FROM_THE_START) == []


@pytest.mark.parametrize("resync_units", [32, 4])
def test_a_persona_reaches_the_performer_through_the_log(performer, resync_units):
    lost = {0, 1} if resync_units == 4 else set()
    check(thinker_of(persona=PERSONA, resync_units=resync_units), performer, lost)


def test_two_nodes_with_a_persona_equal_one_and_none_is_another(performer):
    reference = opened(ReferenceNode, persona=PERSONA)
    told, others = reference.new_state(), conversation(thinker_of(), performer, 12)
    pairs = zip(conversation(thinker_of(persona=PERSONA), performer, 12), others, strict=True)
    for k, ((answer, _), (untold, _)) in enumerate(pairs):
        together = reference.step(told, unit(k), **user(k))
        assert np.array_equal(together["video"], answer["video"]), k
        assert not np.allclose(together["video"], untold["video"])


def test_absorbed_units_are_made_good_too(performer):
    thinker = thinker_of()
    thinking, state = thinker.new_state(), performer.new_state()
    first = thinker.step(thinking, unit(0), **user(0), **response({}))["context"]
    rest = thinker.absorb(thinking, [(unit(k), {**user(k), **response({})}) for k in (1, 2)])
    performer.absorb(state, [(unit(0), {"context": first}), (unit(1), {"context": None}), (unit(2), rest[1])])
    need = performer.step(state, unit(3), **only(thinker, thinking, 3))["need"]
    assert need.tolist() == [1]
    assert set(performer.step(state, unit(4), **only(thinker, thinking, 4, need))) == {"video", "audio"}


def only(thinker, state, k, need=None):
    return {"context": thinker.step(state, unit(k), **user(k), **response({}), need=need)["context"]}


def test_a_run_goes_on_after_accidents(tmp_path):
    accidents = {"dropped": [6], "repeated": [10], "damaged": [14, 15]}
    lossy = {"think.type": LOSSY, **{f"think.params.{name}": units for name, units in accidents.items()}}
    sets = {"output": str(tmp_path / "out.mp4"), "checkpoint": "nano", "user.width": 32, "user.height": 32, **lossy}
    graph = load("duplex", settings=sets)
    packets = run(graph, units=24, clock="virtual", taps=["perform.video", "perform.need"]).packets
    needs = {p.unit: int(p.array[0]) for p in packets["perform.need"] if p.is_payload}
    assert [p.unit for p in packets["perform.video"] if p.validity is Validity.EMPTY] == [6, 10, 14, 15]
    assert needs == {6: 6, 10: 10, 14: 14, 15: 14}
