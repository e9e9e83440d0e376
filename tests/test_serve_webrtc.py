"""WebRTC between two connections of the same engine, in one process over loopback."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from wangraph.runtime.errors import MissingExtra, UserError
from wangraph.tools.serve.carrier import OfferRefused
from wangraph.tools.serve.webrtc import LOW_DELAY, WebRtcCarrier, WebRtcOptions, mono, prepare_webrtc

webrtc = pytest.importorskip("webrtc")

PATIENCE_S = 20


@pytest.fixture(scope="module", autouse=True)
def engine():
    prepare_webrtc(WebRtcOptions())


class Kept:
    """What a carrier handed on."""

    def __init__(self) -> None:
        self.pictures: list[Any] = []
        self.sounds: list[tuple[np.ndarray, int]] = []
        self.states: list[str] = []

    def video(self, picture, at_ns):
        self.pictures.append(picture)

    def audio(self, samples, rate_hz, at_ns):
        self.sounds.append((samples, rate_hz))

    def state(self, name):
        self.states.append(name)


class Visitor:
    """A browser's side of a connection: offers, sends a grey camera and a tone, keeps the sizes and levels it gets."""

    def __init__(self) -> None:
        self.connection = webrtc.RTCPeerConnection()
        self.video, self.audio = webrtc.VideoTrackGenerator(), webrtc.MediaStreamTrackGenerator("audio")
        self.pictures, self.audio_writer = self.video.writable.get_writer(), self.audio.writable.get_writer()
        self.connection.add_track(self.audio)
        self.connection.add_track(self.video.track)
        self.sizes: list[tuple[int, int]] = []
        self.levels: list[float] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.connection.on("track", lambda event: self.tasks.append(asyncio.create_task(self._read(event.track))))

    async def offer(self) -> str:
        await self.connection.set_local_description(await self.connection.create_offer())
        while self.connection.ice_gathering_state != "complete":
            await asyncio.sleep(0.005)
        return self.connection.local_description.sdp

    async def accept(self, sdp: str) -> None:
        await self.connection.set_remote_description(webrtc.RTCSessionDescriptionInit("answer", sdp))

    def send(self, width: int = 64, height: int = 48) -> None:
        grey = bytes([128]) * (width * height * 3 // 2)
        init = webrtc.VideoFrameBufferInit(format="I420", coded_width=width, coded_height=height, timestamp=0)
        self.pictures.write(webrtc.VideoFrame(grey, init))
        tone = (8000 * np.sin(np.arange(960) * 0.1)).astype("<i2").tobytes()
        sound = webrtc.AudioDataInit(
            format="s16", sample_rate=48000, number_of_frames=960, number_of_channels=1, timestamp=0, data=tone
        )
        self.audio_writer.write(webrtc.AudioData(sound))

    async def _read(self, track) -> None:
        processor = webrtc.MediaStreamTrackProcessor(webrtc.MediaStreamTrackProcessorInit(track))
        async for media in processor.readable:
            if track.kind == "video":
                self.sizes.append((media.coded_width, media.coded_height))
            else:
                samples = np.empty(media.number_of_frames * media.number_of_channels, np.int16)
                options = webrtc.AudioDataCopyToOptions(plane_index=0, format="s16")
                media.copy_to(memoryview(samples).cast("B"), options)
                self.levels.append(float(np.abs(samples).max()))
            media.close()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.connection.close()
        await asyncio.gather(self.pictures.close(), self.audio_writer.close(), return_exceptions=True)


def meet(scenario: Callable[[WebRtcCarrier, Visitor, Kept], Awaitable[None]]) -> WebRtcCarrier:
    """A carrier and a visitor in an event loop of their own; both are closed after the scenario."""

    async def main() -> WebRtcCarrier:
        kept, visitor = Kept(), Visitor()
        carrier = WebRtcCarrier(kept)
        try:
            await asyncio.wait_for(scenario(carrier, visitor, kept), PATIENCE_S)
        finally:
            await carrier.close()
            await visitor.close()
        return carrier

    return asyncio.run(main())


async def until(condition: Callable[[], bool], each: Callable[[], None] = lambda: None) -> None:
    while not condition():
        each()
        await asyncio.sleep(0.02)


async def connect(carrier: WebRtcCarrier, visitor: Visitor, kept: Kept) -> None:
    await visitor.accept(await carrier.answer(await visitor.offer()))
    await until(lambda: "connected" in kept.states)


PICTURE = np.full((64, 96, 3), 90, np.uint8)
SOUND = (9000 * np.sin(np.arange(320) * 0.2)).astype(np.int16)


def test_pictures_and_sound_go_both_ways_over_one_connection():
    async def scenario(carrier, visitor, kept):
        await connect(carrier, visitor, kept)

        def talk():
            visitor.send()
            carrier.put_video(PICTURE, 0, 0)
            carrier.put_audio(SOUND, 16000, 0, 0)

        await until(lambda: bool(kept.pictures and visitor.sizes) and max(visitor.levels, default=0) > 4000, talk)
        await until(lambda: max((np.abs(s).max() for s, _ in kept.sounds), default=0) > 4000, talk)
        assert visitor.sizes[-1] == (96, 64)
        grey = kept.pictures[-1].to_ndarray(format="rgb24")
        assert grey.shape == (48, 64, 3) and abs(int(grey.mean()) - 130) < 8
        assert {rate for _, rate in kept.sounds} == {48000}
        assert all(samples.ndim == 1 and samples.dtype == np.int16 for samples, _ in kept.sounds)

    meet(scenario)


def test_a_picture_of_odd_size_is_handed_on_without_its_last_row_and_column():
    async def scenario(carrier, visitor, kept):
        frame = webrtc.VideoFrame(
            bytes([128]) * (65 * 49 + 2 * 33 * 25),
            webrtc.VideoFrameBufferInit(format="I420", coded_width=65, coded_height=49, timestamp=0),
        )
        await carrier._take_picture(frame)
        frame.close()
        assert [(p.width, p.height) for p in kept.pictures] == [(64, 48)]

    meet(scenario)


def test_a_second_offer_of_the_same_connection_finds_its_tracks_in_place():
    async def scenario(carrier, visitor, kept):
        first = await carrier.answer(await visitor.offer())
        await visitor.accept(first)
        await until(lambda: "connected" in kept.states)
        again = await carrier.answer(await visitor.offer())
        await visitor.accept(again)
        assert again.count("m=") == first.count("m=") == 2
        await until(lambda: bool(visitor.sizes), lambda: carrier.put_video(PICTURE, 0, 0))

    meet(scenario)


def test_the_answer_holds_candidates_and_keeps_sound_and_picture_in_one_stream():
    async def scenario(carrier, visitor, kept):
        offer = await visitor.offer()
        sdp = await carrier.answer(offer)
        assert "a=candidate:" in sdp
        streams = re.findall(r"a=msid:(\S+) ", sdp)
        assert len(streams) == 2 and len(set(streams)) == 1
        assert "video-orientation" in offer and "video-orientation" not in sdp, (
            "a telephone must turn its pictures itself"
        )

    meet(scenario)


def test_what_is_put_before_there_is_a_connection_is_dropped_and_counted():
    async def scenario(carrier, visitor, kept):
        carrier.put_video(PICTURE, 0, 0)
        carrier.put_audio(SOUND, 16000, 0, 0)
        carrier.put_audio(SOUND, 16000, 0, 1)

    assert meet(scenario).dropped == {"picture, not connected": 1, "sound, not connected": 2}


@pytest.mark.parametrize("sdp", ["", "hello", "v=0\r\n", "v=0\r\nm=video x\r\n", "\0" * 100])
def test_a_garbage_offer_is_refused_with_a_sentence(sdp):
    async def scenario(carrier, visitor, kept):
        with pytest.raises(OfferRefused) as caught:
            await carrier.answer(sdp)
        expected = r"webrtc: .+ \(expected an offer that a browser made\), media take the socket"
        assert re.fullmatch(expected, str(caught.value))

    meet(scenario)


def test_an_offer_without_a_common_codec_is_refused_with_a_sentence():
    async def scenario(carrier, visitor, kept):
        foreign = re.sub(r"(VP8|VP9|AV1|H264|H265|rtx|red|ulpfec|flexfec-03)/90000", "X1/90000", await visitor.offer())
        with pytest.raises(OfferRefused) as caught:
            await carrier.answer(foreign)
        assert str(caught.value) == (
            "webrtc: found no video codec that both sides have (expected VP8), media take the socket"
        )

    meet(scenario)


def test_an_offer_to_a_closed_connection_is_refused():
    async def scenario(carrier, visitor, kept):
        await carrier.close()
        with pytest.raises(OfferRefused) as caught:
            await carrier.answer(await visitor.offer())
        assert str(caught.value) == "webrtc: found a closed connection (expected an open one), begin a new one"

    meet(scenario)


def test_closing_twice_and_putting_after_it_do_nothing():
    async def scenario(carrier, visitor, kept):
        await connect(carrier, visitor, kept)
        tasks = len(asyncio.all_tasks())
        await carrier.close()
        await carrier.close()
        carrier.put_video(PICTURE, 0, 0)
        carrier.put_audio(SOUND, 16000, 0, 0)
        carrier.flush()
        assert len(asyncio.all_tasks()) <= tasks - 2, "its reading tasks are over"

    assert meet(scenario).dropped["picture, not connected"] == 1


def test_a_reader_that_fails_says_so_in_the_log(caplog):
    async def scenario(carrier, visitor, kept):
        kept.video = lambda picture, at_ns: 1 / 0
        await connect(carrier, visitor, kept)
        await until(lambda: bool(caplog.records), visitor.send)

    meet(scenario)
    assert caplog.records[0].message == "webrtc: nothing more is received of this visitor"


def test_thirty_connections_leave_no_task_thread_or_file_behind():
    def count() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    meet(connect)
    before = count()
    for _ in range(30):
        meet(connect)
    assert count() == before


def test_the_engine_is_set_up_for_low_delay_once():
    prepare_webrtc(WebRtcOptions())
    prepare_webrtc(WebRtcOptions(port_range=(50000, 50099)))
    assert LOW_DELAY.items() <= webrtc.field_trials.items()


HINT = (
    " (expected servers like stun:stun.example.org:3478, TURN servers with a user name and a password, and ports from "
    "low to high), correct --ice-server or --udp-ports"
)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (WebRtcOptions(({"urls": "http://x"},)), "'http://x' is not a valid STUN or TURN URL"),
        (WebRtcOptions(({"urls": ["turn:x"]},)), "a TURN server needs a username and a credential"),
        (WebRtcOptions(({},)), "urls of an ICE server must not be empty"),
        (WebRtcOptions((), (9, 1)), "port_range must be two ports from low to high, not (9, 1)"),
    ],
)
def test_wrong_servers_and_ports_are_named(options, found):
    with pytest.raises(UserError) as caught:
        prepare_webrtc(options)
    assert str(caught.value) == f"webrtc: {found}{HINT}"


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "webrtc", None)
    with pytest.raises(MissingExtra) as caught:
        WebRtcCarrier(Kept())
    assert str(caught.value) == (
        "webrtc: no package 'wrtc' (needed for WebRTC connections), pip install 'wangraph[live]'"
    )


def test_channels_become_their_mean():
    assert mono(np.array([100, 200, -32768, -32768], np.int16), 2).tolist() == [150, -32768]
    assert mono(np.array([1, 2], np.int16), 1).tolist() == [1, 2]
