"""The least that a hop can be in Python: a copy into shared memory, and a pipe that says so."""

from __future__ import annotations

import multiprocessing
import os
import time

import numpy as np
from pace import paced, request, say
from slots import HEAD, N_SLOTS, shared_slots


def main() -> None:
    """Measure."""
    wanted = request()
    slots = shared_slots(wanted.n_bytes)
    out, into = os.pipe()
    context = multiprocessing.get_context("fork")
    answers, results = context.Pipe(duplex=False)
    reader = context.Process(target=read, args=(out, slots, wanted.hops, results))
    reader.start()
    payload = np.arange(wanted.n_bytes, dtype=np.uint8)
    began = time.process_time()
    for number in paced(wanted):
        now = time.monotonic_ns()
        np.copyto(slots[number % N_SLOTS], payload)
        os.write(into, HEAD.pack(number, now))
    spent = time.process_time() - began
    took, theirs = answers.recv()
    say(wanted, took, spent + theirs)


def read(out: int, slots: np.ndarray, hops: int, results: object) -> None:
    """Take every hop."""
    took: dict[int, int] = {}
    began = time.process_time()
    while len(took) < hops:
        number, sent = HEAD.unpack(os.read(out, HEAD.size))
        array = slots[number % N_SLOTS]
        took[number] = time.monotonic_ns() - sent
        del array
    results.send((took, time.process_time() - began))


if __name__ == "__main__":
    main()
