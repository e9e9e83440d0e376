"""Recordings of a run: bytes spoilt, or whole MCAP files that say other things; opened, and replayed."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcap.records import Channel, Message, Metadata, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from ...runtime.engine.options import Options
from ...runtime.engine.run import Run
from ...runtime.errors import WangraphError
from ...runtime.recording.compare import Expectation
from ...runtime.recording.reader import open_recording
from ...runtime.recording.replay import make_replay
from .damage import spoilt_bytes, spoilt_json
from .example import example, leave_files
from .reader import Reader


class Recordings(Reader):
    """See the module."""

    declared = (WangraphError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._plan = example().plan()
        self._data = leave_files(folder)[1].read_bytes()

    def case(self, chance: random.Random) -> tuple[bytes, bool]:
        """A recording, and whether it is replayed to its end."""
        data = spoilt_bytes(self._data, chance) if chance.random() < 0.4 else rewritten(self._data, chance)
        return data, chance.random() < 0.3

    def read(self, case: tuple[bytes, bool]) -> None:
        """Make the replay, take out every packet, and play them into the graph."""
        data, is_replayed = case
        path = self.folder / "spoilt.mcap"
        path.write_bytes(data)
        recording = open_recording(path)
        replay = make_replay(recording, self._plan)
        expectation = Expectation(recording, replay)
        list(recording.packets())
        if is_replayed:
            run = Run(replay.plan, Options(clock="virtual", log=replay.log))
            run.collector.listener = (expectation.streams, expectation.take)
            run.start().wait()
            expectation.first_change(run.log)


def copied(
    data: bytes,
    *,
    metadata: Callable[[str, dict[str, str]], dict[str, str] | None] | None = None,
    topic: Callable[[str], str] | None = None,
    message: Callable[[Any], bytes | None] | None = None,
) -> bytes:
    """A recording that is whole MCAP, its fields, topics and messages changed; what becomes None is left out."""
    out, schemas, channels = io.BytesIO(), {}, {}
    writer = Writer(out, compression=CompressionType.NONE)
    writer.start(profile="", library="x")
    for record in StreamReader(io.BytesIO(data)).records:
        match record:
            case Metadata() as it:
                fields = dict(it.metadata)
                kept = metadata(it.name, fields) if metadata else fields
                if kept is not None:
                    writer.add_metadata(it.name, kept)
            case Schema() as it:
                schemas[it.id] = writer.register_schema(it.name, it.encoding, it.data)
            case Channel() as it:
                name = topic(it.topic) if topic else it.topic
                schema = schemas.get(it.schema_id, 0)
                channels[it.id] = writer.register_channel(name, it.message_encoding, schema)
            case Message() as it:
                now = message(it) if message else it.data
                if now is not None:
                    writer.add_message(channels[it.channel_id], it.log_time, now, it.publish_time)
    writer.finish()  # type: ignore[no-untyped-call]
    return out.getvalue()


def rewritten(data: bytes, chance: random.Random) -> bytes:
    """A recording with other things in it."""
    harm = chance.choice([0, 0.01, 0.05])

    def metadata(name: str, fields: dict[str, str]) -> dict[str, str]:
        if "header" in fields and chance.random() < 0.5:
            fields["header"] = spoilt_json(fields["header"].encode(), chance).decode()
        elif chance.random() < 0.3:
            fields = {key: chance.choice(["", "null", "[]", "1", value]) for key, value in fields.items()}
        return fields

    def topic(name: str) -> str:
        return name if chance.random() > harm else chance.choice(["/x", "", "/", "/wangraph/firing"])

    def message(record: Any) -> bytes | None:
        if chance.random() < harm / 2:
            return None
        spoil = spoilt_json if record.data[:1] == b"{" else spoilt_bytes
        return spoil(record.data, chance) if chance.random() < harm else record.data

    return copied(data, metadata=metadata, topic=topic, message=message)
