"""Payloads and the memory they lie in: another kind of memory is another home, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from wangraph import Graph, Node, Output, run
from wangraph.runtime.device.fake import FakeArray, FakeDevice
from wangraph.runtime.device.find import device_named
from wangraph.runtime.packet import Packet, Validity, frozen
from wangraph.runtime.payload import HOST, home_of, on_host


@pytest.fixture
def copied(monkeypatch):
    """What is copied from the device to the host, as it happens."""
    copies, to_host = [], FakeDevice.to_host
    monkeypatch.setattr(FakeDevice, "to_host", lambda self, payload: copies.append(payload) or to_host(self, payload))
    return copies


class Far(Node):
    """Makes its latents on the device."""

    out = Output("latent", "3", "float32", device="node")

    def open(self, ctx):
        self.device = device_named(ctx.device)

    def step(self, unit):
        return {"out": self.device.upload(np.full(3, unit.index, np.float32))}


def test_what_is_no_payload_has_no_home():
    assert home_of([1, 2]) is None and home_of(np.zeros(2)) is HOST


def test_a_host_array_is_adopted_as_it_is_and_a_view_is_made_whole():
    array = np.zeros((4, 4), np.float32)
    assert HOST.adopt(array) is array
    assert HOST.adopt(array[:, ::2]).flags.c_contiguous
    assert HOST.to_host(array) is array


def test_a_payload_on_a_device_travels_by_reference_and_is_copied_only_where_it_must(copied):
    graph = Graph("far")
    far = graph.add("far", Far, device="fake:2")
    graph.add("end", "sink.null", inputs={"value": far["out"]})
    result = run(graph, units=2, clock="virtual", taps=["far.out"])
    packets = [packet for packet in result.packets["far.out"] if packet.tensors]
    assert all(isinstance(p.tensors[""], FakeArray) for p in packets)
    n_kept = len(copied)  # the program that asked for the packets has copies of its own
    assert n_kept == 2
    assert [p.array.tolist() for p in packets] == [[0.0] * 3, [1.0] * 3]
    assert len(copied) == n_kept + 2


def test_a_payload_on_a_device_is_held_against_its_contract():
    class Wrong(Far):
        """Half a latent."""

        def step(self, unit):
            return {"out": self.device.upload(np.zeros(2, np.float32))}

    graph = Graph("wrong")
    wrong = graph.add("wrong", Wrong, device="fake:2")
    graph.add("end", "sink.null", inputs={"value": wrong["out"]})
    with pytest.raises(
        Exception, match=r"^node 'wrong', unit 0, output 'out': found \[2\] float32 \(expected \[3\] float32\)"
    ):
        run(graph, units=1, clock="virtual")


def test_a_kept_packet_outlives_the_memory_that_it_came_from():
    shared = frozen(np.zeros(3, np.float32).copy())
    kept = Packet("a.b", 0, 0, 0, 0, Validity.REAL, {"": shared}).keep()
    shared.flags.writeable = True
    shared[:] = 7
    assert on_host(kept.tensors[""]).tolist() == [0, 0, 0]
    assert not kept.array.flags.writeable
