"""The door to a run: packets out, values in, parameters, fences, status and the end, from threads and from tasks."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterable

import engine_toys as toys
import numpy as np
import pytest
from test_engine import looped

import wangraph
from wangraph import Graph, NodeRunner, UserError
from wangraph.nodes.app import CaptureApp
from wangraph.runtime.engine.commands import Fence
from wangraph.runtime.engine.subscription import Bell, Subscription
from wangraph.runtime.errors import NodeError, RunError
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.schedule.events import Fenced, Updated


def talking() -> Graph:
    """chat (what the program sends) -> echo -> play; echo in a process of its own."""
    graph = Graph("talking", latency_ms=100)
    graph.process("main", lanes=["loop", "play"])
    graph.process("far")
    chat = graph.add("chat", "capture.app", width=8, height=8)
    echo = graph.add("echo", toys.Echo, process="far", inputs={"text": chat["text"]})
    graph.add("play", toys.Recite, lane="play", inputs={"text": echo["out"]})
    return graph


def text_of(packet: Packet) -> str:
    return packet.array.tobytes().decode() if packet.tensors else ""


def first_words(packets: Iterable[Packet], n: int) -> list[str]:
    """The texts of the first n packets that carry one."""
    found: list[str] = []
    for packet in packets:
        found += [text_of(packet)] if packet.tensors else []
        if len(found) == n:
            return found
    return found


HOW = [pytest.param({}, id="processes"), pytest.param({"serial": True}, id="serial")]


# In and out


@pytest.mark.parametrize("how", HOW)
def test_what_is_sent_comes_out_of_the_graph(how):
    with wangraph.start(talking(), **how) as run:
        answers = run.packets("echo.out")
        for word in ("three", "four"):
            run.send("chat.text", word)
        assert first_words(answers, 2) == ["three!", "four!"]


def test_packets_of_a_tap_begin_with_the_first_unit_however_late_they_are_asked_for(tmp_path):
    run = wangraph.start(looped(tmp_path / "out"), units=5, clock="virtual", taps=["mix.mixed"])
    result = run.wait()
    late = run.packets("mix.mixed")
    assert [packet.unit for packet in late] == [packet.unit for packet in result.packets["mix.mixed"]]


def test_a_stream_that_nobody_consumes_keeps_the_newest_and_counts_the_rest():
    stream = Subscription("a.b", 2, Bell())
    for unit in range(5):
        stream.put(Packet("a.b", unit, 0, 0, 0, Validity.EMPTY))
    stream.close()
    stream.put(Packet("a.b", 9, 0, 0, 0, Validity.EMPTY))
    assert [packet.unit for packet in stream] == [3, 4]
    assert stream.dropped == 3


def test_a_stream_without_a_bound_drops_nothing():
    stream = Subscription("a.b", None, Bell())
    for unit in range(500):
        stream.put(Packet("a.b", unit, 0, 0, 0, Validity.EMPTY))
    stream.close()
    assert [packet.unit for packet in stream] == list(range(500))


def test_nothing_in_time_is_none_and_the_stream_goes_on():
    stream = Subscription("a.b", None, Bell())
    assert stream.get(timeout_s=0) is None
    stream.put(Packet("a.b", 0, 0, 0, 0, Validity.EMPTY))
    assert stream.get(timeout_s=0).unit == 0


@pytest.mark.parametrize(
    ("stream", "value", "message"),
    [
        ("chat.txt", "x", "send: no stream 'chat.txt' (it has: chat.audio, chat.played, chat.text, chat.video, echo.out, play.shown); "
         "did you mean 'chat.text'?"),
        ("echo.out", "x", "send: node 'echo', output 'out': takes nothing from outside (expected a node that does, such as "
         "capture.app)"),
        ("chat.text", 3, "send: node 'chat', output 'text': found int (expected a string)"),
        ("chat.audio", "x", "send: node 'chat', output 'audio': found a string (expected an array), send it to the output "
         "'text'"),
        ("chat.audio", np.zeros((2, 3)), "send: node 'chat', output 'audio': found [2 3] float64 (expected samples: [n] "
         "float32 in -1..1)"),
        ("chat.audio", np.zeros(3, np.int16), "send: node 'chat', output 'audio': found [3] int16 (expected [n] float32 in "
         "-1..1), divide by the type's maximum"),
        ("chat.audio", np.array([np.nan]), "send: node 'chat', output 'audio': found samples that are no number (expected "
         "-1..1), replace them by 0"),
        ("chat.video", np.zeros((9, 8, 3), np.uint8), "send: node 'chat', output 'video': found [9 8 3] uint8 (expected "
         "[8 8 3] uint8, or several of them), resize them, or set the node's width and height"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_where_it_is_sent(stream, value, message):
    run = wangraph.start(talking(), units=1, clock="virtual")
    try:
        with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
            run.send(stream, value)
    finally:
        run.wait()


def test_sound_and_pictures_come_out_a_unit_at_a_time():
    with NodeRunner(CaptureApp(width=2, height=2, rate_hz=1000)) as app:
        assert app.step() == {"text": None, "audio": None, "video": None, "played": None}
        app.node.receive("audio", np.ones(200, np.float32))
        app.node.receive("video", np.full((1, 2, 2, 3), 7, np.uint8))
        first, second, third = app.step(), app.step(), app.step()
    assert first["audio"].sum() == 160 and second["audio"].sum() == 40 and third["audio"] is None
    assert (first["video"] == 7).all() and second["video"] is None


def test_sound_that_is_sent_faster_than_it_plays_stays_two_seconds_behind_at_most():
    with NodeRunner(CaptureApp(rate_hz=1000)) as app:
        app.node.receive("audio", np.arange(3000, dtype=np.float32))
        assert app.step()["audio"][0] == 1000


def test_sound_for_one_unit_alone_may_wait_where_it_would_stay_as_delay():
    with NodeRunner(CaptureApp(rate_hz=1000, backlog_s=0.16)) as app:
        app.node.receive("audio", np.arange(160, dtype=np.float32))
        app.node.receive("audio", np.arange(1000, 1160, dtype=np.float32))
        assert app.step()["audio"].tolist() == list(range(1000, 1160))


def test_what_was_heard_comes_out_a_unit_at_a_time_and_is_two_numbers():
    with NodeRunner(CaptureApp()) as app:
        for outcome in ([3, 0], [4, 1]):
            app.node.receive("played", CaptureApp.accept({}, "played", np.array(outcome)))
        assert [app.step()["played"].tolist() for _ in range(2)] == [[3, 0], [4, 1]]
        assert app.step()["played"] is None
    with pytest.raises(UserError, match=re.escape("found [3, 2] (expected [unit, 0] for heard or [unit, 1] for not")):
        CaptureApp.accept({}, "played", np.array([3, 2]))


# Parameters


@pytest.mark.parametrize("how", [*HOW, pytest.param({"clock": "virtual"}, id="virtual")])
def test_a_parameter_that_was_set_holds_from_a_unit_on_and_a_replay_sets_it_again(how):
    graph = Graph("marked", latency_ms=100)
    graph.process("main", lanes=["loop", "play"])
    words = graph.add("words", "capture.text", lines=[[k * 0.16, "one"] for k in range(12)])
    echo = graph.add("echo", toys.Echo, inputs={"text": words["text"]})
    graph.add("play", toys.Recite, lane="play", inputs={"text": echo["out"]})
    run = wangraph.start(graph, taps=["echo.out"], **how)
    run.set("echo", mark="?", first_unit=6)
    first = run.wait()
    changes = [e for e in first.log if isinstance(e, Updated)]
    assert [(c.node, c.values) for c in changes] == [("echo", {"mark": "?"})]
    at = max(6, changes[0].first_unit)
    said = [text_of(p) for p in first.packets["echo.out"] if p.tensors]
    assert said == ["one!"] * at + ["one?"] * (12 - at)
    assert [n["text"] for n in run.summary["notes"] if n["kind"] == "set"] == [
        f"node 'echo': mark = '?' from unit {changes[0].first_unit} on"
    ]
    again = wangraph.run(graph, log=first.log, taps=["echo.out"])
    assert [text_of(p) for p in again.packets["echo.out"] if p.tensors] == said


@pytest.mark.parametrize(
    ("node", "values", "message"),
    [
        ("ecco", {}, "set: no node 'ecco' (it has: chat, echo, play); did you mean 'echo'?"),
        ("echo", {"quiet": True}, "set: node 'echo': no live parameter 'quiet' (it has: mark)"),
        ("echo", {"mark": 3}, "set: node 'echo', mark: found 3 (expected a string)"),
        ("echo", {"mark": "!?"}, "set: node 'echo', mark: found '!?' (expected one of: !, ..., ?)"),
    ],
)
def test_what_cannot_be_set_is_refused_where_it_is_set(node, values, message):
    run = wangraph.start(talking(), units=1, clock="virtual")
    try:
        with pytest.raises(UserError, match=f"^{re.escape(message)}"):
            run.set(node, **values)
    finally:
        run.wait()


# What nodes ask for


@pytest.mark.parametrize("how", HOW)
def test_a_node_may_ask_for_the_end(how):
    with wangraph.start(talking(), **how) as run:
        run.send("chat.text", "enough")
        run.wait()
    assert not run.is_stopped and run.exit_code == 0
    assert [n["text"] for n in run.summary["notes"] if n["kind"] == "stop"] == [
        "node 'echo': the visitor has had enough"
    ]


@pytest.mark.parametrize("how", HOW)
def test_a_node_may_raise_a_fence(how):
    with wangraph.start(talking(), **how) as run:
        answers = run.packets("echo.out")
        run.send("chat.text", "interrupt")
        run.send("chat.text", "three")
        # its answer to the first word was begun before the fence: it is dropped unless it has settled by then
        assert next(word for packet in answers if (word := text_of(packet)) != "interrupt!" and word) == "three!"
    fences = [e for e in run.log if isinstance(e, Fenced)]
    assert {tuple(f.streams) for f in fences} == {("echo.out",)}


def test_live_nodes_learn_when_units_are_before_the_first_one():
    graph = Graph("live", latency_ms=100)
    device = graph.add("device", toys.Device)
    graph.add("end", "sink.null", inputs={"value": device["at"]})
    result = wangraph.run(graph, units=3, taps=["device.at"])
    assert [int(p.array[0]) for p in result.packets["device.at"] if p.tensors] == [0, 1, 2]
    with pytest.raises(UserError, match=r"^--clock virtual: node 'device' reads a live device "):
        wangraph.run(graph, units=3, clock="virtual")


# Life


def test_leaving_the_block_ends_the_run_in_order(tmp_path):
    with wangraph.start(looped(tmp_path / "out")) as run:
        next(run.packets("play.shown"))
    lines = (tmp_path / "out").read_text().splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(len(lines)))
    assert run.summary["units"] == len(lines)
    assert run.status()["state"] == "ended"


def test_an_error_of_the_run_is_raised_where_the_block_is_left(tmp_path):
    graph = looped(tmp_path / "out", toys.Raises, at=2)
    with (
        pytest.raises(NodeError, match=r"^node 'mix', unit 2: ValueError: the lens fell off"),
        wangraph.start(graph) as run,
    ):
        for _ in run.packets("play.shown"):
            pass
        run.wait()


def test_an_error_of_the_block_is_not_hidden_by_one_of_the_run(tmp_path):
    with pytest.raises(KeyError), wangraph.start(looped(tmp_path / "out", toys.Raises, at=2)):
        raise KeyError("mine")


def test_status_names_every_node_while_it_runs(tmp_path):
    with wangraph.start(looped(tmp_path / "out")) as run:
        next(run.packets("play.shown"))
        status = run.status()
    assert status["state"] == "running"
    assert {name: type(node["unit"]) for name, node in status["nodes"].items()} == dict.fromkeys(run.plan.nodes, int)


def test_an_argument_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"^run: no argument 'unts' \(it has: clock, .*units\); did you mean 'units'\?$"
    ):
        wangraph.start(looped(tmp_path / "out"), unts=3)


def test_a_run_that_has_ended_takes_nothing_more(tmp_path):
    run = wangraph.start(talking(), units=1, clock="virtual")
    run.stop()
    run.wait()
    message = r": run 'talking' has ended \(expected one that goes on\), start it again$"
    for ask in (lambda: run.send("chat.text", "x"), lambda: run.set("echo", mark="?"), lambda: run.fence("echo.out")):
        with pytest.raises(RunError, match=message):
            ask()


def test_a_run_is_started_once(tmp_path):
    run = wangraph.start(looped(tmp_path / "out"), units=2, clock="virtual")
    with pytest.raises(
        RunError, match=r"^run: found one that was started before \(expected a fresh one\), make another$"
    ):
        run.start()
    run.wait()


def test_a_run_is_used_from_several_threads(tmp_path):
    counted: dict[str, int] = {}

    def count(stream: str) -> None:
        counted[stream] = sum(1 for packet in run.packets(stream) if packet.validity is not Validity.END)

    run = wangraph.start(looped(tmp_path / "out"), units=6, taps=["mix.mixed", "play.shown"])
    threads = [threading.Thread(target=count, args=(stream,)) for stream in ("mix.mixed", "play.shown")]
    for thread in threads:
        thread.start()
    run.wait()
    for thread in threads:
        thread.join()
    assert counted == {"mix.mixed": 6, "play.shown": 6}


# Tasks


def test_a_task_iterates_sends_and_waits():
    async def converse() -> list[str]:
        found = []
        async with wangraph.start(talking()) as run:
            answers = run.packets("echo.out")
            run.send("chat.text", "three")
            async for packet in answers:
                if packet.tensors:
                    found.append(text_of(packet))
                    break
        assert run.summary["misses"] == 0
        return found

    assert asyncio.run(converse()) == ["three!"]


def test_a_run_that_is_awaited_gives_its_result(tmp_path):
    async def result() -> int:
        return (await wangraph.start(looped(tmp_path / "out"), units=3, clock="virtual")).summary["units"]

    assert asyncio.run(result()) == 3


def test_a_cancelled_task_stops_its_run_in_order(tmp_path):
    async def cancelled() -> wangraph.Run:
        run = wangraph.start(looped(tmp_path / "out"))
        task = asyncio.ensure_future(_wait(run))
        async for _ in run.packets("play.shown"):
            task.cancel()
            break
        with pytest.raises(asyncio.CancelledError):
            await task
        return run

    async def _wait(run: wangraph.Run) -> None:
        await run

    run = asyncio.run(cancelled())
    assert run.status()["state"] == "ended"
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == run.summary["units"] > 0


# Ahead of time


@pytest.mark.parametrize("how", HOW)
def test_a_paused_run_is_ready_before_it_begins_and_its_clock_starts_when_it_is_let(how):
    with wangraph.start(talking(), paused=True, **how) as run:
        run.wait_until("ready", 60)
        assert (run.state, run.timebase) == ("ready", None)
        answers = run.packets("echo.out")
        run.send("chat.text", "three")
        run.begin()
        run.wait_until("running", 60)
        assert run.timebase.unit_at(run.timebase.origin_ns) == 0
        assert first_words(answers, 1) == ["three!"]
    assert run.state == "ended"


@pytest.mark.parametrize("how", HOW)
def test_a_paused_run_that_never_begins_is_stopped_in_order(how):
    with wangraph.start(talking(), paused=True, **how) as run:
        run.wait_until("ready", 60)
    assert run.summary["units"] == 0


@pytest.mark.parametrize("how", HOW)
def test_a_fence_is_handed_out_and_so_are_its_records(how):
    with wangraph.start(talking(), **how) as run:
        fences, records = run.fences(), run.records(None)
        run.wait_until("running", 60)
        run.fence("echo.out", first_unit=3)
        assert next(fences) == Fence(("echo.out",), 3)
        assert next(r for r in records if isinstance(r, Fenced)).streams == ["echo.out"]


def test_a_run_that_fails_before_it_is_ready_says_so_where_it_is_waited_for(tmp_path):
    run = wangraph.start(looped(tmp_path / "out", toys.CannotOpen), paused=True)
    with pytest.raises(NodeError, match="node 'mix'"):
        run.wait_until("ready", 60)
