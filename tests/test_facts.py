"""What a node's class tells in advance, as ``wangraph check`` shows it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from wangraph.nodes.performer import PerformerNode
from wangraph.nodes.reference import ReferenceNode
from wangraph.nodes.thinker import ThinkerNode
from wangraph.runtime.errors import GraphError
from wangraph.runtime.node import Node
from wangraph.tools.cli import cli
from wangraph.wan_core.config import CacheConfig, preset
from wangraph.wan_core.cost.model_cost import ModelCost
from wangraph.wan_core.exchange import UserUnit
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.thinker import Thinker

OWN = """
from wangraph import Node, Output

class Ticker(Node):
    '''Counts.'''
    count = Output("tokens", "1", "int64")

    @classmethod
    def facts(cls, params):
        {body}

    def step(self, unit):
        return {{}}
"""

GRAPH = """
name: own
version: 1
nodes:
  tick: {type: "own.py:Ticker"}
  end: {type: sink.null, inputs: {value: tick.count}}
"""


def check(*arguments):
    return CliRunner().invoke(cli, ["check", *map(str, arguments)], catch_exceptions=False)


def own_graph(folder, body):
    (folder / "own.py").write_text(OWN.format(body=body))
    (folder / "own.yaml").write_text(GRAPH)
    return folder / "own.yaml"


def test_nothing_is_told_of_a_node_that_tells_nothing():
    assert Node.facts({}) == {}


def test_check_prints_what_a_node_tells(tmp_path):
    graph = own_graph(tmp_path, "return {'table bytes': 12345, 'made by': 'hand'}")
    assert "tick: table bytes 12,345, made by hand" in check(graph).output.splitlines()
    assert json.loads(check(graph, "--json").stdout)["facts"] == {"tick": {"table bytes": 12345, "made by": "hand"}}


def test_a_mistake_in_a_nodes_facts_names_the_node(tmp_path):
    graph = own_graph(tmp_path, "return 1 / 0")
    told = r"^node 'tick': facts\(\) raised ZeroDivisionError: division by zero, at .*own.py:10 in facts$"
    with pytest.raises(GraphError, match=told):
        check(graph)


@pytest.mark.parametrize("name", ["nano", "tiny"])
def test_memory_grows_by_the_bytes_per_unit_that_were_told(name):
    p = preset(name)
    thinker = Thinker(DuplexModel(p))
    state = thinker.new_state()
    held = sum(tensor.nbytes for tensor in state.save().values())
    thinker.gap(state, 20)
    grown = sum(tensor.nbytes for tensor in state.save().values()) - held
    told = {
        kind.facts({"checkpoint": name})["cache bytes per unit"] for kind in (ThinkerNode, PerformerNode, ReferenceNode)
    }
    assert told == {grown // 20}


@pytest.mark.parametrize("text_decode", ["local", "token"])
def test_masks_take_at_the_cap_what_was_told(text_decode):
    backbone = replace(preset("nano").backbone, alibi_slopes=(), position="token")
    p = replace(
        preset("nano"), cache=CacheConfig(cap_units=4, chunk_units=3), text_decode=text_decode, backbone=backbone
    )
    thinker = Thinker(DuplexModel(p).eval().requires_grad_(False))
    state = thinker.new_state()
    for _ in range(7):
        thinker.step(state, UserUnit())
    spans = (thinker._yu, thinker._s) if text_decode == "local" else (thinker._yu, thinker._event, thinker._after_event)
    masks = [span.mask._buffer.nbytes for span in spans if span.mask is not None]
    assert sum(masks) == ModelCost(p).mask_bytes(4) and len(masks) == 2


def test_what_becomes_of_a_full_cache_is_told():
    window = CacheConfig(policy="window", window_units=375, sink_units=4)
    assert ModelCost(replace(preset("tiny"), cache=window)).at_cap == (
        "keeps the first 4 units and the last 374, forgets those between"
    )
    sinkless = CacheConfig(policy="window", window_units=9, sink_units=0)
    assert ModelCost(replace(preset("tiny"), cache=sinkless)).at_cap == "forgets the oldest unit with every new one"


def test_an_unknown_checkpoint_tells_nothing():
    assert ThinkerNode.facts({"checkpoint": "tinny"}) == {}


def test_the_duplex_graph_tells_of_both_caches():
    facts = json.loads(check("duplex", "--json").output)["facts"]
    tiny = preset("tiny")
    both = {
        "weights bytes": 4 * ModelCost(tiny).model_parameters,
        "cache bytes per unit": tiny.cache_bytes_per_unit,
        "minutes to the cache's cap": 0.13,
        "cache bytes at the cap": 47 * tiny.cache_bytes_per_unit,
        "at the cap": "forgets the oldest unit with every new one",
    }
    assert facts == {"think": {**both, "mask bytes at the cap": ModelCost(tiny).mask_bytes(4)}, "perform": both}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_half_the_precision_takes_half_the_memory(dtype):
    full, told = (ThinkerNode.facts({"checkpoint": "nano", "dtype": x}) for x in ("float32", dtype))
    half = 2 if dtype == "bfloat16" else 1
    assert {name: told[name] * half for name in told if "bytes" in name} == {
        n: x for n, x in full.items() if "bytes" in n
    }
