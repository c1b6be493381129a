"""tcpdump on the loopback of the present namespace, whose capture is known to be complete when it ends."""

import shutil
import socket
import struct
import subprocess
import threading

from tests.patience import wait_until

#: Refused connections between these ports mark a place in the capture.
MARK_PORT, NOBODY = 9999, 9
_MARK = struct.pack(">HH", MARK_PORT, NOBODY)
_OPTIONS = ("-i", "lo", "-B", "65536", "--immediate-mode", "-U")


def has_tcpdump():
    return shutil.which("tcpdump", path="/usr/sbin:/usr/bin:/sbin:/bin") is not None


class LoopbackDump:
    """``with LoopbackDump(path, "-s", "96"):`` captures TCP into ``path``; ``options`` are tcpdump's."""

    def __init__(self, path, *options):
        self.path, self.options = path, options

    def __enter__(self):
        command = ["tcpdump", *_OPTIONS, *self.options, "-w", str(self.path), "tcp"]
        self.dump = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.dump.stderr.readline()
        threading.Thread(target=self.dump.stderr.read, daemon=True).start()
        self._see_a_mark()
        return self

    def __exit__(self, *_):
        try:
            self._see_a_mark()
        finally:
            self.dump.terminate()
            self.dump.wait()

    def _see_a_mark(self):
        """Connect in vain until the capture holds one more mark: all before it is there, too."""
        before = self._marks()

        def is_there():
            with socket.socket() as refused:
                refused.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                refused.bind(("127.0.0.1", MARK_PORT))
                refused.connect_ex(("127.0.0.1", NOBODY))
            return self._marks() > before

        wait_until(is_there, "tcpdump")

    def _marks(self):
        return self.path.read_bytes().count(_MARK)
