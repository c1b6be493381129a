"""The engines of the tracker side by side, for tests that hold them equal."""

import struct

from tcpscope.capture import open_capture
from tcpscope.packets.headers import ICMP_TOO_BIG, SEGMENT, read_frame, read_syn_options
from tcpscope.packets.interpreted import InterpretedEngine
from tcpscope.packets.pure import PureEngine
from tcpscope.packets.rows import Sight


def iter_sights(path):
    """Decode a capture packet by packet, the plain way."""
    with open_capture(path) as source:
        for packet in source.iter_packets():
            data = packet.data
            what, version, ip, tcp, end = read_frame(data, 0, len(data), packet.original_len, packet.link_type)
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


def rows_of_pure(path):
    return sorted(run_pure(path).rows())


def rows_of_interpreted(path):
    return sorted(run_interpreted(path).rows())
