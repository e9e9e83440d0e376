"""Pictures at their times, in a window or in the terminal; words stay for a while; closing it ends the run."""

from __future__ import annotations

import io
import os
import re
import subprocess
import threading
from typing import Any

import numpy as np
import programs
import pytest
from device_toys import PATIENCE_S, Plug
from media_files import CLOCK, unit

from wangraph.nodes.devices import upkeep, window
from wangraph.nodes.devices.window import Terminal, TkWindow, Window
from wangraph.runtime.node import NodeContext, Timebase

MS = 1_000_000


class ToyScreen:
    """Remembers what it was shown."""

    name = "toy screen"

    def __init__(self) -> None:
        self.shown: list[tuple[int, str]] = []
        self.has_shown = threading.Semaphore(0)
        self.is_wanted = True
        self.plug: Plug

    def begin(self, *asked: Any) -> None:
        pass

    def show(self, image: np.ndarray[Any, Any], caption: str) -> None:
        self.shown.append((int(image[0, 0, 0]), caption))
        self.has_shown.release()

    def is_open(self) -> bool:
        return self.is_wanted

    def close(self) -> None:
        self.plug.closed.append(self.name)


@pytest.fixture
def now(monkeypatch):
    instant = {"ms": 0}
    monkeypatch.setattr(window, "monotonic_ns", lambda: instant["ms"] * MS)
    monkeypatch.setattr(window, "POLL_S", 0.001)
    monkeypatch.setattr(upkeep, "RETRY_S", 1.0)
    return instant


def opened(node: Any, **context: Any) -> Any:
    node.reports = []
    node.open(NodeContext("node", CLOCK, report=lambda key, text: node.reports.append(text), **context))
    node.start(Timebase(0, CLOCK))
    return node


def pictures(*shades: int) -> np.ndarray[Any, Any]:
    return np.stack([np.full((8, 8, 3), shade, np.uint8) for shade in shades])


def test_each_picture_is_shown_at_its_time_with_the_words_so_far(now):
    plug, screen = Plug(), ToyScreen()
    plug.plugged.put(screen)
    node = opened(Window(plug.open))
    node.step(unit(0), video=pictures(1, 2, 3, 4), text="hello")
    for now["ms"] in (5, 45, 85, 125):
        assert screen.has_shown.acquire(timeout=PATIENCE_S)
    node.step(unit(1), video=pictures(5, 6, 7, 8), text="you")
    assert screen.has_shown.acquire(timeout=PATIENCE_S)
    node.close()
    assert screen.shown == [*((n, "hello") for n in (1, 2, 3, 4)), (5, "hello you")]
    assert plug.closed == ["toy screen"]


def test_a_picture_that_is_late_gives_way_to_the_next():
    node = Window(Plug().open)
    node._ctx = NodeContext("node", CLOCK)
    node._lock = threading.Lock()
    node._due = window.deque([(0, pictures(1)[0], ""), (40 * MS, pictures(2)[0], ""), (80 * MS, pictures(3)[0], "")])
    newest = node._newest(50 * MS)
    assert newest is not None and newest[0][0, 0, 0] == 2 and len(node._due) == 1
    assert node._newest(60 * MS) is None


def test_words_go_after_four_seconds(now):
    plug, screen = Plug(), ToyScreen()
    plug.plugged.put(screen)
    node = opened(Window(plug.open))
    node.step(unit(0), text="hello")
    for k in range(1, 25):
        node.step(unit(k))
    node.step(unit(25), video=pictures(1))
    assert screen.has_shown.acquire(timeout=PATIENCE_S)
    node.close()
    assert screen.shown == [(1, "")]


def test_closing_the_window_ends_the_run(now):
    plug, screen, reasons, ended = Plug(), ToyScreen(), [], threading.Event()
    plug.plugged.put(screen)

    def stop(reason: str) -> None:
        reasons.append(reason)
        ended.set()

    node = opened(Window(plug.open), stop=stop)
    screen.is_wanted = False
    assert ended.wait(PATIENCE_S)
    node.close()
    assert reasons == ["the window was closed"] and plug.closed == ["toy screen"]


def test_without_a_display_the_run_goes_on_and_says_so(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    node = opened(Window())
    node.step(unit(0), video=pictures(1))
    node.close()
    [line] = node.reports
    assert re.fullmatch(
        r"found no display \(.*\) \(expected a desktop\), set where: terminal, or run: wangraph serve: empty", line
    )


def test_the_terminal_draws_two_pixels_a_character_and_leaves_nothing():
    out = io.StringIO()
    screen = Terminal("title", 480, out, (8, 3))
    image = np.zeros((4, 4, 3), np.uint8)
    image[0] = (255, 0, 0)
    screen.show(image, "some words")
    screen.close()
    text = out.getvalue()
    assert text.startswith("\x1b[?1049h\x1b[?25l") and text.endswith("\x1b[0m\x1b[?25h\x1b[?1049l")
    assert (
        text.count("\x1b[38;2;255;0;0;48;2;0;0;0m\u2580") == 4
    )  # 8 x 3 characters hold 4 x 4 pixels over a line of words
    assert text.count("\u2580") == 8
    assert "me words" in text


@pytest.fixture
def display(monkeypatch):
    """A display of its own, without a screen."""
    read, write = os.pipe()
    with subprocess.Popen([programs.find("Xvfb"), "-displayfd", str(write), "-screen", "0", "640x480x24"],
                          pass_fds=[write], stderr=subprocess.DEVNULL) as server:  # fmt: skip
        os.close(write)
        with os.fdopen(read) as answer:
            monkeypatch.setenv("DISPLAY", f":{answer.readline().strip()}")
        yield
        server.terminate()


@pytest.mark.needs("Xvfb")
def test_a_real_window_shows_pictures_and_is_gone_afterwards(display):
    seen: list[Any] = []

    def use() -> None:  # all of Tk in one thread, as the node has it
        screen = TkWindow("toy", 96)
        screen.show(pictures(200)[0], "words")
        seen.append(screen.is_open())
        seen.append((screen._photo.width(), screen._photo.height(), screen._photo.get(5, 5)))
        screen._dismiss()
        seen.append(screen.is_open())
        screen.close()

    thread = threading.Thread(target=use)
    thread.start()
    thread.join(PATIENCE_S)
    assert seen == [True, (96, 96, (200, 200, 200)), False]
