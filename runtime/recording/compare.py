"""Compares what a replay makes with what was recorded, while it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import listing
from ..packet import Packet, Validity
from ..schedule.events import Event, Settlement
from .reader import Recording
from .replay import Replay

Key = tuple[str, int]


@dataclass(frozen=True)
class Change:
    """A packet or decision that is not what was recorded."""

    stream: str
    unit: int
    text: str

    def __str__(self) -> str:
        return f"'{self.stream}', unit {self.unit}: {self.text}"


class Expectation:
    """Takes packets in the order in which a replay makes them, reads the recording beside them.

    A replay of a recording that was cut ends earlier than the recording: it leaves out what the cut tore apart.

    Attributes:
        streams: recorded streams that the replay makes again: those that are compared.
        n_equal: packets found equal, bit for bit.
    """

    def __init__(self, recording: Recording, replay: Replay) -> None:
        plan = replay.plan
        made = [s for s in plan.streams if plan.streams[s].node not in replay.played]
        self.streams = frozenset(stream for stream in made if stream in recording.units)
        self.n_equal = 0
        self._recording = recording
        self._order = {stream: number for number, stream in enumerate(made)}
        self._recorded = recording.packets(self.streams)
        self._made: dict[Key, Packet] = {}
        self._next: Packet | None = None
        self._changes: list[Change] = []

    def take(self, packet: Packet) -> None:
        """A packet was made."""
        if packet.stream in self.streams:
            self._made[packet.stream, packet.unit] = packet
            self._compare()

    def first_change(self, log: Iterable[Event]) -> Change | None:
        """First difference, by unit and then in the order in which data flows; None when all is as recorded.

        Args:
            log: what the replay decided.
        """
        self._compare()
        while self._next is not None:
            if self._recording.is_whole:
                self._add(self._next, None)
            self._next = next(self._recorded, None)
            self._compare()
        if self._recording.is_whole:
            for (stream, unit), packet in self._made.items():
                if not self._recording.lost.get(stream):
                    text = f"found {_name(packet.validity)} (recorded nothing)"
                    self._changes.append(Change(stream, unit, text))
            self._compare_decisions(log)
        return min(self._changes, key=lambda change: (change.unit, self._order[change.stream]), default=None)

    def _compare(self) -> None:
        if self._next is None:
            self._next = next(self._recorded, None)
        while self._next is not None and (self._next.stream, self._next.unit) in self._made:
            self._add(self._next, self._made.pop((self._next.stream, self._next.unit)))
            self._next = next(self._recorded, None)

    def _add(self, recorded: Packet, made: Packet | None) -> None:
        if made is not None and made.validity is Validity.END and not self._recording.is_whole:
            return
        text = _change(recorded, made)
        if text:
            self._changes.append(Change(recorded.stream, recorded.unit, text))
        else:
            self.n_equal += 1

    def _compare_decisions(self, log: Iterable[Event]) -> None:
        """Streams that were not recorded have left their size and validity in the decision log."""
        before, now = self._settled(self._recording.log), self._settled(log)
        for (stream, unit), (validity, n_bytes) in before.items():
            found = now.get((stream, unit))
            if found is not None and found != (validity, n_bytes):
                was = f"{_name(validity)}, {n_bytes} bytes"
                text = f"found {_name(found[0])}, {found[1]} bytes (recorded {was})"
                self._changes.append(Change(stream, unit, text))

    def _settled(self, log: Iterable[Event]) -> dict[Key, tuple[int, int]]:
        return {
            (e.stream, e.unit): (e.validity, e.n_bytes)
            for e in log
            if isinstance(e, Settlement) and e.stream in self._order and e.stream not in self.streams
        }


def _name(validity: int) -> str:
    return Validity(validity).name.lower()


def _change(recorded: Packet, made: Packet | None) -> str:
    """In words, how a packet differs from the recorded one; empty when it does not."""
    if made is None:
        return f"found nothing (recorded {_name(recorded.validity)})"
    if made.validity is not recorded.validity:
        return f"found {_name(made.validity)} (recorded {_name(recorded.validity)})"
    if set(made.tensors) != set(recorded.tensors):
        return f"found tensors {listing(made.tensors)} (recorded {listing(recorded.tensors)})"
    new = made.on_host
    for name, before in recorded.on_host.items():
        now, where = new[name], f"tensor '{name}': " if name else ""
        if (now.shape, now.dtype) != (before.shape, before.dtype):
            return f"{where}found {list(now.shape)} {now.dtype} (recorded {list(before.shape)} {before.dtype})"
        if now.tobytes() != before.tobytes():
            return where + _values(now.reshape(-1).tolist(), before.reshape(-1).tolist())
    return ""


def _values(now: list[object], before: list[object]) -> str:
    different = [at for at, (a, b) in enumerate(zip(now, before, strict=True)) if a != b]
    if not different:
        return "its values are equal but not their bits (-0.0 or NaN)"
    at = different[0]
    return f"{len(different)} of {len(now)} values differ, first number {at}: found {now[at]} (recorded {before[at]})"
