"""A multiprocessing.connection.Client of something that sends back whatever it receives. Ends with 4
when it is refused."""
import collections
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

from peer import arguments, end_in_time, say, to_python

SIZES = [0, 1, 4, 250, 16383, 16384, 16385, 65535, 65536, 65537, 3000000]
OBJECTS = [None, True, 0, -1, 2**31, -2**63, 2**200, 1.5, float("inf"), 2j, "", "text", "\u20ac\0",
           b"", b"\x00\xff" * 300, bytearray(b"abc"), (), (1, "two", [3.0]), [], [[[]]] * 2,
           list(range(1000)), {}, {"a": 1, 2: [None], (3, 4): {"b": b"c"}}, {1, 2, 3},
           frozenset("ab"), "x" * 100000, b"y" * 100000, range(1, 10, 2), slice(1, None),
           collections.OrderedDict(a=1, b=2)]


def exchange_bytes(connection):
    for size in SIZES:
        message = bytes(i % 251 for i in range(size))
        connection.send_bytes(message)
        assert connection.recv_bytes() == message, size


def exchange_objects(connection):
    for value in OBJECTS:
        connection.send(value)
        answer = connection.recv()
        assert answer == value and type(answer) is type(value), (value, answer)


def main():
    given = arguments(__doc__).parse_args()
    end_in_time()
    try:
        connection = Client(to_python(given.address), authkey=given.key)
    except AuthenticationError:
        say("refused")
        return 4
    with connection:
        (exchange_objects if given.objects else exchange_bytes)(connection)
    say("done")
    return 0


sys.exit(main())
