"""A client that writes each message in two pieces, head and body, waits for the answer, and thinks for 5 ms.

usage: python3 two_pieces.py ADDRESS PORT OCTETS CONNECTIONS [nodelay]
"""

import signal
import socket
import sys
import threading
import time


def ask(connection: socket.socket, half: int, delay_s: float) -> None:
    """Write, write, read: the second piece is what Nagle's algorithm keeps."""
    time.sleep(delay_s)
    while True:
        time.sleep(0.005)
        connection.sendall(bytes(half))
        connection.sendall(bytes(half))
        if not connection.recv(100):
            return


def main() -> None:
    """Ask on several connections, for ever; they do not keep step, so that some of them wait at any moment."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    address, port, size, number = sys.argv[1], *map(int, sys.argv[2:5])
    for place in range(number):
        connection = socket.create_connection((address, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, "nodelay" in sys.argv[5:])
        threading.Thread(target=ask, args=(connection, size // 2, place * 0.045 / number), daemon=True).start()
    print("asking", flush=True)
    signal.pause()


main()
