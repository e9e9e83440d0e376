"""The contract of links between processes, held by each of them."""

from __future__ import annotations

import os
import pickle
import re
import secrets
import signal
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from wangraph.runtime.channel.endpoint import Endpoint
from wangraph.runtime.channel.layout import layouts
from wangraph.runtime.channel.segment import create_segments
from wangraph.runtime.channel.transport import SPARE_MESSAGES, LinkName, PeerFull, local_addresses, queue_bound
from wangraph.runtime.channel.wire import encode
from wangraph.runtime.errors import RunError, StartError
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.plan.plan import Plan, ProcessPlan, StreamPlan, TensorPlan
from wangraph.runtime.units import UnitClock

STREAM, ANSWERS = "see.latents", "reader.answers"
WINDOW = 3
N_BYTES = 20_000
COUNTS = (TensorPlan("", "int64", (2,), 16),)


def plan(*readers: str, carrier: str = "shared") -> Plan:
    tensors = (TensorPlan("", "uint8", (N_BYTES,), N_BYTES),)
    stream = StreamPlan(STREAM, "see", "latents", "any", tensors, False, "main", "main", None, WINDOW, readers, carrier)
    streams = {STREAM: stream}
    if "reader" in readers:  # the process that is spawned: it says what it saw
        streams[ANSWERS] = StreamPlan(
            ANSWERS, "reader", "answers", "any", COUNTS, False, "reader", "main", None, 1, ("main",), "inline"
        )
    processes = {name: ProcessPlan(name) for name in ("main", *readers)}
    return Plan("g", UnitClock(), 0, {}, streams, processes)


class Rig:
    """All processes of a plan in one, or some of them spawned."""

    def __init__(self, graph: Plan, link: LinkName, *, here: tuple[str, ...]) -> None:
        self.run, self.plan = secrets.token_hex(6), graph
        self.files = create_segments(self.run, layouts(graph))
        self.paths = {name: file.path for name, file in self.files.items()}
        self.addresses = local_addresses(self.run, graph.processes, link)
        self.ends = {name: self.open(name) for name in here}
        self.main = self.ends["main"]
        self.children: list[subprocess.Popen[bytes]] = []

    def open(self, process: str) -> Endpoint:
        return Endpoint(self.plan, process, self.paths, self.addresses)

    def spawn(self, process: str, keep: int) -> subprocess.Popen[bytes]:
        reader = Path(__file__).with_name("channel_reader.py")
        child = subprocess.Popen([sys.executable, str(reader)], stdin=subprocess.PIPE)
        self.children.append(child)
        child.stdin.write(pickle.dumps((self.plan, process, self.paths, self.addresses, keep)))
        child.stdin.close()
        return child

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()
        for end in self.ends.values():
            end.close()
        for file in self.files.values():
            file.close()


@pytest.fixture(params=["direct", "zeromq"])
def link(request) -> LinkName:
    return request.param


@pytest.fixture
def rigs(link):
    made: list[Rig] = []

    def make(graph: Plan, *, here: tuple[str, ...]) -> Rig:
        made.append(Rig(graph, link, here=here))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def packet(unit: int, array: np.ndarray | None) -> Packet:
    if array is None:
        return Packet(STREAM, unit, 0, 0, 0, Validity.END)
    return Packet(STREAM, unit, 0, 0, 0, Validity.REAL, {"": array}, produced_ns=zlib.crc32(array))


def pattern(unit: int) -> np.ndarray:
    return np.random.default_rng(unit).integers(0, 256, N_BYTES, np.uint8)


def test_a_packet_reaches_every_reader_through_one_slot(rigs):
    rig = rigs(plan("a", "b"), here=("main", "a", "b"))
    assert rig.main.publisher.publish(packet(5, pattern(5)), ["a", "b"]) == (N_BYTES, "shared")
    arrived = [rig.ends[name].inbox.receive() for name in "ab"]
    assert all(p.unit == 5 and (p.array == pattern(5)).all() for p in arrived)
    assert rig.main.pool.holders(STREAM) == {"a": 1, "b": 1}
    arrived.clear()
    assert rig.main.pool.holders(STREAM) == {}


def test_packets_of_one_message_are_received_one_by_one_each_from_its_slot(rigs):
    rig = rigs(plan("a", "b"), here=("main", "a", "b"))
    sent = [packet(5, pattern(5)), packet(6, pattern(6)), packet(7, None)]
    assert rig.main.publisher.publish_all(sent, ["a", "b"]) == ["shared", "shared", "inline"]
    for name in "ab":
        inbox, arrived, more = rig.ends[name].inbox, [], []
        for _ in sent:
            arrived.append(inbox.receive())
            more.append(inbox.has_more)
        assert [p.unit for p in arrived] == [5, 6, 7] and more == [True, True, False]
        assert all((p.array == pattern(p.unit)).all() for p in arrived[:2])
        assert rig.main.pool.holders(STREAM)[name] == 2
        del arrived
    assert rig.main.pool.holders(STREAM) == {}


def test_only_the_readers_named_get_it(rigs):
    rig = rigs(plan("a", "b"), here=("main", "a", "b"))
    rig.main.publisher.publish(packet(1, pattern(1)), ["b"])
    assert rig.main.pool.holders(STREAM) == {"b": 1}
    assert rig.ends["b"].inbox.receive().unit == 1
    assert rig.ends["a"].inbox.receive(timeout_ms=0) is None


def test_what_is_produced_in_place_arrives_and_stays_readable_at_home(rigs):
    rig = rigs(plan("a"), here=("main", "a"))
    array = rig.main.publisher.empty(STREAM, "", (N_BYTES,), np.uint8)
    array[:] = pattern(2)
    assert rig.main.publisher.publish(packet(2, array), ["a"]) == (N_BYTES, "shared")
    assert rig.main.pool.holders(STREAM) == {"main": 1, "a": 1}
    arrived = rig.ends["a"].inbox.receive()
    assert (arrived.array == pattern(2)).all()
    assert not array.flags.writeable


def test_when_the_pool_is_dry_the_payload_travels_with_its_header(rigs):
    rig = rigs(plan("a"), here=("main", "a"))
    ways, kept = [], []
    for unit in range(WINDOW + 4):
        ways.append(rig.main.publisher.publish(packet(unit, pattern(unit)), ["a"])[1])
        kept.append(rig.ends["a"].inbox.receive())
    assert ways == ["shared"] * (WINDOW + 2) + ["inline"] * 2
    assert rig.main.pool.holders(STREAM) == {"a": WINDOW + 2}
    assert all((p.array == pattern(p.unit)).all() for p in kept)
    assert all(not p.array.flags.writeable for p in kept)


def test_a_process_that_shares_nothing_sends_inline(rigs):
    rig = rigs(plan("a", carrier="inline"), here=("main", "a"))
    assert rig.main.pool is None
    array = rig.main.publisher.empty(STREAM, "", (N_BYTES,), np.uint8)
    array[:] = pattern(1)
    assert rig.main.publisher.publish(packet(1, array), ["a"]) == (N_BYTES, "inline")
    assert (rig.ends["a"].inbox.receive().array == pattern(1)).all()


def test_a_packet_without_payload_takes_no_slot(rigs):
    rig = rigs(plan("a"), here=("main", "a"))
    assert rig.main.publisher.publish(packet(9, None), ["a"]) == (0, "inline")
    assert rig.ends["a"].inbox.receive() == packet(9, None)


def test_packets_arrive_in_the_order_they_were_sent_whichever_way_each_went(rigs):
    rig = rigs(plan("a"), here=("main", "a"))
    sent = [packet(unit, None if unit % 3 == 0 else pattern(unit)) for unit in range(3 * WINDOW)]
    ways = {rig.main.publisher.publish(p, ["a"])[1] for p in sent}
    arrived = [rig.ends["a"].inbox.receive() for _ in sent]
    assert ways == {"shared", "inline"}
    assert [(p.unit, p.validity) for p in arrived] == [(p.unit, p.validity) for p in sent]


def test_many_threads_send_at_a_time_each_in_its_own_order(rigs):
    rig = rigs(plan("a"), here=("main", "a"))
    refused = []

    def live(thread: int) -> None:
        packets = (Packet(STREAM, unit, thread, 0, 0, Validity.EMPTY) for unit in range(5))
        refused.extend(rig.main.outbox.offer(["a"], encode(p)) for p in packets)

    threads = [threading.Thread(target=live, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [()] * 5 * 8
    arrived = [rig.ends["a"].inbox.receive() for _ in range(5 * 8)]
    for thread in range(8):
        assert [p.unit for p in arrived if p.generation == thread] == list(range(5))


def test_another_thread_can_wake_the_receiver(rigs):
    inbox = rigs(plan("a"), here=("main", "a")).ends["a"].inbox
    thread = threading.Thread(target=inbox.wake)
    thread.start()
    assert inbox.receive() is None
    thread.join()


def test_a_wake_before_receiving_is_not_lost(rigs):
    inbox = rigs(plan("a"), here=("main", "a")).ends["a"].inbox
    inbox.wake()
    assert inbox.receive() is None


def test_waiting_ends_after_the_time_out(rigs):
    inbox = rigs(plan("a"), here=("main", "a")).ends["a"].inbox
    assert inbox.receive(timeout_ms=1) is None


def test_what_is_not_ours_is_refused_and_the_next_message_read(rigs):
    rig = rigs(plan("a"), here=("main", "a"))
    for foreign in (b"hello", b"WG\x02P\xc1", b"WG\x02?"):
        rig.main.outbox.offer(["a"], [foreign])
    rig.main.publisher.publish(packet(1, None), ["a"])
    inbox = rig.ends["a"].inbox
    with pytest.raises(RunError, match=r"^message: found b'hello' \(expected a wangraph header\), who else writes to"):
        inbox.receive()
    with pytest.raises(RunError, match=r"^message: found a broken packet header \(expected version 2\): "):
        inbox.receive()
    with pytest.raises(RunError, match=r"^message: found kind b'\?' \(expected b'P' or b'M', packets\)$"):
        inbox.receive()
    assert inbox.receive() == packet(1, None)


def test_two_listeners_at_one_address_are_refused(rigs):
    rig = rigs(plan("a"), here=("main",))
    expected = (
        f"process 'main': {rig.addresses['main']}: Address already in use (expected a free address), "
        "give every run its own id"
    )
    with pytest.raises(StartError, match=f"^{re.escape(expected)}$"):
        rig.open("main")


def test_a_reader_that_has_stopped_is_named_and_its_leases_are_taken_back(rigs):
    rig = rigs(plan("a", "b"), here=("main", "b"))
    bound = queue_bound(rig.plan, "a")
    for unit in range(bound):
        rig.main.publisher.publish(packet(unit, None), ["a"])
    expected = (
        f"process 'a': unit {bound} of 'see.latents' not taken, more than {bound} messages wait "
        "(expected them to be read), is it stopped or starved of CPU?"
    )
    with pytest.raises(PeerFull, match=f"^{re.escape(expected)}$") as caught:
        rig.main.publisher.publish(packet(bound, pattern(7)), ["a", "b"])
    assert caught.value.peers == ("a",)
    assert rig.main.pool.holders(STREAM) == {"b": 1}
    assert rig.ends["b"].inbox.receive().unit == bound
    with pytest.raises(PeerFull, match=f"^{re.escape(expected)}$"):
        rig.main.publisher.publish(packet(bound, None), ["a"])


def test_the_queue_of_a_process_is_bounded_by_the_windows_it_reads():
    assert queue_bound(plan("a"), "a") == 2 * WINDOW + SPARE_MESSAGES
    assert queue_bound(plan("a"), "nobody") == SPARE_MESSAGES


def test_addresses_leave_no_file():
    assert local_addresses("r", ["main"]) == {"main": "unix://@wangraph-r-main"}
    assert local_addresses("r", ["main"], "zeromq") == {"main": "ipc://@wangraph-r-main"}


def test_a_peer_that_never_comes_is_sent_what_fits_and_lets_the_run_end(rigs):
    rig = rigs(plan("a"), here=("main",))
    bound = queue_bound(rig.plan, "a")
    refused = [rig.main.outbox.offer(["a"], encode(packet(unit, None))) for unit in range(bound + 2)]
    assert refused == [()] * bound + [("a",)] * 2
    rig.ends.pop("main").close()  # which would never end if a socket still wanted to send


def test_a_reader_that_listens_later_gets_all_that_was_sent_in_order(rigs):
    rig = rigs(plan("a"), here=("main",))
    for unit in range(9):
        rig.main.publisher.publish(packet(unit, pattern(unit)), ["a"])
    reader = rig.ends["a"] = rig.open("a")
    arrived = [reader.inbox.receive(10_000) for _ in range(9)]
    assert [p.unit for p in arrived] == list(range(9))
    assert all((p.array == pattern(p.unit)).all() for p in arrived)


def test_a_peer_that_has_moved_gets_nothing_that_was_meant_for_the_life_before(rigs, link):
    rig = rigs(plan("a"), here=("main", "a"))
    rig.main.publisher.publish(packet(0, None), ["a"])
    rig.ends.pop("a").close()
    for unit in (1, 2):
        rig.main.publisher.publish(packet(unit, None), ["a"])
    rig.addresses = local_addresses(rig.run + "-2", rig.plan.processes, link)
    reader = rig.ends["a"] = rig.open("a")
    rig.main.publisher.peer_up("a", rig.addresses["a"])
    for unit in (3, 4):
        rig.main.publisher.publish(packet(unit, None), ["a"])
    assert [reader.inbox.receive(10_000).unit for _ in range(2)] == [3, 4]
    assert reader.inbox.receive(timeout_ms=0) is None


def test_a_peer_that_dies_holds_up_nobody_and_its_slots_come_back(rigs):
    rig = rigs(plan("a", "b"), here=("main", "a", "b"))
    rig.main.publisher.publish(packet(0, pattern(0)), ["a", "b"])
    rig.ends.pop("a").close()
    for unit in range(1, 4):
        rig.main.publisher.publish(packet(unit, pattern(unit)), ["a", "b"])
    rig.main.peer_down("a")
    assert [rig.ends["b"].inbox.receive().unit for _ in range(4)] == [0, 1, 2, 3]
    assert rig.main.pool.holders(STREAM) == {}


def test_two_senders_reach_one_reader_each_in_its_own_order(rigs):
    rig = rigs(plan("a", "b"), here=("main", "a", "b"))
    for unit in range(20):
        for name, generation in (("main", 0), ("b", 1)):
            sent = Packet(STREAM, unit, generation, 0, 0, Validity.EMPTY)
            assert rig.ends[name].outbox.offer(["a"], encode(sent)) == ()
    arrived = [rig.ends["a"].inbox.receive() for _ in range(2 * 20)]
    for generation in (0, 1):
        assert [p.unit for p in arrived if p.generation == generation] == list(range(20))


@pytest.mark.parametrize("n_bytes", [0, 1, 60_000, 65_536, 300_000, 25_000_000])
def test_a_payload_of_any_size_goes_inline_to_every_reader(rigs, n_bytes):
    rig = rigs(plan("a", "b", carrier="inline"), here=("main", "a", "b"))
    array = np.random.default_rng(0).integers(0, 256, n_bytes, np.uint8)
    sent = Packet(STREAM, 3, 0, 0, 0, Validity.REAL, {"bytes": array, "floats": np.arange(3.0), "": np.array(2)})
    rig.main.publisher.publish(sent, ["a", "b"])
    for name in "ab":
        arrived = rig.ends[name].inbox.receive(10_000)
        assert {key: value.dtype for key, value in arrived.tensors.items()} == {
            key: value.dtype for key, value in sent.tensors.items()
        }
        assert all((arrived.tensors[key] == value).all() for key, value in sent.tensors.items())
        assert all(value.flags.aligned and not value.flags.writeable for value in arrived.tensors.values())


@pytest.mark.parametrize("in_place", [False, True])
def test_no_payload_is_ever_torn_however_long_another_process_looks(rigs, in_place):
    rig = rigs(plan("reader"), here=("main",))
    child = rig.spawn("reader", keep=WINDOW + 2)
    assert rig.main.inbox.receive(10_000).validity is Validity.EMPTY
    ways = []
    for unit in range(1500):
        array = pattern(unit % 7)
        array[:8] = np.frombuffer(unit.to_bytes(8, "little"), np.uint8)
        if in_place:
            slot = rig.main.publisher.empty(STREAM, "", (N_BYTES,), np.uint8)
            slot[:] = array
            array = slot
        ways.append(send(rig, packet(unit, array)))
    send(rig, packet(1500, None))
    packets, torn = rig.main.inbox.receive(10_000).array
    assert (packets, torn) == (1500, 0)
    assert child.wait(10) == 0
    assert set(ways) == {"shared", "inline"}
    array = slot = None
    assert rig.main.pool.holders(STREAM) == {}


def send(rig: Rig, sent: Packet) -> str:
    """As fast as the reader takes it."""
    while True:
        try:
            return rig.main.publisher.publish(sent, ["reader"])[1]
        except PeerFull:
            os.sched_yield()


def test_a_killed_reader_leaves_leases_that_can_be_reclaimed_and_nothing_else(rigs):
    rig = rigs(plan("reader"), here=("main",))
    child = rig.spawn("reader", keep=100)
    assert rig.main.inbox.receive(10_000).validity is Validity.EMPTY
    rig.main.publisher.publish(packet(0, pattern(0)), ["reader"])
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert rig.main.pool.holders(STREAM) == {"reader": 1}
    rig.main.pool.reclaim("reader")
    assert rig.main.pool.holders(STREAM) == {}
    rig.close()
    assert not list(Path("/dev/shm").glob(f"*{rig.run}*"))
    sockets = Path("/proc/net/unix")
    assert not sockets.exists() or rig.run not in sockets.read_text()
