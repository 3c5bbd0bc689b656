"""One end of a connection, from the socket up: it frames messages and proves its key itself, in the
form of CPython up to 3.11 (old) or since (new), whatever version this is. Once let in, the client
says hello and the server answers goodbye. Ends with 4 when it is refused, with 5 when it refuses,
with 6 when the other end hangs up."""
import hashlib
import hmac
import os
import socket
import struct
import sys

from peer import arguments, end_in_time, say, to_python, to_text


class Peer:
    def __init__(self, stream, key, new):
        self.stream = stream
        self.key = key
        self.new = new

    def send(self, message):
        self.stream.sendall(struct.pack("!i", len(message)) + message)

    def receive(self):
        (length,) = struct.unpack("!i", self.exactly(4))
        return self.exactly(length)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            some = self.stream.recv(count - len(data))
            if not some:
                sys.exit(6)
            data += some
        return data

    def code(self, name, message):
        return hmac.new(self.key, message, getattr(hashlib, name)).digest()

    def ask(self):
        challenge = b"{sha256}" + os.urandom(40) if self.new else os.urandom(20)
        self.send(b"#CHALLENGE#" + challenge)
        response = self.receive()
        good = [self.code("md5", challenge)]
        if self.new:
            good.append(b"{sha256}" + self.code("sha256", challenge))
        if response not in good:
            self.send(b"#FAILURE#")
            sys.exit(5)
        self.send(b"#WELCOME#")

    def answer(self):
        challenge = self.receive()[len(b"#CHALLENGE#"):]
        if self.new and len(challenge) != 20:
            self.send(b"{sha256}" + self.code("sha256", challenge))
        else:
            self.send(self.code("md5", challenge))
        if self.receive() != b"#WELCOME#":
            say("refused")
            sys.exit(4)


def serve(address, key, new):
    with socket.socket() as listener:
        listener.bind(address)
        listener.listen()
        say("listening", to_text(listener.getsockname()))
        peer = Peer(listener.accept()[0], key, new)
        peer.ask()
        peer.answer()
        assert peer.receive() == b"hello"
        peer.send(b"goodbye")


def connect(address, key, new):
    peer = Peer(socket.create_connection(address), key, new)
    peer.answer()
    peer.ask()
    peer.send(b"hello")
    assert peer.receive() == b"goodbye"


def main():
    parser = arguments(__doc__)
    parser.add_argument("--listen", action="store_true")
    parser.add_argument("--new", action="store_true")
    given = parser.parse_args()
    end_in_time()
    (serve if given.listen else connect)(to_python(given.address), given.key, given.new)


main()
