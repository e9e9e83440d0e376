"""Graphs inside graphs: what is exported, what stays behind, and shipped agents with a user of one's own."""

from pathlib import Path

import pytest
from gpu_toys import WITHOUT_GPU

from wangraph import Edge, Graph, run
from wangraph.runtime.errors import GraphError
from wangraph.runtime.plan.catalogue import shipped_graphs
from wangraph.runtime.plan.check import check, load

TOYS = Path(__file__).parent / "graph_toys.py"
CLIP = Path(__file__).parent.parent / "graphs" / "clips" / "user.mp4"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def _write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text.replace("TOYS", str(TOYS)))
        return path

    return _write


def complaint(path: Path) -> list[str]:
    with pytest.raises(GraphError) as caught:
        check(load(path))
    return str(caught.value).splitlines()


INNER = """\
params: {r: 1}
nodes:
  one: {type: "TOYS:Blur", params: {radius_px: $r}}
  two: {type: "TOYS:Blur", inputs: {frames: one.blurred}}
exports:
  inputs: {frames: one.frames}
  outputs: {blurred: two.blurred}
"""


def test_a_sub_graph_is_spliced_in_under_its_node(write):
    write("inner.yaml", INNER)
    middle = (
        "nodes: {deep: {graph: inner.yaml, params: {r: 9}}}\n"
        "exports: {inputs: {frames: deep.frames}, outputs: {out: deep.blurred}}\n"
    )
    write("middle.yaml", middle)
    path = write(
        "g.yaml",
        'nodes:\n  cam: {type: "TOYS:Camera"}\n'
        "  soft: {type: graph, graph: middle.yaml, lane: loop, inputs: {frames: cam.video}}\n"
        '  sink: {type: "TOYS:Sink", inputs: {data: soft.out}}\n',
    )
    plan = check(load(path, {"soft/deep/two.budget_ms": "3"})).plan
    assert list(plan.nodes) == ["cam", "soft/deep/one", "soft/deep/two", "sink"]
    assert plan.nodes["soft/deep/one"].inputs[0].stream == "cam.video"
    assert plan.nodes["soft/deep/one"].params["radius_px"] == 9
    assert plan.nodes["soft/deep/two"].cost_ns == 3_000_000
    assert plan.nodes["sink"].inputs[0].stream == "soft/deep/two.blurred"


def test_ports_that_a_sub_graph_does_not_export_are_told(write):
    write("inner.yaml", INNER)
    path = write(
        "g.yaml",
        'nodes:\n  cam: {type: "TOYS:Camera"}\n  soft: {graph: inner.yaml, inputs: {frame: cam.video}}\n'
        '  sink: {type: "TOYS:Sink", inputs: {data: soft.blured}}\n',
    )
    with pytest.raises(GraphError) as caught:
        load(path)
    assert str(caught.value).splitlines() == [
        "g.yaml:3:38: node 'soft': no input 'frame' exported (it has: frames); did you mean 'frames'?",
        f"g.yaml:4:{len(str(TOYS)) + 40}: no output 'blured' exported by 'soft' (it has: blurred); "
        "did you mean 'blurred'?",
    ]


def test_a_mistake_in_a_sub_graphs_file_is_told_there(write):
    write("inner.yaml", INNER.replace("exports:", "note: x\nexports:").replace("outputs:", "output:"))
    path = write(
        "g.yaml", 'nodes:\n  cam: {type: "TOYS:Camera"}\n  soft: {graph: inner.yaml, inputs: {frames: cam.video}}\n'
    )
    with pytest.raises(GraphError) as caught:
        load(path)
    assert str(caught.value).splitlines() == [
        "inner.yaml:5:1: graph: unknown key 'note' (expected: clock, exports, extends, latency_ms, name, nodes, params, "
        "processes, version); did you mean 'nodes'?",
        "inner.yaml:8:3: exports: unknown key 'output' (expected: inputs, outputs, standalone); "
        "did you mean 'outputs'?",
    ]


def test_a_graph_inside_itself_is_refused(write):
    path = write("g.yaml", "nodes: {me: {graph: g.yaml}}\n")
    with pytest.raises(GraphError, match=r"^g.yaml: found a graph that contains itself"):
        load(path)


# Standalone nodes

AGENT = """\
clock: {fps: 25}
processes: {main: {lanes: [loop, codecs]}, far: {threads: 2}}
nodes:
  user: {type: "TOYS:Camera"}
  see:  {type: "TOYS:Blur", lane: codecs, inputs: {frames: user.video}}
  then: {type: "TOYS:Blur", process: far, inputs: {frames: {from: user.video, delay: 2, init: zeros}}}
  mind: {type: "TOYS:Think", inputs: {frames: see.blurred}}
  file: {type: "TOYS:Sink", inputs: {data: see.blurred}}
exports:
  inputs: {video: user.video, response: mind.response}
  outputs: {seen: see.blurred, before: then.blurred, text: mind.text}
  standalone: [user, file]
"""


def edges(plan):
    return {
        f"{node.name}.{edge.port}": (edge.stream, edge.delay) for node in plan.nodes.values() for edge in node.inputs
    }


def test_what_is_given_takes_the_place_of_a_standalone_source(write):
    write("agent.yaml", AGENT)
    path = write(
        "g.yaml", 'nodes:\n  cam: {type: "TOYS:Camera"}\n  agent: {graph: agent.yaml, inputs: {video: cam.video}}\n'
    )
    plan = check(load(path)).plan
    assert edges(plan) == {
        "agent/see.frames": ("cam.video", 0),
        "agent/then.frames": ("cam.video", 2),
        "agent/mind.frames": ("agent/see.blurred", 0),
    }
    alone = check(load("agent.yaml"))
    assert {"user", "file"} < alone.plan.nodes.keys() and alone.exports.standalone == ("user", "file")


def test_an_edge_keeps_its_delay_inside_and_adds_the_one_outside(write):
    write("agent.yaml", AGENT)
    given = "{from: cam.video, delay: 1, init: empty, late: hold}"
    path = write(
        "g.yaml",
        f'nodes:\n  cam: {{type: "TOYS:Camera"}}\n  agent: {{graph: agent.yaml, inputs: {{video: {given}}}}}\n',
    )
    plan = check(load(path)).plan
    assert edges(plan)["agent/see.frames"] == ("cam.video", 1)
    edge = plan.nodes["agent/then"].inputs[0]
    assert (edge.delay, edge.init, edge.late) == (3, "empty", "hold")


def test_an_input_left_open_is_told_as_the_sub_graphs(write):
    write("agent.yaml", AGENT)
    path = write("g.yaml", "nodes:\n  agent: {graph: agent.yaml}\n")
    assert complaint(path) == [
        "g.yaml:2:3: node 'agent': input 'video' is not connected (expected inputs: {video: NODE.PORT}: "
        f"'{name}' needs it), connect it"
        for name in ("agent/see", "agent/then")
    ]


def test_an_input_is_handed_on_through_every_graph_around(write):
    write("agent.yaml", AGENT)
    write(
        "room.yaml",
        "nodes: {deep: {graph: agent.yaml}}\n"
        "exports: {inputs: {video: deep.video, answer: deep.response}, outputs: {out: deep.before}}\n",
    )
    path = write(
        "g.yaml",
        'nodes:\n  cam: {type: "TOYS:Camera"}\n  room: {graph: room.yaml, inputs: {video: cam.video}}\n'
        '  sink: {type: "TOYS:Sink", inputs: {data: room.out}}\n'
        "exports: {inputs: {answer: room.answer}, outputs: {out: room.out}}\n",
    )
    checked = check(load(path))
    assert edges(checked.plan) == {
        "room/deep/see.frames": ("cam.video", 0),
        "room/deep/then.frames": ("cam.video", 2),
        "room/deep/mind.frames": ("room/deep/see.blurred", 0),
        "sink.data": ("room/deep/then.blurred", 0),
    }
    assert checked.exports.inputs["answer"].ports == ("room/deep/mind.response",)
    assert checked.exports.outputs["out"].ports == ("room/deep/then.blurred",)


def test_a_sub_graph_may_be_a_standalone_source_itself(write):
    write("cam.yaml", 'nodes: {lens: {type: "TOYS:Camera"}}\nexports: {outputs: {picture: lens.video}}\n')
    write(
        "agent.yaml",
        'nodes:\n  user: {graph: cam.yaml}\n  see: {type: "TOYS:Blur", inputs: {frames: user.picture}}\n'
        "exports: {inputs: {video: user.picture}, outputs: {seen: see.blurred}, standalone: [user]}\n",
    )
    path = write(
        "g.yaml", 'nodes:\n  cam: {type: "TOYS:Camera"}\n  agent: {graph: agent.yaml, inputs: {video: cam.video}}\n'
    )
    assert list(check(load(path)).plan.nodes) == ["cam", "agent/see"]
    assert check(load("agent.yaml")).exports.standalone == ("user/lens",)


def test_what_still_reads_a_standalone_node_is_told(write):
    write("agent.yaml", AGENT.replace("video: user.video, response", "response"))
    path = write("g.yaml", "nodes:\n  agent: {graph: agent.yaml}\n")
    assert complaint(path)[0].endswith(
        "node 'see': input 'frames': found user.video of a standalone node (expected a port that is there inside "
        "another graph, too), export it: inputs: {NAME: user.video}"
    )


def test_a_wrong_end_is_told_with_what_there_is(write):
    exports = "inputs: {a: usr.video, b: user.vide, c: mind.fraems, d: [mind.frames, mind.response, sound.audio]}"
    text = AGENT[: AGENT.index("exports:")] + f"  sound: {{type: 'TOYS:Camera'}}\nexports:\n  {exports}\n"
    path = write("agent.yaml", f"{text}  outputs: {{e: user.video, f: mind.word}}\n  standalone: [user, sound]\n")
    assert [line.partition(": ")[2] for line in complaint(path)] == [
        "exports: input 'a': no node 'usr' (available: file, mind, see, sound, then, user); did you mean 'user'?",
        "exports: input 'b': no output 'vide' on 'user' (it has: audio, video); did you mean 'video'?",
        "exports: input 'c': no input 'fraems' on 'mind' (it has: frames, response); did you mean 'frames'?",
        "exports: input 'd': found ports of different kinds: audio, latent, video (expected one kind), export them apart",
        "exports: output 'e': found user.video of a standalone node (expected one that is there in other graphs, too), "
        "export another port",
        "exports: output 'f': no output 'word' on 'mind' (it has: context, text)",
    ]
    outer = write("g.yaml", "nodes:\n  agent: {graph: agent.yaml}\n")
    assert "exports: no node 'usr' (those that are not standalone: file, mind, see, then)" in "\n".join(
        complaint(outer)
    )


def test_a_graph_laid_over_another_may_leave_standalone_nodes_out(write):
    write("agent.yaml", AGENT)
    exports = check(load(write("g.yaml", "extends: agent.yaml\nnodes: {file: null}\n"))).exports
    assert exports.standalone == ("user",) and exports.inputs["video"].ports == ("user.video",)


# Clock and processes


@pytest.mark.parametrize(
    ("outer", "inner"),
    [("", ""), ("", "{fps: 25, unit_frames: 4}"), ("{fps: 25.0}", "{unit_frames: 4}"), ("{fps: 50}", "{fps: '50'}"),
     ("{fps: 50}", ""), ("{fps: 50}", "{fps: $rate}")],
)  # fmt: skip
def test_a_sub_graph_with_an_equal_clock_is_accepted(write, outer, inner):
    write("inner.yaml", f"params: {{rate: 50}}\nclock: {inner}\nnodes: {{cam: {{type: 'TOYS:Camera'}}}}\n")
    write("room.yaml", "nodes: {deep: {graph: inner.yaml}}\n")
    path = write("g.yaml", f"clock: {outer}\nnodes: {{room: {{graph: room.yaml}}}}\n")
    assert check(load(path)).plan.fps == (50 if "50" in outer else 25)


def test_a_sub_graph_with_another_clock_is_refused(write):
    write("inner.yaml", "clock: {fps: 12.5}\nnodes: {cam: {type: 'TOYS:Camera'}}\n")
    write("room.yaml", "nodes: {deep: {graph: inner.yaml}}\n")
    path = write("g.yaml", "nodes: {room: {graph: room.yaml}}\n")
    assert complaint(path) == [
        "g.yaml:1:23: node 'room': found the clock 4 frames at 12.5 fps in room.yaml (expected 4 frames at 25 fps, "
        "as here), give both graphs the same clock"
    ]


def test_a_process_of_both_graphs_has_the_lanes_of_both(write):
    write("agent.yaml", AGENT)
    node = "agent: {graph: agent.yaml, inputs: {video: cam.video}"
    text = f'nodes:\n  cam: {{type: "TOYS:Camera"}}\n  {node}}}\n'
    plan = check(load(write("g.yaml", f"processes: {{main: {{lanes: [loop, io], threads: 3}}}}\n{text}"))).plan
    assert (plan.processes["main"].lanes, plan.processes["main"].threads) == (("loop", "io", "codecs"), 3)
    assert plan.processes["far"].threads == 2
    here = text.replace("{video: cam.video}", "{video: cam.video}, process: own")
    plan = check(load(write("g.yaml", f"processes: {{own: {{}}}}\n{here}"))).plan
    assert {n.process: n.lane for n in plan.nodes.values()} == {"main": "loop", "own": "loop"}
    assert plan.nodes["agent/see"].lane == "codecs" and plan.processes["own"].lanes == ("loop", "codecs")


def test_a_key_that_is_the_sub_graphs_own_affair_is_refused(write):
    write("inner.yaml", INNER)
    path = write("g.yaml", "nodes:\n  soft: {graph: inner.yaml, budget_ms: 4}\n")
    assert complaint(path)[0] == (
        "g.yaml:2:29: node 'soft': found 'budget_ms' (a sub-graph takes: device, graph, inputs, lane, params, process, "
        "type), set it inside the sub-graph"
    )


# From Python


def test_a_graph_is_put_into_another_from_python(write):
    write("agent.yaml", AGENT)
    g = Graph("talk")
    cam = g.add("cam", f"{TOYS}:Camera")
    agent = g.add("agent", graph="agent.yaml", inputs={"video": Edge(cam["video"], delay=1, init="empty")}, lane="loop")
    g.add("file", f"{TOYS}:Sink", inputs={"data": agent["before"]})
    plan = g.plan()
    assert edges(plan)["agent/then.frames"] == ("cam.video", 3)
    assert edges(plan)["file.data"] == ("agent/then.blurred", 0)
    Path("talk.yaml").write_text(g.to_yaml())
    assert Graph.load("talk.yaml").plan().nodes == plan.nodes


def test_a_wrong_output_of_a_graph_put_in_from_python_is_told(write):
    write("agent.yaml", AGENT)
    g = Graph("talk")
    agent = g.add("agent", graph="agent.yaml", inputs={"video": "cam.video"})
    with pytest.raises(GraphError) as caught:
        g.add("file", f"{TOYS}:Sink", inputs={"data": agent["sen"]})
    assert str(caught.value).endswith(
        ": no output 'sen' exported by 'agent' (it has: before, seen, text); did you mean 'seen'?"
    )


# Shipped graphs

KINDS = {"video": "video", "audio": "audio", "text": "text", "event": "tokens", "played": "tokens"}


@pytest.mark.parametrize("name", sorted(shipped_graphs()))
def test_every_shipped_graph_exports_its_live_ends_by_the_names_of_their_kinds(name):
    exports = check(load(name, dict(setting.split("=") for setting in WITHOUT_GPU.get(name, [])))).exports
    assert {"video", "audio"} <= exports.outputs.keys() and exports.standalone
    for ports in (exports.inputs, exports.outputs):
        assert {port: KINDS[port] for port in ports} == {port: found.kind for port, found in ports.items()}


@pytest.mark.slow
def test_the_shipped_agent_runs_with_a_source_and_a_sink_of_ones_own(write):
    write(
        "mine.yaml",
        "latency_ms: 240\n"
        "nodes:\n"
        f"  me: {{type: capture.file, params: {{path: {CLIP}, seconds: 0.64, width: 32, height: 32}}}}\n"
        "  agent: {graph: duplex, params: {checkpoint: nano}, inputs: {video: me.video, audio: me.audio}}\n"
        "  out: {type: sink.null, inputs: {value: agent.video}}\n",
    )
    result = run("mine.yaml", clock="virtual", serial=True, taps=["agent/sync.video"])
    shown = [packet.array.shape for packet in result.packets["agent/sync.video"] if packet.is_payload]
    assert shown == [(4, 32, 32, 3)] * 4 and result.summary["misses"] == 0
