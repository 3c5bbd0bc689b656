"""Seconds per message of multiprocessing's Queue, SimpleQueue and Pipe.

"transfer KIND SIZE PLACEMENT COUNT" asks for COUNT messages from one process to another: ints where
SIZE is 8, else bytes. "round_trip KIND PLACEMENT COUNT" asks for one int there and one back, "many
KIND PLACEMENT COUNT" for ints from two processes to two others. PLACEMENT is as in
support/two_processes.hpp: anywhere, apart or together.

"reader_and_writer COUNT" asks for the seconds of a whole program: ints, then "DONE", to a reader.
"""

import multiprocessing
import os
import sys
import time

context = multiprocessing.get_context("fork")
cpus = sorted(os.sched_getaffinity(0))


class Pipe:
    def __init__(self):
        receiver, sender = context.Pipe(duplex=False)
        self.get = receiver.recv
        self.put = sender.send


KINDS = {"Queue": context.Queue, "SimpleQueue": context.SimpleQueue, "Pipe": Pipe}


def pin(placement, which):
    if placement != "anywhere":
        os.sched_setaffinity(0, [cpus[which if placement == "apart" else 0]])


def run(placement, *works):
    """Runs each in a process of its own; the works' halves are pinned to one CPU each."""
    results = context.SimpleQueue()

    def begin(which, work):
        pin(placement, which * 2 // len(works))
        results.put(work())

    processes = [context.Process(target=begin, args=pair) for pair in enumerate(works)]
    for process in processes:
        process.start()
    spans = [results.get() for _ in works]
    for process in processes:
        process.join()
    return max(end for _, end in spans) - min(begin for begin, _ in spans)


def timed(barrier, work):
    barrier.wait()
    begin = time.perf_counter()
    work()
    return begin, time.perf_counter()


def transfer(kind, size, count, placement, pairs=1):
    channel = KINDS[kind]()
    barrier = context.Barrier(2 * pairs)
    each = count // pairs

    def send():
        if size == 8:
            for i in range(each):
                channel.put(i)
        else:
            message = bytes(size)
            for _ in range(each):
                channel.put(message)

    def receive():
        for _ in range(each):
            channel.get()

    sender = [lambda: timed(barrier, send)] * pairs
    receiver = [lambda: timed(barrier, receive)] * pairs
    return run(placement, *sender, *receiver) / (each * pairs)


def round_trip(kind, count, placement):
    there, back = KINDS[kind](), KINDS[kind]()
    barrier = context.Barrier(2)

    def ask():
        for i in range(count):
            there.put(i)
            back.get()

    def answer():
        for i in range(count):
            there.get()
            back.put(i)

    return run(placement, lambda: timed(barrier, ask), lambda: timed(barrier, answer)) / count


def reader(queue):
    while queue.get() != "DONE":
        pass


def reader_and_writer(count):
    queue = context.Queue()
    process = context.Process(target=reader, args=(queue,), daemon=True)
    process.start()
    begin = time.perf_counter()
    for i in range(count):
        queue.put(i)
    queue.put("DONE")
    process.join()
    return time.perf_counter() - begin


def answer_to(what, *rest):
    if what == "transfer":
        kind, size, placement, count = rest
        return transfer(kind, int(size), int(count), placement)
    if what == "round_trip":
        kind, placement, count = rest
        return round_trip(kind, int(count), placement)
    if what == "many":
        kind, placement, count = rest
        return transfer(kind, 8, int(count), placement, pairs=2)
    if what == "reader_and_writer":
        return reader_and_writer(int(rest[0]))
    return 1


if __name__ == "__main__":
    for line in sys.stdin:
        print(answer_to(*line.split()), flush=True)
