"""The engines of the tracker side by side, for tests that hold them equal."""

import struct

from tcpscope.capture import open_capture
from tcpscope.packets import layout
from tcpscope.packets.headers import FRAGMENT, ICMP_TOO_BIG, SEGMENT, read_frame, read_syn_options
from tcpscope.packets.interpreted import InterpretedEngine
from tcpscope.packets.pure import PureEngine
from tcpscope.packets.rows import Sight
from tcpscope.wire import link
from tcpscope.wire.fragments import Reassembler


def iter_sights(path):
    """Decode a capture packet by packet, the plain way, without copies."""
    fragments, copied = Reassembler(), find_copied_in(path)
    with open_capture(path) as source:
        for packet in source.iter_packets():
            data = packet.data
            if packet.number in copied:
                continue
            what, version, ip, tcp, end = read_frame(data, 0, len(data), packet.original_len, packet.link_type)
            if what == FRAGMENT:
                whole = fragments.take(data, 0, len(data), packet.original_len, packet.link_type, packet.t_ns)
                if whole is None:
                    continue
                data = whole.data
                what, version, ip, tcp, end = read_frame(data, 0, len(data), whole.original_len, link.RAW)
            if not SEGMENT <= what <= ICMP_TOO_BIG:
                continue
            source_at, size = (ip + 12, 4) if version == 4 else (ip + 8, 16)
            src, dst = data[source_at : source_at + size], data[source_at + size : source_at + 2 * size]
            sport, dport = struct.unpack_from(">HH", data, tcp)
            if what != SEGMENT:
                yield Sight(packet.number, packet.t_ns, src, dst, sport, dport, 0, 0, 0, 0, 0, kind=what - SEGMENT)
                continue
            seq, ack, offset, flags, wnd = struct.unpack_from(">IIBBH", data, tcp + 4)
            options = read_syn_options(data, tcp, len(data)) if flags & 2 else 0
            text = max(end - tcp - (offset >> 4) * 4, 0)
            wscale = (options & 0xFF) - 1
            yield Sight(packet.number, packet.t_ns, src, dst, sport, dport, seq, ack, flags, wnd, text, wscale)


def find_copied_in(path):
    """Return the numbers of the packets that the interpreted engine takes for copies."""
    copied = []
    engine = InterpretedEngine(copied=copied)
    with open_capture(path) as source:
        for chunk in source.iter_chunks():
            engine.take(chunk)
    return set(copied)


def run_pure(path):
    engine = PureEngine()
    for sight in iter_sights(path):
        engine.see(sight)
    return engine


def run_interpreted(path):
    engine = InterpretedEngine()
    with open_capture(path) as source:
        for chunk in source.iter_chunks():
            engine.take(chunk)
    return engine.finish()


def run_compiled(path):
    from tcpscope.packets.compiled import CompiledEngine

    engine = CompiledEngine()
    with open_capture(path) as source:
        for chunk in source.iter_chunks():
            engine.take(chunk)
    return engine.finish()


def everything(ledger):
    """All rows of all connections and all transitions, comparable between engines and parts."""
    flows = []
    for serial in range(len(ledger)):
        f, q, extra, key = ledger.flow(serial)
        for half in (0, layout.HALF_WORDS):
            f[half + layout.PENDING_1] = f[half + layout.PENDING_2] = 0
        f[layout.SYN_ROW] = 0
        f[layout.EXTRA] = bool(f[layout.EXTRA])
        moves = [row[1:] for row in ledger.rows_of(serial)]
        flows.append((f[layout.FIRST_PACKET], f[layout.INCARNATION], key, f, q, extra, moves))
    return sorted(flows), ledger.packets, ledger.skipped, ledger.first_ns, ledger.last_ns


def rows_of_pure(path):
    return sorted(run_pure(path).rows())


def rows_of_interpreted(path):
    return sorted(run_interpreted(path).rows())
