"""What the Python programs of these tests have in common: how they are told what to do."""
import argparse
import os
import threading


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("address", help="HOST:PORT, unix:/PATH or unix:@NAME")
    parser.add_argument("--key", type=bytes.fromhex, help="in hexadecimal digits; none: no key")
    parser.add_argument("--objects", action="store_true", help="objects instead of bytes")
    return parser


def to_python(address):
    """The address in the form that multiprocessing.connection takes."""
    if address.startswith("unix:@"):
        return "\0" + address[6:]
    if address.startswith("unix:"):
        return address[5:]
    host, port = address.rsplit(":", 1)
    return host, int(port)


def to_text(address):
    """And back."""
    if isinstance(address, tuple):
        return "%s:%d" % address
    if isinstance(address, bytes):
        address = address.decode()
    return "unix:" + address.replace("\0", "@")


def say(*words):
    print(*words, flush=True)


def end_in_time(seconds=100):
    """Whatever hangs, this process does not stay."""
    timer = threading.Timer(seconds, os._exit, [3])
    timer.daemon = True
    timer.start()
