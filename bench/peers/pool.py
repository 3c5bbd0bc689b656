"""Seconds per item of Pool(2).map, and per call of its apply; "map COUNT" or "apply COUNT" asks."""

import multiprocessing
import sys
import time


def same(x):
    return x


def measure(pool, what, count):
    if what == "map":
        items = list(range(count))
        begin = time.perf_counter()
        pool.map(same, items)
    else:
        begin = time.perf_counter()
        for i in range(count):
            pool.apply(same, (i,))
    return (time.perf_counter() - begin) / count


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        for line in sys.stdin:
            words = line.split()
            print(1 if words == ["hello"] else measure(pool, words[0], int(words[1])), flush=True)
