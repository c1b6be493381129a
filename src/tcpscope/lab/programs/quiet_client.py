"""The client of the experiment: it connects and does nothing, until it is killed.

usage: python3 quiet_client.py ADDRESS PORT
"""

import signal
import socket
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C kills, without a word
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print("connected", flush=True)
signal.pause()
