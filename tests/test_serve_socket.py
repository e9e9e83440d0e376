"""Media through a visitor's socket, without a socket: what is sent is kept, what comes is handed in."""

from __future__ import annotations

import asyncio
import random
import resource
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from wangraph.tools.serve.codecs import Damaged, JpegDecoder, JpegEncoder, Vp8Decoder
from wangraph.tools.serve.protocol import AUDIO, JPEG, VP8, Media, read_media
from wangraph.tools.serve.socket import PICTURES_AT_ONCE, SocketCarrier

MS = 1_000_000


class Wire:
    """What a carrier sent and handed on; `waiting` bytes have not left, and `now_ns` is the time."""

    def __init__(self) -> None:
        self.sent: list[Media] = []
        self.waiting = 0
        self.now_ns = 5_000_000_000
        self.pictures: list[tuple[av.VideoFrame, int]] = []
        self.sounds: list[tuple[np.ndarray, int, int]] = []
        self.states: list[str] = []
        self.carrier = SocketCarrier(self, self._send, lambda: self.waiting, lambda: self.now_ns)

    def _send(self, message: bytes) -> None:
        self.sent.append(read_media(message))

    def video(self, picture, at_ns):
        self.pictures.append((picture, at_ns))

    def audio(self, samples, rate_hz, at_ns):
        self.sounds.append((samples, rate_hz, at_ns))

    def state(self, name):
        self.states.append(name)

    def receive(self, kind: int, data: bytes, after_ms: float = 40) -> None:
        self.now_ns += int(after_ms * MS)
        self.carrier.receive(Media(kind, True, 0, 0, 0, data))


def halves(height: int = 48, width: int = 64) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2], picture[:, width // 2 :] = (250, 20, 30), (10, 60, 240)
    return picture


def vp8(n: int, size: tuple[int, int] = (64, 48)) -> list[bytes]:
    codec = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = *size, "yuv420p", Fraction(1, 25)
    codec.thread_count, codec.options = 1, {"deadline": "realtime", "lag-in-frames": "0", "cpu-used": "8"}
    frames = []
    for k in range(n):
        grey = np.full((size[1], size[0], 3), 30 * k % 256, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format="yuv420p")
        frame.pts = k
        frames += [bytes(packet) for packet in codec.encode(frame)]
    return frames


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


# To the visitor -------------------------------------------------------------------------------------------------------


def test_a_picture_is_sent_as_a_jpeg_with_its_unit_and_part():
    wire = Wire()
    wire.carrier.put_video(halves(), 7, 3)
    (media,) = wire.sent
    assert media[:5] == (JPEG, True, 3, 7, 5_000_000)
    shown = JpegDecoder().decode(media.data).to_ndarray(format="rgb24").astype(int)
    assert np.abs(shown[24, [8, 56]] - [(250, 20, 30), (10, 60, 240)]).max() <= 4


def test_sound_is_sent_as_it_is_at_16_khz():
    wire = Wire()
    samples = np.arange(-160, 160, dtype=np.int16)
    wire.carrier.put_audio(samples, 16_000, 7, 2)
    (media,) = wire.sent
    assert media[:4] == (AUDIO, False, 2, 7)
    assert np.frombuffer(media.data, "<i2").tolist() == samples.tolist()


def test_sound_of_another_rate_is_sent_at_16_khz_without_losing_time():
    wire = Wire()
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)).astype(np.int16)
    for k in range(50):
        wire.carrier.put_audio(tone[480 * k : 480 * (k + 1)], 24_000, 0, k)
    samples = np.concatenate([np.frombuffer(m.data, "<i2") for m in wire.sent])
    assert 16_000 - 40 <= len(samples) <= 16_000
    spectrum = np.abs(np.fft.rfft(samples[1000:15_000] * np.hanning(14_000)))
    assert np.argmax(spectrum) == round(440 * 14_000 / 16_000)


def test_pictures_are_left_out_when_the_way_is_full_and_sound_is_not():
    wire = Wire()
    wire.waiting = 30_001
    wire.carrier.put_video(halves(), 0, 0)
    wire.carrier.put_audio(np.zeros(320, np.int16), 16_000, 0, 0)
    assert [m.kind for m in wire.sent] == [AUDIO]
    assert wire.carrier.dropped == {"picture, way is full": 1}


def test_a_visitor_who_takes_nothing_for_seconds_gets_no_more_sound():
    wire = Wire()
    wire.waiting = 96_001
    wire.carrier.put_audio(np.zeros(320, np.int16), 16_000, 0, 0)
    assert wire.sent == [] and wire.carrier.dropped == {"sound, way is full": 1}


def test_nothing_is_sent_or_handed_on_after_closing():
    wire = Wire()
    asyncio.run(wire.carrier.close())
    asyncio.run(wire.carrier.close())
    wire.carrier.put_video(halves(), 0, 0)
    wire.carrier.put_audio(np.zeros(320, np.int16), 16_000, 0, 0)
    wire.receive(AUDIO, bytes(640))
    assert wire.sent == wire.sounds == []
    assert wire.states == ["connected", "closed"]


# From the visitor -----------------------------------------------------------------------------------------------------


def test_a_visitors_sound_and_pictures_are_handed_on_with_the_time_they_came():
    wire = Wire()
    wire.receive(AUDIO, np.arange(320, dtype="<i2").tobytes())
    wire.receive(JPEG, JpegEncoder().encode(halves()))
    (samples, rate_hz, heard_ns), (picture, seen_ns) = wire.sounds[0], wire.pictures[0]
    assert samples.tolist() == list(range(320)) and rate_hz == 16_000
    assert (picture.width, picture.height) == (64, 48)
    assert (heard_ns, seen_ns) == (5_040_000_000, 5_080_000_000)


def test_vp8_is_decoded_from_its_first_key_picture_on():
    wire = Wire()
    frames = vp8(4)
    for frame in (frames[1], *frames):
        wire.receive(VP8, frame)
    assert len(wire.pictures) == 4
    assert wire.carrier.dropped == {"picture in, damaged": 1}


def test_after_a_damaged_vp8_frame_the_next_key_picture_is_shown():
    wire = Wire()
    frames = vp8(3)
    for frame in (frames[0], b"\x11garbage", frames[1], frames[2], b"", *frames):
        wire.receive(VP8, frame)
    assert wire.carrier.dropped["picture in, damaged"] >= 2
    assert len(wire.pictures) >= 4


@pytest.mark.parametrize("data", [b"", b"\1", bytes(32_002)], ids=["nothing", "half a sample", "over a second"])
def test_damaged_sound_is_counted_and_dropped(data):
    wire = Wire()
    wire.receive(AUDIO, data)
    assert wire.sounds == [] and wire.carrier.dropped == {"sound in, damaged": 1}


def test_pictures_over_the_rate_are_not_decoded_and_a_break_on_the_way_is_made_up_for():
    wire = Wire()
    jpeg = JpegEncoder().encode(halves())
    for _ in range(300):
        wire.receive(JPEG, jpeg, after_ms=1)
    assert PICTURES_AT_ONCE <= len(wire.pictures) <= PICTURES_AT_ONCE + 12
    assert wire.carrier.dropped == {"picture in, too many": 300 - len(wire.pictures)}
    wire.pictures.clear()
    wire.now_ns += 2_000 * MS
    for _ in range(PICTURES_AT_ONCE):
        wire.receive(JPEG, jpeg, after_ms=0)
    assert len(wire.pictures) == PICTURES_AT_ONCE


def test_a_vp8_frame_over_the_rate_ends_the_sequence_until_a_key_picture():
    wire = Wire()
    frames = vp8(PICTURES_AT_ONCE + 3)
    for frame in frames[:-1]:
        wire.receive(VP8, frame, after_ms=0)
    wire.receive(VP8, frames[-1], after_ms=1000)
    assert len(wire.pictures) == PICTURES_AT_ONCE
    assert wire.carrier.dropped == {"picture in, too many": 2, "picture in, damaged": 1}


# Strangers' bytes -----------------------------------------------------------------------------------------------------


def test_a_header_that_claims_a_huge_picture_allocates_nothing():
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Damaged):
        JpegDecoder().decode(resized(JpegEncoder().encode(halves()), 60_000, 60_000))
    key = vp8(1)[0]
    with pytest.raises(Damaged):
        Vp8Decoder().decode(key[:6] + struct.pack("<HH", 16_383, 16_383) + key[10:])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 50_000


def test_a_jpeg_of_many_scans_is_refused_unseen():
    jpeg = JpegEncoder().encode(halves())
    scan = jpeg[jpeg.index(b"\xff\xda") : -2]
    with pytest.raises(Damaged, match="no baseline JPEG of one scan"):
        JpegDecoder().decode(jpeg[:-2] + scan * 1000 + jpeg[-2:])
    with pytest.raises(Damaged, match="no baseline JPEG of one scan"):
        JpegDecoder().decode(jpeg.replace(b"\xff\xc0", b"\xff\xc2", 1))
    assert JpegDecoder().decode(jpeg + b"\xff\xd8 more").width == 64, "what follows the end is not looked at"


def test_no_bytes_stop_the_decoders():
    wire = Wire()
    chance = random.Random(4)
    jpeg, (key, later, *_) = JpegEncoder().encode(halves()), vp8(3)
    for k in range(400):
        source = bytearray(chance.choice([jpeg, key, later, b"", chance.randbytes(50)]))
        for _ in range(chance.randrange(4)):
            if source:
                source[chance.randrange(len(source))] = chance.randrange(256)
        wire.receive(JPEG if k % 2 else VP8, bytes(source[: chance.randrange(len(source) + 1)]))
    assert wire.carrier.dropped["picture in, damaged"] > 100
    wire.pictures.clear()
    wire.receive(JPEG, jpeg)
    wire.receive(VP8, key)
    assert len(wire.pictures) == 2, "both decoders still work"


def test_the_same_picture_is_encoded_once():
    encoder, picture = JpegEncoder(), halves()
    assert encoder.encode(picture) is encoder.encode(picture)
    assert encoder.encode(halves()) == encoder.encode(picture)


def test_pictures_of_changing_size_are_encoded():
    encoder = JpegEncoder()
    for size in ((48, 64), (64, 48), (33, 35)):
        decoded = JpegDecoder().decode(encoder.encode(halves(*size)))
        assert (decoded.height, decoded.width) == size
