"""What is told of nodes that are late."""

from __future__ import annotations

from types import SimpleNamespace

from wangraph.runtime.engine.stalls import Stall, StallWatch

PERIOD = 160_000_000


def watch(cursor: int):
    """A watch over one node off the paced path, and the node."""
    plan = SimpleNamespace(
        clock=SimpleNamespace(period_ns=PERIOD), latency_ns=PERIOD, release_ns=lambda unit: unit * PERIOD
    )
    node = SimpleNamespace(
        ended=False,
        cursor=cursor,
        running=None,
        plan=SimpleNamespace(name="file", depth=1, due_ns=None, enforced=False),
    )
    scheduler = SimpleNamespace(
        nodes={"file": node}, waiting_for=lambda name: f"waiting for unit {node.cursor}", backlog=lambda name: 1
    )
    return StallWatch(plan, scheduler), node


def test_a_stall_is_told_once_while_the_node_stands():
    stalls, _ = watch(5)
    told = [stalls.poll(unit * PERIOD) for unit in range(5, 40)]
    assert [stall.text for stalls in told for stall in stalls] == [
        "node 'file': waiting for unit 5; 320 ms over its due"
    ]


def test_a_node_that_falls_behind_is_told_whenever_it_is_twice_as_late():
    stalls, node = watch(0)
    late = []
    for unit in range(200):
        node.cursor = unit // 2
        late += [stall.text.rpartition("; ")[2] for stall in stalls.poll(unit * PERIOD)]
    assert late == [f"{ms} ms over its due" for ms in (320, 640, 1280, 2560, 5120, 10240)]


def test_a_node_that_has_caught_up_is_told_anew():
    stalls, node = watch(0)
    assert stalls.poll(10 * PERIOD)
    node.cursor = 10
    assert not stalls.poll(11 * PERIOD)
    assert stalls.poll(15 * PERIOD) == [Stall("node 'file': waiting for unit 10; 320 ms over its due", None)]
