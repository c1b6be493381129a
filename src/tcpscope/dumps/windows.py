"""Rows of netstat on Windows, in the languages it speaks, and the names of programs around them.

``TCP 0.0.0.0:135 0.0.0.0:0 LISTENING 1234 [InHost]``; with ``-b`` each row is followed by the service it belongs to and
by ``[program.exe]``. ``tasklist`` beside it names the programs too.
"""

from __future__ import annotations

from tcpscope.dumps.addresses import AddressReader
from tcpscope.dumps.rows import STATE_WORDS, is_count, local_state, make_socket
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.state import State


class WindowsReader:
    """Reads rows, and remembers which program has which number."""

    def __init__(self, addresses: AddressReader) -> None:
        self.addresses = addresses
        self.names: dict[int, str] = {}
        self.pid = 0  #: of the row that was read last
        self.has_nameless = False  #: a program was named whose number is not told (``-b`` without ``-o``)

    def read(self, words: list[str], proto: str) -> Socket | None:
        """Read one row; ``None`` when it is none."""
        local, remote = self.addresses.read(words[1]), self.addresses.read(words[2])
        if local is None or remote is None:
            return None
        rest, state = words[3:], State.CLOSED
        if proto == "tcp":
            found = _read_state(rest, is_listener=not remote.port and remote.address in ("0.0.0.0", "::"))
            if found is None:
                return None
            state, rest = found
        self.pid = int(rest[0]) if rest and is_count(rest[0]) else 0
        owners = (Owner(self.pid, ""),) if self.pid else ()
        return make_socket(proto, state, local, remote, (0, 0), owners)

    def read_name(self, words: list[str]) -> bool:
        """Take ``[svchost.exe]`` below a row of ``-b``, or a line of ``tasklist``."""
        text = " ".join(words)
        if text[0] == "[" and text.lower().endswith(".exe]"):
            if self.pid:
                self.names[self.pid] = text[1:-1]
            else:
                self.has_nameless = True
            return True
        if len(words) > 5 and words[-1] == "K" and is_count(words[-3]) and is_count(words[-5]):
            self.names[int(words[-5])] = " ".join(words[:-5])
            return True
        return False

    def named(self, sockets: list[Socket]) -> list[Socket]:
        """Return the sockets with the names of their programs, as far as they were told."""
        if not self.names:
            return sockets
        return [
            one._replace(owners=tuple(who._replace(name=who.name or self.names.get(who.pid, "")) for who in one.owners))
            for one in sockets
        ]


def _read_state(words: list[str], *, is_listener: bool) -> tuple[State, list[str]] | None:
    """Read the state; only a listener has no remote end, whatever its state is called in a language unknown here."""
    at = next((place for place, word in enumerate(words) if is_count(word)), len(words))
    state = STATE_WORDS.get(words[0]) or local_state(words[0]) if words else None
    if state is not None:
        return state, words[1:]
    return (State.LISTEN, words[at:]) if is_listener and 0 < at < 5 else None
