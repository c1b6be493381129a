"""How findings spell numbers: counts, durations, sizes, shares. Pure text, no judgement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tcpscope.model.socket import Socket


def count(number: float) -> str:
    """``4812`` -> ``4 812``; a fraction keeps one digit below ten."""
    if number != int(number) and abs(number) < 10:
        return f"{number:.1f}"
    return f"{round(number):,}".replace(",", " ")


def many(number: int, noun: str, plural: str = "") -> str:
    """``1 socket``, ``3 391 sockets``."""
    return f"{count(number)} {noun if number == 1 else plural or noun + 's'}"


def span(milliseconds: float) -> str:
    """``850 ms``, ``12 s``, ``3 min 5 s``, ``3 h 12 min``, ``4 d 2 h``."""
    if milliseconds < 1000:
        return f"{round(milliseconds)} ms"
    seconds = round(milliseconds / 1000)
    if seconds < 10:
        return f"{milliseconds / 1000:.1f} s".replace(".0 s", " s")
    for size, name, below, below_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // below
            return f"{seconds // size} {name}" + (f" {rest} {below_name}" if rest else "")
    return f"{seconds} s"


def size(number: float) -> str:
    """``512 B``, ``33 KiB``, ``1.2 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024 or unit == "GiB":
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1024
    return ""


def percent(share: float) -> str:
    """``0.823`` -> ``82 %``; small shares keep a digit."""
    return f"{share * 100:.0f} %" if share >= 0.1 or share == 0 else f"{share * 100:.1f} %"


def listing(words: Iterable[str], limit: int = 3) -> str:
    """``a, b, c and 4 more``."""
    kept = list(words)
    shown = kept[:limit]
    if len(kept) > limit:
        return f"{', '.join(shown)} and {count(len(kept) - limit)} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def address(text: str) -> str:
    """An address without the prefix of a v4-mapped one."""
    return text[7:] if text.startswith("::ffff:") and "." in text else text


def end(host: str, port: int) -> str:
    """``192.0.2.1:80``, ``[2001:db8::1]:80``."""
    host = address(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def example(sockets: Sequence[Socket]) -> str:
    """The first socket as ``local -> remote``."""
    return f"{sockets[0].local} -> {sockets[0].remote}" if sockets else ""
