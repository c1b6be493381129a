"""Rows of netstat on Solaris and illumos: ``LOCAL REMOTE SWIND SEND-Q RWIND RECV-Q STATE`` under ``TCP: IPv4``.

With ``-u`` (illumos, Solaris 11.2) user, process and program stand between the remote end and the windows.
"""

from __future__ import annotations

from tcpscope.dumps.addresses import AddressReader
from tcpscope.dumps.rows import STATE_WORDS, is_count, make_socket
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket


class SolarisReader:
    """Reads rows of TCP; those of UDP bear no sign of their own and are left out."""

    def __init__(self, addresses: AddressReader) -> None:
        self.addresses = addresses

    def read(self, words: list[str]) -> Socket | None:
        """Read one row; ``None`` when it is none."""
        if len(words) < 7 or "." not in words[0] or "." not in words[1]:
            return None
        at = next((place for place in range(6, min(len(words), 10)) if words[place] in STATE_WORDS), 0)
        if not at or not all(is_count(word) for word in words[at - 4 : at]):
            return None
        local, remote = self.addresses.read_dotted(words[0]), self.addresses.read_dotted(words[1])
        if local is None or remote is None:
            return None
        wildcard = "::" if local.is_ipv6 or remote.is_ipv6 else "0.0.0.0"
        local, remote = (Endpoint(wildcard, one.port) if one.address == "*" else one for one in (local, remote))
        owners = (Owner(int(words[3]), words[4]),) if at == 9 and is_count(words[3]) else ()
        queues = int(words[at - 1]), int(words[at - 3])
        return make_socket("tcp", STATE_WORDS[words[at]], local, remote, queues, owners)
