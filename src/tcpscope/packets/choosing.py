"""Which engine reads these captures: by how many packets they hold and by what is on disk already.

Measured on one machine, as ratios they hold for others: the interpreted engine takes 6 µs a packet, the compiled one
0.2 µs and 0.1 s before the first, its compilation 12 s, once.
"""

from __future__ import annotations

import os

from tcpscope.model.errors import TcpscopeError, Unsupported
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Engines by name; ``auto`` takes the compiled one when it is installed and the captures repay its start.
ENGINES = ("auto", "python", "compiled")

#: From here on the compiled engine repays its start ...
MANY_PACKETS = 20_000
#: ... from here on it is worth a word that it could be there ...
LONG_PACKETS = 800_000
#: ... and from here on even compiling it is sooner done.
COMPILING_PACKETS = 2_500_000
_LOOK_BYTES = 64 << 10
_USUAL_COMPRESSION = 4

_COMPILES = "compiling the engine for large captures: some 15 s, once; it is kept for the next time"
_COULD_COMPILE = (
    "note: 'tcpscope read --prepare' compiles an engine, once, that reads captures of this size much faster"
)


def choose_engine(engine: str, paths: Sequence[str], tell: Callable[[str], None] | None = None) -> str:
    """Return ``python`` or ``compiled``, compiled by then. ``tell`` gets a line when that, or doing without, is long.

    Raises ``Unsupported`` when the compiled engine is asked for and the extra ``fast`` is not installed.
    """
    if engine == "python":
        return engine
    tell = tell or _ignore
    packets = estimate_packets(paths) if engine == "auto" else COMPILING_PACKETS
    if (packets is not None and packets < MANY_PACKETS) or (engine == "auto" and not _is_installed()):
        return "python"
    try:
        return _choose_compiled(packets, tell)
    except Unsupported as error:
        if engine != "auto":
            raise
        tell(f"note: {error}")
        return "python"


def _choose_compiled(packets: int | None, tell: Callable[[str], None]) -> str:
    from tcpscope.packets import compiled

    if compiled.is_ready():
        return "compiled"
    if packets is None or packets < COMPILING_PACKETS:
        if packets is not None and packets >= LONG_PACKETS:
            tell(_COULD_COMPILE)
        return "python"
    if _is_installed():
        tell(_COMPILES)
    compiled.prepare()
    return "compiled"


def _ignore(line: str) -> None:
    """Say nothing."""


def estimate_packets(paths: Sequence[str]) -> int | None:
    """Guess how many packets these files hold by the first ones of the largest; ``None`` when there is a pipe."""
    from tcpscope.capture import open_capture

    if not all(map(os.path.isfile, paths)):
        return None
    sizes = {path: os.path.getsize(path) for path in paths}
    try:
        with open_capture(max(paths, key=sizes.__getitem__)) as source:
            for chunk in source.iter_chunks(_LOOK_BYTES):
                end = chunk.offset[-1] + chunk.captured_len[-1]
                factor = _USUAL_COMPRESSION if source.format.compression else 1
                return sum(sizes.values()) * factor * len(chunk.offset) // end
    except (OSError, TcpscopeError):
        pass  # Why: the engine meets it again and says it
    return 0


def _is_installed() -> bool:
    from importlib.util import find_spec

    from tcpscope import extras

    extras.load("site")  # optional libraries may lie where only site looks
    return all(find_spec(name) is not None for name in ("numpy", "numba"))
