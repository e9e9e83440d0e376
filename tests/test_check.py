import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wangraph.runtime.errors import GraphError
from wangraph.runtime.plan.check import check, load, make_plan, output_shapes
from wangraph.runtime.plan.plan import from_plain, to_plain
from wangraph.runtime.units import MS

TOYS = Path(__file__).parent / "graph_toys.py"

LOOP = """\
name: loop
processes:
  main: {lanes: [loop, io]}
  far: {threads: 3}
nodes:
  cam:   {type: Camera, lane: io}
  blur:  {type: Blur, inputs: {frames: cam.video}, budget_ms: 10}
  think:
    type: Think
    inputs: {frames: blur.blurred, response: {from: say.latents, delay: 1, init: zeros}}
    budget_ms: 45
  say:   {type: Answer, process: far, inputs: {context: think.context}, budget_ms: 45, ladder: [{steps: 2}, {steps: 1}]}
  play:  {type: Playout, inputs: {video: say.latents, audio: cam.audio}}
  file:  {type: Sink, lane: io, inputs: {data: play.shown}}
latency_ms: 240
"""


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """``spec(text, sets)``: a graph of toy nodes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toys.py").write_text(TOYS.read_text())

    def _spec(text, sets=None):
        head, _, nodes = text.partition("nodes:")
        (tmp_path / "g.yaml").write_text(f"{head}nodes:{nodes.replace('type: ', 'type: toys.py:')}")
        return load("g.yaml", sets)

    return _spec


@pytest.fixture
def complaint(spec):
    def _complaint(nodes, sets=None):
        with pytest.raises(GraphError) as caught:
            make_plan(spec(nodes if "nodes:" in nodes else f"nodes:\n{nodes}", sets))
        return str(caught.value)

    return _complaint


def test_a_plan_says_where_when_and_how_everything_runs(spec):
    plan = make_plan(spec(LOOP), seed=7)
    assert list(plan.nodes) == ["cam", "blur", "think", "say", "play", "file"] and plan.seed == 7
    say, think = plan.nodes["say"], plan.nodes["think"]
    assert (say.process, say.lane, say.due_ns, say.latest_start_ns) == ("far", "loop", 239 * MS, 194 * MS)
    assert say.ladder == ({"steps": 2}, {"steps": 1}) and say.enforced and say.on_loop and not say.stateful
    assert think.stateful and think.on_loop and think.depth == 2 and plan.nodes["play"].paced
    assert plan.nodes["play"].latest_start_ns == plan.nodes["play"].due_ns == 240 * MS
    assert plan.nodes["file"].due_ns is None and not plan.nodes["file"].enforced and not plan.nodes["blur"].on_loop
    assert plan.processes["far"].threads == 3
    assert plan.processes["main"].threads == max(1, len(os.sched_getaffinity(0)) // 2)
    assert plan.nodes["file"].params == {"path": str(Path("out.bin").absolute())}


def test_streams_say_who_settles_them_how_long_and_by_which_carrier(spec):
    streams = make_plan(spec(LOOP)).streams
    context, latents, video = streams["think.context"], streams["say.latents"], streams["cam.video"]
    assert (context.is_log, context.settler, context.settle_ns, context.readers) == (True, "far", None, ("far",))
    assert (context.carrier, context.max_bytes, context.tensors[0].shape) == ("shared", 13 * 8 * 4, (13, 8))
    assert (latents.process, latents.settler, latents.settle_ns, latents.window) == ("far", "main", 240 * MS, 2 + 1 + 2)
    assert (video.carrier, video.readers, video.settle_ns) == ("reference", (), 138 * MS)
    assert streams["play.shown"].settle_ns is None and streams["think.text"].settler == "main"


def taken(plan, node):
    """Shapes of what a node takes, by input port and tensor."""
    streams = {edge.port: plan.streams[edge.stream] for edge in plan.nodes[node].inputs}
    return {port: output_shapes(plan, stream.node)[stream.port] for port, stream in streams.items()}


def test_sizes_travel_through_the_graph(spec):
    plan = make_plan(spec(LOOP, {"cam.params.width": 40}))
    assert taken(plan, "think") == {"frames": {"": (4, 24, 40, 3)}, "response": {"": (4, 8)}}
    assert taken(plan, "play") == {"video": {"": (4, 8)}, "audio": {"": (2560, 1)}}
    assert taken(plan, "file") == {"data": {"": None}}
    assert output_shapes(plan, "cam") == {"video": {"": (4, 24, 40, 3)}, "audio": {"": (2560, 1)}}


def test_an_unconnected_optional_input_is_named_in_the_plan(spec):
    plan = make_plan(spec("nodes: {cam: {type: Camera}, t: {type: Think, inputs: {frames: cam.video}}}"))
    assert plan.nodes["t"].optional_inputs == ("response",)
    assert [edge.port for edge in plan.nodes["t"].inputs] == ["frames"]


def test_a_loop_closed_by_a_paced_node_is_not_one_that_must_hurry(spec):
    text = LOOP.replace(
        "response: {from: say.latents, delay: 1, init: zeros}", "response: {from: g.out, delay: 2, init: empty}"
    )
    text = text.replace("  file:", "  g:     {type: Patient, inputs: {data: {from: play.played, late: gap}}}\n  file:")
    assert not any(node.on_loop for node in make_plan(spec(text)).nodes.values())


def test_a_plan_survives_being_sent(spec):
    plan = make_plan(spec(LOOP))
    assert from_plain(to_plain(plan)) == plan


def test_nodes_stand_in_flow_order_and_otherwise_as_written(spec):
    nodes = """
  z: {type: Sink, inputs: {data: b.blurred}}
  b: {type: Blur, inputs: {frames: c.video}}
  c: {type: Camera}
  a: {type: Camera}
"""
    assert list(make_plan(spec(f"nodes:{nodes}")).nodes) == ["c", "b", "z", "a"]


def test_processes_without_nodes_are_left_out(spec):
    plan = make_plan(spec("processes: {far: {}, gone: {}}\nnodes: {c: {type: Camera, process: far}}"))
    assert list(plan.processes) == ["far"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("  c: {type: Camra}",
         "g.yaml:2:13: node 'c': type '{dir}/toys.py:Camra': no 'Camra' (it has: "
         "Ahead, Answer, Blur, Camera, Forgetful, Patient, Playout, Sink, Square, Think); did you mean 'Camera'?"),
        ("  c: {type: Camera, params: {widht: 4}}",
         "g.yaml:2:45: node 'c': no parameter 'widht' (it has: path, width); did you mean 'width'?"),
        ("  c: {type: Camera, params: {width: 1}}", "g.yaml:2:45: node 'c': width: found 1 (expected 2 or more)"),
        ("  c: {type: Camera, params: {path: no.mp4}}",
         "g.yaml:2:37: node 'c': no.mp4: no such file (expected a media file), check the path"),
        ("  b: {type: Blur}",
         "g.yaml:2:3: node 'b': input 'frames' is not connected (expected inputs: {frames: NODE.PORT}), connect it"),
        ("  c: {type: Camera}\n  b: {type: Blur, inputs: {frames: cm.video}}",
         "g.yaml:3:44: node 'b': input 'frames': no node 'cm' (available: b, c); did you mean 'c'?"),
        ("  c: {type: Camera}\n  b: {type: Blur, inputs: {frames: c.vide}}",
         "g.yaml:3:44: node 'b': input 'frames': no output 'vide' on 'c' (it has: audio, video); "
         "did you mean 'video'?"),
        ("  c: {type: Camera}\n  b: {type: Blur, inputs: {frame: c.video}}",
         "g.yaml:3:43: node 'b': no input 'frame' (it has: frames); did you mean 'frames'?\n"
         "g.yaml:3:3: node 'b': input 'frames' is not connected (expected inputs: {frames: NODE.PORT}), connect it"),
        ("  a: {type: Blur, inputs: {frames: b.blurred}}\n  b: {type: Blur, inputs: {frames: a.blurred}}",
         "g.yaml:2:44: found a cycle without delay: a.blurred -> b.blurred -> a.blurred (expected a delay on one "
         "of its edges), write frames: {from: b.blurred, delay: 1, init: empty}"),
        ("  a: {type: Blur, inputs: {frames: {from: b.blurred, delay: 1, init: empty}}}\n"
         "  b: {type: Blur, inputs: {frames: a.blurred}}",
         "g.yaml:2:35: found no source above a, b (expected a node without inputs, whose units the clock releases), "
         "connect one, for example: {type: capture.clock}"),
        ("  c: {type: Camera, ladder: [{widht: 8}]}",
         "g.yaml:2:37: node 'c': ladder, level 0: no parameter 'widht' (it has: path, width); did you mean 'width'?"),
        ("  c: {type: Camera, ladder: [{width: 2}, {width: 1}]}",
         "g.yaml:2:37: node 'c': ladder, level 1: width: found 1 (expected 2 or more)"),
        ("  c: {type: Camera}\n  f: {type: Forgetful, inputs: {data: c.video}}",
         "g.yaml:3:13: node 'f': found Forgetful, which keeps state but has no 'gap' (expected new_state and gap "
         "together), write gap(self, state, units): what a lost unit does to the state"),
        ("  c: {type: Camera}\n  s: {type: Square, inputs: {frames: c.video}}",
         "g.yaml:3:46: node 's': input 'frames' [4 64 64 3] uint8 cannot take c.video [4 24 32 3] uint8: found 24 "
         "(expected 64), make both ends agree\n"
         "g.yaml:3:46: node 's': input 'frames' [4 64 64 3] uint8 cannot take c.video [4 24 32 3] uint8: found 32 "
         "(expected 64), make both ends agree"),
        ("  c: {type: Camera}\n  b: {type: Blur, inputs: {frames: c.audio}}",
         "g.yaml:3:44: node 'b': input 'frames' [4 H W 3] uint8 cannot take c.audio [2560 1] float32: "
         "found kind audio (expected video), connect another port"),
        ("  c: {type: Camera}\n  p: {type: Patient, inputs: {data: c.video}}\n"
         "  y: {type: Playout, inputs: {video: p.out}}",
         "g.yaml:3:45: node 'p': input 'data': found late: wait ahead of a paced node (expected gap, hold or empty; "
         "wait only on logs and off the paced path), choose one"),
        ("  c: {type: Camera, process: far}",
         "g.yaml:2:38: node 'c': no process 'far' (declared: main), add it under processes"),
        ("  c: {type: Camera, lane: io}",
         "g.yaml:2:35: node 'c': no lane 'io' in process 'main' (it has: loop), "
         "write processes: {main: {lanes: [loop, io]}}"),
        ("  c: {type: Camera, device: gpu}",
         "g.yaml:2:37: node 'c': device: found 'gpu' (expected cpu, cuda, cuda:0 or fake)"),
        ("  c: {type: Camera}\n  b: {type: Blur, inputs: {frames: {from: c.video, delay: 1, init: zero}}}",
         "g.yaml:3:44: node 'b': input 'frames': init: found 'zero' (expected empty, zeros or a file); "
         "did you mean 'zeros'?"),
        ("  c: {type: Camera}\n  b: {type: Blur, inputs: {frames: {from: c.video, delay: 1, init: " + 300 * "x" + "}}}",
         f"g.yaml:3:44: node 'b': input 'frames': init: found '{300 * 'x'}' (expected empty, zeros or a file)"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_wiring_is_told_where_it_stands(complaint, tmp_path, nodes, message):
    assert complaint(nodes) == message.replace("{dir}", str(tmp_path))


def test_mistakes_of_several_nodes_are_told_at_once(complaint):
    assert len(complaint("  c: {type: Camera, lane: x}\n  b: {type: Blur}\n  d: {type: Nothing}").splitlines()) == 3


def test_sizes_that_meet_through_a_node_in_between_must_agree(complaint):
    nodes = "  c: {type: Camera}\n  b: {type: Blur, inputs: {frames: c.video}}\n"
    message = complaint(nodes + "  s: {type: Square, inputs: {frames: b.blurred}}")
    assert "input 'frames' [4 64 64 3] uint8 cannot take b.blurred [4 24 32 3] uint8: found 24 (expected 64)" in message


def test_samples_per_unit_must_be_whole(complaint):
    message = complaint("clock: {fps: 30000/1001}\nnodes: {c: {type: Camera}}")
    assert message.startswith("g.yaml:2:9: node 'c': port 'audio': clock: 16000 Hz gives 2135.467 samples per unit")


def test_what_is_played_and_fed_back_needs_one_settling_process(complaint):
    message = complaint(LOOP.replace("play:  {type: Playout,", "play:  {type: Playout, process: far,"))
    assert message == (
        "g.yaml:10:46: stream say.latents: found readers in two processes: 'think' in main, 'play' in far (expected "
        "one process, because what is played and what is fed back must be the same), "
        "put think and play into one process"
    )


def test_budgets_over_the_unit_are_infeasible(complaint):
    message = complaint(LOOP, {"think.budget_ms": "155"})
    assert "infeasible: because the loop think -> say -> think takes 202 ms" in message
    assert "infeasible: because lane main/loop is busy 165 ms of every unit (blur 10, think 155;" in message


def test_an_unknown_size_between_processes_travels_inline_with_a_warning(spec):
    text = "processes: {far: {}}\nnodes:\n  c: {type: Camera}\n  p: {type: Patient, inputs: {data: c.video}}\n"
    plan = make_plan(spec(text + "  s: {type: Sink, process: far, inputs: {data: p.out}}\n"))
    assert plan.streams["p.out"].carrier == "inline"
    assert plan.warnings == (
        "stream p.out: its size is not known, so it is copied over a socket to far; "
        "declare shape and dtype of the port to share memory",
    )


def test_memory_that_no_carrier_has_is_refused(complaint):
    text = "processes: {far: {}}\nnodes:\n  c: {type: Camera}\n"
    message = complaint(text + "  s: {type: Sink, process: far, inputs: {data: {from: c.video, memory: disk}}}\n")
    assert message == (
        "g.yaml:4:80: node 's': input 'data': memory: found 'disk' (expected one of: auto, device, inline, shared)"
    )


def test_zeros_need_a_known_shape(complaint):
    nodes = "  c: {type: Camera}\n  p: {type: Patient, inputs: {data: c.video}}\n"
    message = complaint(nodes + "  s: {type: Sink, inputs: {data: {from: p.out, delay: 1, init: zeros}}}")
    assert message == (
        "g.yaml:4:42: node 's': input 'data': found init zeros for p.out, whose shape is not known "
        "(expected empty or a file), write init: empty"
    )


def test_a_paced_node_that_shares_its_lane_with_work_is_warned_of_with_the_remedy(spec):
    assert make_plan(spec(LOOP)).warnings == (
        "node 'play': found blur (10 ms), think (45 ms) in its lane main/loop (expected a lane of its own: "
        "what runs there when it is due makes it late), write lane: play and processes: {main: {lanes: [loop, io, play]}}",
    )
    text = LOOP.replace("lanes: [loop, io]", "lanes: [loop, io, play]")
    assert "makes it late), write lane: play" in make_plan(spec(text)).warnings[0]
    assert make_plan(spec(text, {"play.lane": "play"})).warnings == ()
    (warning,) = make_plan(spec(text, {"play.lane": "io"})).warnings
    assert "found cam (cost unknown) in its lane main/io" in warning  # not file, a sink
    (warning,) = make_plan(spec(text, {"play.lane": "play", "blur.lane": "play"})).warnings
    assert warning.endswith("write lane: play_out and processes: {main: {lanes: [loop, io, play, play_out]}}")


def test_look_ahead_widens_the_window_and_tightens_the_settling(spec):
    text = (
        "latency_ms: 480\nnodes:\n  c: {type: Camera}\n  a: {type: Ahead, inputs: {frames: c.video}, budget_ms: 10}\n"
    )
    checked = check(spec(text + "  y: {type: Playout, inputs: {video: a.blurred}}\n"))
    stream = checked.plan.streams["c.video"]
    assert (stream.window, stream.settle_ns) == (3 + 2 + 2, (480 - 10 - 320) * MS)


def test_checking_imports_no_torch(tmp_path):
    (tmp_path / "toys.py").write_text(TOYS.read_text())
    head, _, nodes = LOOP.partition("nodes:")
    (tmp_path / "g.yaml").write_text(f"{head}nodes:{nodes.replace('type: ', 'type: toys.py:')}")
    code = (
        "import sys; from wangraph.runtime.plan.check import load, make_plan; make_plan(load('g.yaml'));"
        "assert 'torch' not in sys.modules and 'av' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_a_gpu_that_is_not_there_is_told(complaint, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert complaint("  c: {type: Camera, device: cuda}") == (
        "g.yaml:2:37: node 'c': device: found 'cuda' (available on this machine: cpu), write device: cpu"
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_graph_with_something_broken_gives_a_plan_or_a_graph_error(tmp_path, data):
    (tmp_path / "toys.py").write_text(TOYS.read_text())
    head, _, nodes = LOOP.partition("nodes:")
    tree = yaml.safe_load(f"{head}nodes:{nodes.replace('type: ', 'type: toys.py:')}")
    path = data.draw(st.sampled_from(list(_paths(tree))))
    junk = [
        None,
        0,
        -1,
        10**17,
        1.5,
        1e300,
        "",
        "x",
        "$x",
        "${x}",
        "cam.video",
        ":",
        "x.py:",
        True,
        [],
        {},
        ["a"],
        [{}],
    ]
    owner = tree
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = data.draw(st.sampled_from([*junk, {"from": 3}, {"graph": "g.yaml"}]))
    (tmp_path / "g.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    try:
        make_plan(load(tmp_path / "g.yaml"))
    except GraphError as error:
        assert all("g.yaml" in line and "Item(" not in line for line in str(error).splitlines())


def _paths(tree, path=()):
    if path:
        yield path
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield from _paths(tree[key], (*path, key))


def test_what_a_graph_reads_is_not_written_by_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("me.mp4").write_bytes(b"a video")
    Path("again.mp4").symlink_to("me.mp4")
    (tmp_path / "g.yaml").write_text(
        "name: g\nnodes:\n"
        "  user: {type: toys.py:Camera, params: {path: me.mp4}}\n"
        "  first: {type: toys.py:Film, params: {path: again.mp4}, inputs: {frames: user.video}}\n"
        "  second: {type: toys.py:Film, params: {path: out.mp4}, inputs: {frames: user.video}}\n"
        "  third: {type: toys.py:Film, params: {path: ./out.mp4}, inputs: {frames: user.video}}\n"
    )
    (tmp_path / "toys.py").write_text(
        TOYS.read_text() + "\n\nclass Film(Blur):\n    path: Path = Param(path='output')\n"
    )
    with pytest.raises(GraphError) as caught:
        make_plan(load("g.yaml"))
    assert str(caught.value) == (
        f"g.yaml:4:39: node 'first': {tmp_path / 'me.mp4'}: is what node 'user' reads (expected another file), "
        "it would be lost: set params.path\n"
        f"g.yaml:6:39: node 'third': {tmp_path / 'out.mp4'}: is written by node 'second' (expected one writer of a "
        "file), set params.path"
    )
    assert Path("me.mp4").read_bytes() == b"a video"
    nowhere = {"first.path": "/dev/null", "second.path": "/dev/null", "third.path": "out.mp4"}
    assert make_plan(load("g.yaml", nowhere)).nodes.keys() == {"user", "first", "second", "third"}


@pytest.mark.parametrize(
    ("written", "found"), [("0", (0,)), ("0-2", (0, 1, 2)), ("'0,2-3'", (0, 2, 3)), ("[3, 1]", (1, 3))]
)
def test_processors_are_numbers_spans_or_lists_and_libraries_get_as_many_threads(spec, monkeypatch, written, found):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    plan = make_plan(spec(LOOP.replace("far: {threads: 3}", f"far: {{cpus: {written}}}")))
    assert (plan.processes["far"].cpus, plan.processes["far"].threads) == (found, len(found))
    assert plan.processes["main"].cpus is None


@pytest.mark.parametrize("written", ["-1", "true", "'3-1'", "[]", "[1, 1]", "'0-'", "[a]"])
def test_what_is_no_processor_is_refused(complaint, written):
    said = complaint(LOOP.replace("far: {threads: 3}", f"far: {{cpus: {written}}}"))
    assert "process 'far': cpus: found " in said and "(expected numbers as 0, 0-3 or [0, 2], each once)" in said


def test_processors_that_the_machine_does_not_give_are_refused_with_those_that_it_does(complaint, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4})
    assert complaint(LOOP.replace("far: {threads: 3}", "far: {cpus: 1-3}")).endswith(
        "process 'far': cpus: found 2, 3 (expected some of those that this machine gives: 0, 1, 4), "
        "name others, or none to run on any"
    )
