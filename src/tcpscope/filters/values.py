"""The values in a filter: addresses, prefixes, ports, amounts with units. Text in, numbers and network bytes out.

What is no such value gives ``None``; the grammar (:mod:`tcpscope.filters.parse`) says where and why.
"""

from __future__ import annotations

#: Unit -> how many nanoseconds, bytes.
NANOSECONDS = {"": 10**6, "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
NANOSECONDS |= {"m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
BYTES = {"": 1, "b": 1, "k": 1024, "kb": 1024, "m": 1024**2, "mb": 1024**2, "g": 1024**3, "gb": 1024**3}


def split_family(text: str) -> tuple[int, str]:
    """Split ``inet6:[::1]:22`` into the family (4, 6, or 0 where none is said) and the rest."""
    for prefix, family in (("inet:", 4), ("inet6:", 6)):
        if text.startswith(prefix):
            return family, text[len(prefix) :]
    return 0, text


def split_port(text: str) -> tuple[str, str]:
    """Split ``ADDRESS[:PORT]``: brackets, ``*`` and a prefix length decide as in ss.

    An IPv6 address without brackets stays whole, see :func:`split_bare_port`.
    """
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        tail = rest[: rest.find(":")] if ":" in rest else rest  # a prefix length, or the zone as ss prints it
        return address + tail if tail[:1] in ("/", "%") else address, rest.rpartition(":")[2] if ":" in rest else ""
    if text.startswith("*"):
        return "*", text[1:].removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    address, _, port = text.partition(":")
    return address, port


def split_bare_port(text: str) -> tuple[str, str] | None:
    """Split ``::1:22`` as ss reads it and netstat writes it; ``None`` where no port can be meant (``::1``)."""
    address, _, port = text.rpartition(":")
    if text[:1] == "[" or ":" not in address or parse_address(_host_part(address)) is None:
        return None
    return (address, port) if port.isdecimal() or not is_bare_address(text) else None


def is_bare_address(text: str) -> bool:
    """Whether all of the text is an IPv6 address, maybe with zone or prefix length."""
    return ":" not in text[len(_host_part(text)) :] and parse_address(_host_part(text)) is not None


def _host_part(text: str) -> str:
    return text.partition("/")[0].partition("%")[0]


def parse_address(text: str) -> bytes | None:
    """Turn a numeric address into network bytes; ``None`` when it is a name. ``10.1`` is 10.1.0.0, as for ss."""
    if ":" not in text:
        parts = text.split(".")
        is_numeric = len(parts) <= 4 and all(part.isdecimal() and part.isascii() and len(part) <= 3 for part in parts)
        numbers = [int(part) for part in parts] if is_numeric else [256]
        return bytes(numbers).ljust(4, b"\0") if max(numbers) < 256 else None
    from ipaddress import IPv6Address

    try:
        return IPv6Address(text).packed
    except ValueError:
        return None


def parse_prefix_bits(text: str) -> int | None:
    """Read ``8``, or the netmask ``255.0.0.0``; ``None`` for anything else."""
    mask = parse_address(text) if text.count(".") == 3 else None
    if mask is None:
        return parse_number(text)
    bits = f"{int.from_bytes(mask, 'big'):032b}".rstrip("0")
    return None if "0" in bits else len(bits)


def below_cgroup_root(path: str) -> str:
    """Return a control group's path in its hierarchy; ss wants the one in the file system, which is taken too."""
    for root in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if path == root or path.startswith(root + "/"):
            return path[len(root) :]
    return path


def parse_number(text: str) -> int | None:
    """Read a decimal number, or a hexadecimal one after ``0x``."""
    digits = text[2:] if text[:2].lower() == "0x" else text
    if not digits.isascii() or not digits.isalnum():  # Why: int() also takes signs, blanks and underscores
        return None
    try:
        return int(digits, 16 if digits is not text else 10)
    except ValueError:
        return None


def parse_scaled(text: str, units: dict[str, int]) -> int | None:
    """Read an amount with one of these units: ``50ms``, ``1.5k``."""
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = units.get(text[len(digits) :].lower())
    try:
        value = float(digits)
    except ValueError:
        return None
    if unit is None or value != value or abs(value) > 1e15:
        return None
    return int(value * unit)
