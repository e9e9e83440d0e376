"""``wangraph talk`` against a server of a real graph, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import re

import av
import pytest
from aiohttp import web
from command_line import call
from serve_visitors import TOKEN, serving

from wangraph.runtime.errors import RunError, UserError
from wangraph.runtime.plan.catalogue import shipped_graphs
from wangraph.tools.serve import protocol
from wangraph.tools.talk.client import TalkOptions, talk

CLIP = shipped_graphs()["mirror"].parent / "clips" / "user.mp4"


def quiet(who: str, words: str) -> None:
    pass


def link(port: int, token: str = TOKEN) -> str:
    return f"http://127.0.0.1:{port}/#token={token.replace(' ', '%20')}"


def test_a_visitor_sees_and_hears_themselves_in_a_mirror_and_keeps_it(tmp_path):
    async def story():
        async with serving() as server:
            return await talk(TalkOptions(link(server.port), CLIP, tmp_path / "back.mp4", seconds=4), quiet)

    figures = asyncio.run(story())
    assert figures.visit and figures.talked_s > 3.9
    assert figures.shown > 10 and figures.first_picture_s is not None
    assert figures.outcomes and figures.network_ms is not None
    with av.open(str(tmp_path / "back.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 100 and pictures[0].shape == (64, 64, 3)
    assert pictures[-1].std() > 20, "a face, no black"


def test_visitors_share_a_clip_and_the_one_too_many_waits():
    said: list[tuple[str, str]] = []

    async def story():
        async with serving(sessions=1) as server:
            options, clips = TalkOptions(link(server.port), CLIP, seconds=0.5), {}
            await asyncio.gather(*(talk(options, lambda *words: said.append(words), clips) for _ in range(2)))
            return clips

    assert len(asyncio.run(story())) == 1
    assert ("server", "place 1 of 1, 1 served at once") in said


def test_a_wrong_token_is_the_users_mistake():
    async def story():
        async with serving() as server:
            with pytest.raises(UserError, match=r"^talk: the server ended the visit: .+ \(token\)$"):
                await talk(TalkOptions(link(server.port, "guess"), seconds=1), quiet)

    asyncio.run(story())


def test_nobody_there_is_said_with_the_address():
    async def story():
        with pytest.raises(UserError) as caught:
            await talk(TalkOptions("http://127.0.0.1:9/#token=x", seconds=1), quiet)
        expected = (
            r"talk: ws://127\.0\.0\.1:9/live: .+ \(expected a server that answers\), "
            r"start one with: wangraph serve GRAPH"
        )
        assert re.fullmatch(expected, str(caught.value))

    asyncio.run(story())


WELCOME = protocol.Welcome(
    visit="v",
    graph="g",
    is_resumed=False,
    inputs=protocol.EndFormats(),
    outputs=protocol.EndFormats(text=True),
    params=[],
    nodes=[],
    unit_ms=160.0,
    latency_ms=320.0,
    webrtc=False,
    ice_servers=[],
    is_recorded=False,
    timeline="",
)


def against(*answers: protocol.ToVisitor | str | bytes, seconds: float = 1.0):
    """A visit to a server that says these things after the hello, reads until a goodbye, and hangs up."""
    heard: list[protocol.FromVisitor] = []

    async def live(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        heard.append(protocol.read_message((await socket.receive()).data))
        for answer in answers:
            if isinstance(answer, bytes):
                await socket.send_bytes(answer)
            else:
                await socket.send_str(answer if isinstance(answer, str) else protocol.write_message(answer))
        if answers and answers[0] is WELCOME and len(answers) == 1:
            async for message in socket:
                heard.append(protocol.read_message(message.data))
                if isinstance(heard[-1], protocol.Bye):
                    break
        await socket.close()
        return socket

    async def story():
        app = web.Application()
        app.router.add_get("/live", live)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            options = TalkOptions(link(port), seconds=seconds, text="hi", interrupt_s=0.1)
            return await talk(options, quiet), heard
        finally:
            await runner.cleanup()

    return asyncio.run(story())


def test_a_visit_is_a_hello_devices_the_socket_words_what_was_played_and_a_goodbye():
    _, heard = against(WELCOME, seconds=0.5)
    assert [type(m).__name__ for m in heard[:4]] == ["Hello", "Devices", "Socket", "Typed"]
    assert heard[0] == protocol.Hello(TOKEN) and heard[1] == protocol.Devices("absent", "absent")
    kinds = [type(m).__name__ for m in heard[4:]]
    assert {"Played", "Ping", "Interrupt"} <= set(kinds) and kinds[-1] == "Bye"


@pytest.mark.parametrize(
    ("answers", "kind", "text"),
    [
        ((), RunError, "talk: the visit was over before it began (expected a welcome), look at the server's log"),
        (
            (WELCOME, protocol.Pong(0, 0)),
            RunError,
            "talk: the server hung up in the middle of the visit (expected a word), look at its log",
        ),
        (
            (WELCOME, protocol.Over("failed", "node 'x' raised")),
            RunError,
            "talk: the server ended the visit: node 'x' raised (failed)",
        ),
        (
            (protocol.Over("version", "install 2.0"),),
            UserError,
            "talk: the server ended the visit: install 2.0 (version)",
        ),
        (
            (WELCOME, b"\0"),
            RunError,
            "talk: the server sent what is no message: found 1 bytes (expected a head of 16 and data) (expected version "
            "1 of the protocol), install the same wangraph on both sides",
        ),
    ],
)
def test_a_server_that_misbehaves_is_told_in_words(answers, kind, text):
    with pytest.raises(kind) as caught:
        against(*answers)
    assert str(caught.value) == text


def test_a_visit_that_the_graph_ends_is_no_failure():
    figures, _ = against(WELCOME, protocol.Over("ended", "the graph is over"))
    assert figures.visit == "v"


def test_the_command_prints_a_table_and_writes_the_figures(tmp_path):
    target = tmp_path / "talk.json"

    async def story():
        async with serving(sessions=2) as server:
            arguments = ["talk", link(server.port), "--seconds", "1", "--visitors", "2", "--json", str(target)]
            return await asyncio.to_thread(call, *arguments)

    assert asyncio.run(story()).split("\n")[0].split()[:3] == ["visit", "talked", "first"]
    written = json.loads(target.read_text())
    assert len(written["visitors"]) == 2 and written["failures"] == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "talk: found neither --source nor --seconds (expected one of them), say how long to stay"),
        (
            ["--source", "a.mp4", "--output", "a.mp4"],
            "talk: --output a.mp4: is the source (expected another file), name one",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, text):
    with pytest.raises(UserError) as caught:
        call("talk", "http://127.0.0.1:1/#token=x", *arguments)
    assert str(caught.value) == text
