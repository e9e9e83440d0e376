"""Secrets: what is declared one, or comes from the environment, reaches the node and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call

from wangraph import Param
from wangraph.runtime.errors import GraphError
from wangraph.runtime.plan.check import load, make_plan

NODE = """
from wangraph import Input, Node, Param

class Uploads(Node):
    tick = Input()
    key: str = Param("", secret=True)
    address: str = Param("")
    size: int = Param(1)

    def open(self, ctx):
        assert (self.key, self.address) == ("hunter2-key", "https://host/hunter2-token"), "the node has them"

    def step(self, unit, tick):
        return None
"""
GRAPH = """
name: g
params: {token: "${TOKEN}"}
nodes:
  clock: {type: capture.clock}
  out:
    type: uploads.py:Uploads
    params: {key: hunter2-key, address: "https://host/${token}"SIZE}
    inputs: {tick: clock.tick}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", "hunter2-token")
    Path("uploads.py").write_text(NODE)
    Path("g.yaml").write_text(GRAPH.replace("SIZE", ""))


def test_secrets_reach_the_node_and_no_file_or_output():
    shown = call("check", "g.yaml") + call("check", "g.yaml", "--json") + call("show", "g.yaml")
    run = ["g.yaml", "--units", "3", "--clock", "virtual"]
    shown += call("run", *run, "--trace", "run.trace", "--json", "out.json")
    call("record", *run, "-o", "run.mcap")
    call("timeline", "run.trace", "-o", "page.html")
    call("timeline", "run.trace", "--format", "perfetto", "-o", "p.json")
    shown += call("explain", "run.trace")
    assert "hunter2" not in shown
    for file in ("run.trace", "run.mcap", "out.json", "page.html", "p.json"):
        assert b"hunter2" not in Path(file).read_bytes(), file
    assert Path("run.trace").read_text().count("(secret)") == 2
    assert make_plan(load("g.yaml")).nodes["out"].params["key"] == "hunter2-key", "a process of the run gets it"


def test_a_secret_of_a_wrong_type_is_not_repeated():
    Path("g.yaml").write_text(GRAPH.replace("SIZE", ', size: "${TOKEN}"'))
    with pytest.raises(GraphError) as caught:
        make_plan(load("g.yaml"))
    assert str(caught.value) == "g.yaml:8:72: node 'out': size: found (secret) (expected a whole number)"


def test_what_is_live_cannot_be_secret():
    with pytest.raises(GraphError) as caught:
        Param("", live=True, secret=True)
    assert str(caught.value) == (
        "parameter: found secret and live (expected one of them), what is set would be in the trace"
    )
