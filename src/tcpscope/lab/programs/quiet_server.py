"""The server of the experiment: it accepts, keeps every connection and does nothing.

usage: python3 quiet_server.py PORT
"""

import signal
import socket
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C kills, without a word
connections = []
with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=16) as listener:
    print("listening", flush=True)
    while True:
        connections.append(listener.accept())
