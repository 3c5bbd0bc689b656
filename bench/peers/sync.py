"""Seconds per operation of multiprocessing.Lock.

"lock COUNT" asks for an uncontended acquire and release, "make COUNT" for making and dropping one,
"contend SECONDS" for an acquisition while two processes contend for one that long.
"""

import multiprocessing
import sys
import time


def lock(count):
    one = multiprocessing.Lock()
    begin = time.perf_counter()
    for _ in range(count):
        one.acquire()
        one.release()
    return (time.perf_counter() - begin) / count


def make(count):
    begin = time.perf_counter()
    for _ in range(count):
        multiprocessing.Lock()
    return (time.perf_counter() - begin) / count


def take_turns(one, barrier, seconds, results):
    barrier.wait()
    count = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for _ in range(100):
            one.acquire()
            one.release()
        count += 100
    results.put(count)


def contend(seconds):
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    shared = context.Lock(), context.Barrier(2), seconds, results
    processes = [context.Process(target=take_turns, args=shared) for _ in range(2)]
    for process in processes:
        process.start()
    count = results.get() + results.get()
    for process in processes:
        process.join()
    return seconds / count


if __name__ == "__main__":
    for line in sys.stdin:
        words = line.split()
        if words[0] == "lock":
            answer = lock(int(words[1]))
        elif words[0] == "make":
            answer = make(int(words[1]))
        elif words[0] == "contend":
            answer = contend(float(words[1]))
        else:
            answer = 1
        print(answer, flush=True)
