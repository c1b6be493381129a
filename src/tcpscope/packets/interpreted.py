"""The engine of the base install: packets of one capture through :mod:`tcpscope.packets.step`, run by CPython.

It adds what is not judgement: the way from bytes to numbers (a short one for the frame nearly every packet is, the
view for the rest) and the book of open flows.
"""

from __future__ import annotations

from struct import Struct

from tcpscope.machine.compiled import AFTER
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.model.state import State
from tcpscope.packets import step
from tcpscope.packets.headers import CUT, FRAGMENT, NOT_TCP, SEGMENT, read_frame, read_syn_options
from tcpscope.packets.ledger import Ledger, canonical
from tcpscope.wire import link
from tcpscope.wire.fragments import Reassembler

if TYPE_CHECKING:
    from collections.abc import Collection

    from tcpscope.capture import Chunk

_GROW = 4096
#: Ethernet, IPv4 without options, TCP: ethertype and IHL, total length, fragment, protocol; seq to window.
_USUAL = Struct(">12x3sxH2xHxB14xIIBBH")
_USUAL_START = b"\x08\x00\x45"
_TCP = Struct(">4xIIBBH")
_M = step.M
_NUMBERS = step.HAS_NXT | step.HAS_RCV | step.HAS_ACKED
_TROUBLE = step.HAS_FIN | step.HAS_OOO
_PEER = _NUMBERS | _TROUBLE
_SENT_TEXT = _NUMBERS | 1 << (step.LETTERS_SHIFT + step.L_DATA)
_SENT_ACK = _NUMBERS | 1 << (step.LETTERS_SHIFT + step.L_ACK)


class InterpretedEngine:
    """Takes chunks, fills a :class:`~tcpscope.packets.ledger.Ledger`."""

    name = "python"

    def __init__(self, only: Collection[bytes] | None = None) -> None:
        """``only``: follow these flows alone (addresses and ports, the lower end first)."""
        self.ledger = Ledger()
        self._only = only
        self._known: dict[bytes, tuple[int, int]] = {}  # addresses and ports in packet order -> flow, end
        self._counters = [0, 1]
        self._fragments = Reassembler()

    def take(self, chunk: Chunk) -> None:
        """Take in every packet of a chunk."""
        data = bytes(chunk.data)
        ledger, known, flows, quads = self.ledger, self._known, self.ledger.flows, self.ledger.quads
        unpack, usual_start = _USUAL.unpack_from, _USUAL_START
        number = chunk.first_packet
        for start, captured, original, t, link_type in zip(
            chunk.offset, chunk.captured_len, chunk.original_len, chunk.t_ns, chunk.link_type, strict=True
        ):
            if link_type == 1 and captured >= 54:
                shape, total, fragment, protocol, seq, ack, offset, flags, wnd = unpack(data, start)
                if shape == usual_start and protocol == 6 and not fragment & 0x3FFF and total:
                    key = data[start + 26 : start + 38]
                    text = total - 20 - (offset >> 4) * 4
                    found = known.get(key)
                    if found is not None and flags & 0xD7 == 0x10 and text >= 0:
                        serial, end = found
                        if _is_routine(flows[serial], quads[serial], end, t, seq, ack, flags, wnd, text):
                            number += 1
                            continue
                    options = read_syn_options(data, start + 34, start + captured) if flags & 2 else 0
                    self._see(key, number, t, seq, ack, flags, wnd, text if text > 0 else 0, options)
                    number += 1
                    continue
            self._see_unusual(data, start, captured, original, link_type, number, t)
            number += 1
        ledger.packets += len(chunk.offset)
        if len(chunk.offset):
            ledger.widen(min(chunk.t_ns), max(chunk.t_ns))

    def _see_unusual(
        self, data: bytes, start: int, captured: int, original: int, link_type: int, number: int, t: int
    ) -> None:
        what, version, ip, tcp, end = read_frame(data, start, captured, original, link_type)
        if what in (NOT_TCP, FRAGMENT, CUT):
            self.ledger.skip(what)
            if what == FRAGMENT:
                self._take_fragment(data, start, captured, original, link_type, number, t)
            return
        addresses = data[ip + 12 : ip + 20] if version == 4 else data[ip + 8 : ip + 40]
        key = addresses + data[tcp : tcp + 4]
        if what != SEGMENT:
            self._see_icmp(key, number, t, what - SEGMENT)
            return
        seq, ack, offset, flags, wnd = _TCP.unpack_from(data, tcp)
        options = read_syn_options(data, tcp, start + captured) if flags & 2 else 0
        self._see(key, number, t, seq, ack, flags, wnd, max(end - tcp - (offset >> 4) * 4, 0), options)

    def _take_fragment(
        self, data: bytes, start: int, captured: int, original: int, link_type: int, number: int, t: int
    ) -> None:
        """Hold a fragment; go on with the datagram that it completes, under its number."""
        whole = self._fragments.take(data, start, captured, original, link_type, t)
        if whole is not None:
            self.ledger.skip(FRAGMENT, -whole.fragments)
            self._see_unusual(whole.data, 0, len(whole.data), whole.original_len, link.RAW, number, t)

    def _see_icmp(self, key: bytes, number: int, t: int, kind: int) -> None:
        found = self._known.get(key)
        if found is None:
            self.ledger.mentioned.add(canonical(key))
            return
        serial, end = found
        self._reserve(serial)
        f = self.ledger.flows[serial]
        extra = self.ledger.extras[f[step.EXTRA]]
        step.see_icmp(f, extra, self.ledger.log, self._counters, AFTER, serial, end, number, t, kind)

    def _see(
        self, key: bytes, number: int, t: int, seq: int, ack: int, flags: int, wnd: int, text: int, options: int
    ) -> None:
        ledger = self.ledger
        found = self._known.get(key)
        wscale, mss = (options & 0xFF) - 1, options >> 8
        if found is None:
            if self._only is not None and canonical(key) not in self._only:
                return
            found = self._open(key, number, t, -1, flags, ack)
        else:
            f = ledger.flows[found[0]]
            extra = ledger.extras[f[step.EXTRA]]
            if step.opens_another(f, ledger.quads[found[0]], extra, found[1], t, seq, ack, flags):
                found = self._open(key, number, t, found[0], flags, ack)
        serial, end = found
        f, q = ledger.flows[serial], ledger.quads[serial]
        if not f[step.EXTRA] and step.needs_extra(f, q, end, seq, ack, flags, wnd, text):
            self._reserve(serial)
        if self._counters[0] * step.LOG_WORDS + 8 * step.LOG_WORDS > len(ledger.log):
            ledger.log.frombytes(bytes(8 * step.LOG_WORDS * _GROW))
        step.observe(
            f, q, ledger.extras[f[step.EXTRA]], ledger.log, self._counters, AFTER, serial, end, number, t, seq, ack,
            flags, wnd, text, wscale, mss,
        )  # fmt: skip

    def _reserve(self, serial: int) -> None:
        """Give a flow its row for trouble, and the log room."""
        if self._counters[0] * step.LOG_WORDS + 8 * step.LOG_WORDS > len(self.ledger.log):
            self.ledger.log.frombytes(bytes(8 * step.LOG_WORDS * _GROW))
        f = self.ledger.flows[serial]
        if not f[step.EXTRA]:
            f[step.EXTRA] = len(self.ledger.extras)
            self.ledger.extras.append([0] * step.EXTRA_WORDS)

    def _open(self, key: bytes, number: int, t: int, previous: int, flags: int, ack: int) -> tuple[int, int]:
        ledger = self.ledger
        half = (len(key) - 4) // 2
        source, target = key[:half] + key[-4:-2], key[half:-4] + key[-2:]
        end = 0 if source <= target else 1
        serial = len(ledger.flows)
        f, q = [0] * step.FLOW_WORDS, [0] * step.FLOW_QUADS
        shared = (step.SELF if source == target else 0) | (step.IS_IPV6 if half == 16 else 0)
        incarnation = 0
        if previous >= 0:
            incarnation = ledger.flows[previous][step.INCARNATION] + 1
        step.start_flow(f, q, number, t, shared, incarnation)
        ledger.flows.append(f)
        ledger.quads.append(q)
        ledger.keys.append(key if end == 0 else key[half:-4] + key[:half] + key[-2:] + key[-4:-2])
        self._known[key] = (serial, end)
        if source != target:
            self._known[key[half:-4] + key[:half] + key[-2:] + key[-4:-2]] = (serial, 1 - end)
        if previous >= 0 and flags & step.SYN:
            self._reincarnate(previous, serial, end, flags, ack)
        return serial, end

    def _reincarnate(self, previous: int, serial: int, end: int, flags: int, ack: int) -> None:
        """Carry over what the last incarnation leaves: TIME-WAIT at the end that will answer, a SYN that waited."""
        ledger = self.ledger
        old, new = ledger.flows[previous], ledger.flows[serial]
        syn_end = 1 - end if flags & step.ACK else end
        answerer = step.HALF_WORDS - syn_end * step.HALF_WORDS
        if old[answerer + step.STATE] == step.S_TIME_WAIT:
            new[answerer + step.STATE] = step.S_TIME_WAIT
            step.set_opened(new, answerer, step.REOPENED)
        waits = step.PENDING_SYN_1 if syn_end else step.PENDING_SYN_0
        x = ledger.extras[old[step.EXTRA]]
        is_answer = flags & step.ACK and old[step.SHARED] & waits and not old[step.SHARED] & step.SELF
        if not is_answer or (x[step.PENDING_SYN_SEQ] + 1 - ack) & step.M:
            return
        t = x[step.PENDING_SYN_HIGH] << 31 | x[step.PENDING_SYN_LOW]
        number = x[step.PENDING_SYN_PACKET]
        ledger.quads[serial][step.FIRST_NS] = t
        new[step.FIRST_PACKET] = number
        self._reserve(serial)
        step.track(
            new, ledger.quads[serial], ledger.extras[new[step.EXTRA]], ledger.log, self._counters, AFTER, serial,
            syn_end, number, t, x[step.PENDING_SYN_SEQ], 0, step.SYN, 0, 0, x[step.PENDING_SYN_SCALE],
        )  # fmt: skip

    def states_of(self, key: bytes) -> tuple[int, State, State] | None:
        """Return ``(serial, sender's state, receiver's state)`` for addresses and ports in packet order."""
        found = self._known.get(key)
        if found is None:
            return None
        serial, end = found
        f = self.ledger.flows[serial]
        other = end if f[step.SHARED] & step.SELF else 1 - end
        return serial, State(f[end * step.HALF_WORDS + step.STATE]), State(f[other * step.HALF_WORDS + step.STATE])

    def finish(self) -> Ledger:
        """Return the ledger, cut to size."""
        ledger = self.ledger
        ledger.note_fragmented(self._fragments.first)
        del ledger.log[self._counters[0] * step.LOG_WORDS :]
        return ledger


def _is_routine(
    f: list[int], q: list[int], end: int, t: int, seq: int, ack: int, flags: int, wnd: int, text: int
) -> bool:
    """Take in the segment nearly every segment is, and say whether it was one.

    In order, both ends ESTABLISHED and proved to be, no hole, no FIN, a new ACK or new text, inside the window:
    exactly what :func:`~tcpscope.packets.step.observe` would do with it, a test says so.
    """
    s, r = (17, 0) if end else (0, 17)
    if f[s] != 1 or f[r] != 1 or f[s + 10] or f[r + 10] or f[34] & 4 or not wnd:
        return False
    bits, peer_bits = f[s + 1], f[r + 1]
    wanted = _SENT_TEXT if text else _SENT_ACK
    if bits & _TROUBLE or bits & wanted != wanted or peer_bits & _PEER != 14:
        return False
    news, end_seq = ack - f[s + 5], seq + text
    if f[s + 3] != seq or f[r + 4] != seq or news < 0 or ack > f[r + 3] or ack > f[s + 4] or end_seq > _M:
        return False
    if not news and not text and f[s + 16] & 0xFFFF == wnd:
        return False
    if peer_bits & 16 and f[r + 6] <= end_seq:
        return False
    if bits & 64 and peer_bits & 64:
        edge = ack + (wnd << (bits >> 12 & 15)) if bits & 512 and peer_bits & 512 else ack + wnd
        if edge > _M:
            return False
        if not bits & 16 or 0 <= edge - f[s + 6] < 0x80000000:
            f[s + 6] = edge
            bits |= 16
    if text:
        if not bits & 256:
            f[s + 14] = end_seq
            f[s + 15] = (t - q[0]) // 1000 & 0x7FFFFFFF
            bits |= 256
        f[s + 3] = f[r + 4] = end_seq
        q[3 + end] += text
    if peer_bits & 256 and (ack - f[r + 14]) & _M < 0x80000000:
        f[r + 1] = peer_bits & ~256
        rtt_us = ((t - q[0]) // 1000 - f[r + 15]) & 0x7FFFFFFF
        if not f[r + 13] or rtt_us < f[r + 13]:
            f[r + 13] = rtt_us or 1
    f[s + 1], f[s + 5] = bits, ack
    f[s + 12] += 1
    f[s + 16] = f[s + 16] & ~0xFFFF | wnd
    q[1 + end] = t
    return True
