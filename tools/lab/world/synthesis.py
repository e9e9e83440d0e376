"""Texts spoken by synthesisers: espeak-ng, from a Python package, and flite, a program of the system."""

from __future__ import annotations

import importlib.metadata
import io
import shutil
import struct
import subprocess
import sys
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....runtime.errors import MediaError, MissingExtra
from .signal import Sound, resample

_PACKAGE = "espeakng-loader"
_HEAD = struct.Struct("=II")


def espeak_release(who: str) -> str:
    """The release of the package that carries espeak-ng; another may speak otherwise.

    Args:
        who: the speaker who needs it, for the message.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra(
            f"voices: no package '{_PACKAGE}' (needed to speak as {who}), pip install 'wangraph[world]'"
        ) from error


def speak_espeak(who: str, voice: str, pitch: int, words_per_minute: int, texts: Sequence[str]) -> list[Sound]:
    """The texts at 16 kHz, each as if nothing had been said before it.

    Raises:
        MissingExtra: the package is not installed.
        MediaError: the library cannot be loaded, or has no such voice.
    """
    espeak_release(who)
    import espeakng_loader

    program = Path(__file__).with_name("espeak.py")
    library = [espeakng_loader.get_library_path(), espeakng_loader.get_data_path()]
    manner = [voice, str(pitch), str(words_per_minute)]
    output = _call(who, [sys.executable, "-I", "-S", str(program), *library, *manner, *texts])
    sounds: list[Sound] = []
    while output:
        rate, size = _HEAD.unpack_from(output)
        sounds.append(_sound(output[_HEAD.size : _HEAD.size + size], rate))
        output = output[_HEAD.size + size :]
    return sounds


def speak_flite(who: str, voice: str, texts: Sequence[str]) -> list[Sound]:
    """The texts at 16 kHz.

    Raises:
        MissingExtra: the program is not there.
        MediaError: it failed.
    """
    program = shutil.which("flite")
    if program is None:
        raise MissingExtra(f"voices: no program 'flite' (needed to speak as {who}), apt install flite")
    sounds = []
    for text in texts:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            _call(who, [program, "-voice", voice, "-t", text, "-o", file.name])
            sounds.append(_read_wave(Path(file.name).read_bytes()))
    return sounds


def _call(who: str, command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").splitlines() or [f"status {done.returncode}"])[-1]
        raise MediaError(f"voices: cannot speak as {who} ({reason}), install the synthesiser again")
    return done.stdout


def _read_wave(data: bytes) -> Sound:
    with wave.open(io.BytesIO(data)) as file:
        return _sound(file.readframes(file.getnframes()), file.getframerate())


def _sound(samples: bytes, rate: int) -> Sound:
    return resample((np.frombuffer(samples, np.int16) / np.float32(32768.0)).astype(np.float32), rate)
