from __future__ import annotations

import pickle
import subprocess
import sys
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wangraph.runtime.channel.layout import ALIGNMENT, LEASE_ALIGNMENT, SegmentLayout, layout, layouts
from wangraph.runtime.plan.plan import Plan, ProcessPlan, StreamPlan, TensorPlan
from wangraph.runtime.units import UnitClock


def stream(
    name: str,
    sizes: dict[str, int | None],
    *,
    window: int = 3,
    process: str = "main",
    readers: tuple[str, ...] = ("performer",),
    carrier: str = "shared",
) -> StreamPlan:
    node, port = name.split(".")
    tensors = tuple(TensorPlan(tensor, "uint8", (size,), size) for tensor, size in sizes.items())
    return StreamPlan(name, node, port, "any", tensors, False, process, process, None, window, readers, carrier)


streams = st.lists(
    st.builds(
        lambda sizes, window, readers: (sizes, window, tuple(readers)),
        st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5000), min_size=1),
        st.integers(1, 6),
        st.sets(st.sampled_from(["x", "y", "z"]), min_size=1),
    ),
    max_size=6,
)


def spans(made: SegmentLayout) -> list[tuple[int, int]]:
    """First and last byte of every tensor of every slot."""
    return [
        (region.slot_offset(slot) + place.offset, region.slot_offset(slot) + place.offset + place.max_bytes)
        for region in made.regions.values()
        for slot in range(region.n_slots)
        for place in region.tensors.values()
    ]


@given(streams)
def test_no_two_tensors_share_a_byte_and_all_lie_within_the_payload(drawn):
    made = layout([stream(f"n{i}.out", sizes, window=w, readers=r) for i, (sizes, w, r) in enumerate(drawn)], "main")
    ordered = sorted(span for span in spans(made) if span[0] != span[1])
    assert all(before[1] <= after[0] for before, after in pairwise(ordered))
    assert not ordered or ordered[-1][1] <= made.payload_bytes
    assert all(first % ALIGNMENT == 0 for first, _ in ordered)


@given(streams)
def test_every_slot_and_holder_has_a_lease_byte_of_its_own(drawn):
    made = layout([stream(f"n{i}.out", sizes, window=w, readers=r) for i, (sizes, w, r) in enumerate(drawn)], "main")
    leases = [
        region.lease(slot, holder)
        for region in made.regions.values()
        for slot in range(region.n_slots)
        for holder in region.holders
    ]
    assert len(set(leases)) == len(leases)
    assert all(0 <= lease < made.lease_bytes for lease in leases)
    assert made.lease_bytes % LEASE_ALIGNMENT == 0


def test_a_stream_gets_its_window_and_two_slots_more():
    region = layout([stream("see.latents", {"": 1000}, window=4)], "main").regions["see.latents"]
    assert region.n_slots == 6
    assert region.slot_bytes == 1024
    assert region.holders == ("main", "performer")


def test_streams_that_stay_go_elsewhere_or_have_no_bound_get_no_slots():
    made = layout(
        [
            stream("a.home", {"": 8}, readers=(), carrier="reference"),
            stream("b.inline", {"": 8}, carrier="inline"),
            stream("c.unbounded", {"x": 8, "y": None}),
            stream("d.elsewhere", {"": 8}, process="performer", readers=("main",)),
            stream("e.nothing", {"": 0}),
            stream("f.shared", {"": 8}),
        ],
        "main",
    )
    assert list(made.regions) == ["f.shared"]


def test_only_processes_that_share_something_have_a_segment():
    plan = Plan(
        name="g",
        clock=UnitClock(),
        latency_ns=0,
        nodes={},
        streams={"a.out": stream("a.out", {"": 8})},
        processes={"main": ProcessPlan("main"), "performer": ProcessPlan("performer")},
    )
    assert list(layouts(plan)) == ["main"]


def test_a_layout_travels_by_pickle():
    made = layout([stream("a.out", {"x": 100, "y": 7})], "main")
    assert pickle.loads(pickle.dumps(made)) == made


def test_the_channel_imports_no_torch():
    code = "import sys, wangraph.runtime.channel.endpoint; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
