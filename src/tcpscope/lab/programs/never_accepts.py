"""A server that listens and never calls accept(): the kernel completes handshakes until the backlog is full.

usage: python3 never_accepts.py PORT [BACKLOG]
"""

import signal
import socket
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)
backlog = int(sys.argv[2]) if len(sys.argv) > 2 else 5
with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=backlog) as listener:
    print("listening", flush=True)
    signal.pause()
