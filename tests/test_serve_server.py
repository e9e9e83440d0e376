"""A served graph: who gets in, what comes back, what is refused, and what is left when everybody has gone."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading

import aiohttp
import numpy as np
import pytest
from serve_visitors import TOKEN, serving, visiting

from wangraph.runtime.errors import UserError
from wangraph.tools.serve import app, lobby
from wangraph.tools.serve.protocol import (
    AUDIO,
    JPEG,
    Bye,
    Carried,
    Change,
    Devices,
    Flush,
    Hello,
    Interrupt,
    Over,
    Played,
    Problem,
    Socket,
    Times,
    Typed,
    Waiting,
    read_media,
)
from wangraph.tools.serve.webrtc import WebRtcOptions, prepare_webrtc


def in_a_loop(story):
    """Run a coroutine function with these arguments."""
    return asyncio.run(story())


async def answer_to(server, text):
    """The last message to a socket whose first message is ``text``."""
    async with visiting(server) as visitor:
        await visitor.socket.send_str(text)
        return await visitor.until(Over)


def loudest(media):
    """The peak of every piece of sound, of 32768."""
    sound = [np.frombuffer(read_media(data).data, "<i2") for data in media if read_media(data).kind == AUDIO]
    return [int(np.abs(piece).max(initial=0)) for piece in sound]


# In and out


def test_a_visitor_hears_and_sees_what_the_graph_makes_of_them():
    async def story():
        async with serving() as server, visiting(server) as visitor:
            welcome = await visitor.enter()
            assert (welcome.graph, welcome.is_resumed, welcome.webrtc) == ("filter", False, False)
            assert "sync" in welcome.nodes and welcome.unit_ms == 160
            talking = asyncio.create_task(visitor.talk(20))
            await visitor.until(Carried)
            times = await visitor.until(Times, lambda told: told.heard_level is not None and told.heard_level > -30)
            assert times.outcome in ("real", "late")
            media = await visitor.until_media(len(visitor.media) + 60)
            talking.cancel()
            assert max(loudest(media)[-40:]) > 1000, "the tone comes back"
            assert {read_media(data).kind for data in media} == {AUDIO, JPEG}

    in_a_loop(story)


def test_a_visitor_without_camera_and_microphone_is_empty_to_the_graph():
    async def story():
        async with serving() as server, visiting(server) as visitor:
            await visitor.enter()
            (visit,) = server.lobby.visits.values()
            packets = visit.run.packets("visitor.audio")
            talking = asyncio.create_task(visitor.talk(20))
            async for packet in packets:
                if packet.tensors:
                    break
            talking.cancel()
            await visitor.say(Devices("off", "off"))
            empty = 0
            async for packet in packets:
                empty = 0 if packet.tensors else empty + 1
                if empty == 3:
                    break

    in_a_loop(story)


def test_an_interruption_is_flushed_and_the_unplayed_units_are_known_to_the_graph():
    async def story():
        async with serving("duplex") as server, visiting(server) as visitor:
            await visitor.enter()
            (visit,) = server.lobby.visits.values()
            played, texts = visit.run.packets("visitor.played", None), visit.run.packets("visitor.text", None)
            await visitor.say(Socket())
            first = read_media((await visitor.until_media(1))[0]).unit
            await visitor.say(Played(audio=first))
            await visitor.say(Interrupt())
            flush = await visitor.until(Flush)
            assert flush.unit >= first
            async for packet in played:
                if packet.tensors and packet.array[1] == 1:
                    assert packet.array[0] >= flush.unit
                    break
            async for packet in texts:
                if packet.tensors:
                    assert packet.array.tobytes() == b"\x03", "the agent is told to stop, and not only muted"
                    break

    in_a_loop(story)


def test_what_the_graph_does_not_take_is_refused_in_words():
    async def story():
        async with serving() as server, visiting(server) as visitor:
            await visitor.enter()
            await visitor.say(Typed("hello"))
            problem = await visitor.until(Problem)
            assert problem.text == "graph 'filter': found a typed text (expected none), it reads no text"
            await visitor.say(Change("graph/me", "seed", 3))
            problem = await visitor.until(Problem)
            assert problem.text == "found the parameter 'graph/me.seed' (expected one of: none)"

    in_a_loop(story)


def test_a_graph_that_comes_to_its_end_ends_the_visit_and_frees_the_place():
    async def story():
        async with serving("hello", settings={"pattern.seconds": 1}) as server, visiting(server) as visitor:
            await visitor.enter()
            assert (await visitor.until(Over)).reason == "ended"
            while server.lobby.admission.taken:
                await asyncio.sleep(0.02)
            assert server.lobby.counts.failed == 0

    in_a_loop(story)


def test_a_graph_that_fails_ends_the_visit_with_an_apology_and_the_next_one_begins():
    async def story():
        async with serving() as server:
            async with visiting(server) as visitor:
                await visitor.enter()
                (visit,) = server.lobby.visits.values()
                os.kill(visit.run.status()["processes"]["main"]["pid"], signal.SIGKILL)
                over = await visitor.until(Over)
                assert (over.reason, over.again) == ("failed", True)
            async with visiting(server) as visitor:
                assert not (await visitor.enter()).is_resumed

    in_a_loop(story)


def test_a_choice_that_the_graph_does_not_know_is_refused_and_costs_nobody_the_place():
    async def story():
        async with serving() as server:
            async with visiting(server) as visitor:
                await visitor.say(Hello(TOKEN, params={"graph/me.seed": 3}))
                over = await visitor.until(Over)
                assert (over.reason, over.text) == (
                    "refused", "found the parameter 'graph/me.seed' (expected one of: none)",
                )  # fmt: skip
            async with visiting(server) as visitor:
                await visitor.enter()

    in_a_loop(story)


# The door


def test_who_does_not_know_how_to_come_in_is_told_why(monkeypatch):
    monkeypatch.setattr(app, "HELLO_S", 0.2)

    async def story():
        async with serving() as server:
            for text, reason in [
                ('{"type": "hello", "token": "guessed"}', "token"),
                ('{"type": "hello", "token": "the token", "version": 99}', "version"),
                ('{"type": "typed", "text": "let me in"}', "garbage"),
                ("\x00\xff not json", "garbage"),
                ("[" * 5000, "garbage"),
            ]:
                assert (await answer_to(server, text)).reason == reason
            async with visiting(server) as silent:
                assert (await silent.until(Over)).reason == "garbage"
            assert server.lobby.admission.taken == 0

    in_a_loop(story)


def test_pages_of_other_sites_and_other_names_of_this_machine_stay_outside():
    async def story():
        async with serving() as server:
            for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
                with pytest.raises(aiohttp.WSServerHandshakeError) as error:
                    async with visiting(server, **headers):
                        pass
                assert error.value.status == 403

    in_a_loop(story)


def test_the_second_visitor_waits_and_is_let_in_when_the_first_has_left():
    async def story():
        async with serving() as server, visiting(server) as first, visiting(server) as second:
            await first.enter()
            entering = asyncio.create_task(second.enter())
            while not second.messages:
                await asyncio.sleep(0.01)
            assert second.messages == [Waiting(1, 1, 1)]
            await first.say(Bye())
            assert (await first.until(Over)).reason == "bye"
            await entering

    in_a_loop(story)


def test_a_place_in_the_queue_is_given_up_by_who_goes_away():
    async def story():
        async with serving() as server, visiting(server) as first, visiting(server) as third:
            await first.enter()
            async with visiting(server) as second:
                waiting = asyncio.create_task(second.enter())
                entering = asyncio.create_task(third.enter())
                while Waiting(2, 2, 1) not in third.messages:
                    await asyncio.sleep(0.01)
                waiting.cancel()
            while Waiting(1, 1, 1) not in third.messages:
                await asyncio.sleep(0.01)
            await first.say(Bye())
            await entering

    in_a_loop(story)


def test_a_reload_goes_on_with_the_same_conversation():
    async def story():
        async with serving() as server:
            async with visiting(server) as visitor:
                welcome = await visitor.enter()
                (visit,) = server.lobby.visits.values()
            async with visiting(server) as visitor:
                again = await visitor.enter(visit=welcome.visit)
                assert again.is_resumed and again.visit == welcome.visit
                assert list(server.lobby.visits.values()) == [visit]
                async with visiting(server) as other:
                    assert (await other.enter(visit=welcome.visit)).is_resumed
                    assert (await visitor.until(Over)).reason == "elsewhere"

    in_a_loop(story)


def test_a_visitor_who_does_not_come_back_leaves_nothing(monkeypatch):
    monkeypatch.setattr(lobby, "RETURN_S", 0.1)

    async def story():
        async with serving() as server:
            async with visiting(server) as visitor:
                welcome = await visitor.enter()
            while server.lobby.admission.taken:
                await asyncio.sleep(0.02)
            assert server.lobby.visits == {}
            async with visiting(server) as visitor:
                assert not (await visitor.enter(visit=welcome.visit)).is_resumed

    in_a_loop(story)


def test_garbage_and_floods_end_the_visit_of_who_sends_them_and_no_other():
    async def story():
        async with serving(sessions=2) as server, visiting(server) as good:
            await good.enter()
            await good.say(Socket())
            async with visiting(server) as bad:
                await bad.enter()
                for number in range(40):
                    await bad.socket.send_bytes(b"\x07" * number)
                assert (await bad.until(Over)).reason == "garbage"
                await bad.say(Bye())
            async with visiting(server) as flood:
                await flood.enter()
                with_text = '{"type": "ping", "at_ms": 1}'
                for _ in range(2000):
                    await flood.socket.send_str(with_text)
                assert (await flood.until(Over)).reason == "rate"
            await good.until_media(len(good.media) + 50)

    in_a_loop(story)


# HTTP


def test_what_can_be_asked_without_a_visit():
    async def story():
        async with serving("duplex") as server, aiohttp.ClientSession() as session:
            base = f"http://127.0.0.1:{server.port}"
            health = await (await session.get(f"{base}/healthz")).json()
            assert health == {"state": "ok", "graph": "duplex", "sessions": 1, "taken": 0, "waiting": 0}
            for path in ("/about", "/metrics"):
                assert (await session.get(base + path)).status == 401
                assert (await session.get(base + path, headers={"X-Wangraph-Token": TOKEN})).status == 200
            about = await (await session.get(f"{base}/about", headers={"X-Wangraph-Token": TOKEN})).json()
            assert about["params"][0]["name"] == "persona" and about["inputs"]["video"]["width"] == 64
            index = await session.get(f"{base}/")
            assert index.status == 200 and "default-src 'self'" in index.headers["Content-Security-Policy"]
            for path in ("/page/..%2Fapp.py", "/page/nothing.js", "/page/.hidden.js", "/timeline/guess/"):
                assert (await session.get(base + path)).status == 404
            async with visiting(server) as visitor:
                welcome = await visitor.enter()
                timeline = await session.get(base + welcome.timeline)
                assert timeline.status == 200 and "duplex" in await timeline.text()
                steps = await session.get(f"{base}{welcome.timeline}steps?after=0")
                assert b"step" in await steps.content.readuntil(b"data: ")
                metrics = await (await session.get(f"{base}/metrics?token={TOKEN.replace(' ', '%20')}")).text()
                assert "wangraph_serve_visitors 1.0" in metrics
                assert 'wangraph_serve_refused_total{reason="token"} 2.0' in metrics
                assert welcome.visit not in metrics

    in_a_loop(story)


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: 127."])
def test_who_connects_and_does_not_ask_is_let_go(begun, monkeypatch):
    monkeypatch.setattr(app, "IDLE_S", 0.05)

    async def story():
        async with serving() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(begun)
            assert await reader.read(1) == b""
            writer.close()

    in_a_loop(story)


def test_a_port_that_is_taken_is_told_with_the_option_to_change():
    async def story():
        async with serving() as server:
            with pytest.raises(UserError) as error:
                async with serving(port=server.port):
                    pass
            assert str(error.value).startswith(f"--port: 127.0.0.1:{server.port}: ")
            assert "(expected a free port of this machine), name another one, or 0 for any" in str(error.value)

    in_a_loop(story)


# What is left


def test_a_visit_is_written_if_its_visitor_agrees_and_not_otherwise(tmp_path):
    async def story():
        async with serving(record=tmp_path) as server:
            for consent in (False, True):
                async with visiting(server) as visitor:
                    welcome = await visitor.enter(consent=consent)
                    assert welcome.is_recorded is consent
                    talking = asyncio.create_task(visitor.talk(20))
                    await visitor.until_media(150)  # beyond the graph's latency
                    talking.cancel()
                    await visitor.say(Bye())
                    await visitor.until(Over)
                while server.lobby.visits:
                    await asyncio.sleep(0.02)

    in_a_loop(story)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["visit.mcap", "visit.mp4", "visit.trace", "visit.yaml"]
    assert folder.stat().st_mode & 0o077 == 0
    replay = ["replay", str(folder / "visit.mcap"), str(folder / "visit.yaml"), "--expect"]
    replayed = subprocess.run([sys.executable, "-m", "wangraph", *replay], check=True, capture_output=True, text=True)
    assert int(re.search(r"as recorded: (\d+) packets are equal, bit for bit", replayed.stdout)[1]) > 10


def test_visitors_who_come_and_go_leave_no_threads_files_or_processes(monkeypatch):
    monkeypatch.setattr(lobby, "RETURN_S", 0.0)

    def held():
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    async def story():
        async with serving() as server:
            counts = []
            for _ in range(4):
                async with visiting(server) as visitor:
                    await visitor.enter()
                    await visitor.say(Socket())
                    await visitor.until_media(5)
                while server.lobby.admission.taken:
                    await asyncio.sleep(0.02)
                await server.lobby.spare_is_ready()
                counts.append(held())
            assert counts[-1][0] <= counts[1][0] and counts[-1][1] <= counts[1][1] + 1, counts

    in_a_loop(story)


def test_a_server_that_is_terminated_says_goodbye_and_ends_in_order(tmp_path):
    command = [sys.executable, "-m", "wangraph", "serve", "mirror", "--port", "0", "--no-webrtc"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "WANGRAPH_TOKEN": TOKEN}, text=True
    ) as process:
        assert process.stdout is not None
        link = process.stdout.readline()

        async def story():
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(link.split("#")[0] + "live") as socket,
            ):
                from serve_visitors import Visitor

                visitor = Visitor(socket)
                await visitor.enter()
                process.send_signal(signal.SIGTERM)
                return await visitor.until(Over)

        assert in_a_loop(story).reason == "closing"
        assert process.wait(20) == 143
        assert link.endswith(f"#token={TOKEN}\n") or "token=" in link


# WebRTC without a page


def test_a_client_that_offers_webrtc_over_http_sees_the_graph_and_ends_its_visit():
    async def story():
        import webrtc

        prepare_webrtc(WebRtcOptions())
        async with serving(webrtc=WebRtcOptions()) as server, aiohttp.ClientSession() as session:
            base, head = f"http://127.0.0.1:{server.port}", {"Authorization": f"Bearer {TOKEN}"}
            connection, pictures = webrtc.RTCPeerConnection(), asyncio.Queue()

            async def read(track):
                processor = webrtc.MediaStreamTrackProcessor(webrtc.MediaStreamTrackProcessorInit(track))
                async for frame in processor.readable:
                    pictures.put_nowait((frame.coded_width, frame.coded_height))
                    frame.close()

            reading = []
            connection.on(
                "track", lambda e: e.track.kind == "video" and reading.append(asyncio.ensure_future(read(e.track)))
            )
            for kind in ("audio", "video"):
                connection.add_transceiver(kind)
            await connection.set_local_description(await connection.create_offer())
            while connection.ice_gathering_state != "complete":
                await asyncio.sleep(0.01)
            offer = connection.local_description.sdp
            sdp = {**head, "Content-Type": "application/sdp"}
            assert (await session.post(f"{base}/whip", data=offer)).status == 401
            assert (await session.post(f"{base}/whip", data="no offer", headers=sdp)).status == 400
            while server.lobby.admission.taken:
                await asyncio.sleep(0.02)
            answer = await session.post(f"{base}/whip", data=offer, headers=sdp)
            assert answer.status == 201
            await connection.set_remote_description(webrtc.RTCSessionDescriptionInit("answer", await answer.text()))
            assert await asyncio.wait_for(pictures.get(), 30) == (64, 64)
            assert (await session.post(f"{base}/whip", data=offer, headers=sdp)).status == 503
            assert (await session.delete(base + answer.headers["Location"], headers=head)).status == 200
            while server.lobby.admission.taken:
                await asyncio.sleep(0.02)
            for task in reading:
                task.cancel()
            connection.close()

    in_a_loop(story)
