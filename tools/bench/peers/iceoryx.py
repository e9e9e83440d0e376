"""iceoryx2: a loaned slice is written and published, an event wakes the subscriber."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import struct
import time

import iceoryx2 as iox2
import numpy as np
from pace import paced, request, say

HEAD = struct.Struct("<qq")


def services(name: str) -> tuple[object, object]:
    """Both services of a hop: samples, and events."""
    iox2.set_log_level(iox2.LogLevel.Error)
    node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
    samples = (
        node.service_builder(iox2.ServiceName.new(name))
        .publish_subscribe(iox2.Slice[ctypes.c_uint8])
        .subscriber_max_buffer_size(4)
        .open_or_create()
    )
    events = node.service_builder(iox2.ServiceName.new(name)).event().open_or_create()
    return samples, events


def main() -> None:
    """Measure."""
    wanted, name = request(), f"wangraph-bench-{os.getpid()}"
    samples, events = services(name)
    size = HEAD.size + wanted.n_bytes
    publisher = samples.publisher_builder().initial_max_slice_len(size).create()
    notifier = events.notifier_builder().create()
    context = multiprocessing.get_context("spawn")
    answers, results = context.Pipe(duplex=False)
    reader = context.Process(target=read, args=(name, wanted.hops, results))
    reader.start()
    answers.recv()  # it listens
    payload = np.arange(wanted.n_bytes, dtype=np.uint8)
    began = time.process_time()
    for number in paced(wanted):
        now = time.monotonic_ns()
        loan = publisher.loan_slice_uninit(size)
        array = as_array(loan.payload())
        array[HEAD.size :] = payload
        HEAD.pack_into(array.data, 0, number, now)
        loan.assume_init().send()
        notifier.notify()
    spent = time.process_time() - began
    took, theirs = answers.recv()
    say(wanted, took, spent + theirs)
    reader.join()


def read(name: str, hops: int, results: object) -> None:
    """Take every hop."""
    samples, events = services(name)
    subscriber = samples.subscriber_builder().create()
    listener = events.listener_builder().create()
    took: dict[int, int] = {}
    results.send(None)
    began = time.process_time()
    while hops - 1 not in took:
        listener.blocking_wait()
        while (sample := subscriber.receive()) is not None:
            array = as_array(sample.payload())
            number, sent = HEAD.unpack_from(array.data)
            took[number] = time.monotonic_ns() - sent
            del array
            sample.delete()
    results.send((took, time.process_time() - began))


def as_array(payload: object) -> np.ndarray:
    """The bytes of a sample, where they lie."""
    n_bytes = payload.number_of_elements
    return np.frombuffer((ctypes.c_uint8 * n_bytes).from_address(payload.data_ptr), np.uint8)


if __name__ == "__main__":
    main()
