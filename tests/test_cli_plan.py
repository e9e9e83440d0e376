import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from gpu_toys import WITHOUT_GPU

from wangraph.runtime.errors import UserError
from wangraph.runtime.plan.catalogue import shipped_graphs
from wangraph.tools.cli import cli

TOYS = Path(__file__).parent / "graph_toys.py"

GRAPH = """\
name: toy
latency_ms: 240
processes: {main: {lanes: [loop, io]}, far: {}}
nodes:
  cam:   {type: "toys.py:Camera", lane: io}
  think:
    type: toys.py:Think
    inputs: {frames: cam.video, response: {from: say.latents, delay: 1, init: empty}}
    budget_ms: 40
  say:   {type: "toys.py:Answer", process: far, inputs: {context: think.context}, budget_ms: 40}
  play:  {type: "toys.py:Playout", inputs: {video: say.latents}}
"""


def call(*words: str) -> str:
    """What goes to standard output; its error is raised."""
    result = CliRunner().invoke(cli, list(words), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toys.py").write_text(TOYS.read_text())
    (tmp_path / "g.yaml").write_text(GRAPH)
    return tmp_path


def test_check_prints_nodes_edges_loops_and_lanes():
    text = call("check", "g.yaml")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "toy: 25 fps, units of 160 ms, latency 240 ms" in lines
    assert "say toys.py:Answer far/loop 40 239 158 on a loop" in lines
    assert "think.context -> say.context context shared 416" in lines
    assert "say.latents -> think.response (delay 1) latent shared 128" in lines
    assert "loop think -> say -> think: 82 of 160 ms (51%)" in lines
    assert "lanes busy: main/io 0%, main/loop 25%, far/loop 25%" in lines
    assert lines[-1].startswith("ok: 4 nodes, 4 edges, 2 process(es)")


def test_check_warns_of_a_playout_that_shares_its_lane():
    warning = (
        "node 'play': found think (40 ms) in its lane main/loop (expected a lane of its own: what runs "
        "there when it is due makes it late), write lane: play and processes: {main: {lanes: [loop, io, play]}}"
    )
    assert f"warning: {warning}" in call("check", "g.yaml").splitlines()
    assert json.loads(call("check", "g.yaml", "--json"))["warnings"] == [warning]


@pytest.mark.parametrize("name", sorted(shipped_graphs()))
def test_nothing_is_warned_of_in_a_shipped_graph(name):
    sets = [word for key in WITHOUT_GPU.get(name, []) for word in ("--set", key)]
    assert json.loads(call("check", name, "--json", *sets))["warnings"] == []


def test_check_tells_machines_the_same():
    report = json.loads(call("check", "g.yaml", "--set", "latency_ms=200", "--json"))
    assert (report["latency_ms"], report["unit_ms"], report["fps"]) == (200, 160, 25)
    assert report["nodes"]["say"]["due_ms"] == 199 and report["nodes"]["say"]["slack_ms"] == 118
    assert {"from": "think.context", "to": "say.context", "carrier": "shared", "bytes": 416}.items() <= next(
        edge.items() for edge in report["edges"] if edge["to"] == "say.context"
    )
    assert report["loops"] == [{"nodes": ["think", "say"], "ms": 82, "of_ms": 160, "ratio": 0.512}]


def test_check_ends_with_2_and_the_place_of_each_mistake(folder):
    (folder / "g.yaml").write_text(GRAPH.replace("lane: io", "lane: i").replace("say.latents}", "say.latnts}"))
    command = [sys.executable, "-m", "wangraph", "check", "g.yaml"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.splitlines() == [
        "check: runs code that the graph names: toys.py:Camera, toys.py:Think, toys.py:Answer, toys.py:Playout "
        "(--no-code refuses to)",
        "error: g.yaml:5:41: node 'cam': no lane 'i' in process 'main' (it has: io, loop), "
        "write processes: {main: {lanes: [loop, io, i]}}; did you mean 'io'?",
        "g.yaml:11:52: node 'play': input 'video': no output 'latnts' on 'say' (it has: latents); "
        "did you mean 'latents'?",
    ]


def test_show_draws_feedback_and_logs_apart():
    assert "├─ response <- say.latents (k-1)" not in call("show", "g.yaml")
    assert "   └─ response <- say.latents (k-1)" in call("show", "g.yaml").replace("│", " ")
    mermaid = call("show", "g.yaml", "--format", "mermaid")
    assert 'n_say -.->|"latents (k-1)"| n_think' in mermaid and 'n_think ==>|"context"| n_say' in mermaid
    dot = call("show", "g.yaml", "--format", "dot")
    assert dot.startswith('digraph "toy" {') and '"say" -> "think" [label="latents (k-1)", style=dashed' in dot


def test_nodes_describes_a_type_with_ports_and_parameters():
    found = json.loads(call("nodes", "toys.py:Blur", "--json"))
    assert found["inputs"]["frames"]["tensors"] == {"": "[F H W 3] uint8"}
    assert found["params"]["radius_px"] | {"default": 2, "minimum": 0, "maximum": 64} == found["params"]["radius_px"]
    text = " ".join(call("nodes", "toys.py:Blur").split())
    assert "Any picture, blurred." in text and "radius_px integer 2 0 to 64 half the box" in text


def test_nodes_lists_the_catalogue():
    rows = {row["type"]: row for row in json.loads(call("nodes", "--json"))}
    assert set(rows["capture.pattern"]["outputs"]) >= {"video", "audio"}
    assert "capture.pattern" in call("nodes")


def test_schema_is_json_and_can_be_written(folder):
    call("schema", "-o", "schema.json")
    assert json.loads((folder / "schema.json").read_text()) == json.loads(call("schema"))


def test_a_new_graph_passes_the_check_as_it_is(folder):
    assert call("new", "graph", "mine").strip() == "wrote mine.yaml; use it with: wangraph run mine.yaml"
    told = call("check", "mine.yaml")
    assert "ok: 3 nodes" in told and "warning" not in told


def test_a_new_node_works_as_it_is(folder):
    import numpy as np

    call("new", "node", "night_light")
    spec = importlib.util.spec_from_file_location("night_light", folder / "night_light.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = module.NightLight(gain=0.5).step(None, frames=np.full((4, 2, 2, 3), 200, np.uint8))
    assert (out["video"] == 100).all() and out["video"].dtype == np.uint8
    call("new", "graph", "mine")
    text = (folder / "mine.yaml").read_text().replace("video: pattern.video", "video: light.video")
    light = '  light: {type: "night_light.py:NightLight", inputs: {frames: pattern.video}}\n  sync:'
    (folder / "mine.yaml").write_text(text.replace("  sync:", light, 1))
    told = call("check", "mine.yaml")
    assert "ok: 4 nodes" in told and "warning" not in told


def test_a_new_stateful_node_works_as_it_is(folder):
    import numpy as np

    from wangraph import NodeRunner
    from wangraph.runtime.plan.catalogue import find_type

    text = call("new", "node", "night_glow", "--stateful").strip()
    assert text == "wrote night_glow.py; use it with: type: night_glow.py:NightGlow"
    node = find_type("night_glow.py:NightGlow", folder)[1]
    dark, bright = np.zeros((4, 2, 2, 3), np.uint8), np.full((4, 2, 2, 3), 200, np.uint8)
    with NodeRunner(node(keep=0.5)) as runner:
        assert (runner.step(frames=bright)["video"] == 200).all()
        assert runner.step(frames=dark)["video"][:, 0, 0, 0].tolist() == [100, 50, 25, 12]
        assert runner.step(frames=None)["video"] is None
        assert runner.step(frames=dark)["video"][:, 0, 0, 0].tolist() == [6, 3, 1, 0]
        runner.step(frames=bright)
        assert runner.absorb([{"frames": bright}] * 2) == [{}, {}]
        assert runner.gap(2) == [{}, {}]
        assert not runner.step(frames=dark)["video"].any()
    with pytest.raises(UserError) as caught:
        call("new", "graph", "mine", "--stateful")
    assert str(caught.value) == "--stateful: found it with 'graph' (expected 'node'), leave it out"


def test_new_overwrites_nothing(folder):
    (folder / "mine.yaml").write_text("precious")
    with pytest.raises(UserError) as caught:
        call("new", "graph", "mine")
    assert str(caught.value) == "mine.yaml: found a file (expected none), choose another name, or -o FILE"
    assert (folder / "mine.yaml").read_text() == "precious"


def test_a_name_that_is_no_name_is_refused():
    with pytest.raises(UserError) as caught:
        call("new", "node", "a/b")
    assert str(caught.value) == ("name: found 'a/b' (expected letters, digits and _, a letter first), choose another")


@pytest.mark.parametrize("name", ["hello", "mirror", "duplex", "duplex_solo"])
def test_checking_a_shipped_graph_imports_no_torch(name):
    code = (
        "import sys; from wangraph.tools.cli import cli;"
        f"cli.main(['check', {name!r}, '--json'], standalone_mode=False);"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
