"""PortAudio, by sounddevice: which sound devices there are, and streams over them that notice when theirs is gone.

PortAudio looks for devices once. To find one that was plugged in later it has to begin anew, and all streams of the
process with it: `PORTAUDIO` counts them, and asks their owners to close when the kernel's list of sound cards changed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .upkeep import DeviceAbsent, monotonic_ns

Direction = Literal["input", "output"]

KINDS: dict[Direction, str] = {"input": "microphone", "output": "speakers"}

BLOCK_S = 0.01
"""Sound that the device's thread hands over or wants at once."""

LATENCY_S = 0.04
"""Sound that the device may hold: less, and a moment in which another thread has the interpreter is an underrun."""

SILENT_NS = 3_000_000_000
"""A stream whose device has not called for this long has lost it: ALSA tells nobody. PulseAudio may pause for 2 s."""

POLL_S = 0.25

CARDS = Path("/proc/asound/cards")

LIBRARY = "pip install 'wangraph[live]', and the library itself: apt install libportaudio2"


@dataclass(frozen=True, slots=True)
class SoundDevice:
    """A microphone or speakers. ``is_default``: what is used where none is named."""

    index: int
    name: str
    channels: int
    rate_hz: int
    is_default: bool


class PortAudio:
    """The library in this process, and how many streams are open over it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_open = 0
        self._cards: str | None = None

    def library(self) -> ModuleType:
        """The package sounddevice.

        Raises:
            DeviceAbsent: it is not installed, or PortAudio itself is not.
        """
        try:
            import sounddevice
        except (ImportError, OSError) as error:
            text = f"found no PortAudio ({error}) (expected sounddevice and libportaudio2), {LIBRARY}"
            raise DeviceAbsent(text, may_return=False) from error
        module: ModuleType = sounddevice
        return module

    def acquire(self) -> ModuleType:
        """The library for one stream more, its list of devices renewed if nobody uses it."""
        library = self.renew()
        with self._lock:
            self._n_open += 1
        return library

    def renew(self) -> ModuleType:
        """The library, its list of devices made anew unless a stream is open.

        Always, not only when the kernel's sound cards changed: a sound server's devices are not among those.
        """
        library = self.library()
        with self._lock:
            if self._n_open == 0:
                library._terminate()
                library._initialize()
                self._cards = _cards()
        return library

    def release(self) -> None:
        """One stream less."""
        with self._lock:
            self._n_open -= 1

    def is_outdated(self) -> bool:
        """True once a sound card came or went since the list was made: streams close and open again then."""
        with self._lock:
            return self._is_outdated()

    def _is_outdated(self) -> bool:
        return self._cards != _cards()


PORTAUDIO = PortAudio()
"""One for the process, as the library itself is."""


def _cards() -> str:
    """The kernel's list of sound cards; it changes when one is plugged in or pulled out."""
    try:
        return CARDS.read_text()
    except OSError:
        return ""


def sound_devices(direction: Direction) -> list[SoundDevice]:
    """Microphones or speakers of this machine.

    Raises:
        DeviceAbsent: PortAudio is not there.
    """
    library = PORTAUDIO.renew()
    default, most = _default(library, direction), f"max_{direction}_channels"
    return [
        SoundDevice(index, entry["name"], entry[most], round(entry["default_samplerate"]), index == default)
        for index, entry in enumerate(library.query_devices())
        if entry[most] > 0
    ]


def _default(library: Any, direction: Direction) -> int:
    found = library.default.device
    return int(found[0 if direction == "input" else 1])


def chosen(device: str, known: list[SoundDevice], direction: Direction) -> SoundDevice:
    """The device of this number or of this part of a name; empty: the system's own choice.

    Raises:
        DeviceAbsent: there is none.
    """
    kind = KINDS[direction]
    for found in known:
        if (device == str(found.index)) if device else found.is_default:
            return found
    for found in known:
        if device.lower() in found.name.lower():
            return found
    names = ", ".join(found.name for found in known) or "none"
    wanted = f"no {kind} '{device}'" if device else f"no {kind}"
    raise DeviceAbsent(f"found {wanted} (there are: {names}), plug one in or name another: wangraph devices")


class SoundStream:
    """An open microphone or speakers.

    Args:
        device: number or a part of the name.
        use: called by the device's own thread with a block ``[n, channels]`` to read or to fill, and the instant.

    Raises:
        DeviceAbsent: it cannot be opened.
    """

    def __init__(self, device: str, direction: Direction, use: Callable[[NDArray[np.float32], int], None]) -> None:
        library: Any = PORTAUDIO.acquire()
        try:
            found = chosen(device, sound_devices(direction), direction)
            self.name = found.name
            self.rate_hz = found.rate_hz
            self.n_glitches = 0
            self._called_ns = monotonic_ns()
            self._use = use
            self._stream = self._opened(library, found, direction)
        except BaseException:
            PORTAUDIO.release()
            raise

    def watch(self, stopped: Any) -> None:
        """Return when ``stopped`` is set.

        Raises:
            DeviceAbsent: the device is gone, or PortAudio has to look for devices anew.
        """
        while not stopped.wait(POLL_S):
            if not self._stream.active or monotonic_ns() - self._called_ns > SILENT_NS:
                raise DeviceAbsent("it gives nothing any more")
            if PORTAUDIO.is_outdated():
                raise DeviceAbsent("sound cards came or went")

    def close(self) -> None:
        """Give the device back."""
        try:
            self._stream.close(ignore_errors=True)
        finally:
            PORTAUDIO.release()

    def _opened(self, library: Any, found: SoundDevice, direction: Direction) -> Any:
        kind = library.InputStream if direction == "input" else library.OutputStream
        called = self._captured if direction == "input" else self._wanted
        try:
            stream = kind(
                device=found.index,
                channels=min(2, found.channels),
                samplerate=found.rate_hz,
                blocksize=round(BLOCK_S * found.rate_hz),
                latency=LATENCY_S,
                dtype="float32",
                callback=called,
            )
            stream.start()
        except library.PortAudioError as error:
            reason = str(error.args[0])
            text = f"found {found.name}: {reason} (expected {KINDS[direction]} to open), see: wangraph devices"
            raise DeviceAbsent(text) from error
        return stream

    def _captured(self, block: NDArray[np.float32], n: int, times: Any, status: Any) -> None:
        self._called_ns = now_ns = monotonic_ns()
        self.n_glitches += bool(status)
        self._use(block, now_ns)

    def _wanted(self, block: NDArray[np.float32], n: int, times: Any, status: Any) -> None:
        self._captured(block, n, times, status)
