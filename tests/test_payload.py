"""Payloads and the memory they lie in: another kind of memory is another home, and nothing else changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from wangraph import Graph, Node, Output, run
from wangraph.runtime import payload as payload_module
from wangraph.runtime.packet import Packet, Validity, frozen
from wangraph.runtime.payload import HOST, home_of, on_host


@dataclass
class Remote:
    """An array whose memory is elsewhere: nothing can be done with it here but what a home does."""

    inside: np.ndarray
    is_frozen: bool = False

    @property
    def shape(self):
        return self.inside.shape

    @property
    def dtype(self):
        return self.inside.dtype

    @property
    def nbytes(self):
        return self.inside.nbytes


class RemoteMemory:
    """A stand-in for a device: counts what is copied to the host."""

    name = "remote"

    def __init__(self):
        self.copied = 0

    def owns(self, value):
        return isinstance(value, Remote)

    def adopt(self, value):
        return value

    def freeze(self, payload):
        payload.is_frozen = True
        return payload

    def copy(self, payload):
        return Remote(payload.inside.copy())

    def to_host(self, payload):
        self.copied += 1
        return payload.inside


@pytest.fixture
def remote(monkeypatch):
    memory = RemoteMemory()
    monkeypatch.setattr(payload_module, "HOMES", [HOST, memory])
    return memory


class Far(Node):
    """Makes its latents elsewhere."""

    out = Output("latent", "3", "float32")

    def step(self, unit):
        return {"out": Remote(np.full(3, unit.index, np.float32))}


def test_what_is_no_payload_has_no_home():
    assert home_of([1, 2]) is None and home_of(np.zeros(2)) is HOST


def test_a_host_array_is_adopted_as_it_is_and_a_view_is_made_whole():
    array = np.zeros((4, 4), np.float32)
    assert HOST.adopt(array) is array
    assert HOST.adopt(array[:, ::2]).flags.c_contiguous
    assert HOST.to_host(array) is array


def test_a_payload_elsewhere_travels_by_reference_and_is_copied_only_where_it_must(remote):
    graph = Graph("far")
    far = graph.add("far", Far)
    graph.add("end", "sink.null", inputs={"value": far["out"]})
    result = run(graph, units=2, clock="virtual", taps=["far.out"])
    packets = [packet for packet in result.packets["far.out"] if packet.tensors]
    assert remote.copied == 0
    assert all(isinstance(p.tensors[""], Remote) and p.tensors[""].is_frozen for p in packets)
    assert [p.array.tolist() for p in packets] == [[0.0] * 3, [1.0] * 3]
    assert remote.copied == 2


def test_a_payload_elsewhere_is_held_against_its_contract(remote):
    class Wrong(Far):
        """Half a latent."""

        def step(self, unit):
            return {"out": Remote(np.zeros(2, np.float32))}

    graph = Graph("wrong")
    wrong = graph.add("wrong", Wrong)
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
