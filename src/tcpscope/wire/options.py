"""TCP options: bytes to :class:`~tcpscope.model.segment.Options` and back (RFC 9293 §3.1, 7323, 2018, 5482, 7413).

What is malformed is reported, never raised: a length of 0 or 1, a length past the header, a known option of the wrong
length. What stands before it is kept, as every stack does.
"""

from __future__ import annotations

from struct import Struct

from tcpscope.machine.layout import LINUX_LAYOUT, Layout
from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.model.segment import NO_OPTIONS, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Buffer = bytes | bytearray | memoryview

END, NOP, MSS, WINDOW_SCALE, SACK_PERMITTED, SACK, TIMESTAMP = 0, 1, 2, 3, 4, 5, 8
MD5, USER_TIMEOUT, AUTHENTICATION, MULTIPATH, FAST_OPEN, EXPERIMENT_1, EXPERIMENT_2 = 19, 28, 29, 30, 34, 253, 254
MAX_OPTION_BYTES = 40
MAX_WINDOW_SCALE = 14
_FAST_OPEN_EXPERIMENT = b"\xf9\x89"  # the shared experimental kind that TCP Fast Open used before it had its own
_PAIR = Struct(">II")
_SHORT = Struct(">H")
_TIMESTAMP_ALONE = b"\x01\x01\x08\x0a"
_WORD_STARTS = (0,)
_LENGTHS = {MSS: 4, WINDOW_SCALE: 3, SACK_PERMITTED: 2, TIMESTAMP: 10, USER_TIMEOUT: 4}


class Problem(NamedTuple):
    """One thing that is wrong in a header, ``offset_bytes`` into it."""

    offset_bytes: int
    what: str


def iter_options(raw: Buffer, problems: list[Problem]) -> Iterator[tuple[int, int, bytes]]:
    """Yield ``(offset, kind, value)`` of every option, NOP included; append what is wrong to ``problems``."""
    at, end = 0, len(raw)
    while at < end:
        kind = raw[at]
        if kind == END:
            return
        if kind == NOP:
            yield at, NOP, b""
            at += 1
            continue
        length = raw[at + 1] if at + 1 < end else 0
        if length < 2:
            what = f"has length {length}" if at + 1 < end else "is cut before its length"
            problems.append(Problem(at, f"option {kind} {what}"))
            return
        if at + length > end:
            problems.append(Problem(at, f"option {kind} of length {length} reaches past the header"))
            return
        yield at, kind, bytes(raw[at + 2 : at + length])
        at += length


def parse_options(raw: Buffer) -> tuple[Options, tuple[Problem, ...]]:
    """Read all options; of one that stands there twice the last counts."""
    if not raw:
        return NO_OPTIONS, ()
    problems: list[Problem] = []
    found: dict[str, object] = {}
    for at, kind, value in iter_options(raw, problems):
        if kind != NOP:
            problem = _read_option(kind, value, found)
            if problem:
                problems.append(Problem(at, problem))
    return Options(**found) if found else NO_OPTIONS, tuple(problems)  # type: ignore[arg-type]  # built by name


def _read_option(kind: int, value: bytes, found: dict[str, object]) -> str:
    """Put one option's meaning into ``found``; return what is wrong with it, or an empty string."""
    length = len(value) + 2
    if _LENGTHS.get(kind, length) != length:
        return f"option {kind} has length {length} instead of {_LENGTHS[kind]}"
    if kind == MSS:
        found["mss"] = _SHORT.unpack(value)[0]
    elif kind == WINDOW_SCALE:
        found["window_scale"] = min(value[0], MAX_WINDOW_SCALE)  # RFC 7323 §2.3: above 14, use 14 and log
        if value[0] > MAX_WINDOW_SCALE:
            return f"window scale {value[0]} is above {MAX_WINDOW_SCALE}"
    elif kind == SACK_PERMITTED:
        found["sack_permitted"] = True
    elif kind == TIMESTAMP:
        found["timestamp"] = _PAIR.unpack(value)
    elif kind == USER_TIMEOUT:
        found["user_timeout_ms"] = _user_timeout_ms(_SHORT.unpack(value)[0])
    else:
        return _read_variable_option(kind, value, found)
    return ""


def _read_variable_option(kind: int, value: bytes, found: dict[str, object]) -> str:
    if kind == SACK:
        if not value or len(value) % 8:
            return f"option {kind} has length {len(value) + 2}, no whole number of blocks"
        found["sack"] = tuple(_PAIR.iter_unpack(value))
    elif kind == FAST_OPEN:
        found["fast_open_cookie"] = value
        if value and (len(value) % 2 or not 4 <= len(value) <= 16):
            return f"a Fast Open cookie of {len(value)} octets"
    elif kind in (EXPERIMENT_1, EXPERIMENT_2) and value[:2] == _FAST_OPEN_EXPERIMENT:
        found["fast_open_cookie"] = value[2:]
    return ""


def _user_timeout_ms(word: int) -> int:
    """RFC 5482 §3: the highest bit says minutes."""
    return (word & 0x7FFF) * (60_000 if word & 0x8000 else 1000)


def emit_options(options: Options, layout: Layout = LINUX_LAYOUT) -> bytes:
    """Write options in the order and alignment of ``layout``, padded to a multiple of four.

    Raises ``ValueError`` when they do not fit into 40 octets or a value does not fit into its field.
    """
    if options is NO_OPTIONS:
        return b""
    stamp = options.timestamp
    try:
        if stamp is not None and options == (None, None, False, (), stamp, None, None):
            return _TIMESTAMP_ALONE + _PAIR.pack(*stamp)  # RFC 7323 appendix A: every system does
        raw = _emit_in_order(options, layout)
    except Exception as error:
        raise ValueError(f"an option does not fit into its field: {error}") from None
    missing = -len(raw) % 4
    raw += bytes(missing) if layout.is_ended else b"\x01" * missing
    if len(raw) > MAX_OPTION_BYTES:
        raise ValueError(f"options of {len(raw)} octets: a header has room for {MAX_OPTION_BYTES}")
    return bytes(raw)


def _emit_in_order(options: Options, layout: Layout) -> bytearray:
    raw = bytearray()
    fills = layout.sack_fills_padding and options.timestamp is not None
    for name, starts in layout.order:
        value = getattr(options, name)
        if value is None or value is False or value == ():
            continue
        while len(raw) % 4 not in (_WORD_STARTS if fills and name == "sack_permitted" else starts):
            raw.append(NOP)
        raw += _EMITTERS[name](value)
    return raw


_EMITTERS: dict[str, Callable[[Any], bytes]] = {
    "mss": lambda mss: b"\x02\x04" + _SHORT.pack(mss),
    "window_scale": lambda shift: b"\x03\x03" + bytes((shift,)),
    "sack_permitted": lambda _: b"\x04\x02",
    "sack": lambda blocks: bytes((SACK, 2 + 8 * len(blocks))) + b"".join(_PAIR.pack(*block) for block in blocks),
    "timestamp": lambda stamp: b"\x08\x0a" + _PAIR.pack(*stamp),
    "user_timeout_ms": lambda ms: b"\x1c\x04" + _SHORT.pack(_user_timeout_word(ms)),
    "fast_open_cookie": lambda cookie: bytes((FAST_OPEN, 2 + len(cookie))) + cookie,
}


def _user_timeout_word(milliseconds: int) -> int:
    seconds = -(-milliseconds // 1000)
    return seconds if seconds <= 0x7FFF else 0x8000 | -(-seconds // 60)
