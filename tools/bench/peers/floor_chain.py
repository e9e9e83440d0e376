"""The least that a chain can be in Python: from each to the next a copy into shared memory, and a pipe that says so."""

from __future__ import annotations

import multiprocessing
import os
import time

import numpy as np
from pace import Request, paced, request, say
from slots import HEAD, N_SLOTS, shared_slots


def main() -> None:
    """Measure."""
    wanted = request()
    slots = [shared_slots(wanted.n_bytes) for _ in range(wanted.n_processes - 1)]
    pipes = [os.pipe() for _ in slots]
    context = multiprocessing.get_context("fork")
    answers, results = context.Pipe(duplex=False)
    for place in range(1, wanted.n_processes):
        context.Process(target=take, args=(wanted, slots, pipes, place, results)).start()
    payload = np.arange(wanted.n_bytes, dtype=np.uint8)
    began = time.process_time()
    for number in paced(wanted):
        now = time.monotonic_ns()
        np.copyto(slots[0][number % N_SLOTS], payload)
        os.write(pipes[0][1], HEAD.pack(number, now))
    spent, took = time.process_time() - began, dict[int, int]()
    for _ in slots:
        found, theirs = answers.recv()
        took, spent = found or took, spent + theirs
    say(wanted, took, spent)


def take(wanted: Request, slots: list[np.ndarray], pipes: list[tuple[int, int]], place: int, results: object) -> None:
    """Take every hop; send it on, or note how long it was on its way."""
    is_last = place == wanted.n_processes - 1
    took: dict[int, int] = {}
    began = time.process_time()
    for _ in range(wanted.hops):
        number, sent = HEAD.unpack(os.read(pipes[place - 1][0], HEAD.size))
        array = slots[place - 1][number % N_SLOTS]
        if is_last:
            took[number] = time.monotonic_ns() - sent
        else:
            np.copyto(slots[place][number % N_SLOTS], array)
            os.write(pipes[place][1], HEAD.pack(number, sent))
    results.send((took, time.process_time() - began))


if __name__ == "__main__":
    main()
