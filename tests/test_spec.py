from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.runtime.errors import GraphError
from wangraph.runtime.plan.check import load
from wangraph.runtime.plan.document import MAX_BYTES, MAX_DEPTH, parse_text
from wangraph.runtime.plan.marks import Mark


def write(folder: Path, text: str, name: str = "g.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Messages name files relative to the current folder."""
    monkeypatch.chdir(tmp_path)


def complaint(path: Path) -> str:
    with pytest.raises(GraphError) as caught:
        load(path)
    return str(caught.value)


def test_a_graph_file_gives_names_clock_and_edges_with_their_places(tmp_path):
    spec = load(
        write(
            tmp_path,
            "name: toy\nclock: {fps: 30000/1001, unit_frames: 2}\nlatency_ms: 90\n"
            "processes: {p: {lanes: [a, b], threads: 3}}\n"
            "nodes:\n  cam: {type: x.y, params: {width: 4}}\n"
            "  blur:\n    type: x.z\n    process: p\n    lane: b\n    budget_ms: 1.5\n"
            "    ladder: [{steps: 2}, {steps: 1}]\n"
            "    inputs:\n      frames: cam.video\n      back: {from: blur.out, delay: 2, init: zeros, late: hold}\n",
        )
    )
    assert (spec.name, spec.clock.fps, spec.clock.unit_frames, spec.latency_ms) == ("toy", Fraction(30000, 1001), 2, 90)
    blur = spec.nodes["blur"]
    assert (blur.process, blur.lane, blur.budget_ms, blur.ladder) == ("p", "b", 1.5, ({"steps": 2}, {"steps": 1}))
    assert str(blur.inputs["frames"].mark) == "g.yaml:14:15"
    assert (blur.inputs["back"].delay, blur.inputs["back"].init, blur.inputs["back"].late) == (2, "zeros", "hold")
    assert spec.processes["p"].lanes == ("a", "b") and spec.processes["p"].threads == 3


def test_latency_is_one_unit_when_not_given(tmp_path):
    assert load(write(tmp_path, "clock: {fps: 12.5, unit_frames: 1}\nnodes: {a: {type: x}}")).latency_ms == 80


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "g.yaml: found an empty file (expected a graph), start with: wangraph new graph NAME"),
        ("- a\n", "g.yaml:1:1: found a list (expected a mapping with 'nodes'), start with: wangraph new graph NAME"),
        ("name: [1", "g.yaml:1:9: while parsing a flow sequence, expected ',' or ']', but got '<stream end>' "
                     "(expected YAML), correct the text there"),
        ("name: a\nname: b\n", "g.yaml:2:1: found the key 'name' again (first at g.yaml:1:1), remove one"),
        ("nodes: {a: {type: x}}\nname: !!python/object/apply:os.system [ls]\n",
         "g.yaml:2:7: found the tag '!!python/object/apply:os.system' (expected plain data), "
         "graph files cannot build objects"),
        ("nodes: {a: {type: x, budget: 3}}",
         "g.yaml:1:22: node 'a': unknown key 'budget' (expected: budget_ms, device, "
         "graph, inputs, ladder, lane, params, process, stall_s, type); did you mean 'budget_ms'?"),
        ("name: x\n", "g.yaml:1:1: graph: found no nodes (expected nodes: {NAME: {type: NAME}}), "
         "start with: wangraph new graph NAME"),
        ("version: 2\nnodes: {a: {type: x}}",
         "g.yaml:1:10: graph: version: found 2 (expected 1), this wangraph reads version 1"),
        ("clock: {fps: 0}\nnodes: {a: {type: x}}",
         "g.yaml:1:14: clock: fps: found 0 (expected a number from 0.001 to 100000, or a ratio as 30000/1001)"),
        ("clock: {fps: [1]}\nnodes: {a: {type: x}}",
         "g.yaml:1:14: clock: fps: found a list (expected a number from 0.001 to 100000, or a ratio as 30000/1001)"),
        ("latency_ms: 0\nnodes: {a: {type: x}}",
         "g.yaml:1:13: graph: latency_ms: found 0 (expected a number above 0, 600000 at most), for example 240"),
        ("nodes: {a: {type: x, inputs: {p: {from: b.q, delay: 20000, init: empty}}}}",
         "g.yaml:1:53: node 'a': input 'p': delay: found 20000 (expected a whole number from 0 to 10000)"),
        ("latency_ms: soon\nnodes: {a: {type: x}}",
         "g.yaml:1:13: graph: latency_ms: found 'soon' (expected a number above 0, 600000 at most), for example 240"),
        ("latency_ms: 1.0e+999\nnodes: {a: {type: x}}",
         "g.yaml:1:13: graph: latency_ms: found inf (expected a number above 0, 600000 at most), for example 240"),
        ("nodes: {a: {}}",
         "g.yaml:1:12: node 'a': found no type (expected type: NAME), list them with: wangraph nodes"),
        ("nodes: {a: {type: x, inputs: {p: q}}}",
         "g.yaml:1:34: node 'a': input 'p': found 'q' (expected NODE.PORT)"),
        ("nodes: {a: {type: x, inputs: {p: {from: b.q, delay: 1}}}}",
         "g.yaml:1:34: node 'a': input 'p': found delay 1 without init (expected empty, zeros or a file), "
         "add init: empty"),
        ("nodes: {a: {type: x, inputs: {p: {from: b.q, delay: -1}}}}",
         "g.yaml:1:53: node 'a': input 'p': delay: found -1 (expected a whole number from 0 to 10000)"),
        ("processes: {p: {lanes: [a, a]}}\nnodes: {a: {type: x}}",
         "g.yaml:1:24: process 'p': lanes: found a list (expected a list of names, each once)"),
        ("nodes: {a: {type: x, inputs: {p: {from: b.q, late: never}}}}",
         "g.yaml:1:52: node 'a': input 'p': late: found 'never' (expected one of: empty, gap, hold, wait)"),
        ("nodes: {a: {type: x, ladder: [{steps: 4}, {levels: 2}]}}",
         "g.yaml:1:30: node 'a': ladder: found a list (expected a list as [{steps: 4}, {steps: 2}], with the same "
         "parameters in each)"),
        ("nodes: {a: [x]}",
         "g.yaml:1:12: node 'a': found a list (expected a mapping of: budget_ms, device, graph, inputs, ladder, lane, "
         "params, process, stall_s, type)"),
        ("extends: $base\nnodes: {a: {type: x}}",
         "g.yaml:1:10: extends: found '$base' (expected a graph file, by a name that needs no parameters)"),
        ("nodes: {1a: {type: x}}",
         "g.yaml:1:9: graph: nodes: found the name '1a' (expected letters, digits, - and _, a letter first)"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_line_column_and_remedy(tmp_path, text, message):
    assert complaint(write(tmp_path, text)) == message


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path):
    text = "speed: 2\nnodes:\n  a: {type: x, lanes: io}\n  b: {typ: y}\n"
    lines = complaint(write(tmp_path, text)).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["g.yaml:1:1", "g.yaml:3:16", "g.yaml:4:7", "g.yaml:4:6"]


def test_a_missing_file_is_told_with_the_shipped_names():
    assert complaint(Path("none.yaml")).startswith(
        "none.yaml: no such graph (expected a file, or one of: cascade, cascade_published, duplex, "
    )


def test_a_huge_file_is_refused_unread(tmp_path):
    path = write(tmp_path, "#" * (MAX_BYTES + 1))
    assert complaint(path) == (
        f"g.yaml: found {MAX_BYTES + 1} bytes (expected {MAX_BYTES} or less), a graph file is small text"
    )


def test_deep_nesting_is_refused_before_it_is_followed(tmp_path):
    message = complaint(write(tmp_path, "[" * 5000))
    assert message == (
        f"g.yaml:1:{MAX_DEPTH + 1}: found nesting deeper than {MAX_DEPTH} (expected a graph file), remove it"
    )


def test_aliases_cannot_blow_a_small_file_up(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "found more than 50000 values, counting aliases" in complaint(write(tmp_path, "\n".join(lines)))


def test_an_alias_to_itself_is_refused(tmp_path):
    assert "found an alias that contains itself" in complaint(write(tmp_path, "a: &a [*a]"))


@pytest.mark.parametrize("data", [b"\xff\xfe", b"name: \x00"])
def test_bytes_that_are_not_text_are_refused(tmp_path, data):
    path = tmp_path / "g.yaml"
    path.write_bytes(data)
    assert complaint(path).startswith("g.yaml: found ")


@pytest.mark.parametrize(
    ("text", "value"),
    [("on", "on"), ("no", "no"), ("true", True), ("010", 10), ("0x10", 16), ("1e3", 1000.0), ("1:30", "1:30"),
     ("~", None), ("2020-01-01", "2020-01-01"), ("9" * 30, "9" * 30), ("3.", 3.0), ("30000/1001", "30000/1001")],
)  # fmt: skip
def test_scalars_mean_what_yaml_1_2_says(text, value):
    item = parse_text(text, Mark("x"))
    assert item is not None and item.value == value and type(item.value) is type(value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_text_gives_a_tree_or_a_graph_error(text):
    try:
        parse_text(text, Mark("x"))
    except GraphError as error:
        assert str(error).startswith("x: ")
