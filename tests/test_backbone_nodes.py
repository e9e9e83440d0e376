from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from wangraph.nodes.performer import PerformerNode
from wangraph.nodes.reference import ReferenceNode
from wangraph.nodes.thinker import ThinkerNode
from wangraph.runtime.errors import CheckpointError, UserError
from wangraph.runtime.node import NodeContext, Unit
from wangraph.runtime.packet import frozen
from wangraph.runtime.units import UnitClock
from wangraph.wan_core.checkpoint import load_part, save
from wangraph.wan_core.config import PRESETS, preset
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.vocabulary import CONTROL, ENTER, PAD, vocabulary

CLOCK = UnitClock()
NANO = preset("nano")


def unit(index, level=None, seed=0):
    return Unit(index, CLOCK.pts_ns(index), CLOCK.duration_ns(index), seed=seed, level=level or {})


def opened(kind, seed=0, checkpoint="nano", **params):
    node = kind(checkpoint=checkpoint, **params)
    reports = {}
    node.open(NodeContext("node", CLOCK, seed=seed, report=lambda key, text: reports.setdefault(key, text)))
    node.warm()
    assert reports["weights"].startswith("model: ")
    return node


def user(index):
    rng = np.random.default_rng(index)
    return {
        "video": frozen(rng.normal(size=NANO.video.latent_shape).astype(np.float32)),
        "audio": frozen(rng.normal(size=NANO.mel.shape).astype(np.float32)),
        "text": None,
        "played": None,
    }


def response(outputs):
    return {f"response_{name}": outputs.get(name) for name in ("video", "audio")}


def conversation(thinker, performer, units, **options):
    """Context and answers of some units, thinker and performer feeding each other."""
    thinking, performing, answer = thinker.new_state(), performer.new_state(), {}
    for k in range(units):
        thought = thinker.step(thinking, unit(k), **user(k), **response(answer))
        answer = performer.step(performing, unit(k, **options), context=thought["context"])
        yield thought, answer


@pytest.fixture(scope="module")
def thinker():
    return opened(ThinkerNode)


@pytest.fixture(scope="module")
def performer():
    return opened(PerformerNode)


def test_outputs_are_what_the_ports_promise(thinker, performer):
    for thought, answer in conversation(thinker, performer, 3):
        for node, outputs in ((thinker, thought), (performer, answer)):
            for name, port in node.ports(node.values)[1].items():
                if name in ("need", "lost", "log"):
                    assert name not in outputs
                    continue
                tensors = outputs[name] if isinstance(outputs[name], dict) else {"": outputs[name]}
                for tensor, spec in port.specs.items():
                    if port.kind == "text":
                        assert tensors[tensor] is None or isinstance(tensors[tensor], str)
                        continue
                    assert tensors[tensor].dtype == spec.dtype
                    sizes = zip(tensors[tensor].shape, spec.shape, strict=True)
                    assert all(found == dim.size or (dim.is_max and found < dim.size) for found, dim in sizes)


def test_two_nodes_equal_one_bit_by_bit(thinker, performer):
    reference = opened(ReferenceNode)
    state = reference.new_state()
    for k, (thought, answer) in enumerate(conversation(thinker, performer, 40)):
        together = reference.step(state, unit(k), **user(k))
        assert np.array_equal(together["video"], answer["video"]), k
        assert np.array_equal(together["audio"], answer["audio"])
        assert np.array_equal(together["event"], thought["event"])
        assert together["text"] == thought["text"]


def test_the_level_sets_the_solver_steps(thinker, performer):
    two = [answer["audio"] for _, answer in conversation(thinker, performer, 2)]
    chosen = [answer["audio"] for _, answer in conversation(thinker, performer, 2, level={"steps": 2})]
    four = [answer["audio"] for _, answer in conversation(thinker, performer, 2, level={"steps": 4})]
    assert np.array_equal(two, chosen) and not np.array_equal(two, four)


def test_the_level_names_the_solver(thinker, performer):
    def spoken(**level):
        return [answer["audio"] for _, answer in conversation(thinker, performer, 2, level={"steps": 3, **level})]

    assert np.array_equal(spoken(solver="euler"), spoken())
    assert np.array_equal(spoken(solver="heun"), spoken(solver="heun"))
    assert not np.allclose(spoken(solver="heun"), spoken())
    assert not np.allclose(spoken(audio_temperature=0.5), spoken())


def test_the_response_reaches_the_next_thought(thinker, performer):
    thoughts = []
    for silent in (True, False):
        state, performing = thinker.new_state(), performer.new_state()
        answer = performer.step(performing, unit(0), **only_context(thinker, state, 0))
        thoughts.append(thinker.step(state, unit(1), **user(1), **response({} if silent else answer)))
    assert not np.array_equal(thoughts[0]["context"]["keys"], thoughts[1]["context"]["keys"])


def only_context(thinker, state, k):
    return {"context": thinker.step(state, unit(k), **user(k), **response({}))["context"]}


def test_absorbed_and_lost_units_are_in_the_log_and_unanswered(thinker, performer):
    thinking, performing = thinker.new_state(), performer.new_state()
    performer.absorb(performing, [(unit(0), only_context(thinker, thinking, 0))])
    absorbed = thinker.absorb(thinking, [(unit(k), {**user(k), **response({})}) for k in (1, 2)])
    lost = thinker.gap(thinking, [unit(3)])
    for k, log in zip((1, 2, 3), [*absorbed, *lost], strict=True):
        assert set(log) == {"context"}
        assert performer.step(performing, unit(k), **log) == {}
    assert set(performer.step(performing, unit(4), **only_context(thinker, thinking, 4))) == {"video", "audio"}


def test_the_reference_takes_absorbed_and_lost_units_in():
    reference = opened(ReferenceNode, steps=1)
    state = reference.new_state()
    reference.step(state, unit(0), **user(0))
    reference.absorb(state, [(unit(k), user(k)) for k in (1, 2)])
    reference.gap(state, [unit(3)])
    assert set(reference.step(state, unit(4), **user(4))) == {"video", "audio", "text", "event"}
    assert state.model.thinker.unit == 5


def test_typed_text_reaches_the_model_one_token_a_unit(thinker, monkeypatch):
    tokens, states = [], thinker.new_state()
    take = thinker._thinker.step
    monkeypatch.setattr(
        thinker._thinker, "step", lambda s, u, *a, **k: tokens.append(int(u.text)) or take(s, u, *a, **k)
    )
    for k, typed in enumerate(["What is 4?\n", None, "yes", None, None, None, None]):
        thinker.step(states, unit(k), **{**user(k), "text": typed}, **response({}))
    what, is_, four, yes = (vocabulary("toy_world").tokens[word] for word in ("what", "is", "four", "yes"))
    assert tokens == [what, is_, four, ENTER, yes, ENTER, PAD]


@pytest.mark.parametrize(
    ("played", "told"),
    [([0, 1], True), ([0, 0], False), ([1, 1], False), ([-1, 1], False)],
    ids=["concealed", "heard", "not answered", "before the start"],
)
def test_a_committed_response_that_was_not_heard_is_told_once(thinker, performer, played, told, monkeypatch):
    state, performing, news = thinker.new_state(), performer.new_state(), []
    answer = performer.step(performing, unit(0), **only_context(thinker, state, 0))
    thinker.step(state, unit(1), **user(1), **response(answer))
    take = thinker._thinker.step
    monkeypatch.setattr(
        thinker._thinker, "step", lambda s, u, *a, **k: news.append(bool(u.unplayed)) or take(s, u, *a, **k)
    )
    for k in (2, 3):
        thinker.step(state, unit(k), **{**user(k), "played": np.array(played)}, **response({}))
    assert news == [told, False]


def test_nothing_has_to_come_in(thinker):
    state = thinker.new_state()
    nothing = dict.fromkeys(thinker.ports(thinker.values)[0])
    assert set(thinker.step(state, unit(0), **nothing)) == {"context", "text", "event"}


def test_the_word_is_in_the_vocabulary_or_empty(thinker, performer):
    words = {thought["text"] for thought, _ in conversation(thinker, performer, 20)}
    assert words <= {None, "—", "?", *vocabulary("toy_world").words}


def test_a_checkpoint_is_typed_to_and_speaks_in_the_words_of_its_vocabulary(tmp_path):
    own = replace(vocabulary("toy_world"), words=(*CONTROL, "links", "rechts"), spelling={})
    path = tmp_path / "own.safetensors"
    save(path, {"model": load_part("nano", "model", DuplexModel).module}, "nano", vocabulary=own)
    ThinkerNode.check({"checkpoint": str(path), "persona": "Rechts, links!"})
    with pytest.raises(UserError, match=f"^persona: found 'red' .checkpoint '{path}' knows: links rechts., say it in"):
        ThinkerNode.check({"checkpoint": str(path), "persona": "red"})
    node = opened(ThinkerNode, checkpoint=str(path), persona="rechts links")
    assert [int(prompt.user.text) for prompt in node.prefix(node.persona)] == [5, 4, ENTER]
    assert [node.new_listener().reader(token) for token in (4, 5, 6)] == ["links", "rechts", "<6>"]


def test_where_nothing_is_known_of_the_words_no_text_can_come_in(monkeypatch):
    monkeypatch.setitem(PRESETS, "bare", replace(NANO, name="bare", vocabulary=""))
    node, context = ThinkerNode(checkpoint="bare"), NodeContext("node", CLOCK)
    node.open(context)
    assert node.new_listener().reader(7) == "<7>" and node.prefix(node.persona) == []
    message = (
        "node 'node': input 'text': found text for checkpoint 'bare', which has no vocabulary (expected the tokenizer "
        "of its language model), set tokenizer: the folder of that model"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        node.open(replace(context, connected_inputs=frozenset({"text"})))


def test_random_weights_depend_on_the_seed_and_on_nothing_else(thinker):
    torch.rand(3)
    again, other = opened(ThinkerNode), opened(ThinkerNode, seed=1)
    keys = [only_context(node, node.new_state(), 0)["context"]["keys"] for node in (thinker, again, other)]
    assert np.array_equal(keys[0], keys[1]) and not np.array_equal(keys[0], keys[2])


def test_an_unknown_checkpoint_is_refused_before_the_run():
    with pytest.raises(
        CheckpointError, match=r"^checkpoint 'nanno': no such file \(presets: .*nano.*did you mean 'nano'"
    ):
        ThinkerNode.check({"checkpoint": "nanno"})


def test_ports_are_known_without_torch():
    code = (
        "import sys; from wangraph.nodes.performer import *; from wangraph.nodes.reference import *; "
        "from wangraph.nodes.thinker import *; [node.ports({'checkpoint': 'tiny'}) for node in "
        "(ThinkerNode, PerformerNode, ReferenceNode)]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
