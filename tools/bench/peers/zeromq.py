"""A copy into shared memory, and ZeroMQ over ipc to say so."""

from __future__ import annotations

import multiprocessing
import os
import time

import numpy as np
import zmq
from pace import paced, request, say
from slots import HEAD, N_SLOTS, shared_slots


def main() -> None:
    """Measure."""
    wanted = request()
    slots = shared_slots(wanted.n_bytes)
    address = f"ipc://@wangraph-bench-{os.getpid()}"
    context = multiprocessing.get_context("fork")
    answers, results = context.Pipe(duplex=False)
    reader = context.Process(target=read, args=(address, slots, wanted.hops, results))
    reader.start()
    answers.recv()  # it listens
    with zmq.Context() as sockets, sockets.socket(zmq.PUSH) as socket:
        socket.connect(address)
        payload = np.arange(wanted.n_bytes, dtype=np.uint8)
        began = time.process_time()
        for number in paced(wanted):
            now = time.monotonic_ns()
            np.copyto(slots[number % N_SLOTS], payload)
            socket.send(HEAD.pack(number, now))
        spent = time.process_time() - began
        took, theirs = answers.recv()
    say(wanted, took, spent + theirs)


def read(address: str, slots: np.ndarray, hops: int, results: object) -> None:
    """Take every hop."""
    took: dict[int, int] = {}
    with zmq.Context() as sockets, sockets.socket(zmq.PULL) as socket:
        socket.bind(address)
        results.send(None)
        began = time.process_time()
        while len(took) < hops:
            number, sent = HEAD.unpack(socket.recv())
            array = slots[number % N_SLOTS]
            took[number] = time.monotonic_ns() - sent
            del array
        results.send((took, time.process_time() - began))


if __name__ == "__main__":
    main()
