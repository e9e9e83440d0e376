"""Programs of the system that some tests need, and how the tests that go without them are named in the last lines.

``@pytest.mark.needs("flite")`` skips a test where the program is not there. ``--no-skips`` makes every skip a failure:
for machines on which all of it is to be proved.
"""

from __future__ import annotations

import ctypes.util
import functools
import shutil
import sysconfig
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

REMEDIES = {
    "chromium": "apt install chromium, or python -m playwright install chromium",
    "flite": "apt install flite",
    "c++": "apt install g++ python3-dev",
    "pulseaudio": "apt install pulseaudio libasound2-plugins libportaudio2",
    "Xvfb": "apt install xvfb",
}
_NAMES = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "c++": ("g++", "clang++")}


@functools.cache
def find(program: str) -> str | None:
    """Where the program is, under any of its names; None where it is not."""
    assert program in REMEDIES, program
    if program == "c++" and not Path(sysconfig.get_path("include"), "Python.h").exists():
        return None  # what inductor compiles includes it
    if program == "pulseaudio" and not _reaches_pulseaudio():
        return None
    found = next(filter(None, map(shutil.which, _NAMES.get(program, (program,)))), None)
    return found or (_of_playwright() if program == "chromium" else None)


def _reaches_pulseaudio() -> bool:
    """Whether there is PortAudio, and ALSA's way to PulseAudio."""
    plugins = Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so")
    return ctypes.util.find_library("portaudio") is not None and any(plugins)


def _of_playwright() -> str | None:
    """The browser that Playwright has downloaded."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def lacking(programs: Iterable[str]) -> str | None:
    """Why a test that needs these is skipped; None where all are there."""
    return next((f"needs {p}: {REMEDIES[p]}" for p in programs if find(p) is None), None)


def summary(reasons: Sequence[str]) -> list[str]:
    """Lines that name what was skipped, from the reason of each test."""
    counts = Counter(reason.removeprefix("Skipped: ") for reason in reasons)
    wanting = {reason: n for reason, n in counts.items() if reason.startswith("needs ")}
    lines = [f"skipped: {reason} ({_tests(n)})" for reason, n in counts.items() if reason not in wanting]
    if wanting:
        names = (f"{reason.removeprefix('needs ').partition(':')[0]} ({_tests(n)})" for reason, n in wanting.items())
        remedies = (reason.partition(": ")[2] for reason in wanting)
        lines.append(f"skipped for want of: {', '.join(names)}; to have them: {'; '.join(remedies)}")
    return lines


def _tests(count: int) -> str:
    return f"{count} test" if count == 1 else f"{count} tests"
