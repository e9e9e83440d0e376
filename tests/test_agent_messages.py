"""Messages of an agent, which may be anybody's program: whatever it sends is an answer, or refused in words."""

from __future__ import annotations

import json
import random
import re
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.runtime.errors import RunError
from wangraph.tools.fuzz.damage import spoilt, spoilt_bytes
from wangraph.tools.lab.world.protocol import MAX_TEXT, SOUND_BYTES, packed, read_handshake, unpacked

HELLO = {"type": "hello", "name": "an agent", "takes": "jpeg", "sends": "jpeg", "size": 16}
SOUND = np.zeros(SOUND_BYTES // 2, np.float32)


def jpeg(width: int, height: int) -> bytes:
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
    frame = frame.reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def answer(coding="none", body=None, **fields):
    header = {"type": "unit", "unit": 3, "text": "", "pictures": [], **fields}
    return unpacked("agent", 3, json.dumps(header), bytes(SOUND_BYTES) if body is None else body, coding, 16)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_a_damaged_message_is_an_answer_or_refused(seed):
    chance = random.Random(seed)
    pictures = np.full((4, 16, 16, 3), 90, np.uint8)
    header, body = packed(3, SOUND, pictures, "one two", chance.choice(["rgb", "jpeg"]))
    try:
        read_handshake("agent", json.dumps(spoilt(HELLO, chance)), 16)
        if chance.random() < 0.5:
            header = json.dumps(spoilt(json.loads(header), chance))
        if chance.random() < 0.5:
            body = spoilt_bytes(body, chance)
        sound, shown, text = unpacked("agent", 3, header, body, chance.choice(["rgb", "jpeg", "none"]), 16)
    except RunError:
        return
    assert sound.shape == (2560,) and len(text) <= MAX_TEXT
    assert shown is None or (shown.shape[0] == 4 and shown.nbytes < 30e6)


@pytest.mark.parametrize(
    ("hello", "message"),
    [
        ({**HELLO, "size": True}, "agent: found size True (expected 1 to 4096 pixels), correct its hello"),
        (
            {**HELLO, "takes": "x" * 500},
            f"agent: found takes '{'x' * 59} (expected one of: jpeg, none, rgb), correct its hello",
        ),
    ],
)
def test_a_hello_is_held_to_its_types(hello, message):
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        read_handshake("agent", json.dumps(hello), 16)


def test_endless_nesting_is_no_hello():
    nested = '{"type":"hello","a":' + "[" * 200_000
    message = f'agent: found {nested[:80]!r} (expected a JSON text {{"type": "hello", ...}})'
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        read_handshake("agent", nested, 16)


def test_the_name_of_an_agent_is_cut():
    assert read_handshake("agent", json.dumps({**HELLO, "name": "n" * 10_000_000}), 16).name == "n" * 200


def test_a_text_of_one_unit_is_bounded():
    message = "agent: found a text of 4001 characters (expected 2000 at most, for 160 ms), send it in parts"
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        answer(text="x" * 4001)


@pytest.mark.parametrize("unit", [True, 3.0, "3", None])
def test_a_unit_is_a_number(unit):
    message = f"agent: found an answer to unit {unit!r} (expected 3), answer each unit once, in order"
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        answer(unit=unit)


def test_a_picture_is_refused_by_the_size_that_it_says_it_has():
    small = bytearray(jpeg(64, 64))
    at = small.find(b"\xff\xc0")
    small[at + 5 : at + 9] = (65_500).to_bytes(2, "big") * 2
    message = f"agent: found {len(small)} bytes that are no picture (expected a JPEG of 2073600 pixels at most)"
    with pytest.raises(RunError, match=f"^{re.escape(message)}$"):
        answer("jpeg", bytes(SOUND_BYTES) + bytes(small) * 4, pictures=[len(small)] * 4)
    _, pictures, _ = answer("jpeg", bytes(SOUND_BYTES) + jpeg(64, 48) * 4, pictures=[len(jpeg(64, 48))] * 4)
    assert pictures.shape == (4, 48, 64, 3)
