"""Talking with a served graph over loopback: what the way of sound and picture adds, and what a visitor costs.

A graph without any model gives back what it gets, a unit and its deadline later. A visitor sends pictures with a time
code and beeps, and looks for both in what comes back: `wangraph talk`'s client through the socket, and, where Chromium
is, the page by either way.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...nodes.media.testcard import BEEP_HZ, background
from ...nodes.media.timecode import draw_timecode, read_timecode
from ...runtime.errors import RunError
from ...runtime.units import MS
from ..serve.carrier import Samples
from ..serve.codecs import Damaged, JpegDecoder, JpegEncoder
from ..serve.socket import RATE_HZ
from ..talk.client import Clips, TalkOptions, talk
from ..talk.clip import PART_MS, PARTS, Piece
from ..talk.measures import Measures, TalkFigures
from . import live_page
from .report import OnRound, Report, Round, Table, ignored, quantiles, report

AIM = (
    "added to picture <= 30 / 60 ms and to sound <= 50 / 90 ms (p50 / p95), >= 99 % of the pictures shown, skew p95 "
    "<= 40 ms, no underrun, silent <= 100 ms after an interruption, first picture <= 2 s, <= 18 % of a core and 8 MB a "
    "visitor, <= 5 MB of growth over 30 visits"
)
ROUNDS = 1
SECONDS = 60.0

SIZE = (320, 240)
"""Of the pictures: what a page takes of a camera, so that nothing of the time code is cut off."""

UNIT_MS, LATENCY_MS = 160, 160
OWED_MS = UNIT_MS + LATENCY_MS
"""What the graph itself takes: each sample and each picture comes back a unit and the deadline later."""

CAPTURE_MS = PART_MS
"""The visitor sends a part of sound when a microphone would begin to take it in."""

GRAPH = f"""
name: back
latency_ms: {LATENCY_MS}
processes: {{main: {{lanes: [loop, play]}}}}
nodes:
  me:   {{type: capture.pattern, params: {{width: {SIZE[0]}, height: {SIZE[1]}}}}}
  same: {{type: flow.tee, inputs: {{value: me.audio}}}}
  sync: {{type: sync.playout, lane: play, inputs: {{video: me.video, audio: same.a}}}}
exports:
  inputs:  {{video: me.video, audio: me.audio}}
  outputs: {{video: sync.video, audio: sync.audio}}
  standalone: [me]
"""

LOOP_S = 10
"""After so long the visitor's pictures begin again: more than any of them is on its way."""

INTERRUPT_S = 2.0
WARM_VISITS = 5
"""Visits before memory is compared: pools fill in them."""

VISITS = WARM_VISITS + 30

COMPARED_VISITS = 10
"""First and last visits whose medians are compared: memory after a visit depends on how far its end has come."""

START_S, END_S = 60, 10


@dataclass(frozen=True)
class _Figure:
    """One line of the table: where it is in a round, how it is printed, and what is wanted."""

    name: str
    key: str
    aim: str


WAYS = {"client": "", "page, socket": "socket", "page, WebRTC": "webrtc"}
"""Visitors by name; a page's with the carrier that it takes."""

_FIGURES = (
    _Figure("added to picture, ms p50 / p95", "video_ms", "30 / 60"),
    _Figure("added to sound, ms p50 / p95", "audio_ms", "50 / 90"),
    _Figure("pictures shown, %", "shown_percent", "99"),
    _Figure("skew, ms: client p95, page p50", "skew_ms", "40"),
    _Figure("underruns", "underruns", "0"),
    _Figure("interruption to silence, ms", "silence_ms", "100"),
    _Figure("welcome to first picture, s", "first_picture_s", "2"),
    _Figure("a visitor, % of a core", "core_percent", "18"),
    _Figure("growth of the server, MB", "growth_mb", "5"),
)


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Visit a server for so many seconds in each way, interrupt it, and come and go `VISITS` times.

    Returns:
        Per round ``{"ways": {name: figures}}``, by the keys of `_FIGURES`: numbers, ``{"p50", "p95", ...}`` or None.

    Raises:
        WangraphError: the server does not start, or a visit fails.
    """
    size = f"{SIZE[0]}x{SIZE[1]}"
    parameters = {
        "size": size,
        "owed_ms": OWED_MS,
        "seconds": seconds,
        "visits": VISITS,
        "chromium": live_page.browser(),
    }
    return report("live", AIM, parameters, rounds, lambda: measure(seconds, VISITS), rank, on_round)


def measure(seconds: float, visits: int) -> Round:
    """One round; a server of its own for each way."""
    ways: dict[str, dict[str, Any] | None] = dict.fromkeys(WAYS)
    with served() as (link, pid):
        ways["client"] = asyncio.run(_by_client(link, pid, seconds, visits))
    for name, carrier in WAYS.items():
        if carrier and live_page.browser() is not None:
            with served() as (link, pid):
                ways[name] = _by_page(link, pid, carrier, seconds)
    return {"ways": ways}


def rank(measured: Round) -> float:
    """The best round has the client's quickest sound."""
    audio = measured["ways"]["client"]["audio_ms"]
    return float(audio["p95"]) if audio else float("inf")


def table(report: Report) -> Table:
    """A row for each round and figure, a column for each way."""
    rows = [
        (r["round"], r["load_1m"], f.name, *(_printed((r["ways"][way] or {}).get(f.key)) for way in WAYS), f.aim)
        for r in report["rounds"]
        for f in _FIGURES
    ]
    return Table(("round", "load", "figure", *WAYS, "aim"), rows)


@contextmanager
def served(graph: str = "") -> Iterator[tuple[str, int]]:
    """A server of a graph, `GRAPH` if none is named, in a process of its own: its link and its pid.

    Raises:
        RunError: it does not start.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "back.yaml")
        path.write_text(GRAPH)
        command = [sys.executable, "-m", "wangraph", "serve", graph or str(path), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert server.stdout is not None and server.stderr is not None
        try:
            link = server.stdout.readline().strip()
            if not link:
                raise RunError(f"bench live: the server did not start: {server.stderr.read().strip()[-500:]}")
            yield link, server.pid
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(END_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            server.stdout.close()
            server.stderr.close()


async def _by_client(link: str, pid: int, seconds: float, visits: int) -> dict[str, Any]:
    measures = Coded()
    used_s, begun_s = _processor_s(pid), time.monotonic()
    figures = await _talk(TalkOptions(link, seconds=seconds), Pattern(is_steady=False), measures)
    core_percent = 100 * (_processor_s(pid) - used_s) / (time.monotonic() - begun_s)
    interrupted = await _talk(
        TalkOptions(link, seconds=INTERRUPT_S + 1.5, interrupt_s=INTERRUPT_S), Pattern(is_steady=True), Measures()
    )
    memory_mb = []
    for _ in range(visits):
        await _talk(TalkOptions(link, seconds=0.3), Pattern(is_steady=True), Measures())
        memory_mb.append(_memory_mb(pid))
    return {
        "video_ms": _added(measures.pictures_ms),
        "audio_ms": _added([lag + CAPTURE_MS for lag in beeps_ms(*measures.sounds)]),
        "shown_percent": round(100 * figures.shown / figures.due, 1) if figures.due else None,
        "skew_ms": None if figures.skew_ms is None else round(figures.skew_ms[1], 1),
        "underruns": figures.underruns,
        "silence_ms": interrupted.silence_ms,
        "first_picture_s": None if figures.first_picture_s is None else round(figures.first_picture_s, 2),
        "core_percent": round(core_percent, 1),
        "growth_mb": round(growth(memory_mb[WARM_VISITS:]), 1),
        "outcomes": figures.outcomes,
    }


def _by_page(link: str, pid: int, carrier: str, seconds: float) -> dict[str, Any]:
    used_s, begun_s = _processor_s(pid), time.monotonic()
    found = live_page.visit(link, carrier, seconds, SIZE)
    core_percent = 100 * (_processor_s(pid) - used_s) / (time.monotonic() - begun_s)
    video, audio = _added(found["pictures_ms"]), _added(found["beeps_ms"])
    return {
        "video_ms": video,
        "audio_ms": audio,
        "shown_percent": round(4 * found["shown"] / seconds, 1),
        "skew_ms": round(abs(audio["p50"] - video["p50"]), 1) if audio and video else None,
        "underruns": found["underruns"],
        "first_picture_s": round(found["begun_s"], 2),
        "core_percent": round(core_percent, 1),
        "carrier": found["carrier"],
    }


async def _talk(options: TalkOptions, source: Pattern, measures: Measures) -> TalkFigures:
    clips: Clips = {SIZE: source}
    return await talk(options, lambda who, words: None, clips, measures)


class Pattern:
    """Clip that the visitor sends: time codes, and a beep each second or, steady, a tone."""

    has_picture = has_sound = is_whole = True
    read_s = float(LOOP_S)

    def __init__(self, is_steady: bool) -> None:
        encoder, still = JpegEncoder(), background(SIZE[1], SIZE[0])
        self._pictures = []
        for number in range(LOOP_S * 25):
            image = still.copy()
            draw_timecode(image, number)
            self._pictures.append(encoder.encode(image))
        at = np.arange(RATE_HZ)
        is_loud = (at < RATE_HZ // 20) | is_steady
        second = np.where(is_loud, 12_000 * np.sin(2 * np.pi * BEEP_HZ * (at + 0.5) / RATE_HZ), 0)
        self._sound = [part.tobytes() for part in np.split(second.astype("<i2"), 1000 // PART_MS)]

    def piece(self, number: int) -> Piece:
        """The piece of this number; numbers go on for ever."""
        sound = tuple(self._sound[(number * PARTS + part) % len(self._sound)] for part in range(PARTS))
        return Piece(self._pictures[number % len(self._pictures)], sound)

    def close(self) -> None:
        """Nothing to close."""


class Coded(Measures):
    """Times pictures by their codes: `pictures_ms`, from leaving the visitor to being shown to them."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures_ms: list[float] = []
        self._sent_ns: dict[int, int] = {}
        self._decoder = JpegDecoder()

    def picture_sent(self, number: int, now_ns: int) -> None:
        """It has left, now."""
        self._sent_ns[number % (LOOP_S * 25)] = now_ns

    def picture_seen(self, picture: bytes, now_ns: int) -> None:
        """The first time that a code is seen counts; the server may hold a picture."""
        try:
            code = read_timecode(self._decoder.decode(picture).to_ndarray(format="rgb24"))
        except Damaged:
            return
        sent_ns = None if code is None else self._sent_ns.pop(code, None)
        if sent_ns is not None:
            self.pictures_ms.append((now_ns - sent_ns) / MS)


def growth(after_visits: Sequence[float]) -> float:
    """By how much the last values are above the first ones."""
    n = max(1, min(COMPARED_VISITS, len(after_visits) // 2))
    return float(np.median(after_visits[-n:]) - np.median(after_visits[:n]))


def beeps_ms(sent: Samples, heard: Samples) -> list[float]:
    """Delay of each beep, from sent to heard."""
    begun, came = _onsets(sent), _onsets(heard)
    lags = [next((h - s for h in came if h > s), None) for s in begun]
    return [lag * 1000 / RATE_HZ for lag in lags if lag is not None and lag < RATE_HZ]


def _onsets(samples: Samples) -> NDArray[np.int64]:
    """Instants at which sound begins after a quarter of a second of silence."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 2000)
    return loud[np.diff(loud, prepend=-RATE_HZ) > RATE_HZ // 4] if len(loud) else loud


def _added(total_ms: list[float]) -> dict[str, float] | None:
    return quantiles([ms - OWED_MS for ms in total_ms], digits=1) if total_ms else None


def _processor_s(pid: int) -> float:
    """Processor time of the server's own process, without the graph's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _printed(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value['p50']:.0f} / {value['p95']:.0f}" if isinstance(value, dict) else f"{value:g}"
