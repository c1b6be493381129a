"""Rows of FreeBSD's ``sockstat``: ``USER COMMAND PID FD PROTO LOCAL FOREIGN [PATH-STATE] [CONN-STATE]`` (``-s``)."""

from __future__ import annotations

from tcpscope.dumps.addresses import AddressReader
from tcpscope.dumps.rows import STATE_WORDS, is_count, make_socket, state_without_name
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.state import State

_PROTOCOLS = {"tcp4": "0.0.0.0", "tcp6": "::", "tcp46": "::", "udp4": "0.0.0.0", "udp6": "::", "udp46": "::"}


class SockstatReader:
    """Reads rows."""

    def __init__(self, addresses: AddressReader) -> None:
        self.addresses = addresses
        self.is_stateless = False

    def read(self, words: list[str]) -> Socket | None:
        """Read one row; ``None`` when it is none."""
        at = next((place for place in range(3, min(6, len(words) - 2)) if words[place] in _PROTOCOLS), 0)
        if not at or not (is_count(words[at - 2]) or words[at - 2] == "?"):
            return None
        local, remote = (self._end(word, _PROTOCOLS[words[at]]) for word in words[at + 1 : at + 3])
        if local is None or remote is None:
            return None
        pid, fd = words[at - 2], int(words[at - 1]) if is_count(words[at - 1]) else -1
        owners = (Owner(int(pid), " ".join(words[1 : at - 2]), fd),) if is_count(pid) else ()
        if words[at].startswith("udp"):
            return make_socket("udp", State.CLOSED, local, remote, (0, 0), owners)
        state = next((STATE_WORDS[word] for word in words[at + 3 :] if word in STATE_WORDS), None)
        self.is_stateless = self.is_stateless or state is None
        return make_socket("tcp", state or state_without_name(remote), local, remote, (0, 0), owners)

    def _end(self, text: str, wildcard: str) -> Endpoint | None:
        end = self.addresses.read(text)
        return Endpoint(wildcard, end.port) if end and end.address == "*" else end
