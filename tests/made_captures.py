"""Captures made up for tests: frames by hand, plausible and implausible random conversations, as pcap bytes."""

import io
import random
import struct

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SCALE_7 = b"\x03\x03\x07\x01"
A, B = (10, 0, 0, 1), (10, 0, 0, 2)
T0 = 1_700_000_000 * 10**9
MSS_1460 = b"\x02\x04\x05\xb4"


def frame(src, dst, sport, dport, seq, ack, flags, wnd=65535, text=0, options=b"", captured_text=None):
    """Ethernet, IPv4, TCP; ``text`` octets of payload, of which ``captured_text`` are captured."""
    header_bytes = 20 + len(options)
    payload = bytes(text if captured_text is None else captured_text)
    tcp = struct.pack(
        ">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, header_bytes // 4 << 4, flags, wnd, 0, 0
    )
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + header_bytes + text, 0, 0x4000, 64, 6, 0, bytes(src), bytes(dst))
    return bytes(12) + b"\x08\x00" + ip + tcp + options + payload


def icmp_frame(src, dst, kind, code, quoted):
    """An ICMP error that quotes the first 28 octets of the IP packet in ``quoted``."""
    body = bytes([kind, code]) + bytes(6) + quoted[14:42]
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 1, 0, bytes(src), bytes(dst))
    return bytes(12) + b"\x08\x00" + ip + body


def pcap(frames, link_type=1, snaplen=262144):
    """``frames`` are ``(t_ns, bytes)``; nanosecond pcap of this machine's byte order."""
    out = io.BytesIO()
    out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snaplen, link_type))
    for t_ns, data in frames:
        out.write(struct.pack("<IIII", t_ns // 10**9, t_ns % 10**9, min(len(data), snaplen), len(data)))
        out.write(data[:snaplen])
    return out.getvalue()


class Talk:
    """A conversation written down segment by segment; ``a`` is the client, ``b`` the server."""

    def __init__(self, port=1000, server_port=80, client=A, start=T0):
        self.frames, self.t = [], start
        self.ends = {"a": [client, port, 100], "b": [B, server_port, 900]}

    def say(self, end, flags, text=0, after_ms=1, seq=None, ack=None, wnd=4000):
        me, peer = self.ends[end], self.ends["b" if end == "a" else "a"]
        self.t += after_ms * 10**6
        number = me[2] if seq is None else seq
        options = MSS_1460 + SCALE_7 if flags & SYN else b""
        acked = (peer[2] if ack is None else ack) if flags & ACK else 0
        self.frames.append((self.t, frame(me[0], peer[0], me[1], peer[1], number, acked, flags, wnd, text, options)))
        if seq is None:
            me[2] += text + bool(flags & SYN) + bool(flags & FIN)
        return self

    def shake(self):
        return self.say("a", SYN).say("b", SYN | ACK).say("a", ACK)


class _End:
    def __init__(self, rng, address, port):
        self.address, self.port = address, port
        self.isn = rng.choice([0, 0xFFFFFFFF, 0xFFFFFFF0, rng.randrange(1 << 32)])
        self.nxt = self.isn
        self.heard = None  # highest number received from the peer, plus one


def random_conversation(rng, length, address=1):
    """Segments of one flow that are sometimes sensible: ``(end, seq, ack, flags, wnd, text, options)``."""
    is_self = rng.random() < 0.05
    a = _End(rng, (10, 0, 0, address), 1000)
    b = a if is_self else _End(rng, (10, 0, 0, address + 1), 80)
    roads = [
        ["aS", "bSA", "aA", "aD", "bA", "bD", "aA", "aF", "bA", "bF", "aA"],
        ["aS", "bSA", "aA", "aF", "bF", "aA", "bA"],
        ["aS", "bS", "aSA", "bSA", "aD", "bD", "aF", "bFA", "aA"],
        ["aS", "bR"],
        ["aS", "bSA", "aA", "aD", "bR"],
        ["aS", "aS", "bSA", "bSA", "aA", "bSA", "aA", "bD", "bF", "bF", "aA", "bF", "aA", "aF", "aF", "bA", "aF", "bA"],
        ["bSA", "aS", "aA", "aD"],
        ["aD", "bA", "bF", "aF", "bA"],
        ["aF", "bA"],
        [],
    ]
    road = list(rng.choice(roads))
    for _ in range(length):
        if road and rng.random() < 0.85:
            step = road.pop(0)
            end, kind = (a if step[0] == "a" else b), step[1:]
        else:
            end, kind = rng.choice([a, b]), rng.choice(["S", "SA", "A", "D", "F", "FA", "R", "RA", "X", "N"])
            if rng.random() < 0.1 and kind == "S":
                end.isn = end.nxt = rng.randrange(1 << 32)
        peer = b if end is a else a
        seq = end.isn if "S" in kind else end.nxt
        ack = peer.nxt if peer.nxt != peer.isn else peer.isn
        text = rng.choice([0, 1, 100, 1460]) if kind in ("D", "X") else 0
        if rng.random() < 0.2:
            seq += rng.choice([-1, 1, -100, 100, 1000, -1460, 1460, 70000, -70000, 1 << 31, rng.randrange(1 << 32)])
        if rng.random() < 0.2:
            ack += rng.choice([-1, 1, 100, -100, 5000, 1 << 31, rng.randrange(1 << 32)])
        flags = {"S": SYN, "SA": SYN | ACK, "A": ACK, "D": ACK | PSH, "F": FIN | ACK, "FA": FIN | ACK, "R": RST,
                 "RA": RST | ACK, "X": rng.randrange(256), "N": 0}[kind]  # fmt: skip
        if rng.random() < 0.02:
            flags ^= ACK
        options = rng.choice([b"", SCALE_7, MSS_1460 + SCALE_7]) if flags & SYN else b""
        wnd = rng.choice([65535, 65535, 65535, 500, 0, 1])
        yield end, peer, seq, ack, flags, wnd, text, options
        new = seq + text + bool(flags & SYN) + bool(flags & FIN)
        if rng.random() < 0.97 and (new - end.nxt) & 0xFFFFFFFF < 100000:
            end.nxt = new & 0xFFFFFFFF


def fragment_frame(data, size, identification):
    """Cut an Ethernet frame with IPv4 into fragments of ``size`` octets (a multiple of 8)."""
    header, payload = data[14:34], data[34:]
    for start in range(0, len(payload), size):
        piece = payload[start : start + size]
        word = start // 8 | (0x2000 if start + size < len(payload) else 0)
        head = header[:2] + struct.pack(">HHH", 20 + len(piece), identification, word) + header[8:]
        yield data[:14] + head + piece


def random_fragments(rng, data, identification):
    """Fragments of a frame as networks deliver them, and worse: reordered, lost, twice, overlapping, tiny."""
    pieces = list(fragment_frame(data, rng.choice([8, 16, 24, 80, 512]), identification))
    chance = rng.random()
    if chance < 0.4:
        rng.shuffle(pieces)
    if chance < 0.2:
        pieces.insert(rng.randrange(len(pieces) + 1), rng.choice(pieces))
    elif chance < 0.25:
        pieces.remove(rng.choice(pieces))
    elif chance < 0.3:
        pieces.insert(rng.randrange(len(pieces) + 1), rng.choice(list(fragment_frame(data, 32, identification))))
    return pieces


def random_capture(seed, flows=4, length=18):
    """Frames of several random conversations, mixed, with pauses, repeats, swaps and ICMP errors."""
    rng, cutter = random.Random(seed), random.Random(~seed)
    frames = []
    t_ns = 1_700_000_000 * 10**9
    talks = [random_conversation(rng, rng.randrange(1, length), 1 + 2 * n) for n in range(flows)]
    while talks:
        talk = rng.choice(talks)
        item = next(talk, None)
        if item is None:
            talks.remove(talk)
            continue
        end, peer, seq, ack, flags, wnd, text, options = item
        t_ns += rng.choice([1_000, 50_000, 1_000_000, 200_000_000]) if rng.random() < 0.98 else 300 * 10**9
        if rng.random() < 0.01:
            t_ns -= 10**9
        data = frame(end.address, peer.address, end.port, peer.port, seq, ack, flags, wnd, text, options)
        if cutter.random() < 0.08:
            pieces = random_fragments(cutter, data, cutter.randrange(8))
            frames += [(t_ns + place, piece) for place, piece in enumerate(pieces)]
            continue
        frames.append((t_ns, data))
        if rng.random() < 0.03:
            frames.append((t_ns + 10, data))
        if rng.random() < 0.03:
            kind, code = rng.choice([(3, 1), (3, 3), (3, 4), (11, 0)])
            frames.append((t_ns + 20, icmp_frame((10, 9, 9, 9), end.address, kind, code, data)))
        if rng.random() < 0.05 and len(frames) > 1:
            (t1, d1), (t2, d2) = frames[-2:]
            frames[-2:] = [(t1, d2), (t2, d1)]
    return frames
