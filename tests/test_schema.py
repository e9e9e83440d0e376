import json
from pathlib import Path

import yaml

from wangraph.runtime.plan.catalogue import shipped_types
from wangraph.runtime.plan.schema import graph_schema
from wangraph.runtime.plan.spec import INPUT_KEYS, NODE_KEYS, PROCESS_KEYS, TOP_KEYS

TOYS = Path(__file__).parent / "graph_toys.py"
GRAPHS = Path(__file__).parent.parent / "graphs"


def toys():
    return graph_schema({"toy.camera": f"{TOYS}:Camera", "toy.blur": f"{TOYS}:Blur"})


def node_of(schema):
    return schema["properties"]["nodes"]["additionalProperties"]


def test_the_schema_knows_every_key_that_the_reader_knows():
    schema = toys()
    assert set(schema["properties"]) == {*TOP_KEYS, "extends", "params"}
    assert set(node_of(schema)["properties"]) == {*NODE_KEYS, "graph"}
    edge = node_of(schema)["properties"]["inputs"]["additionalProperties"]["anyOf"][1]
    assert set(edge["properties"]) == set(INPUT_KEYS)
    assert set(schema["properties"]["processes"]["additionalProperties"]["properties"]) == set(PROCESS_KEYS)


def test_a_type_brings_its_parameters_with_limits_defaults_and_meaning():
    rules = {rule["if"]["properties"]["type"]["const"]: rule["then"]["properties"] for rule in node_of(toys())["allOf"]}
    radius = rules["toy.blur"]["params"]["properties"]["radius_px"]
    assert (radius["default"], radius["description"]) == (2, "half the box")
    assert radius["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 64}
    assert rules["toy.blur"]["params"]["properties"]["mode"]["anyOf"][0] == {"type": "string", "enum": ["box", "round"]}
    assert set(rules["toy.blur"]["inputs"]["properties"]) == {"frames"}
    assert rules["toy.camera"]["params"]["additionalProperties"] is False


def test_types_are_offered_with_their_first_line():
    offered = node_of(toys())["properties"]["type"]["anyOf"]
    assert {"const": "toy.blur", "description": "Any picture, blurred."} in offered


def test_the_schema_beside_the_shipped_graphs_is_current():
    written = json.loads((GRAPHS / "graph.schema.json").read_text())
    assert written == json.loads(json.dumps(graph_schema(shipped_types()))), (
        "out of date: wangraph schema --shipped -o graphs/graph.schema.json"
    )


def test_every_shipped_graph_uses_only_what_the_schema_knows():
    schema = graph_schema(shipped_types())
    known = {option.get("const") for option in node_of(schema)["properties"]["type"]["anyOf"]}
    for path in GRAPHS.glob("*.yaml"):
        graph = yaml.safe_load(path.read_text())
        assert set(graph) <= set(schema["properties"]), path.name
        for node in graph["nodes"].values():
            kind = node.get("type", "graph")
            assert set(node) <= set(node_of(schema)["properties"]), path.name
            assert kind in known or ":" in kind, path.name
