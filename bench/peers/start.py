"""Seconds to start and join an empty process; a line "METHOD COUNT" asks for them."""

import multiprocessing
import sys
import time


def nothing():
    pass


def start_and_join(method, count):
    context = multiprocessing.get_context(method)
    begin = time.perf_counter()
    for _ in range(count):
        process = context.Process(target=nothing)
        process.start()
        process.join()
    return (time.perf_counter() - begin) / count


if __name__ == "__main__":
    for line in sys.stdin:
        words = line.split()
        print(1 if words == ["hello"] else start_and_join(words[0], int(words[1])), flush=True)
