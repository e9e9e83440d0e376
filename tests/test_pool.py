from __future__ import annotations

import gc
import re
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.runtime.channel.layout import layout
from wangraph.runtime.channel.pool import Pool, ReadPool
from wangraph.runtime.channel.segment import Segment, SegmentFile
from wangraph.runtime.errors import RunError
from wangraph.runtime.plan.plan import StreamPlan, TensorPlan

STREAM = "see.latents"
READERS = ("performer", "viewer")
N_SLOTS = 4


class Rig:
    """One producer, two readers, two tensors in a slot, in one process."""

    def __init__(self, folder) -> None:
        tensors = (TensorPlan("keys", "uint8", (1000,), 1000), TensorPlan("values", "float32", (50,), 200))
        stream = StreamPlan(
            STREAM, "see", "latents", "any", tensors, False, "main", "main", None, N_SLOTS - 2, READERS, "shared"
        )
        self.layout = layout([stream], "main")
        self._file = SegmentFile("run", self.layout, folder)
        segments = [Segment(self._file.path, self.layout, writable=writable) for writable in (True, False, False)]
        self._file.close()
        self.pool = Pool(segments[0])
        self.readers = {name: ReadPool(s, name) for name, s in zip(READERS, segments[1:], strict=True)}

    def send(self, tensors, readers=READERS):
        """Place and lease out; the slot number, None when the pool is dry."""
        placed = self.pool.place(STREAM, tensors)
        if placed is None:
            return None
        for reader in readers:
            self.pool.lease(placed[0], reader)
        return placed[0].index


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def payload(value: int) -> dict[str, np.ndarray]:
    return {"keys": np.full(1000, value, np.uint8), "values": np.full(50, value, np.float32)}


def test_a_slot_is_free_again_when_every_reader_has_let_go(rig):
    slot = rig.send(payload(1))
    assert rig.pool.holders(STREAM) == {"performer": 1, "viewer": 1}
    first, second = (rig.readers[name].lease(STREAM, slot) for name in READERS)
    assert first[:1000].tolist() == [1] * 1000
    del first
    assert rig.pool.holders(STREAM) == {"viewer": 1}
    del second
    assert rig.pool.holders(STREAM) == {}


def test_the_pool_runs_dry_and_names_who_holds_it(rig):
    views = [rig.readers["performer"].lease(STREAM, rig.send(payload(i), ["performer"])) for i in range(N_SLOTS)]
    assert rig.send(payload(9)) is None
    assert rig.pool.acquire(STREAM) is None
    assert rig.pool.holders(STREAM) == {"performer": N_SLOTS}
    views.pop()
    assert rig.send(payload(9)) is not None


@pytest.mark.parametrize(
    "derive",
    [
        lambda root: root[10:20],
        lambda root: root[:1000].reshape(10, 100)[3, ::7],
        lambda root: root[:800].view(np.float32),
        lambda root: np.asarray(root)[::-1],
        lambda root: memoryview(root)[5:],
        lambda root: np.frombuffer(root[64:].data, np.uint16),
        lambda root: np.lib.stride_tricks.sliding_window_view(root, 5),
        lambda root: np.broadcast_to(root[:1], (4, 4)),
        lambda root: root[:4].view(np.recarray),
    ],
)
def test_whatever_is_derived_from_a_slot_keeps_it(rig, derive):
    root = rig.readers["viewer"].lease(STREAM, rig.send(payload(1), ["viewer"]))
    derived = derive(root)
    del root
    gc.collect()
    assert rig.pool.holders(STREAM) == {"viewer": 1}
    del derived
    gc.collect()
    assert rig.pool.holders(STREAM) == {}


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_torch_tensors_over_a_slot_keep_it(rig):
    torch = pytest.importorskip("torch")
    root = rig.readers["viewer"].lease(STREAM, rig.send(payload(1), ["viewer"]))
    tensor = torch.from_numpy(root[:1000].view(np.uint8))[100:200].view(10, 10).T
    back = tensor[2:].numpy()
    del root, tensor
    gc.collect()
    assert rig.pool.holders(STREAM) == {"viewer": 1}
    assert int(back.sum()) == back.size
    del back
    gc.collect()
    assert rig.pool.holders(STREAM) == {}


def test_a_reader_cannot_write_into_a_slot(rig):
    root = rig.readers["viewer"].lease(STREAM, rig.send(payload(1), ["viewer"]))
    with pytest.raises(ValueError, match=r"^assignment destination is read-only$"):
        root[0] = 1
    with pytest.raises(ValueError, match=r"^cannot set WRITEABLE flag to True of this array$"):
        root.flags.writeable = True


def test_what_is_written_in_place_is_not_copied_and_is_frozen(rig):
    keys = rig.pool.empty(STREAM, "keys", (10, 50), np.uint8)
    values = rig.pool.empty(STREAM, "values", (50,), np.float32)
    assert rig.pool.holders(STREAM) == {"main": 1}
    keys[:], values[:] = 7, 8
    slot = rig.send({"keys": keys, "values": values}, ["viewer"])
    assert rig.pool.holders(STREAM) == {"main": 1, "viewer": 1}
    assert not keys.flags.writeable
    root = rig.readers["viewer"].lease(STREAM, slot)
    assert root[:500].tolist() == [7] * 500
    del keys, values
    assert rig.pool.holders(STREAM) == {"viewer": 1}


def test_tensors_not_written_in_place_are_copied_beside_those_that_were(rig):
    keys = rig.pool.empty(STREAM, "keys", (1000,), np.uint8)
    keys[:] = 3
    slot = rig.send({"keys": keys, "values": np.full(50, 4, np.float32)}, ["viewer"])
    assert rig.pool.holders(STREAM) == {"main": 1, "viewer": 1}
    root = rig.readers["viewer"].lease(STREAM, slot)
    assert root[:1000].tolist() == [3] * 1000
    assert root[1024:1224].view(np.float32).tolist() == [4.0] * 50


def test_a_unit_emitted_after_the_next_was_begun_is_not_copied_either(rig):
    first = rig.pool.empty(STREAM, "keys", (1000,), np.uint8)
    second = rig.pool.empty(STREAM, "keys", (1000,), np.uint8)
    first[:], second[:] = 1, 2
    slots = [rig.send({"keys": array}, ["viewer"]) for array in (first, second)]
    assert rig.pool.holders(STREAM) == {"main": 2, "viewer": 2}
    assert [rig.readers["viewer"].lease(STREAM, slot)[0] for slot in slots] == [1, 2]


def test_an_array_emitted_twice_is_copied_the_second_time(rig):
    keys = rig.pool.empty(STREAM, "keys", (1000,), np.uint8)
    keys[:] = 5
    assert rig.send({"keys": keys}) != rig.send({"keys": keys})


def test_an_array_of_a_discarded_unit_is_not_overwritten_by_the_next(rig):
    kept = rig.pool.empty(STREAM, "keys", (1000,), np.uint8)
    kept[:] = 1
    after = rig.pool.empty(STREAM, "values", (50,), np.float32)
    after[:] = 2
    rig.send({"keys": np.full(1000, 9, np.uint8), "values": after})
    assert kept.tolist() == [1] * 1000


def test_a_slot_asked_for_and_not_emitted_is_free_again(rig):
    array = rig.pool.empty(STREAM, "keys", (1000,), np.uint8)
    assert rig.pool.holders(STREAM) == {"main": 1}
    del array
    assert rig.pool.holders(STREAM) == {}


def test_a_view_at_another_place_of_the_slot_is_copied_right(rig):
    keys = rig.pool.empty(STREAM, "keys", (1000,), np.uint8)
    keys[:] = np.arange(1000) % 251
    slot = rig.send({"keys": keys[500:]}, ["viewer"])
    root = rig.readers["viewer"].lease(STREAM, slot)
    assert root[:500].tolist() == (np.arange(500, 1000) % 251).tolist()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_any_memory_order_arrives_as_c_order_of_this_machine(rig, order, dtype):
    values = np.arange(50).reshape(5, 10).astype(dtype, order=order)
    slot = rig.send({"values": values}, ["viewer"])
    root = rig.readers["viewer"].lease(STREAM, slot)
    assert root[1024:1224].view(np.float32).tolist() == list(range(50))


def test_what_does_not_fit_or_is_unknown_gets_no_slot(rig):
    assert rig.send({"keys": np.zeros(1001, np.uint8)}) is None
    assert rig.send({"other": np.zeros(1, np.uint8)}) is None
    assert rig.send({"keys": np.array([object()])}) is None
    assert rig.pool.acquire("nobody.nothing") is None
    assert rig.pool.holders(STREAM) == rig.pool.holders("nobody.nothing") == {}


def test_without_a_slot_the_array_to_write_into_is_private(rig):
    too_large = rig.pool.empty(STREAM, "keys", (1001,), np.uint8)
    unknown = rig.pool.empty("nobody.nothing", "", (4,), np.float32)
    assert too_large.shape == (1001,)
    assert unknown.dtype == np.float32
    assert rig.pool.holders(STREAM) == {}


def test_a_lease_is_taken_back_when_the_header_could_not_be_sent(rig):
    slot, root = rig.pool.place(STREAM, payload(1))
    rig.pool.lease(slot, "viewer")
    rig.pool.release(slot, "viewer")
    del root
    assert rig.pool.holders(STREAM) == {}


def test_the_leases_of_a_dead_reader_are_reclaimed_and_only_those(rig):
    for value in range(3):
        rig.send(payload(value))
    rig.pool.reclaim("performer")
    assert rig.pool.holders(STREAM) == {"viewer": 3}


def test_looking_at_a_slot_that_is_not_there_says_what_is(rig):
    expected = (
        "shared memory of process 'main': no slot 4 of stream 'see.latents' for 'viewer' "
        "(it has: 4 of 'see.latents'), do both processes run the same graph?"
    )
    with pytest.raises(RunError, match=f"^{re.escape(expected)}$"):
        rig.readers["viewer"].lease(STREAM, N_SLOTS)


def test_threads_never_get_the_same_slot(rig):
    got, barrier = [], threading.Barrier(N_SLOTS + 2)

    def take() -> None:
        barrier.wait()
        got.append(rig.pool.acquire(STREAM))

    threads = [threading.Thread(target=take) for _ in range(N_SLOTS + 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [slot.index for slot, _ in filter(None, got)]
    assert sorted(taken) == list(range(N_SLOTS))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["emit", "in place", "drop"]), st.integers(0, 7)), max_size=60))
def test_no_view_ever_changes_whatever_is_kept_and_however_long(tmp_path_factory, actions):
    rig = Rig(tmp_path_factory.mktemp("shm"))
    kept: list[tuple[int, np.ndarray]] = []
    for number, (action, which) in enumerate(actions):
        value = number % 251
        if action == "drop" and kept:
            kept.pop(which % len(kept))
        elif action != "drop":
            keys = rig.pool.empty(STREAM, "keys", (1000,), np.uint8) if action == "in place" else np.empty(1000, "u1")
            keys[:] = value
            readers = READERS[: 1 + which % 2]
            slot = rig.send({"keys": keys}, readers)
            if slot is None:
                held = rig.pool.holders(STREAM)
                assert sum(held.values()) >= N_SLOTS
            else:
                kept += [(value, rig.readers[name].lease(STREAM, slot)[:1000]) for name in readers]
            if which > 5:
                kept.append((value, keys))
        assert all((view == wanted).all() for wanted, view in kept)
        keys = None
    kept.clear()
    assert rig.pool.holders(STREAM) == {}
