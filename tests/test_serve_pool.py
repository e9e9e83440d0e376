"""Runs that are open ahead of time: one waits, each visitor gets one, and none stays open with nobody in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from wangraph.runtime.errors import StartError, UserError
from wangraph.tools.serve.pool import RunPool


class Toy:
    """A run that opens and ends when the test says so."""

    def __init__(self) -> None:
        self.state = "starting"
        self.timebase = None
        self._opened, self._ended = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    async def until(self, state: str) -> None:
        await (self._ended if state == "ended" else self._opened).wait()
        if self.error is not None:
            raise self.error

    def open(self, error: Exception | None = None) -> None:
        self.error, self.state = error, "ended" if error else "ready"
        self._opened.set()

    def stop(self) -> None:
        self.state = "ended"
        self._opened.set()
        self._ended.set()


class House:
    """A pool, and every run that it has started."""

    def __init__(self) -> None:
        self.runs: list[Toy] = []
        self.pool = RunPool(None, None, self._start)

    def _start(self, served, recording):
        self.runs.append(Toy())
        return self.runs[-1]

    async def started(self, n: int) -> Toy:
        """The n-th run, once the pool has started it."""
        while len(self.runs) < n:
            await asyncio.sleep(0)
        return self.runs[n - 1]


def test_a_visitor_gets_the_run_that_is_open_already():
    async def story():
        house = House()
        house.pool.prepare()
        (await house.started(1)).open()
        await house.pool.ready()
        opened = await house.pool.take(is_recorded=False)
        assert opened.run is house.runs[0] and len(house.runs) == 1
        await house.pool.give_back(opened)
        assert house.runs[0].state == "ended"

    asyncio.run(story())


@pytest.mark.parametrize("is_prepared", [True, False])
def test_a_run_whose_visitor_goes_away_while_it_opens_is_ended(is_prepared):
    async def story():
        house = House()
        if is_prepared:
            house.pool.prepare()
        taking = asyncio.create_task(house.pool.take(is_recorded=False))
        run = await house.started(1)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        assert run.state == "starting"
        run.open()
        while run.state != "ended":
            await asyncio.sleep(0)
        await house.pool.close()

    asyncio.run(story())


def test_a_run_that_died_while_it_waited_is_given_to_nobody():
    async def story():
        house = House()
        house.pool.prepare()
        (await house.started(1)).open()
        await house.pool.ready()
        house.runs[0].stop()
        taking = asyncio.create_task(house.pool.take(is_recorded=False))
        (await house.started(2)).open()
        assert (await taking).run is house.runs[1]
        await house.pool.close()
        assert [run.state for run in house.runs] == ["ended", "ended"]

    asyncio.run(story())


def test_a_run_that_does_not_open_fails_its_visitor_and_not_the_next():
    async def story():
        house = House()
        house.pool.prepare()
        (await house.started(1)).open(StartError("no lens"))
        with pytest.raises(StartError):
            await house.pool.take(is_recorded=False)
        taking = asyncio.create_task(house.pool.take(is_recorded=False))
        (await house.started(2)).open()
        assert (await taking).run is house.runs[1]
        await house.pool.close()

    asyncio.run(story())


def test_a_folder_for_recordings_that_cannot_be_made_is_told_with_its_option():
    async def story():
        pool = RunPool(None, Path("/proc/nothing"), lambda served, recording: Toy())
        with pytest.raises(UserError) as error:
            await pool.ready()
        assert str(error.value) == (
            "--record: /proc/nothing: No such file or directory (expected a folder that can be written), "
            "name another one"
        )

    asyncio.run(story())


def test_a_recording_that_does_not_begin_leaves_no_folder(tmp_path):
    def refuse(served, recording):
        raise StartError("no room")

    async def story():
        with pytest.raises(StartError):
            await RunPool(None, tmp_path / "talks", refuse).ready()
        assert list((tmp_path / "talks").iterdir()) == []

    asyncio.run(story())


def test_a_pool_that_closes_ends_the_run_that_is_still_opening():
    async def story():
        house = House()
        house.pool.prepare()
        run = await house.started(1)
        await house.pool.close()
        assert run.state == "ended"

    asyncio.run(story())
