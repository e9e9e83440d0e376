"""A window, or the terminal, that shows the pictures of the units at their times."""

from __future__ import annotations

import gc
import shutil
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TextIO

import numpy as np

from ...runtime.node import Node, NodeContext, Param, Timebase, Unit
from ...runtime.ports import Input
from ..media.pictures import Image, Scaler
from .upkeep import Device, DeviceAbsent, Upkeep, monotonic_ns

POLL_S = 0.01
"""Pause between two looks at the clock: a picture is shown at most this late."""

CAPTION_UNITS = 25
"""Units for which words stay: 4 s of the usual ones."""


class Screen(Device, Protocol):
    """Somewhere to show pictures. Made, used and closed in one thread."""

    def show(self, image: Image, caption: str) -> None:
        """Show a picture ``[H, W, 3]`` and words under it."""
        ...

    def is_open(self) -> bool:
        """False once the user has closed it; lets it react to them."""
        ...


OpenScreen = Callable[[str, int], Screen]
"""``open_screen(title, height)``, or `DeviceAbsent`."""


class TkWindow:
    """A window by Tk, which comes with Python. Tk ends the process when one of its objects dies in another thread."""

    def __init__(self, title: str, height: int) -> None:
        try:
            import tkinter
        except ImportError as error:
            text = f"found no Tk ({error}) (expected Python's tkinter), apt install python3-tk, or set where: terminal"
            raise DeviceAbsent(text, may_return=False) from error
        try:
            self._root = tkinter.Tk(className=title)
        except tkinter.TclError as error:
            text = f"found no display ({error}) (expected a desktop), set where: terminal, or run: wangraph serve"
            raise DeviceAbsent(text, may_return=False) from error
        self.name = "window"
        self._new_photo: Any = tkinter.PhotoImage
        self._height = height
        self._scaler = Scaler()
        self._is_wanted = True
        self._root.title(title)
        self._root.configure(background="black")
        self._picture: Any = tkinter.Label(self._root, background="black", borderwidth=0)
        self._caption: Any = tkinter.Label(self._root, background="black", foreground="white", font=("", 14), height=2)
        self._picture.pack()
        self._caption.pack(fill="x")
        self._root.protocol("WM_DELETE_WINDOW", self._dismiss)
        self._root.bind("<Escape>", lambda event: self._dismiss())
        self._photo: Any = None

    def show(self, image: Image, caption: str) -> None:
        """See `Screen.show`."""
        height, width = image.shape[:2]
        size = max(1, width * self._height // height), self._height
        large = np.ascontiguousarray(self._scaler.resized(image, size))
        self._photo = self._new_photo(data=b"P6 %d %d 255\n" % size + large.tobytes(), format="PPM")
        self._picture.configure(image=self._photo)
        self._caption.configure(text=caption, wraplength=size[0])

    def is_open(self) -> bool:
        """See `Screen.is_open`."""
        if self._is_wanted:
            self._root.update()
        return self._is_wanted

    def close(self) -> None:
        """Close the window, and let go of all that is Tk's in this thread."""
        self._root.destroy()
        self._root = self._picture = self._caption = self._photo = self._new_photo = None  # type: ignore[assignment]
        gc.collect()

    def _dismiss(self) -> None:
        self._is_wanted = False


class Terminal:
    """The terminal: two pixels a character, on its alternate screen, so that nothing is left of it at the end."""

    def __init__(self, title: str, height: int, out: TextIO | None = None, size: tuple[int, int] | None = None) -> None:
        self.name = "terminal"
        self._size = size
        self._scaler = Scaler()
        try:
            self._out = out or open("/dev/tty", "w", encoding="utf-8")  # noqa: SIM115 (closed in close)
        except OSError as error:
            text = f"found no terminal ({error.strerror}) (expected one to draw on), set where: window"
            raise DeviceAbsent(text, may_return=False) from error
        self._out.write("\x1b[?1049h\x1b[?25l\x1b[2J")

    def show(self, image: Image, caption: str) -> None:
        """See `Screen.show`."""
        columns, lines = self._size or shutil.get_terminal_size()
        height, width = image.shape[:2]
        factor = min(columns / width, 2 * (lines - 1) / height)
        size = max(1, int(width * factor)), max(2, int(height * factor) // 2 * 2)
        pixels = self._scaler.resized(image, size).reshape(size[1] // 2, 2, size[0], 3)
        rows = ["".join(map(_cell, row[0].tolist(), row[1].tolist())) for row in pixels]
        words = caption.replace("\n", " ")[-columns:]
        self._out.write("\x1b[H" + "\x1b[0m\x1b[K\r\n".join([*rows, words]) + "\x1b[0m\x1b[K")
        self._out.flush()

    def is_open(self) -> bool:
        """See `Screen.is_open`."""
        return True

    def close(self) -> None:
        """Give back the screen as it was."""
        self._out.write("\x1b[0m\x1b[?25h\x1b[?1049l")
        self._out.flush()


def _cell(upper: list[int], lower: list[int]) -> str:
    """Two pixels, one above the other, as a half block."""
    return "\x1b[38;2;{};{};{};48;2;{};{};{}m\u2580".format(*upper, *lower)


class Window(Node):
    """Show pictures, with words under them, in a window or in the terminal.

    Meant to follow `sync.playout`. A picture that is late gives way to the next. Closing the window, or Escape in it,
    ends the run; without a display nothing is shown, and the summary says so.
    """

    video = Input("video", "F H W 3", "uint8", late="empty", help="RGB pictures")
    text = Input("text", late="empty", optional=True, help="words, shown for a few seconds")

    title: str = Param("wangraph", help="of the window")
    height: int = Param(480, min=64, max=4320, help="pixels that the picture is enlarged or reduced to")
    where: str = Param(
        "window", choices=("window", "terminal"), help="terminal: half blocks in colour; run with --quiet"
    )

    is_live = True

    def __init__(self, opener: OpenScreen | None = None, **values: Any) -> None:
        super().__init__(**values)
        self._opener = opener or (Terminal if self.where == "terminal" else TkWindow)

    def open(self, ctx: NodeContext) -> None:
        """Open the window."""
        self._ctx = ctx
        self._lock = threading.Lock()
        self._due: deque[tuple[int, Image, str]] = deque(maxlen=4 * ctx.clock.unit_frames)
        self._words: deque[str] = deque(maxlen=CAPTION_UNITS)
        self._upkeep = Upkeep("window", lambda: self._opener(self.title, self.height), self._draw)
        self._upkeep.start(ctx, required=False)

    def start(self, timebase: Timebase) -> None:
        """Nothing to prepare: a unit is shown when it comes."""

    def step(self, unit: Unit, video: Any = None, text: str | None = None) -> None:
        """Hand one unit of pictures ``[F, H, W, 3]`` over to the window's thread."""
        self._words.append(text or "")
        if video is None:
            return
        caption, now_ns = " ".join("".join(f"{words} " for words in self._words).split()), monotonic_ns()
        frames = np.array(video)  # shown within the next unit, when the input may be gone
        with self._lock:
            for j, frame in enumerate(frames):
                self._due.append((now_ns + unit.duration_ns * j // len(frames), frame, caption))

    def close(self) -> None:
        """Close the window."""
        self._upkeep.stop()

    def _draw(self, screen: Screen) -> None:
        """Show pictures as their times come, until the end."""
        while not self._upkeep.stopped.wait(POLL_S):
            if not screen.is_open():
                self._ctx.stop("the window was closed")
                self._upkeep.stopped.set()
                return
            newest = self._newest(monotonic_ns())
            if newest is not None:
                screen.show(*newest)

    def _newest(self, now_ns: int) -> tuple[Image, str] | None:
        newest = None
        with self._lock:
            while self._due and self._due[0][0] <= now_ns:
                _, image, caption = self._due.popleft()
                newest = image, caption
        return newest
