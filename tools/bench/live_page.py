"""The bench of live visits in a browser: Chromium without a screen, a video as its camera, beeps as its microphone."""

from __future__ import annotations

import shutil
import wave
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np

from ...nodes.media.testcard import background
from ...nodes.media.timecode import draw_timecode

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection", "--use-fake-device-for-media-stream=fps=25",
)  # fmt: skip

LOOP_S = 10
RATE_HZ = 48_000
WARM_UP_S = 3.0
"""Before anything is measured: a browser's jitter buffers settle in it."""

_HAS_PICTURE = "() => talk.visit.carrier?.shown > 0 || document.getElementById('agent-video').videoWidth > 0"

LONGEST_MS = 900
"""An answer later than this is taken for none: beeps are further apart."""


def browser() -> str | None:
    """Path of Chromium, if it and what drives it are there."""
    return None if find_spec("playwright") is None else shutil.which("chromium") or shutil.which("chromium-browser")


def visit(link: str, carrier: str, seconds: float, size: tuple[int, int]) -> dict[str, Any]:
    """One visit by a page.

    Args:
        link: of the server.
        carrier: ``webrtc`` or ``socket``.
        seconds: how long is measured.
        size: ``(width, height)`` of the camera.

    Returns:
        ``pictures_ms`` and ``beeps_ms``, from own to agent; ``shown`` pictures, ``underruns``, the ``carrier``,
        ``begun_s`` from the click to the first picture.
    """
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        camera, sound = Path(folder, "camera.y4m"), Path(folder, "microphone.wav")
        write_camera(camera, size)
        write_beeps(sound)
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}", f"--use-file-for-fake-audio-capture={sound}"]
        chromium = playwright.chromium.launch(executable_path=browser(), args=flags)
        try:
            page = chromium.new_context(permissions=["camera", "microphone"]).new_page()
            way = "?carrier=socket#" if carrier == "socket" else "#"
            page.goto(link.replace("#", way), wait_until="domcontentloaded")
            page.click("#start")
            begun_ms = page.evaluate("() => performance.now()")
            page.wait_for_function(_HAS_PICTURE)
            first_ms = page.evaluate("() => performance.now()")
            page.wait_for_timeout(WARM_UP_S * 1000)
            script = files(__package__).joinpath("live_page.js").read_text(encoding="utf-8")
            found = page.evaluate(script, seconds)
            page.click("#leave")
        finally:
            chromium.close()
    return {
        "pictures_ms": picture_lags(found["seen"]["own"], found["seen"]["agent"]),
        "beeps_ms": lags(found["heard"]["own"], found["heard"]["agent"]),
        "shown": found["shown"],
        "underruns": found["underruns"],
        "carrier": found["carrier"],
        "begun_s": (first_ms - begun_ms) / 1000,
    }


def picture_lags(own: Sequence[tuple[int, float]], agent: Sequence[tuple[int, float]]) -> list[float]:
    """Milliseconds from each code in the own picture to the same one in the agent's."""
    found, begun = [], 0
    for code, at_ms in own:
        for index in range(begun, len(agent)):
            if agent[index][0] == code and 0 < agent[index][1] - at_ms < LONGEST_MS:
                found.append(agent[index][1] - at_ms)
                begun = index
                break
    return found


def lags(own: Sequence[float], agent: Sequence[float]) -> list[float]:
    """Milliseconds from each beep of one's own to the next one of the agent."""
    following = [(at, next((heard for heard in agent if heard > at), None)) for at in own]
    return [heard - at for at, heard in following if heard is not None and heard - at < LONGEST_MS]


def write_camera(path: Path, size: tuple[int, int]) -> None:
    """Ten seconds of time codes at 25 pictures a second, as a browser's fake camera plays them, again and again."""
    width, height = size
    still = background(height, width)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(LOOP_S * 25):
            image = still.copy()
            draw_timecode(image, number)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            file.write(b"FRAME\n" + frame.to_ndarray().tobytes())


def write_beeps(path: Path) -> None:
    """Ten seconds of rising tones at uneven distances: an echo canceller would learn even ones away."""
    chance, at = np.random.default_rng(1), 0.5
    sound = np.zeros(LOOP_S * RATE_HZ)
    n = np.arange(RATE_HZ // 12)
    tone = 0.5 * np.sin(2 * np.pi * (600 + 8000 * n / RATE_HZ) * n / RATE_HZ)
    while at < LOOP_S - 1:
        begin = int(at * RATE_HZ)
        sound[begin : begin + len(n)] = tone
        at += chance.uniform(1.0, 1.5)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
