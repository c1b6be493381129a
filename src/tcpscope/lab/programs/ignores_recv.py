"""A server that tests recv() for errors only: the end of file (an empty result) is taken for data.

usage: python3 ignores_recv.py PORT

It asks again and again and is told "end of file" again and again. The connection stays in CLOSE_WAIT with Recv-Q 0.
"""

import signal
import socket
import sys
import threading
import time


def serve(connection: socket.socket) -> None:
    """Read for ever: only an exception would end this, and the end of file is none."""
    while True:
        try:
            data = connection.recv(4096)
        except OSError:
            connection.close()
            return
        handle(data)


def handle(data: bytes) -> None:
    """Work with the data; there is none after the end of file."""
    time.sleep(0.1)


def main() -> None:
    """Accept for ever; one thread for each connection."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=128) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()
