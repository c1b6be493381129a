"""One segment as a line, as tcpdump prints it, with the state of each end behind its address.

``14:12:45.104687 IP 127.0.0.1.39870 (SYN_SENT) > 127.0.0.1.9502 (LISTEN): Flags [S], seq 1, win 512, length 0``.
A state that the segment changed is written with the one before it: ``SYN_SENT→ESTABLISHED``. The steps of the
handshake and of the close are counted at the end of the line: ``(handshake 1 of 3)``, ``(close 2 and 3 of 4)``.
"""

from __future__ import annotations

from tcpscope.model.captured import CapturedSegment
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.model.segment import ACK, FIN, RST, SYN, Options, spell_flags
from tcpscope.model.spelling import DIALECTS, IDENTIFIERS
from tcpscope.model.state import State

if TYPE_CHECKING:
    from tcpscope.model.address import Endpoint

_MASK = 0xFFFF_FFFF
#: Directions whose first number is remembered; the oldest half goes when there are more.
_MOST_STARTS = 65_536
_SYN_STEPS: dict[tuple[bool, State | None], str] = {
    (False, State.SYN_SENT): "handshake 1 of 3",
    (True, State.SYN_RECEIVED): "handshake 2 of 3",
}
_CLOSED_FIRST = (State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING)


class LineStyle:
    """Spells segments; remembers where each direction began, for relative numbers, as tcpdump does."""

    def __init__(self, names: str = "netstat", *, absolute: bool = False) -> None:
        self._names = names
        self._absolute = absolute
        self._starts: dict[tuple[Endpoint, Endpoint], int] = {}

    def line(self, seen: CapturedSegment) -> str:
        """Return the line of one segment."""
        family = "IP6" if seen.source.is_ipv6 else "IP"
        step = spell_step(seen)
        line = f"{spell_clock(seen.t_ns)} {family} {self._ends(seen)}: {self.numbers(seen)}"
        return f"{line} ({step})" if step else line

    def numbers(self, seen: CapturedSegment) -> str:
        """Return flags, numbers, options and length of one segment."""
        segment, text = seen.segment, seen.text_bytes
        seq, ack = self.relative(seen)
        parts = [f"Flags [{spell_flags(segment.flags)}]"]
        if text or segment.flags & (SYN | FIN | RST):
            parts.append(f"seq {seq}:{(seq + text) & _MASK}" if text else f"seq {seq}")
        if segment.flags & ACK:
            parts.append(f"ack {ack}")
        parts.append(f"win {segment.wnd}")
        options = spell_options(segment.options)
        if options:
            parts.append(f"options [{options}]")
        parts.append(f"length {text}")
        parts += seen.problems
        return ", ".join(parts)

    def relative(self, seen: CapturedSegment) -> tuple[int, int]:
        """Return sequence and acknowledgment number counted from where each direction began."""
        segment, way = seen.segment, (seen.source, seen.destination)
        if segment.flags & SYN:
            if len(self._starts) > _MOST_STARTS:
                for old in [*self._starts][: _MOST_STARTS // 2]:
                    del self._starts[old]
            self._starts[way] = segment.seq
        if self._absolute or segment.flags & SYN:
            return segment.seq, segment.ack
        start = self._starts.setdefault(way, segment.seq)
        back = self._starts.setdefault(way[::-1], segment.ack) if segment.flags & ACK else 0
        return (segment.seq - start) & _MASK, (segment.ack - back) & _MASK

    def _ends(self, seen: CapturedSegment) -> str:
        source = self._end(seen.source, seen.source_before, seen.source_state)
        return f"{source} > {self._end(seen.destination, seen.destination_before, seen.destination_state)}"

    def _end(self, end: Endpoint, before: State | None, after: State | None) -> str:
        where = f"{end.address}.{end.port}"
        if after is None:
            return where
        spelled = DIALECTS[self._names]
        moved = "" if before is None or before == after else f"{spelled[before]}→"
        return f"{where} ({moved}{spelled[after]})"


def spell_step(seen: CapturedSegment) -> str:
    """Count the step of the handshake or of the close that a segment is, or return an empty string."""
    flags = seen.segment.flags
    sender = (seen.source_before, seen.source_state)
    receiver = (seen.destination_before, seen.destination_state)
    if flags & RST:
        return ""
    if flags & SYN:
        return _SYN_STEPS.get((bool(flags & ACK), seen.source_state), "")
    if receiver == (State.SYN_RECEIVED, State.ESTABLISHED):
        return "handshake 3 of 3"
    numbers = [
        number
        for number, is_step in (
            ("1", sender[1] in _CLOSED_FIRST and sender[0] == State.ESTABLISHED and flags & FIN),
            ("2", receiver[0] == State.FIN_WAIT_1 and receiver[1] in (State.FIN_WAIT_2, State.TIME_WAIT)),
            ("3", sender[0] in (State.CLOSE_WAIT, State.ESTABLISHED) and sender[1] == State.LAST_ACK),
            ("4", receiver == (State.LAST_ACK, State.CLOSED)),
        )
        if is_step
    ]
    return f"close {' and '.join(numbers)} of 4" if numbers else ""


def spell_clock(t_ns: int) -> str:
    """Spell a time of day, local, to the microsecond, as tcpdump does."""
    import time

    seconds, rest = divmod(t_ns, 1_000_000_000)
    try:
        clock = time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):  # Why: a damaged capture may hold any number
        clock = "??:??:??"
    return f"{clock}.{rest // 1000:06d}"


def spell_options(options: Options) -> str:
    """Spell TCP options as tcpdump does, without padding."""
    parts = []
    if options.mss is not None:
        parts.append(f"mss {options.mss}")
    if options.sack_permitted:
        parts.append("sackOK")
    if options.timestamp is not None:
        parts.append("TS val {} ecr {}".format(*options.timestamp))
    if options.window_scale is not None:
        parts.append(f"wscale {options.window_scale}")
    if options.sack:
        parts.append(f"sack {len(options.sack)} " + "".join(f"{{{left}:{right}}}" for left, right in options.sack))
    if options.user_timeout_ms is not None:
        parts.append(f"uto {options.user_timeout_ms // 1000} s")
    if options.fast_open_cookie is not None:
        parts.append(f"tfo {options.fast_open_cookie.hex() or 'cookiereq'}")
    return ",".join(parts)


def segment_object(seen: CapturedSegment) -> dict[str, object]:
    """Return one segment as JSON: absolute numbers, states by their RFC names."""
    segment, options = seen.segment, seen.segment.options
    return {
        "t_ns": seen.t_ns,
        "packet": seen.number,
        "source": seen.source._asdict(),
        "destination": seen.destination._asdict(),
        "flags": spell_flags(segment.flags),
        "seq": segment.seq,
        "ack": segment.ack if segment.flags & ACK else None,
        "win": segment.wnd,
        "bytes": seen.text_bytes,
        "options": spell_options(options),
        "source_state": _name(seen.source_state),
        "destination_state": _name(seen.destination_state),
        "source_before": _name(seen.source_before),
        "destination_before": _name(seen.destination_before),
        "problems": list(seen.problems),
    }


def _name(state: State | None) -> str | None:
    return None if state is None else IDENTIFIERS[state]
