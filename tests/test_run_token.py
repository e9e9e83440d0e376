"""Messages on a run's inside sockets: those of other programs of the same user change nothing, and are reported."""

from __future__ import annotations

import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engine_toys as toys
import msgspec
import numpy as np
import pytest
import zmq

from wangraph.runtime.channel.wire import WAKE, encode, head
from wangraph.runtime.engine.control import (
    Failed,
    Finished,
    Halt,
    Hello,
    NodeRequest,
    ProcessEnd,
    SupervisorEnd,
    ToSupervisor,
)
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.engine.taps import TapReceiver, TapSender
from wangraph.runtime.observe.run_file import running, runs_folder
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.run_token import N_CHARACTERS, Strangers, is_token, new_token

UNITS = 12
CONTROL = (
    "control socket: found a message without this run's token (expected those of its own processes), it was dropped: "
    "another program of this user knows the address"
)
TAP = CONTROL.replace("control", "tap")
STATUS = CONTROL.replace("control", "status")
PACKETS = CONTROL.replace("control socket", "socket of process 'main'")


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    (folder := tmp_path / "runtime").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


def address_of(ending: str) -> str:
    """An abstract address that a process of this machine listens at; any program can read them there."""
    own = rf"@wangraph-{os.getpid():x}-[0-9a-f]+{re.escape(ending)}$"
    (found,) = {match[0] for match in re.finditer(own, Path("/proc/net/unix").read_text(), re.MULTILINE)}
    return f"ipc://{found}"


class Stranger:
    """Another program of this user: it sends messages that only lack the token."""

    def __init__(self) -> None:
        self.context = zmq.Context()

    def send(self, kind: int, address: str, messages, identity: bytes = b"") -> None:
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 2000)
        if identity:
            socket.setsockopt(zmq.IDENTITY, identity)
        socket.connect(address)
        for frames in messages:
            socket.send_multipart(frames)
        socket.close()

    def close(self) -> None:
        self.context.term()


def control_messages() -> list[list[bytes]]:
    harm: list[ToSupervisor] = [
        NodeRequest([], reason="I was never asked"),
        NodeRequest(["numbers.video"], 2),
        Failed("the end"),
        Finished([], 0.0, 0.0),
        Hello("main", 1),
    ]
    return [*([msgspec.json.encode(message)] for message in harm), [b"\xff garbage"], [b""]]


class Attack:
    """Watches a run, and has strangers send what would harm it once it presents units."""

    def __init__(self, run: Run) -> None:
        self.run, self.is_done = run, False

    def poll(self, statistics, usage):
        if self.is_done or statistics.units_presented < 3:
            return
        self.is_done = True
        stranger = Stranger()
        for identity in (b"", b"main", b"far", b"\xff\xfe", b"0" * N_CHARACTERS + b"main"):
            stranger.send(zmq.DEALER, address_of(".supervisor"), control_messages(), identity)
        packet = Packet("play.shown", 3, 0, 0, 1, Validity.REAL, {"": np.zeros((4, 16, 16, 3), np.uint8)})
        forged = [[new_token().encode(), *encode(packet)], encode(packet), [head(WAKE, b"main")], [b"x"]]
        stranger.send(zmq.PUSH, address_of(".supervisor-taps"), forged)
        (found,) = running()
        stranger.send(zmq.DEALER, found.address, [[b"", b"?"], [b"", new_token().encode(), b"?"], [b"?"]])
        stranger.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            other.connect("\0" + address_of("-main").removeprefix("ipc://@"))
            other.send(encode(packet)[0])


def test_a_stranger_at_the_inside_sockets_changes_nothing_and_is_reported(tmp_path):
    quiet = Run(toys.looped(tmp_path / "quiet", latency_ms=600).plan(), Options(units=UNITS, taps=("play.shown",)))
    expected = quiet.start().wait()
    run = Run(toys.looped(tmp_path / "loud", latency_ms=600).plan(), Options(units=UNITS, taps=("play.shown",)))
    attack = run.collector.watcher = Attack(run)
    result = run.start().wait()
    assert attack.is_done
    assert (tmp_path / "loud").read_text() == (tmp_path / "quiet").read_text()
    packets = [result.packets["play.shown"], expected.packets["play.shown"]]
    assert len(packets[0]) == len(packets[1]) > UNITS  # the end is one
    for mine, theirs in zip(*packets, strict=True):
        assert (mine.unit, mine.validity) == (theirs.unit, theirs.validity)
        assert not mine.tensors or mine.array.tobytes() == theirs.array.tobytes()
    notes = [note.text for note in run.collector.statistics.notes if note.kind == "warning"]
    assert [notes.count(text) for text in (CONTROL, TAP, STATUS, PACKETS)] == [1, 1, 1, 1]
    in_all = {text for text in notes if text.endswith(" in all")}
    assert in_all <= {
        "control socket: dropped 35 messages without this run's token in all",
        "tap socket: dropped 4 messages without this run's token in all",
        "status socket: dropped 3 messages without this run's token in all",
    }
    assert result.summary["units"] == UNITS and not result.summary["misses"]


@pytest.fixture
def ends():
    """Both ends of a control socket, and another that only lacks the token."""
    token, address, context = new_token(), f"ipc://@wangraph-test-{os.getpid()}-{new_token()}", zmq.Context()
    supervisor = SupervisorEnd(context, address, token)
    own, other = ProcessEnd(address, "main", token), ProcessEnd(address, "main", new_token())
    yield supervisor, own, other
    own.close()
    other.close()
    supervisor.close()
    context.term()


def test_what_is_sent_to_a_process_reaches_no_other_program_of_its_name(ends):
    supervisor, own, other = ends
    other.send(Hello("main", 1))
    own.send(Hello("main", 2))
    assert supervisor.receive(5000) == ("main", Hello("main", 2), b"")
    supervisor.send("main", Halt(at_once=True))
    assert own.receive(5000) == (Halt(at_once=True), b"")
    assert other.receive(0) is None


def test_who_waits_for_a_process_is_not_sent_away_by_a_stranger(ends):
    supervisor, own, other = ends
    with ThreadPoolExecutor(1) as pool:
        other.send(Hello("main", 1))
        waiting = pool.submit(supervisor.receive, 60_000)
        while not supervisor.strangers.n_dropped:
            os.sched_yield()
        own.send(Hello("main", 2))
        assert waiting.result() == ("main", Hello("main", 2), b"")


def test_a_flood_of_strangers_lets_the_supervisor_come_back(ends, monkeypatch):
    monkeypatch.setattr("wangraph.runtime.engine.control.MOST_STRANGERS", 10)
    supervisor, _, other = ends
    for _ in range(25):
        other.send(Hello("main", 1))
    seen = []
    while supervisor.strangers.n_dropped < 25:
        assert supervisor.receive(0) is None
        seen.append(supervisor.strangers.n_dropped)
    assert all(later - before <= 10 for before, later in zip([0, *seen], seen, strict=False))


def test_packets_without_the_token_are_not_handed_on(tmp_path):
    token, context, got = new_token(), zmq.Context(), []
    address = f"ipc://@wangraph-test-{os.getpid()}-{new_token()}"
    receiver = TapReceiver(context, address, token, got.append)
    for its, unit in ((new_token(), 1), (token, 2)):
        sender = TapSender(address, "main", its)
        sender.add("a.b")
        sender.put(Packet("a.b", unit, 0, 0, 1, Validity.EMPTY, {}))
        sender.close()
    receiver.close(["main"])
    context.term()
    assert [packet.unit for packet in got] == [2]
    assert receiver.strangers.n_dropped == 2  # its packet, and its word that this was all


def test_the_token_stands_in_no_command_line_and_no_environment(tmp_path):
    run = Run(toys.looped(tmp_path / "out", latency_ms=600).plan(), Options(units=3))
    shown = []

    class Look:
        def poll(self, statistics, usage):
            for used in usage.values() if not shown else ():
                shown.extend(Path(f"/proc/{used['pid']}/{file}").read_bytes() for file in ("cmdline", "environ"))

    run.collector.watcher = Look()
    run.start().wait()
    token = run.collector.engine._control.token
    assert len(token) == N_CHARACTERS
    assert shown and not [text for text in shown if token.encode() in text]


def test_a_run_file_is_for_its_user_alone(tmp_path):
    modes, tokens = set(), set()
    run = Run(toys.looped(tmp_path / "out", latency_ms=600).plan(), Options(units=3))

    class Look:
        def poll(self, statistics, usage):
            modes.update(path.stat().st_mode & 0o777 for path in runs_folder().glob("*.json"))
            tokens.update(found.token for found in running())

    run.collector.watcher = Look()
    run.start().wait()
    assert modes == {0o600} and len(tokens) == 1 and len(tokens.pop()) == N_CHARACTERS


def test_strangers_are_reported_once_and_at_the_end_all_of_them():
    strangers = Strangers("control socket")
    assert strangers.news() == "" == strangers.news(is_end=True)
    strangers.drop()
    assert strangers.news() == CONTROL
    assert strangers.news() == "" == strangers.news(is_end=True)
    strangers.drop()
    assert strangers.news() == ""
    assert strangers.news(is_end=True) == "control socket: dropped 2 messages without this run's token in all"


def test_a_token_is_itself_and_no_part_of_it():
    token = new_token()
    assert is_token(token.encode(), token) and len(token) == N_CHARACTERS
    for other in (b"", token[:-1].encode(), token.encode() + b"0", new_token().encode(), b"\xff" * 32):
        assert not is_token(other, token)
