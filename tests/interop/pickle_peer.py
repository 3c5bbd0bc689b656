#!/usr/bin/env python3
"""The other side of the pickle tests: CPython itself.

    pickle_peer.py dump          one line per value and protocol: index, protocol, text, hex
    pickle_peer.py check         reads lines of index and hex; says which are not that value
    pickle_peer.py read          reads lines of text and hex; says which do not read as that text
    pickle_peer.py header        tests/unit/pickle_vectors.hpp

The text of a value is what managers::Object prints for it.
"""
import array
import collections
import multiprocessing
import multiprocessing.managers  # pickles arrays in the way that managers send them
import pickle
import queue
import random
import sys
import threading
from multiprocessing.managers import RemoteError, Token
from multiprocessing.reduction import ForkingPickler

PLAIN = """
None | True | False | 0 | 1 | -1 | 127 | 128 | 255 | 256 | -128 | -129 | 65535 | 65536 | 2**31-1 | 2**31 | -2**31
-2**31-1 | 2**39 | -2**39 | 2**63-1 | 2**63 | -2**63 | -2**63-1 | 2**64-1 | 2**64 | 10**30 | -10**30 | 2**2039 | -2**2039
2**2040 | 0.0 | -0.0 | 1.0 | -1.5 | 0.1 | 1e16 | 123456789012345.6 | 1e-5 | 5e-324 | 1.7976931348623157e308 | 1e22
float('inf') | -float('inf') | float('nan') | 1.5-2j | 2j | complex(-0.0, 1) | complex(0, float('nan')) | 3+0j
'' | 'a' | "it's" | 'say "x"' | 'both \\' and "' | 'caf\\u00e9' | '\\u20ac' | '\\U0001f600' | 'a\\x00b\\nc\\\\d\\t\\r\\x7f\\xa0'
'\\ud800x' | 'a' * 255 | 'a' * 256 | '\\u00e9' * 127 + 'a' | b'' | b'abc' | b"it's" | bytes(range(256)) | b'x' * 255
bytearray() | bytearray(b'abc') | bytearray(range(256)) | () | (1,) | (1, 'b') | (1, 2.0, None) | (1, 2, 3, 4)
((), ((1,),), [()]) | [] | [1] | [1, 'b'] | [[], [[]], [1, [2, [3]]]] | list(range(20)) | {} | {'a': 1} | {'a': 1, 'b': [2]}
{1: 'i', 's': 2, 2.5: 3, None: 4, (1, 2): 5, b'b': 6, False: 7} | {'a': {'b': {'c': {}}}} | set() | {1} | {1, 2, 3}
frozenset() | frozenset({1, 2}) | {frozenset({1})} | (lambda x: [x, x])([1]) | (lambda s: (s, s))('abc')
(lambda t: [t, t, (t, t)])((1, 2))
"""
KNOWN = """
KeyError('x') | KeyError(('a', 1)) | IndexError('list index out of range') | ValueError() | ValueError('a', 2)
StopIteration(5) | AttributeError('x')
UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'invalid start byte') | ImportError('i', name='m') | queue.Empty() | queue.Full()
threading.BrokenBarrierError() | RemoteError('text') | multiprocessing.ProcessError('p') | multiprocessing.TimeoutError()
multiprocessing.AuthenticationError('no') | multiprocessing.BufferTooShort(b'data') | annotated(ValueError('v'))
Token('dict', ('127.0.0.1', 50000), '7f0000000010') | Token('dict', b'\\x00name', '7f') | Token('t', None, 'i')
(None, 'create', ('dict', {'a': 1}), {}) | ('7f0000000010', '__setitem__', ('k', 1), {'x': 1}) | ('#RETURN', {'a': [1, 2]})
('#ERROR', KeyError('x')) | ('#PROXY', (('__next__', 'close'), Token('Iterator', ('127.0.0.1', 5), '7f')))
array.array('i', [1, -2, 3]) | array.array('d', [1.5]) | array.array('B') | array.array('Q', [2**64-1]) | array.array('f', [0.5])
{'a': 1, 'b': 2}.keys() | {'a': 1}.values() | {'a': 1}.items() | slice(1, 3) | slice(None, None, -1) | range(3)
range(10, 0, -2) | range(10**18) | reversed([1, 2]) | iter([1, 2]) | advanced(iter([1, 2, 3])) | iter((1, 2))
collections.OrderedDict([('a', 1), ('b', 2)]) | collections.deque([1, 2]) | collections.deque([1, 2], maxlen=3)
collections.Counter('aab')
"""
# Only at the time of the test: too large for a file.
LARGE = """
'a' * 65535 | 'a' * 65536 | '\\u20ac' * 50000 | b'x' * 70000 | bytearray(70000) | list(range(1001)) | list(range(3000))
{i: str(i) for i in range(2500)} | set(range(2500)) | frozenset(range(2500)) | tuple(range(1500))
(lambda L: L + [L[0], L[299]])(['s%d' % i for i in range(300)]) | ['x' * 30000 for _ in range(5)] | 7**5000
__import__('functools').reduce(lambda a, _: [a], range(100), 0) | __import__('functools').reduce(lambda a, _: (a,), range(150), 0)
"""

# Python 2 had other names for these.
MODERN = """
OSError(2, 'No such file or directory') | FileNotFoundError(2, 'gone', 'f') | ConnectionResetError(104, 'reset')
"""


def annotated(error):
    error.extra = 1
    return error


def advanced(iterator):
    next(iterator)
    return iterator


def expressions(text):
    return [e.strip() for line in text.strip().splitlines() for e in line.split(" | ")]


def random_value(rng, depth=0):
    kinds = ["none", "bool", "int", "float", "str", "bytes"]
    if depth < 4:
        kinds += ["tuple", "list", "dict", "set", "frozenset", "list", "dict", "bytearray"]
    kind = rng.choice(kinds)
    size = rng.choice([0, 1, 2, 3, 4, 7])
    if kind == "none":
        return None
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "int":
        return rng.randrange(-2**rng.choice([3, 8, 16, 31, 33, 63, 64, 200]), 2**rng.choice([3, 8, 16, 31, 63, 64, 300]))
    if kind == "float":
        return rng.choice([rng.random(), rng.uniform(-1e20, 1e20), float(rng.randrange(1000)), rng.random() * 10.0**rng.randrange(-300, 300)])
    if kind == "str":
        return "".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(1, 128), rng.randrange(0x430, 0x450), 0x1f600])) for _ in range(size))
    if kind in ("bytes", "bytearray"):
        return (bytes if kind == "bytes" else bytearray)(rng.randrange(256) for _ in range(size))
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(random_value(rng, depth + 1) for _ in range(size))
    keys = [random_value(rng, 4) for _ in range(size)]
    if rng.random() < 0.3 and kind != "dict":
        keys.append(tuple(random_value(rng, 4) for _ in range(2)))
    if kind == "dict":
        return {k: random_value(rng, depth + 1) for k in keys}
    return (set if kind == "set" else frozenset)(keys)


def all_values():
    values = [eval(e) for group in (MODERN, PLAIN, KNOWN, LARGE) for e in expressions(group)]
    rng = random.Random(20240607)
    return values + [random_value(rng) for _ in range(400)]


def parts(error):
    reduced = error.__reduce__()
    return type(error), tuple(reduced[1]), (reduced[2] if len(reduced) > 2 else None) or None


def text(x):
    t = type(x)
    if isinstance(x, BaseException):
        args = parts(x)[1]
        return t.__name__ + ("(" + ", ".join(map(text, args)) + ("," if len(args) == 1 else "") + ")").replace(",)", ")")
    if t is tuple:
        return "(" + ", ".join(map(text, x)) + (",)" if len(x) == 1 else ")")
    if t is list:
        return "[" + ", ".join(map(text, x)) + "]"
    if t is dict:
        return "{" + ", ".join(text(k) + ": " + text(v) for k, v in x.items()) + "}"
    if t is Token:
        return "Token(%s, %s, %s)" % (text(x.typeid), text(x.address), text(x.id))
    if t in (type({}.keys()), type({}.values()), type({}.items())):
        return text(list(x))
    if t is collections.OrderedDict or t is collections.Counter:
        return "%s(%s)" % (t.__name__, text(dict(x)))
    if t in (type(iter([])), type(iter(())), type(reversed([]))):
        args = x.__reduce__()[1]
        return x.__reduce__()[0].__name__ + "(" + text(args[0]) + ")"
    return repr(x)


def canonical(x):
    """Comparable, and telling types apart: NaN equals itself, 1 is not True."""
    t = type(x)
    if isinstance(x, BaseException):
        cls, args, state = parts(x)
        return "exception", cls.__name__, canonical(args), canonical(state)
    if t in (tuple, list, collections.deque):
        return t.__name__, getattr(x, "maxlen", 0), [canonical(i) for i in x]
    if isinstance(x, dict):
        return t.__name__, [(canonical(k), canonical(v)) for k, v in x.items()]
    if t in (set, frozenset):
        return t.__name__, sorted((canonical(i) for i in x), key=repr)
    if t in (type({}.keys()), type({}.values()), type({}.items())):
        return canonical(list(x))
    if t is Token:
        return "Token", canonical((x.typeid, x.address, x.id))
    if t in (type(iter([])), type(iter(())), type(reversed([]))):
        return t.__name__, canonical(x.__reduce__()[1:])
    return t.__name__, repr(x) if t is not int else hex(x)


def read_lines():
    for line in sys.stdin:
        first, _, data = line.rstrip("\n").partition("\t")
        yield first, pickle.loads(bytes.fromhex(data))


def dump():
    for index, value in enumerate(all_values()):
        shown = text(value).encode("utf-8", "surrogatepass").hex()
        first = 3 if index < len(expressions(MODERN)) else 2
        for protocol in range(first, 6):
            data = bytes(ForkingPickler.dumps(value, protocol))
            print(index, protocol, shown, data.hex(), sep="\t")
            if type(value) is array.array and protocol > 2:  # as programs without managers write it
                print(index, protocol, shown, pickle.dumps(value, protocol).hex(), sep="\t")


def check():
    values = all_values()
    wrong = count = 0
    for index, value in read_lines():
        count += 1
        if canonical(value) != canonical(values[int(index)]):
            wrong += 1
            print("value", index, "is", ascii(values[int(index)])[:200], "but was read as", ascii(value)[:200])
    print("read %d, wrong %d" % (count, wrong))


def read():
    wrong = count = 0
    for hexed, value in read_lines():
        count += 1
        wanted = bytes.fromhex(hexed).decode("utf-8", "surrogatepass")
        if text(value) != wanted:
            wrong += 1
            print(ascii(wanted)[:200], "was read as", ascii(text(value))[:200])
    print("read %d, wrong %d" % (count, wrong))


HEADER = """\
// What CPython 3.11 wrote for the values of tests/interop/pickle_peer.py, in hexadecimal. Made by
// `pickle_peer.py header`.
#pragma once

namespace pickle_vectors {

struct Vector {
  const char* text;       // what is printed for the value, UTF-8
  const char* pickle[4];  // protocols 2 to 5; empty: as protocol 4, but for the header
};

// clang-format off"""


def literal(digits, indent):
    width = 88
    pieces = [digits[i:i + width] for i in range(0, len(digits), width)] or [""]
    return ("\n" + " " * indent).join('"%s"' % piece for piece in pieces)


def header():
    print(HEADER)
    for name, source in (("kPlain", PLAIN), ("kKnown", KNOWN)):
        print("inline constexpr Vector %s[] = {" % name)
        for value in map(eval, expressions(source)):
            shown = text(value).encode("utf-8", "surrogatepass").hex()
            rows = [bytes(ForkingPickler.dumps(value, p)).hex() for p in (2, 3, 4, 5)]
            if rows[3][4:] == rows[2][4:]:
                rows[3] = ""
            print("    {%s," % literal(shown, 5))
            print("     {%s}}," % ",\n      ".join(literal(row, 6) for row in rows))
        print("};\n")
    print("// clang-format on\n\n}  // namespace pickle_vectors")


if __name__ == "__main__":
    sys.set_int_max_str_digits(0) if hasattr(sys, "set_int_max_str_digits") else None
    {"dump": dump, "check": check, "read": read, "header": header}[sys.argv[1]]()
