"""Runs whose payloads are made on a device, which here is the stand-in: what stays there, what is copied, what is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gpu_toys import Add, Keep, Make, chain

import wangraph
from wangraph import Edge, Graph
from wangraph.nodes.on_device import given, taken, torch_device
from wangraph.nodes.unit_tensor import UnitTensor
from wangraph.runtime.channel import endpoint as endpoint_module
from wangraph.runtime.device.api import DeviceError
from wangraph.runtime.device.find import device_named
from wangraph.runtime.engine.sending import way_in
from wangraph.runtime.errors import GraphError
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.plan.devices import copies

UNITS = 12


def seen(path) -> dict[int, str]:
    return {int(unit): value for unit, value in (line.split() for line in path.read_text().splitlines())}


def whole(path) -> bool:
    """Every unit is two more than its number, as far as the machine was quick enough."""
    found = {unit: float(value) for unit, value in seen(path).items() if value != "-"}
    return len(found) > UNITS // 2 and all(value == unit + 2 for unit, value in found.items())


def notes(result, kind="warning") -> list[str]:
    return [note["text"] for note in result.summary["notes"] if note["kind"] == kind]


def test_payloads_go_from_process_to_process_on_their_device(tmp_path):
    graph = chain(tmp_path / "out")
    plan = graph.plan()
    assert {s.name: (s.device, s.carrier) for s in plan.streams.values()} == {
        "make.out": ("fake:0", "device"), "add.out": ("fake:0", "reference"), "again.out": ("fake:0", "reference"),
    }  # fmt: skip
    assert list(copies(plan)) == [("again.out", "play.number", "fake:0", "cpu")]
    result = wangraph.run(graph, units=UNITS)
    assert whole(tmp_path / "out")
    assert not notes(result)
    assert [text for node, key, text in result.reports if (node, key) == ("play", "copied")] == [
        f"'number': {len([v for v in seen(tmp_path / 'out').values() if v != '-'])} payloads to cpu"
    ]


@pytest.mark.parametrize("processes", [("main", "main"), ("main", "far")])
@pytest.mark.parametrize(
    ("device", "far"), [("cpu", "cpu"), ("fake:0", "cpu"), ("cpu", "fake:0"), ("fake:0", "fake:1")]
)
def test_wherever_nodes_are_put_they_compute_the_same(tmp_path, processes, device, far):
    result = wangraph.run(chain(tmp_path / "out", processes, device, far), units=UNITS, clock="virtual")
    assert seen(tmp_path / "out") == {unit: str(unit + 2.0) for unit in range(UNITS)}
    assert not notes(result)


def test_what_a_node_on_a_device_gives_out_on_the_host_is_copied_there(tmp_path):
    graph = Graph("given", latency_ms=400)
    make = graph.add("make", Make, device="fake:0", params={"fill": True})
    add = graph.add("add", Add, device="fake:0", inputs={"number": make["out"]})
    graph.add("keep", Keep, inputs={"number": add["out"]}, params={"path": str(tmp_path / "out")})
    wangraph.run(graph, units=UNITS, clock="virtual")
    assert seen(tmp_path / "out") == {unit: str(unit + 1.0) for unit in range(UNITS)}


def test_memory_that_cannot_be_shared_is_told_and_goes_by_the_host(tmp_path):
    path = tmp_path / "huge.py"
    path.write_text(TOO_LARGE)
    graph = Graph("huge", latency_ms=400, fps=25, unit_frames=2)
    graph.process("far", lanes=["loop", "play"])
    make = graph.add("make", f"{path}:Make", device="fake:0")
    graph.add("take", f"{path}:Take", process="far", device="fake:0", inputs={"number": make["out"]})
    result = wangraph.run(graph, units=3)
    (told,) = notes(result)
    assert told.startswith("process 'main': fake:0: found 1000 bytes free (expected ")
    assert told.endswith("make.out: by the host, a copy to it and one back for each reader")


TOO_LARGE = """
import numpy as np
from wangraph import Input, Node, Output
from wangraph.runtime.device import fake
from wangraph.runtime.device.find import device_named

fake.CAPACITY = 1000

class Make(Node):
    out = Output("latent", "4 64", "float32", device="node")

    def step(self, unit):
        return {"out": np.zeros((4, 64), np.float32)}

class Take(Node):
    number = Input("latent", "4 64", "float32", device="node")

    def open(self, ctx):
        self.device = device_named(ctx.device)

    def step(self, unit, number):
        assert self.device.owns(number)
"""


def test_the_way_of_a_payload_that_had_no_slot_on_its_device_is_recorded_as_it_was(tmp_path):
    stream = chain(tmp_path / "out").plan().streams["make.out"]
    sent = Packet("make.out", 0, 0, 0, 0, Validity.REAL, {"": np.zeros(3)})
    there = Packet("make.out", 0, 0, 0, 0, Validity.REAL, {"": device_named("fake:0").upload(np.zeros(3))})
    assert (way_in(stream, there), way_in(stream, sent)) == ("device", "shared")


def test_a_reader_that_cannot_open_the_memory_says_so_once(tmp_path, monkeypatch):
    class Refused:
        def open(self):
            raise DeviceError("cuda:0: cannot open another process's memory: invalid device context")

    notes_of = endpoint_module.Endpoint.__new__(endpoint_module.Endpoint)
    notes_of._on_devices, notes_of.notes = {"main": Refused()}, []
    notes_of.attach()
    assert notes_of.notes == [
        "cuda:0: cannot open another process's memory: invalid device context; what 'main' makes there comes by the "
        "host, a copy to it and one back"
    ]


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (lambda path: chain(path, device="cpu", memory="device"),
         "its payloads are made on the host (expected an output of a node on a device that declares device: node)"),
        (lambda path: chain(path, far="fake:1", memory="device"),
         "not all of its readers take it on fake:0: add"),
        (lambda path: chain(path, far="cpu", memory="device"),
         "not all of its readers take it on fake:0: add"),
    ],
)  # fmt: skip
def test_memory_device_is_refused_where_nothing_could_stay_there(tmp_path, graph, why):
    with pytest.raises(GraphError) as error:
        graph(tmp_path / "out").plan()
    assert f"stream make.out: found memory: device, but {why}, write memory: auto" in str(error.value)


@pytest.mark.parametrize("on_crash", ["restart", "bypass"])
def test_a_process_that_the_run_goes_on_without_keeps_its_payloads_on_the_host(tmp_path, on_crash):
    graph = Graph("restarted", latency_ms=400)
    graph.process("far", on_crash=on_crash)
    make = graph.add("make", Make, process="far", device="fake:0")
    graph.add("add", Add, device="fake:0", inputs={"number": make["out"]})
    assert graph.plan().streams["make.out"].carrier == "shared"
    asked = Graph("restarted", latency_ms=400)
    asked.process("far", on_crash=on_crash)
    asked.add("make", Make, process="far", device="fake:0")
    asked.add("add", Add, device="fake:0", inputs={"number": Edge("make.out", memory="device")})
    with pytest.raises(GraphError, match=r"the run goes on without process 'far' \(expected on_crash: end"):
        asked.plan()


def test_shared_memory_is_taken_where_it_is_asked_for(tmp_path):
    graph = chain(tmp_path / "out", memory="shared")
    assert graph.plan().streams["make.out"].carrier == "shared"
    wangraph.run(graph, units=UNITS)
    assert whole(tmp_path / "out")


def test_the_agent_answers_the_same_with_its_latents_and_slices_on_a_device(tmp_path):
    def answered(graph: str, **sets: str):
        result = wangraph.run(
            Graph.load(graph, {**sets, "checkpoint": "tiny", "output": str(tmp_path / f"{graph}.mp4")}),
            units=10, clock="virtual", taps=["sync.video", "sync.audio", "think.event"],
        )  # fmt: skip
        return {name: [p.array for p in packets if p.is_payload] for name, packets in result.packets.items()}, result

    on_host, _ = answered("duplex")
    on_device, result = answered("duplex_gpu", device="fake")
    assert {name: len(arrays) for name, arrays in on_device.items()} == {name: len(a) for name, a in on_host.items()}
    for name, arrays in on_host.items():
        assert all(np.array_equal(a, b) for a, b in zip(arrays, on_device[name], strict=True)), name
    assert not [text for _, key, text in result.reports if key == "copied"], "all of it stays on the device"


def test_tensors_come_from_any_payload_and_go_as_packets_want_them():
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    half = tensor.to(torch.bfloat16)
    there = device_named("fake:3").upload
    for payload in (given(tensor), there(given(tensor))):
        assert torch.equal(taken(payload, "cpu"), tensor)
    for payload in (given(half), there(given(half))):
        assert payload.dtype.name == "uint16" and torch.equal(taken(payload, "cpu"), half)
    copied = taken(given(tensor), "cpu")
    copied[:] = 7
    assert not torch.equal(copied, tensor), "a packet's payload is never written"
    assert (torch_device("fake:0"), torch_device("cuda:1"), torch_device("cpu")) == ("cpu", "cuda:1", "cpu")


class Shares:
    """An array of another library, which gives its memory by DLPack: a GPU's, as far as the node sees."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor, self.shape, self.dtype = tensor, tuple(tensor.shape), np.dtype("float32")

    def __dlpack__(self, **more):
        return self._tensor.__dlpack__()

    def __dlpack_device__(self):
        return self._tensor.__dlpack_device__()


def test_an_array_of_a_device_is_taken_without_the_host():
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    found = taken(Shares(tensor), "cpu")
    found[0, 0] = 9
    assert tensor[0, 0] == 0
    inlet = UnitTensor("latents", (2, 3), "float32")
    assert torch.equal(inlet.copy(Shares(tensor), 2.0, 1.0), (2 * tensor + 1)[None, None])


def test_a_payload_on_a_device_can_be_spoilt_and_repeated(tmp_path):
    for number, (kind, spoils) in enumerate((("repeat", "6.0"), ("nan", "torn"))):
        path = tmp_path / str(number)
        faults = [f"add: {kind} at=5"]
        wangraph.run(chain(path, ("main", "main")), units=8, clock="virtual", inject=faults)
        assert seen(path) == {unit: spoils if unit == 5 else str(unit + 2.0) for unit in range(8)}
