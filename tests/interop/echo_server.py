"""A multiprocessing.connection.Listener. Prints its address, then what becomes of each client, and
sends back whatever it receives."""
from multiprocessing import AuthenticationError
from multiprocessing.connection import Listener

from peer import arguments, end_in_time, say, to_python, to_text


def echo(connection, objects):
    try:
        while True:
            if objects:
                value = connection.recv()
                say("received", repr(value))
                connection.send(value)
            else:
                connection.send_bytes(connection.recv_bytes())
    except EOFError:
        say("served")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--clients", type=int, default=1)
    given = parser.parse_args()
    end_in_time()
    with Listener(to_python(given.address), authkey=given.key) as listener:
        say("listening", to_text(listener.address))
        for _ in range(given.clients):
            try:
                connection = listener.accept()
            except AuthenticationError:
                say("refused")
            else:
                with connection:
                    echo(connection, given.objects)


main()
