"""A server that closes: it answers every line, and treats the end of file as what it is.

usage: python3 correct_server.py PORT
"""

import signal
import socket
import sys
import threading


def serve(connection: socket.socket) -> None:
    """Echo until the client closes. ``with`` closes this end on every way out, exceptions included."""
    with connection:
        while data := connection.recv(4096):  # b"" is the end of file: the client has closed
            connection.sendall(data)


def main() -> None:
    """Accept for ever; one thread for each connection."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=16) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
