"""A device's memory between processes: one contract, kept by the stand-in and, where there is one, by a GPU."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from device_peer import Peer

from wangraph.runtime.channel import device_pool
from wangraph.runtime.channel.device_pool import PASSED, REFUSED, DevicePool, DeviceReadPool
from wangraph.runtime.channel.layout import layout
from wangraph.runtime.channel.pool import FREE, HELD
from wangraph.runtime.channel.segment import Segment, SegmentFile
from wangraph.runtime.device.api import HANDLE_BYTES, DeviceError, DeviceFull, DeviceLost
from wangraph.runtime.device.fake import FakeDevice
from wangraph.runtime.device.find import device_named, moved
from wangraph.runtime.errors import RunError
from wangraph.runtime.plan.plan import StreamPlan, TensorPlan

DEVICES = ["fake:0", *(["cuda:0"] if Path("/dev/nvidia0").exists() else [])]
"""The contract's tests run on both where there are two."""
VALUE = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(name="device", params=DEVICES)
def device_fixture(request):
    return device_named(request.param)


@pytest.fixture(name="peer")
def peer_fixture(device):
    made = Peer(device.name)
    yield made
    made.close()


def opened(device, peer, n_bytes=4096):
    """An allocation and an event of the peer's, opened here."""
    memory = device.open(peer("export", n_bytes), n_bytes)
    return memory, device.open_event(peer("export_event"))


def read(device, memory, offset=0, like=VALUE):
    return device.to_host(device.array(memory, offset, like.shape, like.dtype.name, None))


# The contract of a device


def test_what_one_process_writes_the_other_reads_once_its_event_has_passed(device, peer):
    memory, event = opened(device, peer)
    peer("write", 0, VALUE)
    peer("record")
    device.wait(event)
    assert np.array_equal(read(device, memory), VALUE)


def test_an_event_that_is_recorded_again_orders_what_was_written_last(device, peer):
    memory, event = opened(device, peer)
    for n in range(5):
        peer("write", 0, VALUE + n)
        peer("record")
        device.wait(event)
        assert np.array_equal(read(device, memory), VALUE + n)


def test_an_event_that_was_never_recorded_has_passed(device, peer):
    _, event = opened(device, peer)
    device.wait(event)


def test_a_handle_means_the_whole_allocation_and_an_offset_travels_beside_it(device, peer):
    memory, event = opened(device, peer)
    peer("write", 0, VALUE)
    peer("write", 512, VALUE + 100)
    peer("record")
    device.wait(event)
    assert np.array_equal(read(device, memory, 512), VALUE + 100)
    assert not np.array_equal(read(device, memory), VALUE + 100), "the planted bug: the offset is dropped"


def test_a_handle_is_no_longer_than_its_place(device):
    memory, event = device.allocate(64), device.event()
    assert 0 < len(device.export(memory)) <= HANDLE_BYTES and 0 < len(device.export_event(event)) <= HANDLE_BYTES
    device.close(memory)


def test_memory_of_this_process_is_not_opened_here(device):
    memory = device.allocate(64)
    with pytest.raises(DeviceError):
        device.open(device.export(memory), 64)
    device.close(memory)


def test_memory_is_opened_once(device, peer):
    handle = peer("export", 64)
    memory = device.open(handle, 64)
    if device.name.startswith("fake"):  # CUDA counts references, and a handle opened twice is closed twice
        with pytest.raises(DeviceError, match=r"found a handle that is open already \(expected it once\)"):
            device.open(handle, 64)
    device.close(memory)
    device.close(device.open(handle, 64))


def test_a_full_device_says_so(device):
    with pytest.raises(DeviceFull, match=r"free \(expected \d+\)"):
        device.allocate(1 << 50)


def test_a_dead_process_takes_its_memory_along():
    """Of the stand-in alone: a GPU may fault the reader for good."""
    device, peer = FakeDevice("fake:7"), Peer("fake:7")
    memory, event = opened(device, peer)
    peer("write", 0, VALUE)
    peer("record")
    peer.kill()
    with pytest.raises(DeviceLost, match=r"^fake:7: event: its process \d+ is gone \(expected it to do its work\)$"):
        device.wait(event)
    with pytest.raises(DeviceLost, match=r"^fake: memory of process \d+: found it gone with its process"):
        read(device, memory)
    with pytest.raises(DeviceLost, match=r"handle of process \d+: .* \(expected it to live\)$"):
        device.open(_handle(peer), 64)
    peer.close()


def _handle(peer: Peer) -> bytes:
    return peer.process.pid.to_bytes(8, "little") + (4711).to_bytes(8, "little")


def test_a_payload_is_moved_by_one_copy_or_none(device):
    there = moved(VALUE, device.name)
    assert device.owns(there) and there.shape == VALUE.shape and there.dtype.name == "float32"
    assert moved(there, device.name) is there and moved(VALUE, "cpu") is VALUE
    assert np.array_equal(moved(there, "cpu"), VALUE)
    assert np.array_equal(device.to_host(device.copy(there)), VALUE)
    assert there.nbytes == VALUE.nbytes


def test_nothing_copies_an_array_of_a_device_unasked(device):
    with pytest.raises(TypeError):
        np.asarray(device.upload(VALUE))


# What the stand-in is unkind about


def test_the_stand_in_shows_old_bytes_to_who_does_not_wait():
    device, peer = device_named("fake:1"), Peer("fake:1")
    peer("never_by_itself")
    memory, event = opened(device, peer)
    peer("write", 0, VALUE)
    peer("record")
    assert not read(device, memory).any(), "the planted bug: the event is not awaited"
    device.wait(event)
    assert np.array_equal(read(device, memory), VALUE)
    peer.close()


# Slots


def stream(n=3, readers=("far",)):
    tensors = (TensorPlan("", "float32", (3, 4), 48), TensorPlan("mask", "uint8", (5,), 5))
    return StreamPlan("node.out", "node", "out", "latent", tensors, False, "near", "near", None, n, readers, "device",
                      device="fake:0")  # fmt: skip


class Edge:
    """A segment with slots of one stream on a device, and its producer here."""

    def __init__(self, device, window=1, readers=("far",)) -> None:
        made = replace(stream(window, readers), device=device.name)
        self.layout = layout([made], "near")
        self.file = SegmentFile(f"device-{os.getpid()}", self.layout)
        self.segment = Segment(self.file.path, self.layout, writable=True)
        self.pool = DevicePool(self.segment)
        self.readers = list(readers)
        self.device = device

    @property
    def leases(self) -> list[bytes]:
        region = self.layout.device_regions["node.out"]
        return [self.pool._leases(region, index) for index in range(region.slots.n_slots)]

    def publish(self, value, readers=None):
        slot = self.pool.publish(
            "node.out", {"": self.device.upload(value)}, self.readers if readers is None else readers
        )
        return None if slot is None else slot.index

    def close(self) -> None:
        self.pool.reclaim("far")
        self.pool.close()
        self.segment.close()
        self.file.close()


@pytest.fixture(name="edge")
def edge_fixture(device):
    made = Edge(device)
    yield made
    made.close()


def test_leases_and_handles_of_a_layout_do_not_overlap():
    made = layout([replace(stream(4, ("far", "other")), name=name, device=device) for name, device in
                   (("a.out", "fake:0"), ("b.out", "fake:0"), ("c.out", "fake:1"))], "near")  # fmt: skip
    taken: list[tuple[int, int]] = [(place, HANDLE_BYTES) for place in made.device_handles.values()]
    for region in made.device_regions.values():
        for slot in range(region.slots.n_slots):
            taken.append((region.ready(slot), HANDLE_BYTES))
            taken += [(region.done(slot, reader), HANDLE_BYTES) for reader in ("far", "other")]
            taken += [(region.slots.lease(slot, holder), 1) for holder in region.slots.holders]
    taken += [
        (r.lease(slot, holder), 1) for r in made.regions.values() for slot in range(r.n_slots) for holder in r.holders
    ]
    taken.sort()
    assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(taken))
    assert taken[-1][0] + taken[-1][1] <= made.lease_bytes
    assert made.device_bytes("fake:0") == 2 * made.device_bytes("fake:1") == 2 * made.regions["a.out"].n_bytes


def test_a_payload_reaches_another_process_through_its_slot(edge, peer):
    peer("attach", edge.file.path, edge.layout, "far")
    for n in range(10):
        slot = edge.publish(VALUE + n)
        peer("look", "node.out", slot, "it")
        assert np.array_equal(peer("seen", "it", 0, (3, 4), "float32"), VALUE + n)
        peer("forget", "it")


def test_a_slot_that_is_looked_at_is_never_written_and_the_host_takes_over(edge, peer):
    peer("attach", edge.file.path, edge.layout, "far")
    slots = [edge.publish(VALUE + n) for n in range(3)]
    for n, slot in enumerate(slots):
        peer("look", "node.out", slot, str(n))
    assert sorted(slots) == [0, 1, 2] and edge.publish(VALUE) is None
    peer("forget", "1")
    assert edge.publish(VALUE + 9) == slots[1]
    assert np.array_equal(peer("seen", "0", 0, (3, 4), "float32"), VALUE)
    assert np.array_equal(peer("seen", "2", 0, (3, 4), "float32"), VALUE + 2)


def test_a_slot_is_free_when_the_readers_work_is_done_and_not_when_its_array_is_gone(edge, peer):
    peer("never_by_itself")
    peer("attach", edge.file.path, edge.layout, "far")
    slot = edge.publish(VALUE)
    peer("look", "node.out", slot, "it")
    peer("read_later", "it", 0, (3, 4), "float32")
    peer("forget", "it")
    filled = {edge.publish(VALUE + 100) for _ in range(3)}
    assert slot in filled, "it was written again"
    edge.device.to_host(edge.device.upload(VALUE))  # and all that is queued here is done
    assert np.array_equal(peer("read", 0, (3, 4), "float32"), VALUE), "after the copy of what it held before"


def test_the_law_of_done_events_catches_a_producer_that_does_not_wait_for_them(monkeypatch):
    device = device_named("fake:0")
    edge, peer = Edge(device), Peer("fake:0")
    monkeypatch.setattr(DevicePool, "_wait_for_readers", _frees)
    with pytest.raises(AssertionError, match="after the copy"):
        test_a_slot_is_free_when_the_readers_work_is_done_and_not_when_its_array_is_gone(edge, peer)
    monkeypatch.undo()
    peer.close()
    edge.close()


def _frees(self, api, region, index):
    for reader in region.slots.holders[1:]:
        lease = region.slots.lease(index, reader)
        if self._table[lease] == PASSED:
            self._table[lease] = FREE


def test_what_a_dead_reader_held_is_free_again(edge, peer):
    peer("attach", edge.file.path, edge.layout, "far")
    for n in range(3):
        peer("look", "node.out", edge.publish(VALUE + n), str(n))
    assert edge.publish(VALUE) is None
    peer.kill()
    edge.pool.reclaim("far")
    assert edge.publish(VALUE) is not None


def test_a_reader_that_died_with_work_queued_keeps_nobody_waiting(edge, peer):
    peer("attach", edge.file.path, edge.layout, "far")
    slots = [edge.publish(VALUE) for _ in range(3)]
    for slot in slots:
        peer("look", "node.out", slot, "it")
        peer("forget", "it")
    peer.kill()
    assert edge.publish(VALUE + 1) in slots


def test_who_cannot_open_the_memory_is_sent_to_by_the_host(edge, monkeypatch):
    far = DeviceReadPool(Segment(edge.file.path, edge.layout, writable=False), "far")
    with pytest.raises(DeviceError):  # it is this very process's
        far.open()
    assert {bytes([FREE, REFUSED])} == set(edge.leases)
    assert edge.publish(VALUE) is None
    with pytest.raises(
        RunError, match=r"^device memory of process 'near': no slot 0 of stream 'node\.out' is open for 'far'"
    ):
        far.lease("node.out", 0)


def test_a_message_that_could_not_be_sent_takes_its_lease_back(edge):
    slot = edge.pool.publish("node.out", {"": VALUE}, ["far"])
    assert bytes([FREE, HELD]) in edge.leases
    edge.pool.release(slot, "far")
    assert {bytes([FREE, FREE])} == set(edge.leases)


def test_a_payload_that_fits_no_slot_goes_by_the_host(edge):
    assert edge.publish(np.zeros((4, 4), np.float32)) is None
    assert edge.pool.publish("node.other", {"": VALUE}, []) is None
    assert edge.pool.publish("node.out", {"else": VALUE}, []) is None


def test_a_producer_that_ends_keeps_its_memory_for_who_looks_at_it_and_not_for_ever(edge, peer, monkeypatch):
    monkeypatch.setattr(device_pool, "LINGER_S", 0.0)
    peer("attach", edge.file.path, edge.layout, "far")
    peer("look", "node.out", edge.publish(VALUE), "it")
    edge.pool.close()
    assert np.array_equal(peer("seen", "it", 0, (3, 4), "float32"), VALUE), "it was not freed under the reader"


def test_a_producer_in_another_process_frees_what_it_had(device, tmp_path):
    made = layout([replace(stream(), device=device.name)], "near")
    file, peer = SegmentFile(f"device-{os.getpid()}-far", made), Peer(device.name)
    peer("produce", file.path, made)
    far = DeviceReadPool(Segment(file.path, made, writable=False), "far")
    far.open()
    lease = far.lease("node.out", peer("publish", "node.out", VALUE, ["far"]))
    assert np.array_equal(device.to_host(lease.array(0, (3, 4), "float32")), VALUE)
    del lease
    far.close()
    peer.close()
    file.close()
    assert not Path(file.path).exists()
