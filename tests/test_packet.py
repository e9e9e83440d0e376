"""Packets keep what they carry."""

from __future__ import annotations

import numpy as np
import pytest

from wangraph import Packet, Validity
from wangraph.runtime.packet import WHOLE, frozen


def packet(array: np.ndarray) -> Packet:
    return Packet("a.b", 3, 0, 480_000_000, 160_000_000, Validity.REAL, {WHOLE: frozen(array)})


def test_a_kept_packet_outlives_the_memory_that_it_came_in():
    memory = np.arange(4)
    kept = packet(memory[:]).keep()
    memory.flags.writeable = True
    memory[:] = 0
    assert kept.array.tolist() == [0, 1, 2, 3]
    assert kept.n_bytes == 32


def test_payloads_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        packet(np.arange(4)).array[0] = 1


def test_only_real_repeated_and_concealed_packets_have_something_to_look_at():
    have = {v for v in Validity if packet(np.arange(1)).marked(v).is_payload}
    assert have == {Validity.REAL, Validity.REPEATED, Validity.CONCEALED}
