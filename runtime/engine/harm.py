"""Harm that faults do: to the values of an output, and to the process that they strike in."""

from __future__ import annotations

import ctypes
import hashlib
import os
import random
import resource
import signal
import threading
import time

import numpy as np

from ..packet import Array
from ..units import NS
from .faults import Fault, Kind

BFLOAT16_NAN = 0x7FC0

CORRUPT_ONE_OF = 256
"""Bytes of which one is overwritten."""

HOG_ROUNDS = 20_000
"""Rounds of one hash, some milliseconds: the interpreter is free meanwhile, as a fault of the machine must leave it."""


def spoilt(kind: Kind, array: Array, dtype: str | None, chance: random.Random) -> Array:
    """A fresh array in place of another one.

    Args:
        dtype: as the port names it; bfloat16 travels as uint16.
    """
    rng = np.random.default_rng(chance.getrandbits(64))
    if kind == "nan":
        return _nan(array, dtype)
    if kind == "garbage":
        return _garbage(array, dtype, rng)
    raw = np.frombuffer(array.tobytes(), np.uint8).copy()
    if raw.size:
        places = rng.integers(0, raw.size, max(1, raw.size // CORRUPT_ONE_OF))
        raw[places] ^= rng.integers(1, 256, places.size, dtype=np.uint8)  # never 0: a byte overwritten by itself
    return raw.view(array.dtype).reshape(array.shape)


def _nan(array: Array, dtype: str | None) -> Array:
    if dtype == "bfloat16":
        return np.full(array.shape, BFLOAT16_NAN, np.uint16)
    return np.full(array.shape, np.nan, array.dtype) if array.dtype.kind == "f" else array.copy()


def _garbage(array: Array, dtype: str | None, rng: np.random.Generator) -> Array:
    """Floating-point numbers from -1 to 1, which sounds and latents may hold; integers of the whole range."""
    if dtype == "bfloat16":
        return (rng.uniform(-1, 1, array.shape).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if array.dtype.kind == "f":
        return rng.uniform(-1, 1, array.shape).astype(array.dtype)
    return np.frombuffer(rng.bytes(array.nbytes), array.dtype).reshape(array.shape).copy()


def do_harm(fault: Fault) -> None:
    """Strike this process; does nothing for faults of other kinds. Returns when it is over, if it ever is."""
    seconds = fault.time_ns / NS
    if fault.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault.kind == "exit0":
        os._exit(0)
    elif fault.kind == "hang":
        threading.Event().wait()
    elif fault.kind == "stop":
        if fault.time_ns:
            _resume_after(fault.time_ns)
        # to this thread: sent to the process, another one may take it, and this call would still come to its end
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    elif fault.kind == "freeze-gil":
        # PyDLL and not CDLL: it calls with the interpreter held
        ctypes.PyDLL(None).usleep(ctypes.c_uint(round(seconds * 1e6)))
    elif fault.kind == "cpu-hog":
        for _ in range(os.cpu_count() or 1):
            threading.Thread(target=_burn, args=(time.monotonic() + seconds,), name="cpu-hog", daemon=True).start()
    elif fault.kind == "disk-full":
        # Python ignores the signal that comes with it: writers get an error, as from a disk without room
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _burn(until_s: float) -> None:
    while time.monotonic() < until_s:
        hashlib.pbkdf2_hmac("sha256", b"", b"", HOG_ROUNDS)


class _Event(ctypes.Structure):
    """``struct sigevent`` of timer_create(2)."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


def _resume_after(time_ns: int) -> None:
    """Have the kernel send SIGCONT: no thread of a stopped process runs, and a helper could outlive it."""
    libc, timer = ctypes.CDLL(None, use_errno=True), ctypes.c_void_p()
    event = _Event(signal=signal.SIGCONT, notify=0)
    if libc.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)) != 0:
        raise OSError(ctypes.get_errno(), "timer_create")
    once = (ctypes.c_long * 4)(0, 0, *divmod(time_ns, NS))
    if libc.timer_settime(timer, 0, ctypes.byref(once), None) != 0:
        raise OSError(ctypes.get_errno(), "timer_settime")
