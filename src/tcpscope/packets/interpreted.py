"""The engine of the base install: packets of one capture through :mod:`tcpscope.packets.step`, run by CPython.

It adds what is not judgement: the way from bytes to numbers (a short one for the frame nearly every packet is, the
view for the rest) and the book of open flows.
"""

from __future__ import annotations

from struct import Struct

from tcpscope.capture.packets import Chunk
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.model.state import State
from tcpscope.packets import layout, step
from tcpscope.packets.copies import Recent, find_original, is_copy, is_nothing_new, last_of, note_copy
from tcpscope.packets.counting import needs_extra
from tcpscope.packets.flood import fold_lists
from tcpscope.packets.handshake import answers_pending_syn, inherit, opens_another
from tcpscope.packets.headers import CUT, FRAGMENT, NOT_TCP, SEGMENT, read_frame, read_syn_options
from tcpscope.packets.ledger import Ledger, canonical, reverse
from tcpscope.packets.routine import is_routine
from tcpscope.wire import link
from tcpscope.wire.fragments import Reassembler

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


#: Ethernet, IPv4 without options, TCP: ethertype and IHL, total length, fragment, protocol; seq to window.
_USUAL = Struct(">12x3sxH2xHxB14xIIBBH")
_USUAL_START = b"\x08\x00\x45"
_TCP = Struct(">4xIIBBH")
#: From so many flows on (0.2 GB) unanswered SYNs are folded, when they are most of them.
FOLD_FLOWS = 1 << 17
_GROW = bytes(8 * layout.LOG_WORDS * 4096)


class InterpretedEngine:
    """Takes chunks, fills a :class:`~tcpscope.packets.ledger.Ledger`."""

    name = "python"

    def __init__(self, only: Collection[bytes] | None = None, copied: list[int] | None = None) -> None:
        """``only``: follow these flows alone (addresses and ports, the lower end first).

        ``copied`` gets the numbers of the packets that are copies of others.
        """
        self._copied = copied
        self.ledger = Ledger()
        self._only = None if only is None else {*only, *map(reverse, only)}
        self._known: dict[bytes, tuple[int, int]] = {}  # addresses and ports in packet order -> flow, end
        self._segment = [0] * layout.SEG_WORDS
        self._fragments = Reassembler()
        self._most_flows = FOLD_FLOWS
        self._recent = Recent()
        self._chunk = Chunk(bytearray(), 0, 0, (), (), (), (), (), ())

    def take(self, chunk: Chunk) -> None:
        """Take in every packet of a chunk."""
        data = bytes(chunk.data)
        ledger, known, flows, quads = self.ledger, self._known, self.ledger.flows, self.ledger.quads
        unpack, usual_start, take_in_routine, only = _USUAL.unpack_from, _USUAL_START, is_routine, self._only
        self._chunk = chunk._replace(data=data)  # type: ignore[arg-type]  # Why: bytes are faster to read
        number = chunk.first_packet - 1
        for start, captured, original, t, link_type in zip(
            chunk.offset, chunk.captured_len, chunk.original_len, chunk.t_ns, chunk.link_type, strict=True
        ):
            number += 1
            if link_type == 1 and captured >= 54:
                shape, total, fragment, protocol, seq, ack, offset, flags, wnd = unpack(data, start)
                if shape == usual_start and protocol == 6 and not fragment & 0x3FFF and total >= 40:
                    key = data[start + 26 : start + 38]
                    text = total - 20 - (offset >> 4) * 4
                    found = known.get(key)
                    if found is not None and flags & 0xD7 == 0x10 and text >= 0:
                        serial, end = found
                        if take_in_routine(
                            flows[serial], quads[serial], end, t, seq, ack, flags, wnd, text, total - text
                        ):
                            continue
                    elif found is None and only is not None and key not in only:
                        continue
                    options = read_syn_options(data, start + 34, start + captured) if flags & 2 else 0
                    place = 4, start + 14, start + 34, start + 14 + total
                    self._see(key, number, t, seq, ack, flags, wnd, text if text > 0 else 0, options, place)
                    continue
            self._see_unusual(data, start, captured, original, link_type, number, t)
        self._recent.note(data, last_of(chunk))
        ledger.packets += len(chunk.offset)
        if len(chunk.offset):
            ledger.widen(min(chunk.t_ns), max(chunk.t_ns))

    def _see_unusual(
        self, data: bytes, start: int, captured: int, original: int, link_type: int, number: int, t: int,
        is_whole: bool = True,
    ) -> None:  # fmt: skip
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
        text = max(end - tcp - (offset >> 4) * 4, 0)
        self._see(key, number, t, seq, ack, flags, wnd, text, options, (version, ip, tcp, end), is_whole)

    def _take_fragment(
        self, data: bytes, start: int, captured: int, original: int, link_type: int, number: int, t: int
    ) -> None:
        """Hold a fragment; go on with the datagram that it completes, under its number."""
        whole = self._fragments.take(data, start, captured, original, link_type, t)
        if whole is not None:
            self.ledger.skip(FRAGMENT, -whole.fragments)
            self._see_unusual(whole.data, 0, len(whole.data), whole.original_len, link.RAW, number, t, False)

    def _see_icmp(self, key: bytes, number: int, t: int, kind: int) -> None:
        found = self._known.get(key)
        if found is None:
            self.ledger.mentioned.add(canonical(key))
            return
        serial, end = found
        self._make_room()
        g = self._segment
        g[layout.SEG_NUMBER], g[layout.SEG_NS], g[layout.SEG_SERIAL] = number, t, serial
        f = self.ledger.flows[serial]
        step.see_icmp(f, self._reserve(f), self.ledger.log, g, end, kind)

    def _see(
        self, key: bytes, number: int, t: int, seq: int, ack: int, flags: int, wnd: int, text: int, options: int,
        place: tuple[int, int, int, int], is_whole: bool = True,
    ) -> None:  # fmt: skip
        """Take in a segment. ``place``: its IP version, where its headers and its end are, in the chunk if whole."""
        ledger, g = self.ledger, self._segment
        found, is_new = self._known.get(key), 1
        g[:] = number, t, seq, ack, flags, wnd, text, (options & 0xFF) - 1, options >> 8, 0, place[3] - place[1] - text
        self._make_room()
        if found is None:
            if self._only is not None and key not in self._only:
                return
            if len(ledger) >= self._most_flows:
                self.keep(fold_lists(ledger))
                self._most_flows = max(FOLD_FLOWS, 2 * len(ledger))
            found = self._open(key, -1)
        else:
            f = ledger.flows[found[0]]
            is_new = opens_another(f, ledger.quads[found[0]], ledger.extras[f[layout.EXTRA]], g, found[1])
            if is_new:
                found = self._open(key, found[0])
        serial, end = found
        g[layout.SEG_SERIAL] = serial
        f, q = ledger.flows[serial], ledger.quads[serial]
        if not f[layout.EXTRA] and needs_extra(f, q, g, end):
            self._reserve(f)
        if f[layout.EXTRA] and not is_new and is_whole and self._is_copy(found, number, place):
            return
        step.observe(f, q, ledger.extras[f[layout.EXTRA]], ledger.log, g, end)

    def _is_copy(self, found: tuple[int, int], number: int, place: tuple[int, int, int, int]) -> bool:
        """Count the segment at hand when it is a copy; say whether it is."""
        serial, end = found
        chunk, recent, ledger, g = self._chunk, self._recent, self.ledger, self._segment
        f, q = ledger.flows[serial], ledger.quads[serial]
        if not is_nothing_new(f, q, g, end):
            return False
        original = find_original(
            chunk.data, *chunk[3:7], chunk.link_type, chunk.interface, number - chunk.first_packet, *place,
            recent.octets, recent.facts,
        )  # fmt: skip
        extra = ledger.extras[f[layout.EXTRA]]
        if not is_copy(f, q, extra, g, end, original):
            return False
        note_copy(extra, end, original)
        if self._copied is not None:
            self._copied.append(number)
        return True

    def _make_room(self) -> None:
        """Give the log room for what one packet may add."""
        log = self.ledger.log
        if (log[layout.LOG_NEXT] + layout.ROOM_ROWS) * layout.LOG_WORDS > len(log):
            log.frombytes(_GROW)

    def _reserve(self, f: list[int]) -> list[int]:
        """Give a flow its row for trouble, if it has none; return that."""
        extras: list[list[int]] = self.ledger.extras
        if not f[layout.EXTRA]:
            f[layout.EXTRA] = len(extras)
            extras.append([0] * layout.EXTRA_WORDS)
        return extras[f[layout.EXTRA]]

    def _open(self, key: bytes, previous: int) -> tuple[int, int]:
        """Start a connection, perhaps as the next incarnation of ``previous``; return its serial and the sender."""
        ledger = self.ledger
        half = (len(key) - 4) // 2
        source, target = key[:half] + key[-4:-2], key[half:-4] + key[-2:]
        end = 0 if source <= target else 1
        serial = len(ledger.flows)
        f, q = [0] * layout.FLOW_WORDS, [0] * layout.FLOW_QUADS
        shared = (layout.SELF if source == target else 0) | (layout.IS_IPV6 if half == 16 else 0)
        incarnation = ledger.flows[previous][layout.INCARNATION] + 1 if previous >= 0 else 0
        step.start_flow(f, q, self._segment, shared, incarnation)
        ledger.flows.append(f)
        ledger.quads.append(q)
        back = reverse(key)
        ledger.keys.append(back if end else key)
        self._known[key] = (serial, end)
        if source != target:
            self._known[back] = (serial, 1 - end)
        if previous >= 0 and self._segment[layout.SEG_FLAGS] & layout.SYN:
            self._reincarnate(previous, serial, end)
        return serial, end

    def _reincarnate(self, previous: int, serial: int, end: int) -> None:
        """Carry over what the last incarnation leaves: TIME-WAIT at the end that will answer, a SYN that waited."""
        ledger, g = self.ledger, self._segment
        old, new = ledger.flows[previous], ledger.flows[serial]
        has_ack = g[layout.SEG_FLAGS] & layout.ACK
        syn_end = 1 - end if has_ack else end
        inherit(old, new, layout.HALF_WORDS - syn_end * layout.HALF_WORDS)
        old_extra = ledger.extras[old[layout.EXTRA]]
        if has_ack and answers_pending_syn(old, old_extra, g, syn_end * layout.HALF_WORDS):
            waited = [0] * layout.SEG_WORDS
            waited[layout.SEG_SERIAL] = serial
            extra, q = self._reserve(new), ledger.quads[serial]
            step.begin_with_pending_syn(new, q, extra, old_extra, ledger.log, waited, syn_end)

    def states_of(self, key: bytes) -> tuple[int, State, State] | None:
        """Return ``(serial, sender's state, receiver's state)`` for addresses and ports in packet order."""
        found = self._known.get(key)
        if found is None:
            return None
        serial, end = found
        f = self.ledger.flows[serial]
        other = end if f[layout.SHARED] & layout.SELF else 1 - end
        return (
            serial,
            State(f[end * layout.HALF_WORDS + layout.STATE]),
            State(f[other * layout.HALF_WORDS + layout.STATE]),
        )

    def keep(self, serials: Sequence[int]) -> None:
        """Forget all connections but these and count anew from 0 in this order."""
        self.ledger.keep(serials)
        known = self._known
        known.clear()
        for serial, key in enumerate(self.ledger.keys):
            known[reverse(key)] = (serial, 1)
            known[key] = (serial, 0)

    def forget_mentions(self) -> None:
        """Forget what only joining captures needs: flows known from ICMP errors and fragments alone."""
        self.ledger.mentioned.clear()
        self._fragments.first.clear()

    def finish(self) -> Ledger:
        """Return the ledger, cut to size."""
        ledger = self.ledger
        ledger.note_fragmented(self._fragments.first)
        del ledger.log[ledger.log[layout.LOG_NEXT] * layout.LOG_WORDS :]
        return ledger
