"""A server that answers whole messages: it says nothing until all octets of one have come.

usage: python3 whole_messages.py PORT OCTETS
"""

import signal
import socket
import sys
import threading


def serve(connection: socket.socket, size: int) -> None:
    """Answer each message of ``size`` octets with two, until the client closes."""
    with connection:
        missing = size
        while data := connection.recv(missing):
            missing -= len(data)
            if not missing:
                connection.sendall(b"ok")
                missing = size


def main() -> None:
    """Accept for ever; one thread for each connection."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=16) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, int(sys.argv[2])), daemon=True).start()


main()
