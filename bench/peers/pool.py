"""Seconds per task of Python's pools of two processes; a line "WHAT COUNT" asks for them.

WHAT is one of those of ANSWERS. "has_joblib 1" answers 1 where joblib is installed, else 0.
"""

import concurrent.futures
import functools
import multiprocessing
import os
import statistics
import sys
import time

try:
    import joblib
except ImportError:
    # It may be installed for the system's own Python only.
    system = "/usr/bin/python3"
    if os.access(system, os.X_OK) and os.path.realpath(system) != os.path.realpath(sys.executable):
        os.execv(system, [system, *sys.argv])
    joblib = None

WORKERS = 2
PAUSE = 0.02


def same(x):
    return x


# Each is made when it is asked for first.
@functools.cache
def pool():
    return multiprocessing.get_context("fork").Pool(WORKERS)


@functools.cache
def executor():
    context = multiprocessing.get_context("fork")
    return concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context)


@functools.cache
def loky(batch_size):
    return joblib.Parallel(WORKERS, backend="loky", batch_size=batch_size).__enter__()


def timed(count, work):
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) / count


def map_items(count, chunksize=None):
    items = list(range(count))
    return timed(count, lambda: pool().map(same, items, chunksize))


def apply_async(count):
    def work():
        for result in [pool().apply_async(same, (i,)) for i in range(count)]:
            result.get()

    return timed(count, work)


def submit(count):
    def work():
        for future in [executor().submit(same, i) for i in range(count)]:
            future.result()

    return timed(count, work)


def run_joblib(count, batch_size):
    parallel = loky(batch_size)
    call = joblib.delayed(same)
    return timed(count, lambda: parallel(call(i) for i in range(count)))


def each(count, call):
    return timed(count, lambda: [call(i) for i in range(count)])


def each_after_a_pause(count, call):
    def one(i):
        time.sleep(PAUSE)
        return timed(1, lambda: call(i))

    return statistics.median(one(i) for i in range(count))


def apply(i):
    return pool().apply(same, (i,))


def submit_and_get(i):
    return executor().submit(same, i).result()


ANSWERS = {
    "hello": lambda count: 1,
    "has_joblib": lambda count: 0 if joblib is None else 1,
    "map": map_items,
    "map_single": lambda count: map_items(count, chunksize=1),
    "apply_async": apply_async,
    "submit": submit,
    "joblib_auto": lambda count: run_joblib(count, "auto"),
    "joblib_single": lambda count: run_joblib(count, 1),
    "apply": lambda count: each(count, apply),
    "submit_get": lambda count: each(count, submit_and_get),
    "apply_asleep": lambda count: each_after_a_pause(count, apply),
    "submit_get_asleep": lambda count: each_after_a_pause(count, submit_and_get),
}

if __name__ == "__main__":
    for line in sys.stdin:
        what, *count = line.split()
        print(ANSWERS[what](int(count[0]) if count else 1), flush=True)
