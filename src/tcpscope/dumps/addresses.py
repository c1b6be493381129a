"""Addresses as the tools print them, read once each (a dump repeats them).

``-n`` or not: host names stay names; service names become ports through this system's ``/etc/services``, and 0 when
it does not know them.
"""

from __future__ import annotations

from tcpscope.model.address import Endpoint

_NO_PORT = ("*", "", "0")
_HEXADECIMAL = frozenset("0123456789abcdef:.")
_new = tuple.__new__


class AddressReader:
    """Reads ``ADDRESS:PORT`` (Linux, Windows, lsof) and ``ADDRESS.PORT`` (BSD, macOS); remembers what it read."""

    def __init__(self) -> None:
        self.known: dict[str, Endpoint] = {}
        self.unknown_services: set[str] = set()

    def read(self, text: str) -> Endpoint | None:
        """Read ``1.2.3.4:80``, ``:::22``, ``[::]:22``, ``*:ssh``, ``127.0.0.53%lo:53``; ``None``: it is none."""
        found = self.known.get(text)
        if found is None:
            found = self._read(text)
            if found is not None:
                self.known[text] = found
        return found

    def read_mapped(self, text: str) -> Endpoint | None:
        """Read an address from a ``tcp6`` row of netstat, which hides the prefix of v4-mapped addresses."""
        key = "6 " + text
        found = self.known.get(key)
        if found is None:
            found = self._read(text)
            if found is None:
                return None
            if found.address[:1].isdigit() and ":" not in found.address:
                found = Endpoint("::ffff:" + found.address, found.port)
            self.known[key] = found
        return found

    def read_dotted(self, text: str) -> Endpoint | None:
        """Read ``192.0.2.1.443``, ``*.22``, ``*.*``, ``fe80::1%lo0.123``, ``localhost.ssh``."""
        found = self.known.get(text)
        if found is None:
            address, dot, port = text.rpartition(".")
            number = self._port(port) if dot and address else None
            if number is None:
                return None
            found = Endpoint(_plain(address), number)
            self.known[text] = found
        return found

    def _read(self, text: str) -> Endpoint | None:
        address, colon, port = text.rpartition(":")
        if not colon or "->" in text:
            return None
        if text.startswith("[") and not address.partition("%")[0].endswith("]") and not address.endswith("]"):
            return None  # ss: ``[fe80::1%eth0]:22``, and ``[fe80::1]%eth0:22`` since iproute2 4.16
        number = self._port(port.strip())
        return None if number is None else Endpoint(_plain(address), number)

    def _port(self, text: str) -> int | None:
        if text in _NO_PORT:
            return 0
        if text.isascii() and text.isdigit():
            number = int(text[:20])
            return number if number < 65536 else None
        if not text.replace("-", "").replace("_", "").replace("+", "").replace(".", "").isalnum():
            return None
        number = _service(text)
        if not number:
            if "." in text:  # BSD: ``2001:db8::e1.443`` is an address and a port
                return None
            self.unknown_services.add(text)
        return number


def parse_numeric(text: str) -> Endpoint | None:
    """Read ``192.0.2.1:443`` and ``[2001:db8::1]:443``; ``None`` for anything that needs a closer look.

    Why: nearly every address of a large dump has this form, and the remote ends of a busy host are all different.
    """
    address, _, digits = text.rpartition(":")
    if not (digits.isdecimal() and text.isascii()) or len(digits) > 5 or (port := int(digits)) > 65535:
        return None
    if not address.replace(".", "").isdecimal():
        if address[:1] != "[" or address[-1] != "]" or not _HEXADECIMAL.issuperset(address[1:-1]):
            return None
        address = address[1:-1]
    found: Endpoint = _new(Endpoint, (address, port))
    return found


def parse_mapped(text: str) -> Endpoint | None:
    """The same for a ``tcp6`` row of netstat: no brackets, and the prefix of v4-mapped addresses is hidden."""
    address, _, digits = text.rpartition(":")
    if ":" in address:
        return parse_numeric(f"[{address}]:{digits}")
    return parse_numeric(f"[::ffff:{text[: -len(digits) - 1]}]:{digits}") if address else None


def _plain(address: str) -> str:
    """Take off brackets and the zone; an empty address or ``::`` before ``:22`` is the IPv6 wildcard."""
    plain = address.removeprefix("[").partition("%")[0].removesuffix("]")
    return plain or "::"


def _service(name: str) -> int:
    import _socket

    for proto in ("tcp", "udp"):
        try:
            return _socket.getservbyname(name, proto)
        except (OSError, UnicodeError):
            continue
    return 0
