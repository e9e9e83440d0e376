"""The direct link beyond the contract of links: strangers, the kernel's bounds, files that travel, and its courtesy."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import socket
import threading
import time
from array import array
from pathlib import Path

import numpy as np
import pytest

from wangraph.runtime.channel import direct_outbox
from wangraph.runtime.channel.datagram import LARGEST, Datagram, frames_of
from wangraph.runtime.channel.direct import Counter, greeting, socket_name
from wangraph.runtime.channel.direct_inbox import DirectInbox
from wangraph.runtime.channel.direct_outbox import DirectOutbox
from wangraph.runtime.channel.transport import local_address
from wangraph.runtime.channel.wire import encode
from wangraph.runtime.errors import RunError
from wangraph.runtime.packet import Packet, Validity

TOKEN = "token-of-this-run"
BOUND = 200


def packet(unit: int, array: np.ndarray | None = None) -> Packet:
    tensors = {} if array is None else {"": array}
    return Packet("see.latents", unit, 0, 0, 0, Validity.EMPTY if array is None else Validity.REAL, tensors)


class Ends:
    """A reader ``a``, and senders to it."""

    def __init__(self) -> None:
        self.address = local_address(secrets.token_hex(6), "a")
        self._inbox: DirectInbox | None = None
        self._outboxes: list[DirectOutbox] = []

    @property
    def inbox(self) -> DirectInbox:
        self._inbox = self._inbox or DirectInbox(self.address, "a", {}, TOKEN)
        return self._inbox

    def sender(self, token: str = TOKEN, bound: int = BOUND) -> DirectOutbox:
        self._outboxes.append(DirectOutbox({"a": self.address}, {"a": bound}, token))
        return self._outboxes[-1]

    def stranger(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(socket_name(self.address))
        return connection

    def close(self) -> None:
        if self._inbox is not None:
            self._inbox.close()
        for outbox in self._outboxes:
            outbox.close()


@pytest.fixture
def ends():
    made = Ends()
    yield made
    made.close()


def arrive(inbox: DirectInbox, n: int) -> list[int]:
    return [inbox.receive(10_000).unit for _ in range(n)]


def n_open() -> int:
    return len(os.listdir("/proc/self/fd"))


# Who may connect


@pytest.mark.parametrize("token", ["", "token-of-another-run"])
def test_who_does_not_know_the_token_is_refused_and_the_others_are_read(ends, token):
    inbox = ends.inbox
    ends.sender(token).offer(["a"], encode(packet(1)))
    assert inbox.receive(timeout_ms=0) is None
    assert inbox.strangers.n_dropped == 1
    ends.sender().offer(["a"], encode(packet(2)))
    assert arrive(inbox, 1) == [2]


@pytest.mark.parametrize("first", [b"hello", b"WG\x01L" + TOKEN.encode(), greeting(TOKEN), encode(packet(1))[0]])
def test_a_connection_that_does_not_begin_as_it_should_is_closed(ends, first):
    inbox = ends.inbox
    with ends.stranger() as stranger:
        stranger.send(first)
        assert inbox.receive(timeout_ms=0) is None
        assert inbox.strangers.n_dropped == 1
        assert stranger.recv(10) == b""


def test_a_counter_that_could_be_cut_short_under_its_reader_is_refused(ends):
    inbox, file = ends.inbox, os.memfd_create("counter", os.MFD_ALLOW_SEALING)
    os.ftruncate(file, 4096)
    with ends.stranger() as stranger:
        socket.send_fds(stranger, [greeting(TOKEN)], [file])
        assert inbox.receive(timeout_ms=0) is None
        assert inbox.strangers.n_dropped == 1
    os.close(file)


@pytest.mark.parametrize("refuses", ["reader", "sender"])
def test_both_ends_refuse_a_process_of_another_user(ends, refuses, monkeypatch):
    module = {"reader": "direct_inbox", "sender": "direct_outbox"}[refuses]
    monkeypatch.setattr(f"wangraph.runtime.channel.{module}.is_own_user", lambda connection: False)
    inbox, outbox = ends.inbox, ends.sender()
    assert outbox.offer(["a"], encode(packet(1))) == ()
    assert inbox.receive(timeout_ms=0) is None
    assert inbox.strangers.n_dropped == (refuses == "reader")


def test_a_sender_that_connects_and_leaves_again_disturbs_nobody(ends):
    inbox = ends.inbox
    ends.stranger().close()
    ends.sender().offer(["a"], encode(packet(3)))
    assert arrive(inbox, 1) == [3]
    assert inbox.receive(timeout_ms=0) is None


# The bound


def fill(outbox: DirectOutbox, payload: np.ndarray | None = None) -> int:
    """How many messages go until the reader counts as full."""
    return next(n for n in range(10 * BOUND) if outbox.offer(["a"], encode(packet(n, payload))))


def test_exactly_as_many_messages_wait_as_may_and_each_that_is_read_makes_room_for_one(ends):
    inbox, outbox = ends.inbox, ends.sender()
    assert fill(outbox) == BOUND
    assert outbox.offer(["a"], encode(packet(0))) == ("a",)
    assert arrive(inbox, 3) == [0, 1, 2]
    assert [outbox.offer(["a"], encode(packet(BOUND + n))) for n in range(4)] == [(), (), (), ("a",)]
    assert arrive(inbox, BOUND) == list(range(3, BOUND + 3))


def burst_in_order(ends: Ends) -> None:
    """A law: where the kernel takes less than the bound, the rest waits for it, and all arrives in order."""
    inbox, outbox = ends.inbox, ends.sender()
    assert fill(outbox, np.zeros(20_000, np.uint8)) == BOUND
    arrived = arrive(inbox, BOUND // 2)  # there is room in the kernel again while others still wait here
    more = [n for n in range(BOUND, BOUND + 20) if not outbox.offer(["a"], encode(packet(n)))]
    arrived += arrive(inbox, BOUND // 2 + len(more))
    assert arrived == list(range(BOUND + 20))


def test_a_burst_that_the_kernel_has_no_room_for_arrives_whole_and_in_order(ends):
    burst_in_order(ends)


def test_a_sender_whose_messages_overtake_those_that_wait_breaks_the_order(ends, monkeypatch):
    class Hasty(direct_outbox._Line):
        def _drain(self) -> bool:
            if self.waiting and self._sent(self.waiting[-1]):
                self.waiting.pop()
                return True
            return super()._drain()

    monkeypatch.setattr(direct_outbox, "_Line", Hasty)
    with pytest.raises(AssertionError):
        burst_in_order(ends)


def test_a_kernel_that_lacks_memory_delays_and_loses_nothing(ends, monkeypatch):
    inbox, outbox, send, failing = ends.inbox, ends.sender(), direct_outbox._send, [errno.ENOBUFS, errno.ETOOMANYREFS]

    def poor(*arguments: object) -> None:
        if failing:
            raise OSError(failing.pop(), "no memory")
        send(*arguments)

    monkeypatch.setattr(direct_outbox, "_send", poor)
    for unit in range(5):
        assert outbox.offer(["a"], encode(packet(unit))) == ()
    assert arrive(inbox, 5) == list(range(5))


def test_what_waits_when_an_outbox_is_closed_still_leaves(ends):
    inbox, outbox = ends.inbox, ends.sender()
    large = np.zeros(60_000, np.uint8)
    for unit in range(3):
        outbox.offer(["a"], encode(packet(unit, large)))
    outbox.close()
    assert arrive(inbox, 3) == [0, 1, 2]


def test_a_reader_that_is_gone_is_not_called_full_and_keeps_nothing(ends):
    inbox, outbox = ends.inbox, ends.sender()
    outbox.offer(["a"], encode(packet(0)))
    inbox.close()
    before = n_open()
    large = np.zeros(200_000, np.uint8)
    assert [outbox.offer(["a"], encode(packet(unit, large))) for unit in range(2 * BOUND)] == [()] * 2 * BOUND
    assert n_open() == before


# What does not fit a datagram


def test_a_large_message_is_written_once_for_all_of_its_readers():
    frames = [b"head", np.arange(LARGEST, dtype=np.uint8).data]
    datagram = Datagram(frames)
    read = [frames_of(memoryview(b"".join(datagram.parts)), datagram.file) for _ in range(2)]
    assert [[bytes(frame) for frame in found] for found in read] == [[bytes(frame) for frame in frames]] * 2
    assert sum(map(len, datagram.parts)) < 100


def test_no_descriptor_is_left_of_messages_that_travelled_as_files(ends):
    inbox, outbox = ends.inbox, ends.sender()
    outbox.offer(["a"], encode(packet(0)))
    assert arrive(inbox, 1) == [0]
    before, kept = n_open(), []
    for unit in range(20):
        outbox.offer(["a"], encode(packet(unit, np.zeros(100_000, np.uint8))))
        kept.append(inbox.receive(10_000))
    assert n_open() == before
    outbox.offer(["a"], encode(packet(9, np.zeros(3_000_000, np.uint8))))
    mapped = inbox.receive(10_000)
    assert n_open() == before + 1
    del mapped
    assert n_open() == before


def sealed(n_bytes: int) -> int:
    file = os.memfd_create("file", os.MFD_ALLOW_SEALING)
    os.ftruncate(file, n_bytes)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return file


HEAD_OF_TWO = b"W+" + (2).to_bytes(4, "little")
LENGTHS = (10).to_bytes(8, "little") + (100_000).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (b"W+", "message: found 0 frames in 2 bytes, was the message cut?"),
        (b"W+" + bytes(4), "message: found 0 frames in 6 bytes, was the message cut?"),
        (b"W+" + b"\xff" * 4, "message: found 4294967295 frames in 6 bytes, was the message cut?"),
        (HEAD_OF_TWO + LENGTHS[:9], "message: found 2 frames in 15 bytes, was the message cut?"),
        (HEAD_OF_TWO + LENGTHS, "message: found 22 bytes (expected 100128), was the message cut?"),
    ],
)
def test_a_datagram_that_is_cut_short_is_refused(datagram, expected):
    with pytest.raises(RunError) as caught:
        frames_of(memoryview(datagram), None)
    assert str(caught.value) == expected


def test_a_file_that_is_too_short_or_can_change_is_refused():
    short, open_file = sealed(100), os.memfd_create("file")
    os.ftruncate(open_file, 1 << 20)
    with pytest.raises(RunError, match=r"^message: found 100 bytes \(expected 100064\), was the message cut\?$"):
        frames_of(memoryview(HEAD_OF_TWO + LENGTHS), short)
    expected = r"^message: found a file that can change \(expected a sealed one\), who else writes to this socket\?$"
    for file in (open_file, os.open("/dev/zero", os.O_RDONLY)):
        with pytest.raises(RunError, match=expected if file == open_file else "^message: found"):
            frames_of(memoryview(HEAD_OF_TWO + LENGTHS), file)
        os.close(file)
    os.close(short)


def greeted(ends: Ends) -> socket.socket:
    """A connection of somebody who knows the token, and who writes what it likes."""
    assert ends.inbox.receive(timeout_ms=0) is None  # it listens
    connection, counter = ends.stranger(), Counter()
    socket.send_fds(connection, [greeting(TOKEN)], [counter.file])
    counter.close_file()
    return connection


def test_a_datagram_that_is_longer_than_any_of_ours_is_refused_and_the_next_one_read(ends):
    with greeted(ends) as connection:
        connection.send(bytes(LARGEST + 1))
        connection.send(encode(packet(4))[0])
        expected = rf"^message: found more than {LARGEST} bytes in one datagram, who else writes to this socket\?$"
        with pytest.raises(RunError, match=expected):
            ends.inbox.receive(10_000)
        assert arrive(ends.inbox, 1) == [4]


def test_descriptors_that_nobody_wants_are_not_kept(ends):
    with greeted(ends) as connection:
        connection.send(encode(packet(1))[0])
        assert arrive(ends.inbox, 1) == [1]
        before, file = n_open(), os.open("/dev/null", os.O_RDONLY)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file] * 2))]
        connection.sendmsg([encode(packet(2))[0]], rights)
        os.close(file)
        with pytest.raises(RunError, match=r"^message: its file did not come \(expected one\), has this process too"):
            ends.inbox.receive(10_000)
        assert n_open() == before


def test_neither_end_leaves_anything_behind():
    before, made = n_open(), Ends()
    outbox = made.sender()
    outbox.offer(["a"], encode(packet(0, np.zeros(100_000, np.uint8))))  # nobody listens yet: it waits
    assert arrive(made.inbox, 1) == [0]
    name = made.address.removeprefix("unix://")
    assert name in Path("/proc/net/unix").read_text()
    made.close()
    assert name not in Path("/proc/net/unix").read_text()
    del outbox, made
    assert n_open() == before


# Several threads that receive


class Listener:
    """A thread that waits by a poller, or attends; it writes down which units it was handed."""

    def __init__(self, inbox: DirectInbox, taken: list[tuple[str, int, int]], name: str) -> None:
        self.name, self._inbox, self._taken = name, inbox, taken
        self._poller = inbox.poller() if name != "attendant" else None
        self._is_over = False
        self.thread = threading.Thread(target=self._live)
        self.thread.start()

    def end(self) -> None:
        self._is_over = True
        (self._inbox.wake if self._poller is None else self._poller.ring)()
        self.thread.join()

    def _live(self) -> None:
        while not self._is_over:
            if self._poller is None:
                self._inbox.attend(self._take)
            else:
                self._poller.wait(self._take)

    def _take(self, packets: list[Packet]) -> None:
        self._taken += [(self.name, p.generation, p.unit) for p in packets]


def wait_for(taken: list[object], n: int) -> None:
    deadline = time.monotonic() + 10
    while len(taken) < n and time.monotonic() < deadline:
        os.sched_yield()
    assert len(taken) == n


def test_all_that_is_sent_is_handed_over_once_and_in_order_whichever_thread_receives(ends):
    taken: list[tuple[str, int, int]] = []
    listeners = [Listener(ends.inbox, taken, name) for name in ("poller 0", "poller 1", "attendant")]
    outboxes = [ends.sender(bound=10_000) for _ in range(3)]
    for unit in range(300):
        for generation, outbox in enumerate(outboxes):
            sent = Packet("see.latents", unit, generation, 0, 0, Validity.EMPTY)
            assert outbox.offer(["a"], encode(sent)) == ()
    wait_for(taken, 900)
    for listener in listeners:
        listener.end()
    for generation in range(3):
        assert [unit for _, g, unit in taken if g == generation] == list(range(300))


def test_what_comes_while_no_ear_waits_reaches_the_attendant(ends):
    taken: list[tuple[str, int, int]] = []
    poller, attendant = ends.inbox.poller(), Listener(ends.inbox, taken, "attendant")
    outbox = ends.sender()
    for unit in range(3):
        outbox.offer(["a"], encode(packet(unit)))
    wait_for(taken, 3)
    attendant.end()
    assert taken == [("attendant", 0, unit) for unit in range(3)]
    poller.ring()
    poller.wait(lambda packets: pytest.fail(f"handed over twice: {packets}"))


def test_an_ear_hands_over_what_woke_it_even_when_it_is_rung_at_the_same_time(ends):
    poller, outbox, taken = ends.inbox.poller(), ends.sender(), []
    outbox.offer(["a"], encode(packet(0)))
    for _ in range(3):  # the connection, its greeting, the message
        poller.ring()
        poller.wait(taken.extend)
    assert [p.unit for p in taken] == [0]


def test_an_ear_that_is_rung_before_it_waits_does_not_wait(ends):
    poller = ends.inbox.poller()
    poller.ring()
    poller.wait(lambda packets: pytest.fail("nothing was sent"))
