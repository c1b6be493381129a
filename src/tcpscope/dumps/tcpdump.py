"""What tcpdump printed, as the capture it was made from: headers and lengths of its TCP lines, without any content.

``[TIME] [INTERFACE In|Out] IP HOST.PORT > HOST.PORT: Flags [S.], seq 9, ack 8, win 512, options [..], length 0``, with
``-v`` on two lines (the IP header first), with ``-e`` behind the link's addresses; ``-q`` tells too little.

What tcpdump leaves out is put back: sequence numbers after the handshake are printed relative to it (without ``-S``),
and a segment without text is printed without its sequence number. Times are those printed, or one microsecond apart
(``-t``); a time of day is taken as one of 1970-01-01. Names of hosts become addresses of 192.0.2.0/24 (RFC 5737).
A line that looks like a packet and is cut is counted, never dropped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from itertools import accumulate, pairwise

from tcpscope.dumps.addresses import AddressReader
from tcpscope.model.record import NamedTuple
from tcpscope.model.segment import ACK, NO_OPTIONS, RST, SYN, Options, Segment, spell_flags

_LINE = re.compile(
    r"(?P<before>.*?)(?<!\S)(?P<source>[^\s>]+)\.(?P<sport>[\w-]+) > (?P<target>[^\s>]+)\.(?P<dport>[\w-]+): "
    r"Flags \[(?P<flags>[A-Z.]+|none)\](?P<rest>.*)"
)
_TIME = re.compile(r"(?:(\d{4})-(\d\d)-(\d\d) )?(\d\d):(\d\d):(\d\d)\.(\d{1,9})|(\d{9,11})\.(\d{1,9})")
_NUMBERS = re.compile(r"\b(seq|ack|win|urg|length) (\d{1,10})(?::(\d{1,10}))?")
_OPTIONS = re.compile(r"\b(?:mss (\d{1,5})|(sackOK)|wscale (\d{1,2})|TS val (\d{1,10}) ecr (\d{1,10}))")
_MARK = ": Flags ["
_SACK = re.compile(r"\bsack (?:sack )?\d+ ((?:\{\d{1,10}:\d{1,10}\})+)")
_BLOCK = re.compile(r"\{(\d+):(\d+)\}")
_FLAGS = {spell_flags(1 << bit): 1 << bit for bit in range(8)}
_WORD = 1 << 32
_NEAR = 1 << 25
Way = tuple[tuple[str, int], tuple[str, int]]
_MOST_TEXT_BYTES = 65_000  # tcpdump shows what the host handed to the card at once, up to 64 KiB


class _Line(NamedTuple):
    t_ns: int
    source: tuple[str, int]
    target: tuple[str, int]
    flags: int
    seq: int | None
    ack: int
    wnd: int
    text_bytes: int
    options: Options

    @property
    def way(self) -> Way:
        return self.source, self.target

    @property
    def way_back(self) -> Way:
        return self.target, self.source


class Printed(NamedTuple):
    """One packet: its time, both ends as ``(address, port)``, the header, and how many octets of text it had."""

    t_ns: int
    source: tuple[str, int]
    target: tuple[str, int]
    segment: Segment
    text_bytes: int


class TcpdumpReader:
    """Reads lines, and counts those it cannot read."""

    def __init__(self) -> None:
        self.unread = 0  #: lines that look like packets and are cut, or not understood
        self.samples: list[str] = []
        self.hosts: dict[str, str] = {"localhost": "127.0.0.1", "ip6-localhost": "::1"}
        self._names = AddressReader()
        self._lines: list[_Line] = []
        self._untimed: list[_Line] = []
        self._header = ""  #: the line of the IP header, which -v prints before that of the segment

    def read(self, line: str) -> None:
        """Take one line of any text."""
        found = _LINE.match(line) if _MARK in line else None
        if found is None:
            self._header = line if "(tos 0x" in line else ""
            return
        time = _TIME.search(found["before"]) or _TIME.search(self._header)
        self._header = ""
        numbers = {name: (int(first), int(last or first)) for name, first, last in _NUMBERS.findall(found["rest"])}
        source = self._end(found["source"], found["sport"])
        target = self._end(found["target"], found["dport"])
        flags = 0 if found["flags"] == "none" else sum(_FLAGS.get(letter, 256) for letter in found["flags"])
        is_whole = {"length", "win"} <= numbers.keys() and flags < 256 and max(numbers.values())[0] < _WORD
        if not is_whole or source is None or target is None or (":" in source[0]) != (":" in target[0]):
            self.unread += 1
            self.samples += [found[0].strip()[:120]] if len(self.samples) < 5 else []
            return
        whole = _Line(
            _t_ns(time) if time else 1000 * len(self._untimed),
            source,
            target,
            flags,
            numbers["seq"][0] if "seq" in numbers else None,
            numbers["ack"][0] if "ack" in numbers else 0,
            numbers["win"][0] & 0xFFFF,
            min(numbers["length"][0], _MOST_TEXT_BYTES),
            _options(found["rest"]),
        )
        (self._lines if time else self._untimed).append(whole)

    def packets(self) -> list[Printed]:
        """Return what was read in the order of time. Lines without a time count only when none has one.

        Why: beside lines with times they are quotations.
        """
        lines = sorted(_without_deltas(self._lines or self._untimed), key=lambda line: line.t_ns)
        numbers = _Numbers(_are_absolute(lines))
        return [Printed(line.t_ns, line.source, line.target, numbers.restore(line), line.text_bytes) for line in lines]

    def _end(self, host: str, port: str) -> tuple[str, int] | None:
        found = self._names.read(f"0.0.0.0:{port}")
        if found is None:
            return None
        try:
            return str(ip_address(host)), found.port
        except ValueError:
            return self.hosts.setdefault(host, f"192.0.2.{len(self.hosts) % 250 + 1}"), found.port


def _without_deltas(lines: list[_Line]) -> list[_Line]:
    """Return lines with times since the first where they tell the time since the one before (``-ttt``)."""
    is_ordered = all(one.t_ns <= two.t_ns for one, two in pairwise(lines))
    if is_ordered or lines[0].t_ns:
        return lines
    times = accumulate(line.t_ns for line in lines)
    return [line._replace(t_ns=t_ns) for line, t_ns in zip(lines, times, strict=True)]


class _Numbers:
    """What tcpdump knows of each connection, so that what it subtracted can be added again."""

    def __init__(self, are_absolute: bool) -> None:
        self._are_absolute = are_absolute
        #: (source, target) -> the number printed as 0, and the next one not seen yet
        self._first: dict[Way, int] = {}
        self._next: dict[Way, int] = {}

    def restore(self, line: _Line) -> Segment:
        """Return the header as it was on the wire."""
        way, back, seq, ack = line.way, line.way_back, line.seq, line.ack
        if _is_first(line, self._first):
            seq = self._next.get(way, 0) if seq is None else seq
            self._first[way], self._first[back] = seq, (ack - 1) % _WORD
        elif line.flags & ACK and not self._are_absolute:  # tcpdump: without an ACK nothing is subtracted
            seq = None if seq is None else (seq + self._first[way]) % _WORD
            ack = (ack + self._first[back]) % _WORD
        if seq is None:
            seq = self._next.get(way, (self._first.get(way, 0) + 1) % _WORD)
        segment = Segment(seq, ack, line.flags, line.wnd, options=self._restore_sack(line))
        if not line.flags & RST:
            self._next[way] = (seq + line.text_bytes + segment.seg_len) % _WORD
        return segment

    def _restore_sack(self, line: _Line) -> Options:
        """Add what was subtracted from the blocks, in the first line too: they lie in what the other end sent."""
        if not line.options.sack or self._are_absolute or not line.flags & ACK:
            return line.options
        first = self._first[line.way_back]
        blocks = tuple(((left + first) % _WORD, (right + first) % _WORD) for left, right in line.options.sack)
        return line.options._replace(sack=blocks)


def _is_first(line: _Line, first: dict[Way, int]) -> bool:
    """Whether tcpdump begins to count with this line, and prints it as it is: the first with an ACK, or a SYN,ACK."""
    return bool(line.flags & ACK) and (bool(line.flags & SYN) or line.way not in first)


def _are_absolute(lines: Sequence[_Line]) -> bool:
    """Whether tcpdump ran with ``-S``: most numbers are near the first of their connection, not near 0."""
    first: dict[Way, int] = {}
    votes = 0
    for line in lines:
        if _is_first(line, first):
            first[line.way], first[line.way_back] = line.seq or 0, (line.ack - 1) % _WORD
        elif line.flags & ACK and _NEAR < first[line.way_back] < _WORD - _NEAR:
            votes += 1 if (line.ack - first[line.way_back]) % _WORD < _NEAR else -1
    return votes > 0


def read_tcpdump(lines: Iterable[str]) -> TcpdumpReader:
    """Read all lines of a text."""
    reader = TcpdumpReader()
    for line in lines:
        reader.read(line)
    return reader


def emit_packets(packets: Iterable[Printed]) -> Iterator[tuple[int, bytes, int]]:
    """Yield time, headers and original length of each packet, as a capture of IP packets holds them."""
    from tcpscope.wire.emit import emit_ip_header, emit_tcp_header

    for packet in packets:
        source, target = ip_address(packet.source[0]).packed, ip_address(packet.target[0]).packed
        tcp = emit_tcp_header(packet.segment, source, target, packet.source[1], packet.target[1])
        headers = emit_ip_header(source, target, len(tcp) + packet.text_bytes) + tcp
        yield packet.t_ns, headers, len(headers) + packet.text_bytes


def _t_ns(time: re.Match[str]) -> int:
    year, month, day, hour, minute, second, fraction, epoch_s, epoch_fraction = time.groups()
    digits = (fraction or epoch_fraction).ljust(9, "0")
    if epoch_s:
        return int(epoch_s) * 10**9 + int(digits)
    from calendar import timegm

    date = (int(year), int(month), int(day)) if year else (1970, 1, 1)
    try:
        return timegm((*date, int(hour), int(minute), int(second), 0, 0, 0)) * 10**9 + int(digits)
    except ValueError:
        return int(digits)


def _options(text: str) -> Options:
    options, text = NO_OPTIONS, text.partition("options [")[2].partition("]")[0]
    if found := _SACK.search(text):
        blocks = _BLOCK.findall(found[1])
        options = options._replace(sack=tuple((int(left) % _WORD, int(right) % _WORD) for left, right in blocks))
    for mss, sack, scale, value, echo in _OPTIONS.findall(text):
        if mss:
            options = options._replace(mss=min(int(mss), 0xFFFF))
        elif sack:
            options = options._replace(sack_permitted=True)
        elif scale:
            options = options._replace(window_scale=min(int(scale), 14))
        else:
            options = options._replace(timestamp=(int(value) % _WORD, int(echo) % _WORD))
    return options
