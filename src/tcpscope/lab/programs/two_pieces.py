"""A client that writes each message in two pieces, head and body, and then waits for the answer.

usage: python3 two_pieces.py ADDRESS PORT OCTETS CONNECTIONS [nodelay]
"""

import signal
import socket
import sys
import threading


def ask(connection: socket.socket, half: int) -> None:
    """Write, write, read: the second piece is what Nagle's algorithm keeps."""
    while True:
        connection.sendall(bytes(half))
        connection.sendall(bytes(half))
        if not connection.recv(100):
            return


def main() -> None:
    """Ask on several connections at once, for ever."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    address, port, size, number = sys.argv[1], *map(int, sys.argv[2:5])
    for _ in range(number):
        connection = socket.create_connection((address, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, "nodelay" in sys.argv[5:])
        threading.Thread(target=ask, args=(connection, size // 2), daemon=True).start()
    print("asking", flush=True)
    signal.pause()


main()
