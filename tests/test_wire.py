from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from wangraph.runtime.channel.wire import (
    DTYPES,
    PACKET,
    PACKETS,
    WAKE,
    WIRE_VERSION,
    PacketHeader,
    TensorHeader,
    decode,
    encode,
    encode_all,
    head,
    opened,
    packets_in,
)
from wangraph.runtime.errors import RunError
from wangraph.runtime.packet import Packet, Validity

integers = st.integers(-(2**62), 2**62)
arrays = npst.arrays(
    st.sampled_from([np.dtype(name) for name in DTYPES]), npst.array_shapes(min_dims=0, max_dims=4, min_side=0)
)
packets = st.builds(
    Packet,
    stream=st.text(min_size=1),
    unit=integers,
    generation=integers,
    pts_ns=integers,
    duration_ns=integers,
    validity=st.sampled_from(Validity),
    tensors=st.dictionaries(st.text(), arrays, max_size=4),
    session=integers,
    produced_ns=integers,
    capture_ns=st.none() | integers,
    capture_clock=st.text(),
    source_time_ns=st.none() | integers,
    incarnation=integers,
)


class Slots:
    """Shared memory that is one array."""

    def __init__(self, root: np.ndarray) -> None:
        self.root = root

    def lease(self, stream: str, slot: int) -> np.ndarray:
        return self.root


def header(**changes) -> PacketHeader:
    fields = {
        "stream": "a.out", "unit": 3, "generation": 0, "session": 0, "incarnation": 0, "pts_ns": 0, "duration_ns": 0, "validity": 0,
        "produced_ns": 0, "capture_ns": None, "capture_clock": "", "source_time_ns": None, "owner": "", "slot": -1,
        "tensors": (),
    }  # fmt: skip
    return PacketHeader(**{**fields, **changes})


def message(**changes) -> bytes:
    return head(PACKET, msgspec.msgpack.encode(header(**changes)))


def small_packet() -> Packet:
    return Packet("a.out", 3, 0, 0, 0, Validity.REAL, {"": np.arange(6, dtype=np.int16).reshape(2, 3)})


def plain(frames) -> list[bytes]:
    return [bytes(frame) for frame in frames]


@given(packets)
def test_a_packet_arrives_as_it_was_sent(packet):
    arrived = decode(plain(encode(packet)), {})
    for name in (f for f in Packet.__slots__ if f != "tensors"):
        assert getattr(arrived, name) == getattr(packet, name)
    assert arrived.tensors.keys() == packet.tensors.keys()
    for name, array in packet.tensors.items():
        assert arrived.tensors[name].dtype == array.dtype
        assert arrived.tensors[name].shape == array.shape
        assert arrived.tensors[name].tobytes() == array.tobytes()
        assert not arrived.tensors[name].flags.writeable


@given(st.lists(packets, min_size=1, max_size=4))
def test_packets_in_one_message_arrive_as_they_were_sent_and_in_order(sent):
    frames = plain(encode_all([(packet, None) for packet in sent], "main"))
    kind, body = opened(frames[0])
    arrived = packets_in(kind, body, frames, {})
    assert len(arrived) == len(sent)
    for packet, found in zip(sent, arrived, strict=True):
        assert msgspec.structs.replace(found, tensors={}) == msgspec.structs.replace(packet, tensors={})
        assert {name: (a.shape, a.dtype, a.tobytes()) for name, a in found.tensors.items()} == {
            name: (a.shape, a.dtype, a.tobytes()) for name, a in packet.tensors.items()
        }


def test_a_message_of_no_packets_is_refused():
    with pytest.raises(
        RunError, match=rf"^message: found no packet in it \(expected one or more, version {WIRE_VERSION}\)$"
    ):
        packets_in(PACKETS, memoryview(msgspec.msgpack.encode([])), [b""], {})


def test_inline_tensors_are_neither_copied_out_nor_in():
    packet = small_packet()
    frames = encode(packet)
    assert np.shares_memory(np.frombuffer(frames[1], np.uint8), packet.array)
    assert np.shares_memory(decode(frames, {}).array, packet.array)


@pytest.mark.parametrize("dtype", ["<i4", ">i4"])
def test_views_travel_in_c_order_of_little_endian(dtype):
    array = np.arange(24, dtype=dtype).reshape(4, 6)[::2, ::-1].T
    frames = encode(Packet("a.out", 0, 0, 0, 0, Validity.REAL, {"": array}))
    assert bytes(frames[1]) == array.astype("<i4").tobytes()
    assert decode(frames, {}).array.tolist() == array.tolist()


def test_tensors_in_a_slot_are_looked_at_there():
    root = np.arange(100, dtype=np.uint8)
    tensors = (TensorHeader("x", "uint16", (2, 2), 0, 64), TensorHeader("y", "bool", (), 0, 1))
    packet = decode([message(owner="main", slot=2, tensors=tensors)], {"main": Slots(root)})
    assert np.shares_memory(packet.tensors["x"], root)
    assert packet.tensors["x"].tobytes() == bytes(range(64, 72))
    assert packet.tensors["y"].shape == ()


def test_a_packet_without_payload_is_one_frame():
    packet = Packet("a.out", 3, 1, 0, 0, Validity.MISSING)
    frames = encode(packet)
    assert len(frames) == 1
    assert decode(frames, {}) == packet


def test_a_dtype_that_does_not_travel_is_named_with_its_stream_and_unit():
    packet = Packet("a.out", 3, 0, 0, 0, Validity.REAL, {"x": np.array(["text"])})
    expected = (
        "stream 'a.out', unit 3: tensor 'x': found dtype str128 (expected one of: bool, float16, float32, float64, "
        "int16, int32, int64, int8, uint16, uint32, uint64, uint8), convert it in the node"
    )
    with pytest.raises(RunError, match=f"^{re.escape(expected)}$"):
        encode(packet)


@given(st.sampled_from([PACKET, WAKE]), st.binary())
def test_kind_and_body_are_told_apart(kind, body):
    found, rest = opened(head(kind, body))
    assert (found, bytes(rest)) == (kind, body)


BAD = [
    ([], "message: found b'' (expected a wangraph header), who else writes to this socket?"),
    ([b"GET / HTTP/1.1"], "message: found b'GET / HT' (expected a wangraph header), who else writes to this socket?"),
    (
        [b"WG" + bytes([WIRE_VERSION + 1]) + b"P"],
        f"message: found protocol version {WIRE_VERSION + 1} (expected {WIRE_VERSION}), "
        "run the same wangraph in every process",
    ),
    ([head(WAKE)], "message: found kind b'W' (expected b'P', a packet)"),
    ([head(b"?", b"body")], "message: found kind b'?' (expected b'P', a packet)"),
    (
        [message(slot=0, owner="ghost")],
        "message: stream 'a.out', unit 3: found a payload in the shared memory of 'ghost' (attached: main), "
        "do both processes run the same graph?",
    ),
    (
        [message(slot=0, owner="main", tensors=(TensorHeader("x", "uint8", (11,), 0, 90),))],
        "message: stream 'a.out', unit 3: tensor 'x': found bytes 90 to 101 (expected them within 100), "
        "was the message cut?",
    ),
    (
        [message(slot=0, owner="main", tensors=(TensorHeader("x", "uint8", (1,), 0, -1),))],
        "message: stream 'a.out', unit 3: tensor 'x': found bytes -1 to 0 (expected them within 100), "
        "was the message cut?",
    ),
    (
        [message(tensors=(TensorHeader("x", "float32", (2,), 1, 0),)), b"1234567"],
        "message: stream 'a.out', unit 3: tensor 'x': found bytes 0 to 8 (expected them within 7), "
        "was the message cut?",
    ),
    (
        [message(tensors=(TensorHeader("x", "float32", (2,), 1, 0),))],
        "message: stream 'a.out', unit 3: tensor 'x': found bytes 0 to 8 (expected them within 0), "
        "was the message cut?",
    ),
    (
        [message(tensors=(TensorHeader("x", "object", (2,), 1, 0),)), b"12345678"],
        "message: stream 'a.out', unit 3: tensor 'x': found object [2] (expected sizes and one of: bool, float16, "
        "float32, float64, int16, int32, int64, int8, uint16, uint32, uint64, uint8)",
    ),
]


@pytest.mark.parametrize(("frames", "expected"), BAD)
def test_what_is_not_a_packet_of_this_version_is_refused(frames, expected):
    with pytest.raises(RunError, match=f"^{re.escape(expected)}$"):
        decode(frames, {"main": Slots(np.zeros(100, np.uint8))})


@pytest.mark.parametrize("frames", [[message(validity=77)], [message()[:-4]], [message(tensors=(1, 2))]])
def test_a_broken_header_is_refused(frames):
    with pytest.raises(
        RunError, match=rf"^message: found a broken packet header \(expected version {WIRE_VERSION}\): "
    ):
        decode(frames, {})


@given(st.data())
def test_garbage_is_refused_or_read_but_never_crashes(data):
    frames = plain(encode(small_packet()))
    start = data.draw(st.integers(0, len(frames[0]) - 1))
    frames[0] = (
        frames[0][:start] + data.draw(st.binary(max_size=12)) + frames[0][start + data.draw(st.integers(0, 9)) :]
    )
    try:
        decode(frames, {"main": Slots(np.zeros(100, np.uint8))})
    except RunError as error:
        assert str(error).startswith("message: ")


@given(
    st.lists(st.integers(0, 2**63), max_size=70),
    st.sampled_from([*DTYPES, "O", "bfloat16"]),
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-3, 3),
)
def test_impossible_shapes_and_places_never_reach_memory(shape, dtype, offset, frame):
    frames = [message(tensors=(TensorHeader("x", dtype, tuple(shape), frame, offset),)), b"12345678"]
    try:
        packet = decode(frames, {})
    except RunError as error:
        assert str(error).startswith("message: ")
    else:
        assert packet.n_bytes <= 8
