"""Messages and answers of `schedule/duty` as bytes: they pass between the supervisor and its processes when one of
those has died or comes back. Payloads travel with the outcomes that some reader may lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from ..channel.wire import DTYPES, bytes_of
from ..packet import Array, frozen
from ..payload import on_host
from ..schedule.duty import Answer, Known, Message


def _encode(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    array = on_host(value)
    return [array.dtype.name, list(array.shape), bytes(bytes_of(array))]


def _decode(kind: type, value: Any) -> Array:
    name, shape, body = value
    return frozen(np.frombuffer(body, DTYPES[name]).reshape(shape))


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode)
_messages = msgspec.msgpack.Decoder(list[Message], dec_hook=_decode)
_answers = msgspec.msgpack.Decoder(list[dict[str, Known]], dec_hook=_decode)


def encoded(messages: Sequence[Message] | Sequence[Answer]) -> bytes:
    """Messages, or the answers to them."""
    return _encoder.encode(messages)


def messages_in(body: bytes) -> list[Message]:
    """Messages that were `encoded`."""
    return _messages.decode(body)


def answers_in(body: bytes) -> list[dict[str, Known]]:
    """Answers that were `encoded`."""
    return _answers.decode(body)
