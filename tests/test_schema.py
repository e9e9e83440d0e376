import json
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from json_schema import accepts

from wangraph.runtime.errors import GraphError
from wangraph.runtime.plan.catalogue import find_type, load_types, own_types
from wangraph.runtime.plan.check import load, make_plan
from wangraph.runtime.plan.keys import keys_of, written
from wangraph.runtime.plan.schema import SECTIONS, graph_schema
from wangraph.runtime.plan.spec import GraphSpec, NodeSpec

TOYS = Path(__file__).parent / "graph_toys.py"
GRAPHS = Path(__file__).parent.parent / "graphs"
SHIPPED = sorted(path.stem for path in GRAPHS.glob("*.yaml"))


def toys():
    return graph_schema({f"toy.{name.lower()}": find_type(f"{TOYS}:{name}", Path())[1] for name in ("Camera", "Blur")})


@pytest.fixture(scope="module")
def shipped():
    classes, broken = load_types(own_types())
    assert broken == {}
    return graph_schema(classes)


def rules(schema):
    """What the schema says of nodes by their type."""
    listed = schema["definitions"]["node"]["allOf"]
    return {rule["if"]["properties"]["type"]["const"]: rule["then"]["properties"] for rule in listed}


def allows(schema, document):
    return accepts(document, {key: part for key, part in schema.items() if key != "definitions"}, schema)


def test_the_schema_knows_every_declared_key_and_what_it_means():
    schema = toys()
    for section, found in [(GraphSpec, schema), *((s, schema["definitions"][s.noun]) for s in SECTIONS)]:
        mapping = found["anyOf"][1] if section.short else found
        assert list(mapping["properties"]) == list(keys_of(section))
        for name, key in keys_of(section).items():
            assert mapping["properties"][name]["description"].startswith(key.help), (section, name)


def test_a_type_brings_its_parameters_with_limits_defaults_and_meaning():
    radius = rules(toys())["toy.blur"]["params"]["anyOf"][0]["properties"]["radius_px"]
    assert (radius["default"], radius["description"]) == (2, "half the box")
    assert radius["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 64}
    mode = rules(toys())["toy.blur"]["params"]["anyOf"][0]["properties"]["mode"]
    assert mode["anyOf"][0] == {"type": "string", "enum": ["box", "round"]}
    assert rules(toys())["toy.camera"]["params"]["anyOf"][0]["additionalProperties"] is False


def test_a_type_brings_its_input_ports_with_their_meaning(shipped):
    ports = rules(shipped)["sync.playout"]["inputs"]["anyOf"][0]["properties"]
    assert list(ports) == ["video", "audio", "text"]
    assert ports["audio"]["description"] == "audio [N] float32: mono samples"
    assert "context" in rules(shipped)["backbone.performer"]["inputs"]["anyOf"][0]["properties"]


def test_a_port_that_a_type_does_not_have_is_wrong_unless_ports_depend_on_parameters():
    graph = {"nodes": {"b": {"type": "toy.blur", "inputs": {"frames": "c.video"}}}}
    assert allows(toys(), graph)
    graph["nodes"]["b"]["inputs"]["frame"] = "c.video"
    assert not allows(toys(), graph)
    graph["nodes"]["b"]["type"] = "toy.camera"
    assert allows(toys(), graph)


def test_types_are_offered_with_their_first_line():
    offered = toys()["definitions"]["node"]["properties"]["type"]["anyOf"]
    assert {"const": "toy.blur", "description": "Any picture, blurred."} in offered


def test_the_schema_beside_the_shipped_graphs_is_current(shipped):
    written = json.loads((GRAPHS / "graph.schema.json").read_text())
    assert written == json.loads(json.dumps(shipped)), (
        "out of date: wangraph schema --shipped -o graphs/graph.schema.json"
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_the_schema_allows_every_shipped_graph_and_what_is_written_of_it(shipped, name):
    assert allows(shipped, yaml.safe_load((GRAPHS / f"{name}.yaml").read_text()))
    assert allows(shipped, written(GraphSpec, load(name)))


EVERYTHING = yaml.safe_load("""
name: everything
version: 1
clock: {fps: 25, unit_frames: 4}
latency_ms: 240
params: {path: out.mp4}
processes:
  main: {lanes: [loop, play], threads: 1, cpus: "0", priority: 10, on_crash: restart, restarts: 3, restart_window_s: 30, restart_delay_s: 2, standby: true}
nodes:
  user: {type: capture.pattern, process: main, lane: loop, device: cpu, budget_ms: 1.5, stall_s: 5, ladder: [{beep: true}]}
  old:
    type: flow.delay
    params: {units: 2}
    inputs: {value: {from: user.video, delay: 1, init: zeros, memory: shared, late: hold, guard: fail}}
  sync: {type: sync.playout, lane: play, inputs: {video: old.value, audio: user.audio}}
  seen: {type: sink.null, inputs: {value: {from: sync.video, backlog: newest}}}
exports: {inputs: {video: [old.value]}, outputs: {video: sync.video}, standalone: [user]}
""")
"""A graph with every key that is read when parameters are known."""
BEFORE_PARAMS = [key.name for key in keys_of(GraphSpec).values() if not key.takes_param]


def values(tree, path=()):
    """The place of each value of a document that is read when parameters are known."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if not path and key in BEFORE_PARAMS:
            continue
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from values(value, (*path, key))


def changed(path, value):
    tree = deepcopy(EVERYTHING)
    owner = tree
    for key in path[:-1]:
        owner = owner[key]
    old, owner[path[-1]] = owner[path[-1]], value
    return tree, old


@pytest.fixture
def read(tmp_path):
    def _read(tree):
        (tmp_path / "g.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
        return load(tmp_path / "g.yaml")

    return _read


def test_the_graph_with_everything_has_every_key():
    used = {key for path in values(EVERYTHING) for key in path}
    declared = {name for section in (GraphSpec, *SECTIONS) for name in keys_of(section)}
    assert declared - used == {"extends", "graph"}


def test_a_parameter_may_stand_for_any_value_for_the_reader_and_for_the_schema(shipped, read):
    expected = written(GraphSpec, read(EVERYTHING))
    assert allows(shipped, EVERYTHING)
    for path in values(EVERYTHING):
        tree, old = changed(path, "$stand_in")
        tree["params"] = {**tree["params"], "stand_in": old}
        assert allows(shipped, tree) and written(GraphSpec, read(tree)) == expected, path


@pytest.mark.parametrize("value", [{"no such key": 1}, [{}], -1.5, True])
def test_what_the_schema_refuses_the_reader_refuses(shipped, read, value):
    refused = 0
    for path in values(EVERYTHING):
        tree, _ = changed(path, value)
        if not allows(shipped, tree):
            refused += 1
            try:
                make_plan(read(tree))
            except GraphError:
                continue
            raise AssertionError(path)
    assert refused > 20


def test_extends_and_params_are_needed_before_parameters_are_known(shipped):
    assert BEFORE_PARAMS == ["extends", "params"]
    assert not allows(shipped, {**EVERYTHING, "params": "$x"})


def test_a_key_that_holds_for_all_inside_a_sub_graph_is_declared_so():
    kept = {name: key.on_subgraph for name, key in keys_of(NodeSpec).items() if key.on_subgraph != "refused"}
    assert kept == {
        **dict.fromkeys(["type", "graph", "params", "inputs"], "own"),
        **dict.fromkeys(["process", "lane", "device"], "all"),
    }
