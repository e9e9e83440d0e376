"""Messages of visitors of a served graph, and of agents that talk with the world: both may be anybody's program."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np

from ...runtime.errors import RunError
from ..lab.world.protocol import SOUND_BYTES, Coding, packed, read_handshake, unpacked
from ..serve.codecs import Damaged, JpegDecoder, JpegEncoder, Vp8Decoder
from ..serve.protocol import (
    AUDIO,
    JPEG,
    VP8,
    Change,
    Devices,
    FromVisitor,
    Hello,
    Media,
    Offer,
    Ping,
    Played,
    Typed,
    read_media,
    read_message,
    write_media,
    write_message,
)
from .damage import spoilt, spoilt_bytes
from .reader import Reader

PICTURE = np.arange(64 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
MOST_PIXELS = 1920 * 1080
SIDE = 16

TEXTS: list[FromVisitor] = [
    Hello("token", params={"think.heat": 1.0}),
    Offer("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"),
    Devices("on", "off"),
    Typed("hello"),
    Change("think", "heat", 1.5),
    Played(3, 3, 0, 12),
    Ping(1.5),
]


class Page(Reader):
    """Messages of a visitor's page: texts, sound, JPEG and VP8."""

    declared = (msgspec.DecodeError, Damaged)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._media = [
            Media(JPEG, True, 0, 3, 99, JpegEncoder().encode(PICTURE)),
            Media(AUDIO, False, 0, 4, 99, bytes(640)),
        ]
        self._media += [Media(VP8, not number, 0, number, 99, data) for number, data in enumerate(_vp8())]
        self._decoders = JpegDecoder(), Vp8Decoder()

    def case(self, chance: random.Random) -> str | bytes:
        """A text message, or a binary one."""
        if chance.random() < 0.5:
            text = json.dumps(spoilt(json.loads(write_message(chance.choice(TEXTS))), chance))
            return spoilt_bytes(text.encode(), chance).decode("utf-8", "replace") if chance.random() < 0.3 else text
        return spoilt_bytes(write_media(chance.choice(self._media)), chance)

    def read(self, case: str | bytes) -> None:
        """Take it in, as far as a picture."""
        if isinstance(case, str):
            read_message(case)
            return
        try:
            media = read_media(case)
        except ValueError as error:  # declared here, and nowhere behind it
            raise msgspec.DecodeError(str(error)) from error
        jpeg, vp8 = self._decoders
        if media.kind != AUDIO:
            frame = (jpeg if media.kind == JPEG else vp8).decode(media.data)
            assert frame is None or frame.width * frame.height <= MOST_PIXELS


class Agent(Reader):
    """Messages of an agent behind a WebSocket: its hello, and its answer to a unit."""

    declared = (RunError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        hello = {"type": "hello", "name": "an agent", "takes": "jpeg", "sends": "jpeg", "size": SIDE}
        self._hello = json.dumps(hello)
        sound, pictures = np.zeros(SOUND_BYTES // 2, np.float32), np.full((4, SIDE, SIDE, 3), 90, np.uint8)
        self._units: dict[Coding, tuple[str, bytes]] = {
            coding: packed(3, sound, pictures, "one two", coding) for coding in ("rgb", "jpeg", "none")
        }

    def case(self, chance: random.Random) -> tuple[str, bytes, Coding] | str:
        """A hello, or an answer: a header, its bytes, and how pictures were agreed on."""
        if chance.random() < 0.3:
            return json.dumps(spoilt(json.loads(self._hello), chance))
        header, body = self._units[chance.choice(("rgb", "jpeg", "none"))]
        if chance.random() < 0.5:
            header = json.dumps(spoilt(json.loads(header), chance))
        if chance.random() < 0.5:
            body = spoilt_bytes(body, chance)
        return header, body, chance.choice(("rgb", "jpeg", "none"))

    def read(self, case: tuple[str, bytes, Coding] | str) -> None:
        """Take it in."""
        if isinstance(case, str):
            read_handshake("agent", case, SIDE)
            return
        header, body, coding = case
        sound, shown, _ = unpacked("agent", 3, header, body, coding, SIDE)
        assert len(sound) == SOUND_BYTES // 2 and (shown is None or shown.shape[0] == 4)


def _vp8() -> list[bytes]:
    codec = av.CodecContext.create("libvpx", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt, codec.framerate = 64, 48, "yuv420p", Fraction(25)
    frames = [av.VideoFrame.from_ndarray(np.roll(PICTURE, k, 1), format="rgb24") for k in range(3)]
    return [bytes(packet) for frame in [*frames, None] for packet in codec.encode(frame)]
