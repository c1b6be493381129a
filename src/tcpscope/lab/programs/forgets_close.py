"""A server with the most common mistake: it sees the end of file, stops reading, and forgets to close.

usage: python3 forgets_close.py PORT

Every connection that its client has closed stays in CLOSE_WAIT, with Recv-Q 0, for as long as the program lives.
"""

import signal
import socket
import sys
import threading

connections: list[socket.socket] = []


def serve(connection: socket.socket) -> None:
    """Echo until the client closes, and return; the socket lives on in ``connections``."""
    while data := connection.recv(4096):
        connection.sendall(data)
    # missing here: connection.close()


def main() -> None:
    """Accept for ever; one thread for each connection."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=128) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            connections.append(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
