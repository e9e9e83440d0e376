"""Messages of visitors, who may be anybody: each is one of the protocol, or a declared error, whatever its bytes."""

from __future__ import annotations

import contextlib
import json
import random

import av
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.tools.fuzz.damage import spoilt, spoilt_bytes
from wangraph.tools.serve.codecs import Damaged, JpegDecoder, JpegEncoder, Vp8Decoder
from wangraph.tools.serve.protocol import (
    JPEG,
    Hello,
    Media,
    Offer,
    read_media,
    read_message,
    write_media,
    write_message,
)

SEEDS = st.integers(0, 2**32)
PICTURE = np.arange(64 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
JPEG_BYTES = JpegEncoder().encode(PICTURE)


def vp8() -> list[bytes]:
    codec = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt, codec.framerate = 64, 48, "yuv420p", 25
    frames = [av.VideoFrame.from_ndarray(np.roll(PICTURE, k, 1), format="rgb24") for k in range(3)]
    return [bytes(packet) for frame in [*frames, None] for packet in codec.encode(frame)]


VP8_BYTES = vp8()


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_a_damaged_text_is_a_message_or_refused(seed):
    chance = random.Random(seed)
    message = chance.choice([Hello("token", params={"think.heat": 1.0}), Offer("v=0")])
    text = json.dumps(spoilt(json.loads(write_message(message)), chance)).encode()
    with contextlib.suppress(msgspec.DecodeError):
        read_message(spoilt_bytes(text, chance) if chance.random() < 0.3 else text)


def test_endless_nesting_is_refused_like_other_damage():
    with pytest.raises(msgspec.DecodeError, match="maximum recursion depth exceeded"):
        read_message('{"type":"hello","token":"t","params":' + '{"a":' * 10_000)


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_damaged_media_are_a_picture_or_refused(seed):
    chance = random.Random(seed)
    message = spoilt_bytes(write_media(Media(JPEG, True, 0, 3, 99, JPEG_BYTES)), chance)
    with contextlib.suppress(ValueError, Damaged):
        frame = JpegDecoder().decode(read_media(message).data)
        assert frame.width * frame.height <= 1920 * 1080
    decoder = Vp8Decoder()
    for data in VP8_BYTES:
        with contextlib.suppress(Damaged):
            decoder.decode(spoilt_bytes(data, chance))
