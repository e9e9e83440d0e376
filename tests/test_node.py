"""The node author's API, and NodeRunner, which holds a node against its contract."""

from __future__ import annotations

import numpy as np
import pytest

from wangraph import END, Emission, Input, Node, NodeRunner, Output, Param, Unit, Validity, node
from wangraph.runtime.errors import GraphError, NodeError


class Gain(Node):
    """Louder."""

    samples = Input("audio", "S", "float32", rate_hz=16_000)
    louder = Output("audio", "S", "float32", rate_hz=16_000)
    gain: float = Param(2.0, min=0, max=10)
    mode: str = Param("soft", choices=["soft", "hard"])
    label: str = Param(..., help="required")

    def step(self, unit, samples):
        return {"louder": samples * np.float32(self.gain)}


class Counter(Node):
    """Counts what it sees and what it loses; writes a log."""

    value = Input("any")
    total = Output("tokens", "1", "int64")
    log = Output("context", "1", "int64")

    def new_state(self):
        return {"seen": 0, "lost": 0}

    def step(self, state, unit, value):
        state["seen"] += 1
        return {"total": np.array([state["seen"]]), "log": np.array([unit.index])}

    def gap(self, state, units):
        state["lost"] += len(units)
        return [{"log": np.array([-u.index])} for u in units]


# Parameters


def test_parameters_are_checked_converted_and_complete():
    assert Gain(label="x", gain=3).values == {"gain": 3.0, "mode": "soft", "label": "x"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label": "x", "gian": 1}, "Gain: no parameter 'gian' (it has: gain, label, mode); did you mean 'gain'?"),
        ({"label": "x", "gain": 11}, "Gain.gain: found 11.0 (expected 10 or less)"),
        ({"label": "x", "gain": -1}, "Gain.gain: found -1.0 (expected 0 or more)"),
        ({"label": "x", "gain": "loud"}, "Gain.gain: found 'loud' (expected a number)"),
        ({"label": "x", "mode": "sof"}, "Gain.mode: found 'sof' (expected one of: hard, soft); did you mean 'soft'?"),
        ({}, "Gain: parameter 'label' is missing (expected a string)"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(values, message):
    with pytest.raises(GraphError) as caught:
        Gain(**values)
    assert str(caught.value) == message


def test_ports_and_parameters_are_inherited():
    class Quiet(Gain):
        """Softer."""

        gain: float = Param(0.5)

    assert Quiet(label="x").gain == 0.5
    assert set(Quiet.inputs) == {"samples"}
    assert not Quiet.is_stateful()
    assert Counter.is_stateful()


# NodeRunner


def test_a_runner_calls_a_node_under_its_contract():
    with NodeRunner(Gain(label="x")) as runner:
        out = runner.step(samples=np.ones(2560, np.float32))
        assert out["louder"].tolist() == [2.0] * 2560
        assert not out["louder"].flags.writeable


def test_inputs_are_read_only_for_the_body():
    class Scribbles(Gain):
        """Writes where it must not."""

        def step(self, unit, samples):
            samples[0] = 0
            return {}

    with (
        NodeRunner(Scribbles(label="x")) as runner,
        pytest.raises(
            NodeError,
            match=r"^node 'node', unit 0: ValueError: assignment destination is read-only, at .*test_node.py:\d+ in step$",
        ),
    ):
        runner.step(samples=np.ones(2560, np.float32))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"loud": 1}, "node 'node', unit 0: no output 'loud' (it has: louder)"),
        (
            {"louder": np.ones(3, np.float32)},
            "node 'node', unit 0, output 'louder': found [3] float32 (expected [2560] float32), return what the port declares",
        ),
        (
            {"louder": np.ones(2560)},
            "node 'node', unit 0, output 'louder': found [2560] float64 (expected [2560] float32), return what the port declares",
        ),
        ({"louder": object()}, "node 'node', unit 0, output 'louder': found object (expected an array)"),
        (5, "node 'node', unit 0: found int (expected a mapping from output port to value)"),
        (
            None,
            "node 'node', unit 0: step returned None (expected a mapping of outputs, {} for none), add a return",
        ),
    ],
)
def test_what_a_body_returns_is_held_against_the_contract(returned, message):
    class Returns(Gain):
        """Returns what the test says."""

        def step(self, unit, samples):
            return returned

    with NodeRunner(Returns(label="x")) as runner, pytest.raises(NodeError) as caught:
        runner.step(samples=np.ones(2560, np.float32))
    assert str(caught.value) == message


@pytest.mark.parametrize("returned", [{}, {"louder": None}])
def test_a_step_may_leave_its_outputs_empty(returned):
    class Quiet(Gain):
        """Says nothing."""

        def step(self, unit, samples):
            return returned

    with NodeRunner(Quiet(label="x")) as runner:
        assert runner.step(samples=np.ones(2560, np.float32)) == {"louder": None}


def test_a_step_of_a_node_without_outputs_may_return_nothing():
    class Ends(Node):
        """Takes in."""

        value = Input("any")

        def step(self, unit, value):
            pass

    with NodeRunner(Ends()) as runner:
        assert runner.step(value=np.ones(1)) == {}


def test_absorb_keeps_the_log_only_and_gap_tells_what_was_lost():
    with NodeRunner(Counter()) as runner:
        assert runner.step(value=np.ones(1))["total"].tolist() == [1]
        assert [out["log"].tolist() for out in runner.absorb([{"value": np.ones(1)}] * 2)] == [[1], [2]]
        assert [out["log"].tolist() for out in runner.gap(2)] == [[-3], [-4]]
        assert runner.step(value=None)["total"].tolist() == [4]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([], "gap returned 0 mappings (expected one for each of 2 units)"),
        ({"log": 1}, "gap returned dict (expected a list of mappings, or None)"),
        ([{}, None], "gap returned a list with NoneType (expected mappings, one per unit)"),
    ],
)
def test_a_log_that_does_not_answer_for_every_unit_is_refused(returned, message):
    class Forgets(Counter):
        """Loses log entries."""

        def gap(self, state, units):
            return returned

    with NodeRunner(Forgets()) as runner, pytest.raises(NodeError) as caught:
        runner.gap(2)
    assert str(caught.value) == f"node 'node', unit 0..1: {message}"


def test_a_step_that_answers_nothing_is_absorbed_as_one():
    class Quiet(Counter):
        """Says nothing."""

        def step(self, state, unit, value):
            return {}

    with NodeRunner(Quiet()) as runner:
        assert runner.absorb([{"value": np.ones(1)}] * 2) == [{"log": None}] * 2


def test_a_source_ends_with_end():
    class Two(Node):
        """Two units."""

        out = Output("tokens", "1", "int64")

        def step(self, unit):
            return END if unit.index == 2 else {"out": np.array([unit.index])}

    with NodeRunner(Two()) as runner:
        assert [runner.step(), runner.step()] == [{"out": [0]}, {"out": [1]}]
        assert runner.step() is END


def test_a_function_is_a_node_and_its_keywords_are_parameters():
    @node(value=Input("tokens", "1", "int64"), more=Output("tokens", "1", "int64"))
    def add(unit, value, *, by: int = 3):
        """Adds."""
        return {"more": value + by}

    assert (add.__doc__, add(by=4).values) == ("Adds.", {"by": 4})
    with NodeRunner(add()) as runner:
        assert runner.step(value=np.array([1]))["more"].tolist() == [4]


def test_text_is_text_on_both_sides_and_an_emission_says_more():
    @node(said=Input("text"), heard=Output("text"))
    def shout(unit, said):
        return {"heard": Emission(said.upper(), Validity.CONCEALED)}

    with NodeRunner(shout()) as runner:
        assert runner.step(said="grüß dich")["heard"] == "GRÜSS DICH"


# Units


def test_chance_follows_from_seed_session_node_and_unit_alone():
    def drawn(**over):
        return Unit(**{"index": 3, "pts_ns": 0, "duration_ns": 1, "node": "a", "seed": 1, **over}).rng().random()

    assert drawn() == drawn()
    others = [
        drawn(index=4),
        drawn(node="b"),
        drawn(seed=2),
        drawn(session=1),
        drawn(node="a-long-name-1"),
        drawn(node="a-long-name-2"),
    ]
    assert len({drawn(), *others}) == 7


def test_the_runner_holds_inputs_against_the_ports_as_a_run_does():
    with NodeRunner(Gain(label="x")) as gain:
        message = r"^Gain, unit 0, input 'samples': found \[3\] float32 \(expected \[2560\] float32\), give what the port declares$"
        with pytest.raises(NodeError, match=message):
            gain.step(samples=np.zeros(3, np.float32))
        samples = np.zeros(2560, np.float32)
        assert gain.step(samples=samples)["louder"].shape == (2560,)
        samples[0] = 1.0  # the caller's array is still the caller's


class Opening(Node):
    """Opens two things, of which the second one may be missing."""

    value = Input("any")
    broken: bool = Param(False)

    def open(self, ctx):
        self.seen = ["opened"]
        ctx.on_close(lambda: self.seen.append("first"))
        ctx.on_close(lambda: self.seen.append("second"))
        if self.broken:
            raise OSError("no second thing")

    def close(self):
        self.seen.append("closed")


def test_what_was_opened_is_closed_the_last_one_first():
    opening = Opening()
    NodeRunner(opening).__enter__().close()
    assert opening.seen == ["opened", "closed", "second", "first"]


def test_a_node_that_failed_to_open_is_not_closed_but_what_it_opened_is():
    runner = NodeRunner(Opening(broken=True))
    with pytest.raises(NodeError, match=r"^node 'node': OSError while opening: no second thing"):
        runner.open()
    runner.close()
    assert runner.node.seen == ["opened", "second", "first"]
