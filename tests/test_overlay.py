from pathlib import Path

import pytest

from wangraph.runtime.errors import GraphError
from wangraph.runtime.plan.check import check, load

TOYS = Path(__file__).parent / "graph_toys.py"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def _write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("TOYS", str(TOYS)))
        return path

    return _write


BASE = """\
name: base
latency_ms: 100
params: {w: 8, mode: box}
processes: {main: {lanes: [loop, io]}, far: {}}
nodes:
  cam: {type: "TOYS:Camera", params: {width: $w}}
  blur: {type: "TOYS:Blur", process: far, params: {mode: $mode}, inputs: {frames: cam.video}}
  sink: {type: "TOYS:Sink", lane: io, inputs: {data: blur.blurred}}
"""


def test_an_overlay_replaces_only_what_it_names(write):
    write("base.yaml", BASE)
    spec = load(write("over.yaml", "extends: base.yaml\nname: over\nnodes: {blur: {process: main, lane: io}}\n"))
    assert (spec.name, spec.latency_ms, list(spec.nodes)) == ("over", 100, ["cam", "blur", "sink"])
    blur = spec.nodes["blur"]
    assert (blur.process, blur.lane, blur.params["mode"].value) == ("main", "io", "box")
    assert str(blur.at("process")) == "over.yaml:3:25" and str(blur.at("type")) == "base.yaml:7:16"


def test_null_in_an_overlay_removes_a_key(write):
    write("base.yaml", BASE)
    spec = load(write("over.yaml", "extends: base.yaml\nnodes: {sink: null, blur: {params: null}}\n"))
    assert list(spec.nodes) == ["cam", "blur"] and not spec.nodes["blur"].params


def test_overlays_in_a_circle_are_refused(write):
    write("a.yaml", "extends: b.yaml\n")
    path = write("b.yaml", "extends: a.yaml\n")
    with pytest.raises(GraphError, match=r"found a circle: b\.yaml -> a\.yaml -> b\.yaml"):
        load(path)


def test_extending_a_missing_graph_names_the_line(write):
    with pytest.raises(GraphError, match=r"^o.yaml:1:10: none.yaml: no such graph \(expected a file, or one of: "):
        load(write("o.yaml", "extends: none.yaml\n"))


def test_a_parameter_keeps_its_type_and_a_string_takes_it_as_text(write):
    path = write("g.yaml", "params: {n: 3, s: x}\nnodes: {a: {type: t, params: {p: $n, q: 'a/${s}${n}', r: $$n}}}\n")
    params = load(path).nodes["a"].params
    assert [params[key].value for key in "pqr"] == [3, "a/x3", "$n"]
    assert str(params["p"].mark) == "g.yaml:1:13"


def test_an_unknown_parameter_is_told_with_those_there_are(write):
    path = write("g.yaml", "params: {source: x}\nnodes: {a: {type: t, params: {p: $sorce}}}\n")
    with pytest.raises(GraphError) as caught:
        load(path)
    assert str(caught.value) == (
        "g.yaml:2:34: found '$sorce' (the graph's parameters: source), declare 'sorce' under params; "
        "did you mean 'source'?"
    )


def test_the_environment_stands_behind_parameters(write, monkeypatch):
    nodes = "{a: {type: t, params: {p: '${A:5}', q: '${B_SET:5}', r: '${C_UNSET:5}'}}}"
    path = write("g.yaml", f"params: {{A: 1}}\nnodes: {nodes}\n")
    monkeypatch.setenv("B_SET", "7")
    monkeypatch.delenv("C_UNSET", raising=False)
    assert [value.value for value in load(path).nodes["a"].params.values()] == [1, 7, 5]


def test_an_unset_variable_without_default_is_a_mistake(write, monkeypatch):
    monkeypatch.delenv("C_UNSET", raising=False)
    with pytest.raises(GraphError) as caught:
        load(write("g.yaml", "nodes: {a: {type: t, params: {p: '${C_UNSET}'}}}\n"))
    assert str(caught.value) == (
        "g.yaml:1:34: found '${C_UNSET}' (expected the environment variable C_UNSET to be set), set it, "
        "or give a default: ${C_UNSET:default}"
    )


def test_set_reaches_parameters_and_keys_by_path(write):
    sets = {"w": "8", "params.mode": "round",
            "blur.budget_ms": "2.5", "nodes.blur.params.radius_px": 3, "clock.fps": "30", "latency_ms": "50",
            "processes.far.threads": "2", "cam.width": "16"}  # fmt: skip
    spec = load(write("base.yaml", BASE), sets)
    blur = spec.nodes["blur"]
    assert blur.params["mode"].value == "round"
    assert (spec.nodes["cam"].params["width"].value, blur.budget_ms, blur.params["radius_px"].value) == (16, 2.5, 3)
    assert (spec.clock.fps, spec.latency_ms, spec.processes["far"].threads) == (30, 50, 2)


def test_setting_what_is_not_there_lists_what_is(write):
    with pytest.raises(GraphError) as caught:
        load(write("base.yaml", BASE), {"blr.budget_ms": "2"})
    assert str(caught.value) == (
        "--set blr.budget_ms=2: found 'blr.budget_ms' (available parameters: mode, w; nodes: blur, cam, sink, "
        "as NODE.KEY or NODE.PARAMETER; the graph's own keys: clock, exports, latency_ms, name, nodes, processes, "
        "version); did you mean 'blur'?"
    )


def test_a_key_set_wrongly_is_told_as_the_option(write):
    with pytest.raises(GraphError, match=r"^--set blur.budgt_ms=2: node 'blur': unknown key 'budgt_ms' \(expected: "):
        load(write("base.yaml", BASE), {"blur.budgt_ms": "2"})


def test_input_files_are_sought_beside_the_graph_and_then_here(write, tmp_path):
    path = write("sub/g.yaml", 'params: {f: a.txt}\nnodes: {cam: {type: "TOYS:Camera", params: {path: $f}}}\n')
    here, beside = write("a.txt", ""), write("sub/a.txt", "")
    assert check(load(path)).plan.nodes["cam"].params["path"] == str(beside)
    assert check(load(path, {"f": "a.txt"})).plan.nodes["cam"].params["path"] == str(here)
    beside.unlink()
    assert check(load(path)).plan.nodes["cam"].params["path"] == str(here)


def test_a_file_that_an_overlay_inherits_lies_beside_the_graph_that_names_it(write):
    write("sub/base.yaml", 'nodes: {cam: {type: "TOYS:Camera", params: {path: a.txt}}}\n')
    clip = write("sub/a.txt", "")
    path = write("over.yaml", "extends: sub/base.yaml\nlatency_ms: 50\n")
    assert check(load(path)).plan.nodes["cam"].params["path"] == str(clip)
