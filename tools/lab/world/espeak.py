"""A program of its own that speaks with the library of espeak-ng.

``python espeak.py LIBRARY DATA VOICE PITCH WORDS_PER_MINUTE TEXT...`` writes each text to standard output: its rate in
Hz and its number of bytes, as integers of 4 bytes, and its samples, of 16 bits, in the machine's byte order.

Why no function: the library keeps the phase of a voice, its noise and its intonation from one text to the next, and
hangs when it is closed and opened again. So each text is spoken by a fork that has said nothing before, and a word
sounds the same whatever else is made: as the program ``espeak-ng`` of the same release says it.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

# Of speak_lib.h
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_RATE, _PITCH = 1, 3
_POS_CHARACTER = 1
_AS_THE_PROGRAM = 0x100 | 0x1000  # phonemes in [[ ]], and a pause at the end


class _Voice(ctypes.Structure):
    """``espeak_VOICE``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def main(library: str, data: str, voice: str, pitch: str, words_per_minute: str, *texts: str) -> None:
    """Speak every text in a fork, in order; the first that fails ends the program with status 1."""
    try:
        espeak = ctypes.CDLL(library)
    except OSError as error:
        sys.exit(str(error))
    rate = _prepare(espeak, data, voice, int(pitch), int(words_per_minute))
    for text in texts:
        child = os.fork()
        if not child:
            samples = _spoken(espeak, text)
            with os.fdopen(1, "wb") as out:
                out.write(struct.pack("=II", rate, len(samples)) + samples)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            sys.exit(f"'{text}' cannot be spoken: {status}")


def _prepare(espeak: ctypes.CDLL, data: str, voice: str, pitch: int, words_per_minute: int) -> int:
    """Load the voice, which takes ten times as long as a word; the rate in Hz."""
    rate: int = espeak.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _DONT_EXIT)
    if rate <= 0:
        sys.exit(f"no voices in {data}")
    if hasattr(espeak, "espeak_ng_SetRandSeed"):  # from 1.52 on the noise of an s is seeded with the time
        espeak.espeak_ng_SetRandSeed(ctypes.c_long(1))
    # a name is of a file; an accent, like en-gb, may be a language that a file of another name speaks
    by_language = _Voice(languages=voice.encode())
    if espeak.espeak_SetVoiceByName(voice.encode()) and espeak.espeak_SetVoiceByProperties(ctypes.byref(by_language)):
        sys.exit(f"no voice '{voice}'")
    espeak.espeak_SetParameter(_RATE, words_per_minute, 0)
    espeak.espeak_SetParameter(_PITCH, pitch, 0)
    return rate


def _spoken(espeak: ctypes.CDLL, text: str) -> bytes:
    """Samples of 16 bits."""
    parts: list[bytes] = []

    def take(samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            parts.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _Callback(take)
    espeak.espeak_SetSynthCallback(callback)
    read = text.encode() + b"\0"
    size = ctypes.c_size_t(len(read))
    if espeak.espeak_Synth(read, size, 0, _POS_CHARACTER, 0, _AS_THE_PROGRAM, None, None):
        sys.exit(1)
    espeak.espeak_Synchronize()
    return b"".join(parts)


if __name__ == "__main__":
    main(*sys.argv[1:])
