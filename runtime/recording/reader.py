"""Reads a recording: the header, the packets of some streams, the decision log. See `recorder` for what lies where.

A recording that was cut (a killed run) is read up to the cut: everything is read in the order in which it was written,
never through the index at the end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from ..errors import GraphError, UserError, listing
from ..observe.records import DAMAGED, TRACE_VERSION, Header
from ..observe.trace_file import check_call, check_outcome
from ..packet import Packet
from ..plan.plan import Plan, from_plain
from ..schedule.events import Event, Firing, Settlement
from .cdr import PACKET_TYPE, decode_packet
from .recorder import END, HEADER, TOPICS, check_mcap, topic_of

if TYPE_CHECKING:
    from mcap.records import McapRecord

GAP_UNITS = 4000
"""Units of a stream that may be lost in a row, ten minutes of a disk that takes nothing: more are a damaged number."""

REMEDY = "make one with: wangraph record GRAPH -o FILE.mcap"

_EVENT_OF = {topic: kind for kind, topic in TOPICS.items()}


@dataclass(frozen=True)
class Recording:
    """Contents of a recording.

    Attributes:
        plan: the graph that was recorded.
        units: per recorded stream, how many units from 0 on there may be something of (the last one plus 1).
        log: the decision log, in order.
        is_whole: whether the run ended in order; the recording of a run that failed or was killed is cut.
        lost: packets that the disk did not take in time, by stream.
    """

    path: Path
    header: Header
    plan: Plan
    units: dict[str, int]
    log: tuple[Event, ...]
    is_whole: bool
    lost: dict[str, int]

    def packets(self, streams: Iterable[str] | None = None) -> Iterator[Packet]:
        """Packets of these streams (all of them when None), in the order in which they were recorded."""
        wanted = set(self.units if streams is None else streams)
        topics = {topic_of(s): s for s in wanted}
        pictures: dict[str, list[bytes]] = {f"{topic}/pictures": [] for topic in topics}
        for topic, data in _messages(self.path, {*topics, *pictures}):
            if topic in pictures:
                pictures[topic].append(data)
                continue
            images = pictures[f"{topic}/pictures"]
            yield decode_packet(topics[topic], data, images)
            images.clear()


def open_recording(path: Path) -> Recording:
    """Look through a recording.

    Raises:
        MissingExtra: the package ``mcap`` is not installed.
        UserError: no such file, not MCAP, or not a recording of wangraph.
    """
    check_mcap()
    header: Header | None = None
    end: dict[str, str] | None = None
    log: list[Event] = []
    units: dict[str, int] = {}
    topics: dict[int, str] = {}
    schemas: dict[int, str] = {}
    for record in _records(path):
        kind = type(record).__name__
        if kind == "Metadata":
            fields: Any = record
            if fields.name == HEADER:
                header = _header(path, fields.metadata)
            elif fields.name == END:
                end = fields.metadata
        elif kind == "Schema":
            schema: Any = record
            schemas[schema.id] = schema.name
        elif kind == "Channel":
            channel: Any = record
            topics[channel.id] = channel.topic
            if schemas.get(channel.schema_id) == PACKET_TYPE:
                units.setdefault(_stream_of(channel.topic), 0)
        elif kind == "Message":
            message: Any = record
            topic = topics.get(message.channel_id, "")
            if topic in _EVENT_OF:
                log.append(_event(path, topic, message.data))
            elif (stream := _stream_of(topic)) in units:
                units[stream] = max(units[stream], _unit(path, stream, message.data, units[stream]) + 1)
    if header is None:
        raise UserError(f"{path}: found MCAP without a wangraph header (expected a recording of wangraph), {REMEDY}")
    plan = _plan(path, header)
    _check(path, plan, units, log)
    is_whole = end is not None and end.get("whole") == "true"
    return Recording(path, header, plan, units, tuple(log), is_whole, _lost(path, end or {}))


def check_streams(recording: Recording, streams: Iterable[str], why: str) -> None:
    """Look whether these streams were recorded.

    Raises:
        UserError: one was not.
    """
    for stream in streams:
        if stream not in recording.units:
            raise UserError(
                f"{recording.path}: no stream '{stream}' (recorded: {listing(recording.units)}), {why}; "
                f"record it with: wangraph record GRAPH --edges {stream.split('.', maxsplit=1)[0]}"
            )


def _stream_of(topic: str) -> str:
    """``/node/port`` -> ``node.port``, where the node may be one of a sub-graph, ``graph/node``."""
    node, _, port = topic.removeprefix("/").rpartition("/")
    return f"{node}.{port}"


def _unit(path: Path, stream: str, message: bytes, expected: int) -> int:
    unit = int.from_bytes(message[4:12], "little")
    if unit > expected + GAP_UNITS:
        raise UserError(
            f"{path}: '{stream}': found unit {unit} (expected one near {expected}): the file is damaged, "
            "record it again"
        )
    return unit


def _plan(path: Path, header: Header) -> Plan:
    try:
        return from_plain(header.plan)
    except GraphError as error:
        raise UserError(f"{path}: {error}") from error


def _check(path: Path, plan: Plan, units: Iterable[str], log: Iterable[Event]) -> None:
    """Pass if what was recorded is of this plan."""
    for stream in units:
        if stream not in plan.streams:
            streams = listing(plan.streams)
            raise UserError(f"{path}: found packets of '{stream}' (the plan has: {streams}), record it again")
    for event in log:
        if isinstance(event, Firing) and event.node not in plan.nodes:
            raise UserError(
                f"{path}: found a call of '{event.node}' (the plan has: {listing(plan.nodes)}), record it again"
            )
        if isinstance(event, Firing):
            check_call(path, plan, event)
        elif isinstance(event, Settlement):
            check_outcome(path, event)


def _lost(path: Path, end: Mapping[str, str]) -> dict[str, int]:
    try:
        return msgspec.json.decode(end.get("lost", "{}"), type=dict[str, int])
    except DAMAGED as error:
        raise UserError(f"{path}: found a broken end: {error} (expected a recording), record it again") from error


def _header(path: Path, metadata: dict[str, str]) -> Header:
    try:
        header = msgspec.json.decode(metadata.get("header", ""), type=Header)
    except DAMAGED as error:
        raise UserError(
            f"{path}: found a broken header: {error} (expected a recording of wangraph), {REMEDY}"
        ) from error
    if header.version != TRACE_VERSION:
        raise UserError(f"{path}: found version {header.version} (expected {TRACE_VERSION}), record it again")
    return header


def _event(path: Path, topic: str, data: bytes) -> Event:
    try:
        return msgspec.json.decode(data, type=_EVENT_OF[topic])
    except DAMAGED as error:
        raise UserError(f"{path}: {topic}: found a broken decision: {error}, record it again") from error


def _messages(path: Path, topics: set[str]) -> Iterator[tuple[str, bytes]]:
    names: dict[int, str] = {}
    for record in _records(path):
        kind = type(record).__name__
        if kind == "Channel":
            channel: Any = record
            names[channel.id] = channel.topic
        elif kind == "Message":
            message: Any = record
            if names.get(message.channel_id) in topics:
                yield names[message.channel_id], message.data


def _records(path: Path) -> Iterator[McapRecord]:
    """Records of the file's data section, in order, up to its end or to where it was cut."""
    from mcap.exceptions import EndOfFile, InvalidMagic, McapError
    from mcap.records import DataEnd
    from mcap.stream_reader import StreamReader

    class Whole:
        """A file that gives all that is asked for: half a record at a cut is none."""

        def __init__(self, file: BinaryIO) -> None:
            self._file = file

        def read(self, size: int) -> bytes:
            data = self._file.read(size)
            if len(data) < size:
                raise EndOfFile
            return data

    with _opened(path) as file:
        reader = StreamReader(Whole(file), validate_crcs=True)  # type: ignore[arg-type]
        try:
            for record in reader.records:
                if isinstance(record, DataEnd):
                    return
                yield record
        except EndOfFile:
            if file.seek(0, 2) < 8:
                raise UserError(f"{path}: found {file.tell()} bytes (expected an MCAP recording), {REMEDY}") from None
        except InvalidMagic as error:
            file.seek(0)
            raise UserError(f"{path}: found {file.read(8)!r} (expected an MCAP recording), {REMEDY}") from error
        except (McapError, ValueError, struct.error) as error:
            raise UserError(f"{path}: found broken MCAP: {error} (expected a recording), record it again") from error


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror} (expected a recording), {REMEDY}") from error
