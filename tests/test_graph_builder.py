import importlib.util
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from wangraph import Edge, Graph, GraphError, UserError, start
from wangraph.runtime.node import Node
from wangraph.runtime.plan.catalogue import find_type

TOYS = Path(__file__).parent / "graph_toys.py"


def toy(name):
    return find_type(f"{TOYS}:{name}", TOYS.parent)[1]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def loop() -> Graph:
    g = Graph("loop", fps="30", unit_frames=6, latency_ms=300)
    g.process("main", lanes=["loop", "io"], threads=1)
    g.process("far", threads=2)
    cam = g.add("cam", toy("Camera")(width=48), lane="io")
    think = g.add(
        "think",
        toy("Think"),
        inputs={"frames": cam["video"], "response": Edge("say.latents", delay=1, init="empty")},
        budget_ms=20,
    )
    say = g.add("say", toy("Answer"), process="far", inputs={"context": think["context"]}, ladder=[{"steps": 2}])
    g.add("play", toy("Playout"), inputs={"video": say["latents"], "audio": "cam.audio"})
    g.add("file", toy("Sink"), lane="io", inputs={"data": "play.shown"}, path="cost $x ${y} $$.bin")
    return g


def test_what_is_written_loads_to_the_same_plan(tmp_path):
    built = loop()
    (tmp_path / "loop.yaml").write_text(built.to_yaml())
    again = Graph.load("loop.yaml")
    assert replace(again.plan(seed=3), path=None) == built.plan(seed=3)
    assert again.to_yaml() == built.to_yaml()


def test_a_built_graph_says_what_a_file_would():
    plan = loop().plan()
    assert plan.fps == Fraction(30) and plan.clock.unit_frames == 6 and plan.latency_ns == 300_000_000
    assert plan.nodes["cam"].params["width"] == 48
    assert plan.nodes["think"].inputs[1].delay == 1 and plan.nodes["think"].inputs[1].init == "empty"
    assert plan.processes["far"].threads == 2 and plan.nodes["say"].ladder == ({"steps": 2},)
    assert plan.nodes["file"].params["path"].endswith("/cost $x ${y} $$.bin")


def test_input_files_are_written_by_absolute_path(tmp_path):
    (tmp_path / "clip.txt").write_text("")
    g = Graph("g")
    g.add("cam", toy("Camera"), path="clip.txt")
    assert str(tmp_path / "clip.txt") in g.to_yaml()


def test_a_loaded_graph_can_be_set_and_grown(tmp_path):
    (tmp_path / "loop.yaml").write_text(loop().to_yaml())
    g = Graph.load("loop.yaml", settings={"cam.params.width": 64})
    g.add("extra", toy("Sink"), inputs={"data": "cam.video"})
    assert g.plan().streams["cam.video"].tensors[0].shape == (6, 24, 64, 3)


def test_a_shipped_class_is_written_by_its_name():
    g = Graph("g")
    g.add("pattern", find_type("capture.pattern", Path())[1], seconds=2.0)
    assert g.spec.nodes["pattern"].type == "capture.pattern"


def test_parameters_called_like_arguments_are_given_as_a_mapping():
    g = Graph("g")
    g.add("cam", toy("Camera"), params={"width": 8})
    assert g.plan().nodes["cam"].params["width"] == 8


def test_a_mistake_names_the_line_of_the_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"from wangraph import Graph\ng = Graph('g')\ng.add('cam', '{TOYS}:Camera', height=3)\ng.plan()\n"
    )
    spec = importlib.util.spec_from_file_location("script", script)
    with pytest.raises(GraphError) as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert str(caught.value) == "script.py:3: node 'cam': no parameter 'height' (it has: path, width)"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g: g.add("cam", "x"), "node 'cam': found twice (there are: cam), rename one"),
        (lambda g: g.add("1", "x"), "found the name '1' (expected letters, digits, - and _, a letter first)"),
        (lambda g: g.add("b", "x", budget_ms=-1), "node 'b': budget_ms: found -1 (expected a number from 0 to 600000)"),
        (
            lambda g: g.add("b", "x", inputs={"p": Edge("cam.video", delay=1)}),
            "node 'b': input 'p': found delay 1 without init (expected empty, zeros or a file), add init: empty",
        ),
        (lambda g: g.process("p", threads=0), "process 'p': threads: found 0 (expected a whole number from 1 to 1024)"),
    ],
)
def test_a_mistake_is_told_where_it_is_made(build, message):
    g = Graph("g")
    g.add("cam", toy("Camera"))
    with pytest.raises(GraphError) as caught:
        build(g)
    where, _, text = str(caught.value).partition(": ")
    assert where.startswith("test_graph_builder.py:") and text == message


@pytest.mark.parametrize("values", [{"fps": 0}, {"unit_frames": 0}, {"latency_ms": 0}])
def test_a_clock_out_of_range_is_refused(values):
    with pytest.raises(GraphError, match=r"^test_graph_builder.py:\d+: "):
        Graph("g", **values)


def test_a_class_inside_a_function_runs_in_this_process_only():
    class Inner(Node):
        """Seen by this process alone."""

    g = Graph("g")
    g.process("far")
    g.add("here", Inner)
    g.add("there", toy("Camera"), process="far")
    assert g.plan().nodes["here"].target.endswith("Inner")
    message = (
        r"^node 'here': found the class test_a_class.*Inner, which only this process can see \(expected one at the top "
        r"level of a .py file\), move it into a file, or run with serial=True$"
    )
    with pytest.raises(UserError, match=message):
        start(g)


def test_a_class_inside_a_function_can_be_planned_but_not_written():
    class Inner(Node):
        """Seen by this process alone."""

    g = Graph("g")
    g.add("inner", Inner)
    assert g.plan().nodes["inner"].target.endswith("Inner")
    with pytest.raises(GraphError, match=r"move it to the top level of a .py file$"):
        g.to_yaml()
