"""Graphs of strangers: what is too large, no graph at all, or damaged is refused in words and in little time."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.runtime.errors import GraphError
from wangraph.runtime.plan import overlay
from wangraph.runtime.plan.check import load, make_plan
from wangraph.tools.fuzz.damage import spoilt, spoilt_bytes

GRAPHS = [yaml.safe_load(path.read_text()) for path in sorted((Path(__file__).parents[1] / "graphs").glob("*.yaml"))]
GRAPHS = [graph for graph in GRAPHS if graph["name"] in ("hello", "mirror", "cascade_published", "wan_streamer")]


@pytest.fixture(autouse=True)
def folder(tmp_path_factory, monkeypatch):
    made = tmp_path_factory.mktemp("graphs")
    monkeypatch.chdir(made)
    return made


def refusal(text: str) -> str:
    Path("g.yaml").write_text(text)
    with pytest.raises(GraphError) as caught:
        make_plan(load("g.yaml"))
    return str(caught.value)


def nested(depth: int, width: int) -> None:
    """``g0.yaml``: a node; each file after it: so many times the one before."""
    Path("g0.yaml").write_text("name: g0\nnodes: {clock: {type: capture.clock}}\n")
    for level in range(1, depth + 1):
        inner = "".join(f"  n{i}: {{graph: g{level - 1}.yaml}}\n" for i in range(width))
        Path(f"g{level}.yaml").write_text(f"name: g{level}\nnodes:\n{inner}")


def test_sub_graphs_are_counted_as_often_as_they_are_put_in(monkeypatch):
    nested(depth=4, width=10)
    monkeypatch.setattr(overlay, "MAX_NODES", 60)
    with pytest.raises(GraphError) as caught:
        load("g4.yaml")
    assert str(caught.value) == (
        "g0.yaml: found more than 60 nodes, counting those of sub-graphs as often as they are put in (expected a "
        "graph that a machine can run), leave some out"
    )


def test_sub_graphs_without_nodes_count_too(monkeypatch):
    nested(depth=4, width=10)
    Path("g0.yaml").write_text("name: g0\nnodes: {}\n")
    monkeypatch.setattr(overlay, "MAX_NODES", 60)
    with pytest.raises(GraphError, match=r"^g\d.yaml: found more than 60 nodes, "):
        load("g4.yaml")


def test_a_graph_within_the_limit_is_put_together():
    nested(depth=2, width=10)
    assert len(load("g2.yaml").nodes) == 100


def test_of_a_file_that_is_no_graph_little_is_repeated():
    Path("passwords").write_text("\n".join(f"user{n}:x:{n}:secret of {n}" for n in range(200)))
    assert refusal("extends: passwords\nname: g\n") == (
        "passwords:1:1: found 'user0:x:0:secret of 0 user1:x:1:secret of 1 user2:x:2:secre... (expected a mapping "
        "with 'nodes'), start with: wangraph new graph NAME"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: {long}\n", "g.yaml:1:10: {long}: no such graph (expected a file, or one of: "),
        ("nodes: {{a: {{graph: {long}}}}}\n", "g.yaml:1:20: {long}: no such graph (expected a file, or one of: "),
        ("nodes: {{a: {{type: '{long}.py:A'}}}}\n", "g.yaml:1:19: node 'a': file '{folder}/{long}.py': not found "),
        (
            'nodes: {{a: {{type: "a\\0.py:A"}}}}\n',
            "g.yaml:1:19: found a zero byte in a text (expected characters), rem",
        ),
    ],
)
def test_names_that_no_file_can_have_are_told_like_others(folder, text, message):
    long = "x" * 300
    assert refusal(text.format(long=long)).startswith(message.format(long=long, folder=folder))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_a_damaged_graph_is_planned_or_refused(seed):
    chance = random.Random(seed)
    graph = chance.choice(GRAPHS)
    for _ in range(chance.choice([1, 1, 2, 4])):
        graph = spoilt(graph, chance)
    text = yaml.safe_dump(graph, sort_keys=False)
    if chance.random() < 0.2:
        text = spoilt_bytes(text.encode(), chance).decode("utf-8", "replace")
    Path("spoilt.yaml").write_text(text)
    with contextlib.suppress(GraphError):
        make_plan(load("spoilt.yaml"))
