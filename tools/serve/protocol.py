"""Messages over a visitor's WebSocket, ``/live``: JSON, and media as binary ones. See docs/live.md.

The socket is the visit: its end ends the visit, after a time in which the same visitor may come back. Each text message
is one of the structs below, named by its ``type``. Each binary message is a `Media`: a head of 16 bytes, then bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

VERSION = 1
"""Of this protocol. A client of another version is refused with a sentence."""

MAX_TEXT_BYTES = 64 * 1024
"""Of one JSON message: an SDP offer has 2-8 KB."""

MAX_MEDIA_BYTES = 1024 * 1024
"""Of one binary message: a JPEG of 1280x720 has 50-200 KB."""

MAX_TYPED = 2000
"""Characters of a text that a visitor types."""

TOKEN_HEADER = "X-Wangraph-Token"
"""Of ``GET /about``. No ``Authorization``: a proxy on the way may have use for that one itself."""


class _Message(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """One JSON message; ``type`` is the class's name in small letters."""


# From the visitor -----------------------------------------------------------------------------------------------------


class Hello(_Message, frozen=True):
    """The first message, within 5 s.

    Attributes:
        token: of the link.
        version: of the protocol.
        visit: an earlier visit to go on with, after a reload or a change of network; empty for a new one.
        consent: whether the visitor agrees to be recorded; None: was not asked.
        params: live parameters to begin with, by ``node.name``.
    """

    token: str
    version: int = VERSION
    visit: str = ""
    consent: bool | None = None
    params: Mapping[str, Any] = {}


class Offer(_Message, frozen=True):
    """WebRTC is wanted: a session description with all candidates; the answer is an `Answer`."""

    sdp: str


class Socket(_Message, frozen=True):
    """Media come and go through this socket from now on; a WebRTC connection is given up."""


class Devices(_Message, frozen=True):
    """Devices of the visitor. What is off or absent is nothing to the graph: no black picture, no silence.

    Attributes:
        camera: ``on``, ``off`` or ``absent``.
        microphone: ``on``, ``off`` or ``absent``.
    """

    camera: Literal["on", "off", "absent"]
    microphone: Literal["on", "off", "absent"]


class Typed(_Message, frozen=True):
    """A text that the visitor typed."""

    text: str


class Interrupt(_Message, frozen=True):
    """The visitor wants quiet."""


class Change(_Message, frozen=True):
    """Set a live parameter; answered by `Changed` or `Problem`."""

    node: str
    name: str
    value: Any


class Played(_Message, frozen=True):
    """Units that have come out of the visitor's loudspeaker and screen, sent a few times a second.

    Attributes:
        audio: unit of the newest sound that was heard; -1 for none.
        video: unit of the newest picture that was shown; -1 for none.
        underruns: how often the sound ran dry since the visit began.
        shown: pictures shown since the visit began.
        audio_at_ms: over WebRTC, which names no units: when the sound that is heard now was written, by the server's
            own wall clock (milliseconds since 1970), as the browser's statistics estimate it; 0 where they do not.
        video_at_ms: the same of the picture.
    """

    audio: int = -1
    video: int = -1
    underruns: int = 0
    shown: int = 0
    audio_at_ms: float = 0
    video_at_ms: float = 0


class Ping(_Message, frozen=True):
    """Answered by `Pong` at once; the time is the visitor's own, and comes back."""

    at_ms: float


class Watch(_Message, frozen=True):
    """The visitor wants to see what the graph sees, or no more."""

    is_on: bool


class Bye(_Message, frozen=True):
    """The visitor leaves and will not come back."""


FromVisitor = Hello | Offer | Socket | Devices | Typed | Interrupt | Change | Played | Watch | Ping | Bye

# To the visitor -------------------------------------------------------------------------------------------------------


class Waiting(_Message, frozen=True):
    """All places are taken; the socket stays open, and the visitor is let in when one is free.

    Attributes:
        place: in the queue, from 1.
        of: how many wait.
        sessions: how many are served at once.
    """

    place: int
    of: int
    sessions: int


class Starting(_Message, frozen=True):
    """A place is free, and the graph is being opened."""

    text: str = ""


class LiveParam(msgspec.Struct, frozen=True):
    """A parameter that can be changed during the visit."""

    node: str
    name: str
    value: Any
    help: str = ""
    choices: list[Any] | None = None


class VideoFormat(msgspec.Struct, frozen=True):
    """Pictures at an end of the graph."""

    width: int
    height: int
    fps: float


class AudioFormat(msgspec.Struct, frozen=True):
    """Mono sound at an end of the graph."""

    rate_hz: int


class EndFormats(msgspec.Struct, frozen=True):
    """Formats at one end of the graph; None: not this."""

    video: VideoFormat | None = None
    audio: AudioFormat | None = None
    text: bool = False
    event: bool = False


class About(msgspec.Struct, frozen=True):
    """Facts to know before a visit: the JSON of ``GET /about``, asked with the token in `TOKEN_HEADER`.

    401 for a wrong token. A visitor agrees to be recorded, and chooses parameters, before their `Hello`.

    Attributes:
        version: of the protocol.
        graph: the served graph's name.
        inputs: what the graph takes from a visitor: only for these are a camera and a microphone opened.
        outputs: what it gives.
        params: what a `Hello` can set.
        is_recorded: whether visits are written to files where the visitor agrees.
    """

    version: int
    graph: str
    inputs: EndFormats
    outputs: EndFormats
    params: list[LiveParam]
    is_recorded: bool


class Welcome(_Message, frozen=True):
    """The visit begins, or goes on.

    Attributes:
        visit: its name: what a `Hello` goes on with after a reload.
        graph: the served graph's name.
        is_resumed: whether an earlier visit goes on.
        inputs: what the graph takes from the visitor.
        outputs: what it gives.
        params: what can be changed meanwhile.
        nodes: names of the nodes whose times `Times` tells, in order of the data.
        unit_ms: milliseconds of a unit.
        latency_ms: from the end of a unit to the beginning of its answer, as the graph declares.
        webrtc: whether offers are answered.
        ice_servers: for the visitor's `RTCPeerConnection`, as its configuration takes them.
        is_recorded: whether this visit is written to files.
        timeline: path of the visit's live timeline; empty where there is none.
    """

    visit: str
    graph: str
    is_resumed: bool
    inputs: EndFormats
    outputs: EndFormats
    params: list[LiveParam]
    nodes: list[str]
    unit_ms: float
    latency_ms: float
    webrtc: bool
    ice_servers: list[dict[str, Any]]
    is_recorded: bool
    timeline: str


class Answer(_Message, frozen=True):
    """To an `Offer`: a session description with all candidates."""

    sdp: str


class Carried(_Message, frozen=True):
    """Carrier of the media from now on: ``webrtc`` or ``socket``."""

    name: Literal["webrtc", "socket"]


class Caption(_Message, frozen=True):
    """Words, when they are played (the agent's) or were taken in (the visitor's)."""

    unit: int
    who: Literal["agent", "visitor"]
    text: str


class State(_Message, frozen=True):
    """State of the agent from this unit on: ``idle``, ``listen``, ``speak``, or what its graph calls it."""

    unit: int
    name: str


class Flush(_Message, frozen=True):
    """An interruption: drop all sound that has not been heard yet, at once."""

    unit: int


class Times(_Message, frozen=True):
    """Times of one unit: how long it took, and where.

    Attributes:
        unit: its number.
        node_ms: milliseconds that each node of `Welcome.nodes` worked on it; -1: it did not.
        answered_ms: from the unit's end to the answer that was ready to be played; -1: it never was.
        outcome: ``real``, ``late``, ``missed`` or ``concealed``.
        heard_level: loudness of what the graph heard in this unit, dB of full scale; None: nothing came.
        has_picture: whether the graph saw a picture in this unit.
    """

    unit: int
    node_ms: list[float]
    answered_ms: float
    outcome: str
    heard_level: float | None = None
    has_picture: bool = False


class Seen(_Message, frozen=True):
    """The picture that the graph saw, once a second while `Watch` is on: a PNG as base64."""

    unit: int
    png: str


class Changed(_Message, frozen=True):
    """A live parameter has a new value, from this unit on or from the first one not begun."""

    node: str
    name: str
    value: Any


class Problem(_Message, frozen=True):
    """Something that the visitor asked for was refused, or went wrong; the visit goes on."""

    text: str


class Over(_Message, frozen=True):
    """The visit has ended, and the socket closes; ``again`` says whether it makes sense to come back.

    ``reason``: ``refused``, ``token``, ``version``, ``ended`` (the graph did), ``failed``, ``closing`` (the server
    does), ``rate``, ``garbage``, ``elsewhere`` (the visit goes on in another window), ``bye``.
    """

    reason: str
    text: str
    again: bool = False


class Pong(_Message, frozen=True):
    """To a `Ping`: its time, and the server's."""

    at_ms: float
    server_ms: float


ToVisitor = (
    Waiting
    | Starting
    | Welcome
    | Answer
    | Carried
    | Caption
    | State
    | Flush
    | Times
    | Seen
    | Changed
    | Problem
    | Over
    | Pong
)

_FROM_VISITOR = msgspec.json.Decoder(FromVisitor)
_ENCODER = msgspec.json.Encoder()


def read_message(text: str | bytes) -> FromVisitor:
    """A visitor's message.

    Raises:
        msgspec.DecodeError: it is not JSON, no such message, or one whose fields have other types.
    """
    try:
        message: FromVisitor = _FROM_VISITOR.decode(text)
    except (UnicodeDecodeError, RecursionError) as error:  # no UTF-8, endless nesting: no JSON to anybody else
        raise msgspec.DecodeError(str(error)) from error
    return message


def write_message(message: ToVisitor | FromVisitor) -> str:
    """A message as it is sent."""
    return _ENCODER.encode(message).decode()


# Media ----------------------------------------------------------------------------------------------------------------

_HEAD = struct.Struct("<BBHIq")

AUDIO = 1
"""Mono samples, 16 bit signed, little-endian, 16,000 a second."""

JPEG = 2
"""A picture as JPEG."""

VP8 = 3
"""A picture as a VP8 frame (WebCodecs); ``is_key`` says whether it stands alone."""


class Media(NamedTuple):
    """A binary message.

    Attributes:
        kind: `AUDIO`, `JPEG` or `VP8`.
        is_key: the picture needs none before it.
        part: which picture of the unit, or which 20 ms of its sound, from 0; 0 from a visitor.
        unit: from the server, the unit that it belongs to; from a visitor, a number that grows by one with each
            message of this kind.
        at_us: microseconds on the sender's clock when it was taken in, or is to be played.
        data: the payload.
    """

    kind: int
    is_key: bool
    part: int
    unit: int
    at_us: int
    data: bytes


def write_media(media: Media) -> bytes:
    """A binary message as it is sent: kind u8, flags u8 (1: key), part u16, unit u32, time i64, all little-endian."""
    return _HEAD.pack(media.kind, int(media.is_key), media.part, media.unit, media.at_us) + media.data


def read_media(message: bytes) -> Media:
    """A binary message.

    Raises:
        ValueError: shorter than its head, or of no known kind.
    """
    if len(message) < _HEAD.size:
        raise ValueError(f"found {len(message)} bytes (expected a head of {_HEAD.size} and data)")
    kind, flags, part, unit, at_us = _HEAD.unpack_from(message)
    if kind not in (AUDIO, JPEG, VP8):
        raise ValueError(f"found media of kind {kind} (expected 1 audio, 2 JPEG or 3 VP8)")
    return Media(kind, bool(flags & 1), part, unit, at_us, message[_HEAD.size :])
