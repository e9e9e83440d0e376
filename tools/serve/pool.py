"""Runs for visits: one each, and one ahead of time, so that a visitor need not wait until a graph is open."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...runtime.api import start
from ...runtime.engine.run import Run
from ...runtime.errors import UserError, WangraphError
from .ends import Recording, ServedGraph

log = logging.getLogger("wangraph.serve")

STOP_S = 2.0
"""How long an ordered stop may take before what is under way is dropped."""

CLOSE_S = 1.0
"""The same when the whole server ends."""


@dataclass(frozen=True)
class Opened:
    """A run that is open, and what is written of it."""

    run: Run
    recording: Recording | None

    @property
    def written(self) -> list[Path]:
        """Files of its recording that are there."""
        if self.recording is None:
            return []
        paths = [self.recording.path(s) for s in (".mp4", ".srt", ".mcap", ".trace")]
        return [path for path in paths if path.exists()]


class RunPool:
    """Starts runs of one graph, in one event loop.

    Args:
        served: the graph.
        record: folder for the files of recorded visits; None: nothing is written.
        start_run: starts a plan paused; another one in tests.
    """

    def __init__(
        self,
        served: ServedGraph,
        record: Path | None = None,
        start_run: Callable[[ServedGraph, Recording | None], Run] | None = None,
    ) -> None:
        self._served, self._record = served, record
        self._start_run = start_run or _start
        self._numbers = itertools.count(1)
        self._spare: asyncio.Task[Opened] | None = None
        self._open: set[Opened] = set()
        self._givings: set[asyncio.Task[None]] = set()
        self._is_closing = False

    def prepare(self) -> None:
        """Begin to open a run ahead of time, unless one is on its way."""
        if self._spare is None:
            self._spare = asyncio.create_task(self._start(is_recorded=self._record is not None))
            self._spare.add_done_callback(_noted)

    async def ready(self) -> None:
        """Wait until the run ahead of time is open.

        Raises:
            WangraphError: it cannot be opened.
        """
        self.prepare()
        assert self._spare is not None
        await asyncio.shield(self._spare)

    async def take(self, *, is_recorded: bool) -> Opened:
        """An open run that has not begun.

        Raises:
            WangraphError: it cannot be opened.
        """
        if self._spare is None or is_recorded != (self._record is not None):
            return await self._taken(asyncio.create_task(self._start(is_recorded)))
        spare, self._spare = self._spare, None
        opened = await self._taken(spare)
        if opened.run.state == "ended":  # it died while it waited: the visitor gets a fresh one
            self._open.discard(opened)
            return await self._taken(asyncio.create_task(self._start(is_recorded)))
        return opened

    async def _taken(self, opening: asyncio.Task[Opened]) -> Opened:
        """Wait for a run. Who stops waiting, as a visitor who goes away, must not leave it open with nobody in it."""
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            giving = asyncio.create_task(self._give_back_opened(opening))
            self._givings.add(giving)
            giving.add_done_callback(self._givings.discard)
            raise

    async def _give_back_opened(self, opening: asyncio.Task[Opened]) -> None:
        with suppress(WangraphError):
            await self.give_back(await opening)

    async def give_back(self, opened: Opened) -> None:
        """End a run in order, at once if that takes too long; errors are logged."""
        if opened not in self._open:
            return
        self._open.discard(opened)
        opened.run.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(_ended(opened.run), CLOSE_S if self._is_closing else STOP_S)
            return
        opened.run.stop()
        await _ended(opened.run)

    async def close(self) -> None:
        """End every run, also one that is still being opened."""
        self._is_closing = True
        spare, self._spare = self._spare, None
        unused = [opened for opened in self._open if opened.run.timebase is None]
        await asyncio.gather(*(self.give_back(opened) for opened in list(self._open)))
        if spare is not None:
            with suppress(WangraphError, asyncio.CancelledError):
                await spare
        await asyncio.gather(*self._givings)
        for opened in unused:  # nobody was ever in them
            if opened.recording is not None:
                shutil.rmtree(opened.recording.folder, ignore_errors=True)

    async def _start(self, is_recorded: bool) -> Opened:
        recording = None
        if is_recorded and self._record is not None:
            stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
            recording = Recording(_made(self._record / f"{stamp}-{next(self._numbers)}"))
        try:
            run = await asyncio.to_thread(self._start_run, self._served, recording)
        except WangraphError:
            if recording is not None:
                shutil.rmtree(recording.folder, ignore_errors=True)
            raise
        opened = Opened(run, recording)
        self._open.add(opened)
        if self._is_closing:
            await self.give_back(opened)
        try:
            await run.until("ready")
        except BaseException:
            self._open.discard(opened)
            raise
        return opened


def _noted(opening: asyncio.Task[Opened]) -> None:
    """A run ahead of time that does not open is told now: the next visitor may come in an hour."""
    error = None if opening.cancelled() else opening.exception()
    if error is not None:
        log.warning("serve: the run ahead of time did not open: %s", error)


def _made(folder: Path) -> Path:
    """A new folder, for nobody but who runs the server: what was said and shown is in it.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise UserError(
            f"--record: {folder.parent}: {error.strerror} (expected a folder that can be written), name another one"
        ) from error
    return folder


def _start(served: ServedGraph, recording: Recording | None) -> Run:
    plan = served.plan(recording)
    if recording is None:
        return start(plan, paused=True, keep_log=False)
    return start(plan, paused=True, keep_log=False, record=recording.path(".mcap"), trace=recording.path(".trace"))


async def _ended(run: Run) -> None:
    try:
        await run.until("ended")
    except WangraphError as error:
        log.warning("serve: a visit's run failed: %s", error)
