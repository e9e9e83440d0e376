"""Writes a recording: packets of chosen streams and the decision log, as MCAP.

    metadata wangraph            the header of a trace: plan, versions, machine
    /NODE/PORT                   a `Packet` per unit (see `cdr`), at its media time
    /NODE/PORT/pictures          the pictures of a packet, one `sensor_msgs/msg/Image` each, before it
    /wangraph/firing, settled, fence    the decision log as JSON, at run time
    metadata wangraph-end        whether the run ended in order, what was lost; absent when the run was killed

A thread writes, so that a disk that stalls holds nobody up: up to `LIMIT_BYTES` wait for it, what comes then is
counted as lost. Every `FLUSH_EVERY_S` what was taken in is handed to the operating system as a whole chunk, so that a
killed run leaves a file that ends at most that much before its end.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from ..errors import MissingExtra, RunError, UserError
from ..observe.records import Header
from ..output_file import open_private
from ..packet import Packet
from ..plan.plan import Plan
from ..schedule.events import Event, Fenced, Firing, Settlement, Updated
from .cdr import IMAGE_SCHEMA, IMAGE_TYPE, PACKET_SCHEMA, PACKET_TYPE, encode_image, encode_packet, pictures_of

if TYPE_CHECKING:
    from mcap.writer import Writer

HEADER, END = "wangraph", "wangraph-end"
"""Names of the metadata at both ends of a recording."""

TOPICS: dict[type[Event], str] = {
    Firing: "/wangraph/firing",
    Settlement: "/wangraph/settled",
    Fenced: "/wangraph/fence",
    Updated: "/wangraph/updated",
}

LIMIT_BYTES = 256_000_000
"""What may wait for the disk."""

FLUSH_EVERY_S = 0.5

_CHUNK_BYTES = 4_000_000

_encoder = msgspec.json.Encoder()


def topic_of(stream: str) -> str:
    """``node.port`` -> ``/node/port``."""
    node, _, port = stream.rpartition(".")
    return f"/{node}/{port}"


class Recorder:
    """Takes packets and decisions from any thread.

    Args:
        header: what stands at the beginning, with the plan.
        waits: block `put` instead of losing packets: where time is virtual.

    Raises:
        MissingExtra: the package ``mcap`` is not installed.
        UserError: the file cannot be written.
    """

    def __init__(self, path: Path, plan: Plan, header: Header, *, waits: bool = False) -> None:
        self.path = path
        self.lost: Counter[str] = Counter()
        self.n_packets = 0
        self.n_bytes = 0
        self._plan = plan
        self._waits = waits
        self._epoch_ns = time.time_ns()
        self._queue: queue.SimpleQueue[Packet | list[Event] | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._room = threading.Condition()
        self._error: Exception | None = None
        self._channels: dict[str, int] = {}
        writer_class = _mcap()
        try:
            self._file = _Counted(open_private(path))
            target = cast(BinaryIO, self._file)
            self._writer = writer_class(target, _CHUNK_BYTES, enable_crcs=True, compression=_no_compression())
            self._writer.start(profile="", library=f"wangraph {header.wangraph}")
            self._writer.add_metadata(HEADER, {"header": _encoder.encode(header).decode()})
            self._file.flush()
        except OSError as error:
            raise UserError(f"--output: {path}: {error.strerror} (expected a writable file)") from error
        self._packet_schema = self._writer.register_schema(PACKET_TYPE, "ros2msg", PACKET_SCHEMA.encode())
        self._image_schema = self._writer.register_schema(IMAGE_TYPE, "ros2msg", IMAGE_SCHEMA.encode())
        self._thread = threading.Thread(target=self._live, name="recorder", daemon=True)
        self._thread.start()

    def put(self, packet: Packet) -> None:
        """Record a packet. Its arrays are kept until they are written: they must not be written to any more."""
        size = packet.n_bytes
        with self._room:
            while self._waits and self._waiting_bytes + size > LIMIT_BYTES and self._error is None:
                self._room.wait(1.0)
            if self._error is not None or self._waiting_bytes + size > LIMIT_BYTES:
                self.lost[packet.stream] += 1
                return
            self._waiting_bytes += size
        self._queue.put(packet)

    def log(self, events: Iterable[Event]) -> None:
        """Record decisions."""
        if kept := list(events):
            self._queue.put(kept)

    def settle(self) -> RunError | None:
        """Write what waits; from now on nothing is taken. Returns why not all could be written."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        return self._failure()

    def close(self, summary: dict[str, Any] | None = None, *, is_whole: bool = True) -> RunError | None:
        """Finish the file. Returns why not all could be written.

        Args:
            is_whole: whether the run ended in order.
        """
        self.settle()
        end = {"whole": is_whole, "lost": dict(self.lost), "summary": summary or {}}
        try:
            if self._error is None:
                self._writer.add_metadata(END, {key: _encoder.encode(value).decode() for key, value in end.items()})
                self._writer.finish()  # type: ignore[no-untyped-call]
            self._file.close()
        except OSError as error:
            self._error = self._error or error
        return self._failure()

    def _failure(self) -> RunError | None:
        if self._error is None:
            return None
        reason = self._error.strerror if isinstance(self._error, OSError) else repr(self._error)
        return RunError(
            f"--output: {self.path}: {reason} after {self.n_packets} packets (expected room for the recording), "
            "what was written before can be replayed"
        )

    # The thread

    def _live(self) -> None:
        flush_at = time.monotonic() + FLUSH_EVERY_S
        while True:
            try:
                taken = self._queue.get(timeout=max(0.0, flush_at - time.monotonic()))
            except queue.Empty:
                taken = []
            if taken is None:
                return
            if self._error is None:
                try:
                    self._write(taken)
                    if time.monotonic() >= flush_at:
                        self._writer.flush()  # type: ignore[no-untyped-call]
                except Exception as error:  # a full disk, or a packet that is none: nothing more is written then
                    self._error = error
            elif isinstance(taken, Packet):
                self.lost[taken.stream] += 1
            if time.monotonic() >= flush_at:
                flush_at = time.monotonic() + FLUSH_EVERY_S
            if isinstance(taken, Packet):
                with self._room:
                    self._waiting_bytes -= taken.n_bytes
                    self._room.notify_all()

    def _write(self, taken: Packet | list[Event]) -> None:
        if isinstance(taken, Packet):
            self._write_packet(taken)
            return
        for event in taken:
            at = event.finished_ns if isinstance(event, Firing) else event.at_ns
            channel = self._channels.get(TOPICS[type(event)]) or self._json_channel(type(event))
            self._add(channel, at, _encoder.encode(event))

    def _write_packet(self, packet: Packet) -> None:
        topic, pictures = topic_of(packet.stream), pictures_of(packet)
        if pictures is not None:
            channel = self._channel(f"{topic}/pictures", self._image_schema)
            for j, picture in enumerate(pictures):
                at = packet.pts_ns + j * packet.duration_ns // len(pictures)
                self._add(channel, at, encode_image(picture, self._epoch_ns + at, packet.stream))
        n_frames = 0 if pictures is None else len(pictures)
        self._add(self._channel(topic, self._packet_schema), packet.pts_ns, encode_packet(packet, n_frames))
        self.n_packets += 1
        self.n_bytes += packet.n_bytes

    def _add(self, channel: int, at_ns: int, data: bytes) -> None:
        at = self._epoch_ns + at_ns
        self._writer.add_message(channel, log_time=at, publish_time=at, data=data)

    def _channel(self, topic: str, schema: int) -> int:
        if topic not in self._channels:
            self._channels[topic] = self._writer.register_channel(topic, "cdr", schema)
        return self._channels[topic]

    def _json_channel(self, kind: type[Event]) -> int:
        _, parts = msgspec.json.schema_components([kind])
        schema = self._writer.register_schema(
            f"wangraph.{kind.__name__}", "jsonschema", _encoder.encode(parts[kind.__name__])
        )
        self._channels[TOPICS[kind]] = self._writer.register_channel(TOPICS[kind], "json", schema)
        return self._channels[TOPICS[kind]]


class _Counted:
    """A file that tells how much was written, which a pipe does not."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._n_bytes = 0

    def write(self, data: bytes) -> int:
        n_bytes = self._file.write(data)
        self._n_bytes += n_bytes
        return n_bytes

    def tell(self) -> int:
        return self._n_bytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def check_mcap() -> None:
    """Look whether recordings can be read and written here.

    Raises:
        MissingExtra: they cannot.
    """
    _mcap()


def _mcap() -> type[Writer]:
    try:
        from mcap.writer import Writer
    except ImportError as error:
        raise MissingExtra(
            "recording: found no package 'mcap' (expected the extra 'record'), "
            "install it: pip install 'wangraph[record]'"
        ) from error
    return Writer


def _no_compression() -> Any:
    """Raw pictures of a camera hardly shrink, and the core that would try has a model to run."""
    from mcap.writer import CompressionType

    return CompressionType.NONE
