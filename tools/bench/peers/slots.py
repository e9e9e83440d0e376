"""Payloads in memory that a process shares with the one it forks, and the message that says where one is."""

from __future__ import annotations

import mmap
import struct

import numpy as np

N_SLOTS = 4
HEAD = struct.Struct("<qq")
"""Number of a hop, and when it began."""


def shared_slots(n_bytes: int) -> np.ndarray:
    """``[N_SLOTS, n_bytes]``, every page of it there."""
    memory = mmap.mmap(-1, N_SLOTS * n_bytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    return np.frombuffer(memory, np.uint8).reshape(N_SLOTS, n_bytes)
