"""The same hand-made segments and calls to Linux's TCP over a TUN device and to our host with the ``linux`` profile.

``python -m tests.two_peers SCRIPT`` in a network namespace of its own (``unshare -n``) prints one JSON object: what
the script saw of ``kernel`` and of ``ours``. Scripts are the functions named ``script_...``; they wait for conditions,
never for times.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.tun_wire import KERNEL, OURS, PATIENCE_S, TunWire, set_sysctl

from tcpscope.machine.calls import CallError
from tcpscope.machine.connection import Connection
from tcpscope.machine.listener import Listener, Settings
from tcpscope.machine.profile import LINUX
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, FIN, NO_OPTIONS, PSH, RST, SYN, Options, Segment, spell_flags
from tcpscope.model.state import State
from tcpscope.stack.host import Host, Interface
from tcpscope.wire import emit
from tcpscope.wire.address import parse_address
from tcpscope.wire.checksum import checksum
from tcpscope.wire.parse import parse_ip, parse_tcp

FULL = Options(1460, 7, True, timestamp=(900, 0))
SERVICE, CLOSED_PORT = 7000, 9
IRS = 1000
MASK = 0xFFFFFFFF
_ERRORS = {errno.EPIPE: "broken pipe", errno.ECONNRESET: "connection reset", 0: ""}


class Peer(Protocol):
    """A TCP that listens on ``SERVICE`` and is talked to from chosen ports."""

    def exchange(self, packets: list[bytes], port: int) -> list[Segment]: ...
    def listen(self, backlog: int, **settings: int) -> None: ...
    def accept(self) -> bool: ...
    def call(self, name: str, text: bytes = b"") -> None: ...
    def error(self) -> str: ...
    def state(self, port: int) -> str: ...


class KernelPeer:
    """Linux."""

    def __init__(self) -> None:
        self.wire = TunWire()
        self.listener: socket.socket | None = None
        self.accepted: socket.socket | None = None
        self.marks = 0

    def exchange(self, packets: list[bytes], port: int) -> list[Segment]:
        """Give packets; return what came back for ``port``, each answer once.

        Why the mark: a segment for a closed port is reset, and its reset comes after all earlier answers.
        """
        self.marks += 1
        mark = 0x5EA1_0000 + self.marks
        for packet in packets:
            os.write(self.wire.device, packet)
        self.wire.send(Segment(1, mark, ACK), 1, CLOSED_PORT)
        found: dict[tuple[int, int, int], Segment] = {}
        while (taken := self.wire.take()) is not None:
            _, to, segment = taken
            if to == 1 and segment.flags & RST and segment.seq == mark:
                return list(found.values())
            if to == port:
                found.setdefault((segment.flags, segment.seq, segment.ack), segment)
        raise TimeoutError("the kernel did not answer")

    def listen(self, backlog: int, **settings: int) -> None:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if "defer_s" in settings:
            self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, settings["defer_s"])
        self.listener.bind((KERNEL, SERVICE))
        self.listener.listen(backlog)
        self.listener.setblocking(False)

    def accept(self) -> bool:
        assert self.listener is not None
        try:
            self.accepted, _ = self.listener.accept()
        except BlockingIOError:
            return False
        return True

    def call(self, name: str, text: bytes = b"") -> None:
        assert self.accepted is not None
        if name == "send":
            self.accepted.send(text)
        elif name == "shutdown":
            self.accepted.shutdown(socket.SHUT_WR)
        else:
            if name == "abort":
                self.accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.accepted.close()

    def error(self) -> str:
        assert self.accepted is not None
        return _ERRORS[self.accepted.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]

    def state(self, port: int) -> str:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        found = [int(row[3], 16) for row in rows if int(row[2].partition(":")[2], 16) == port]
        return State(found[0]).name if found else "CLOSED"


class OurPeer:
    """Our host at the kernel's address."""

    def __init__(self) -> None:
        self.host = Host([Interface(KERNEL)], secret=b"ours", profile=LINUX)
        self.listener: Listener | None = None
        self.accepted: Connection | None = None
        self.now_ns = 10**15

    def exchange(self, packets: list[bytes], port: int) -> list[Segment]:
        for packet in packets:
            self.host.receive_packet(packet, self.now_ns)
        headers = [parse_tcp(parse_ip(packet).payload) for packet in self.host.poll(self.now_ns)]
        found = {(one.segment.flags, one.segment.seq, one.segment.ack): one for one in headers}
        return [one.segment for one in found.values() if one.destination_port == port]

    def listen(self, backlog: int, **settings: int) -> None:
        made = Settings(backlog=backlog, cookies="never", defer_accept_ns=settings.get("defer_s", 0) * 10**9)
        self.host.listeners.clear()
        self.listener = self.host.open_passive(Endpoint(KERNEL, SERVICE), settings=made)

    def accept(self) -> bool:
        assert self.listener is not None
        self.accepted = self.listener.accept()
        return self.accepted is not None

    def call(self, name: str, text: bytes = b"") -> None:
        assert self.accepted is not None
        if name == "send":
            self.accepted.send(text)
        else:
            getattr(self.accepted, name)(self.now_ns)

    def error(self) -> str:
        assert self.accepted is not None
        return self.accepted.error

    def state(self, port: int) -> str:
        ends = Endpoint(KERNEL, SERVICE), Endpoint(OURS, port)
        if ends in self.host.time_waits:
            return "TIME_WAIT"
        incomplete = self.listener.incomplete if self.listener is not None else {}
        found = self.host.connections.get(ends) or incomplete.get(ends[1])
        return found.state.name if found is not None else "CLOSED"


class Talk:
    """One client's side of a conversation, by hand."""

    def __init__(self, peer: Peer, port: int, options: Options = FULL) -> None:
        self.peer, self.port, self.options = peer, port, options
        self.iss = self.tsval = 0
        self.sent = 0  # octets, SYN and FIN after IRS
        self.top = 0  # one past the highest number the peer has used

    def give(
        self, flags: int, text: bytes = b"", *, seq: int | None = None, ack: int = 1, wnd: int = 8000
    ) -> list[str]:
        """Send a segment (numbers count from the initial ones); return the answers, spelled."""
        at = self.sent if seq is None else seq
        options = NO_OPTIONS
        if self.options.timestamp is not None:
            options = Options(timestamp=(901, self.tsval if flags & ACK else 0))
        if flags & SYN:
            options = self.options
        segment = Segment((IRS + at) & MASK, (self.iss + ack) & MASK if flags & ACK else 0, flags, wnd, text, options)
        if seq is None:
            self.sent += segment.seg_len
        return self.exchange(segment)

    def exchange(self, *segments: Segment) -> list[str]:
        """Give segments as they are, or none, and spell what comes back."""
        ends = parse_address(OURS), parse_address(KERNEL)
        packets = [emit.emit_packet(segment, *ends, self.port, SERVICE) for segment in segments]
        answers = self.peer.exchange(packets, self.port)
        return [self.spell(answer) for answer in answers if self.is_news(answer, asked=bool(segments))]

    def is_news(self, answer: Segment, *, asked: bool) -> bool:
        """Leave out what a slow machine adds: repetitions, probes, and acknowledgements that nobody asked for now."""
        if answer.flags & SYN:
            self.iss, stamp = answer.seq, answer.options.timestamp
            self.tsval = stamp[0] if stamp is not None else 0
            self.top = (answer.seq + 1) & MASK
            return True
        if answer.flags & RST:
            return True
        ahead = (answer.seq - self.top) & MASK
        if ahead >= 1 << 31 or (not answer.seg_len and not asked):
            return False
        self.top = (answer.seq + answer.seg_len) & MASK
        return True

    def finish(self, wnd: int = 8000) -> None:
        """Send FIN and wait until the peer has acknowledged it, which it may delay."""
        before = self.sent
        answers = self.give(FIN | ACK, wnd=wnd)
        is_acknowledged = f" {before + 1} "
        assert wait_for(lambda: any(is_acknowledged in f"{one} " for one in (*answers, *self.poll())))

    def poll(self) -> list[str]:
        """Spell whatever the peer has sent since."""
        return [self.spell(answer) for answer in self.peer.exchange([], self.port)]

    def spell(self, segment: Segment) -> str:
        """Spell an answer with numbers that count from the initial ones."""
        ack = f" {(segment.ack - IRS) & MASK}" if segment.flags & ACK else ""
        text = f" text {len(segment.payload)}" if segment.payload else ""
        stamped = " TS" if segment.options.timestamp is not None else ""
        return f"{spell_flags(segment.flags)} {(segment.seq - self.iss) & MASK}{ack}{text}{stamped}"

    def connect(self) -> list[str]:
        """Go through the handshake."""
        answers = self.give(SYN)
        return answers + self.give(ACK)

    def icmp(self, kind: int, code: int) -> list[str]:
        """Send an ICMP error about the peer's newest segment."""
        quoted = emit.emit_packet(
            Segment((self.iss + 1) & MASK, IRS, ACK), parse_address(KERNEL), parse_address(OURS), SERVICE, self.port
        )
        body = struct.pack(">BBHI", kind, code, 0, 0) + quoted[:28]
        body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
        packet = emit.emit_ip_header(parse_address(OURS), parse_address(KERNEL), len(body), 1) + body
        return [self.spell(answer) for answer in self.peer.exchange([packet], self.port)]


def wait_for(is_done: Callable[[], bool]) -> bool:
    """Wait until something is so; for ours it is so at once."""
    stop = time.monotonic() + PATIENCE_S
    while not is_done():
        if time.monotonic() > stop:
            return False
        time.sleep(0.01)
    return True


def accepted(peer: Peer, port: int, options: Options = FULL) -> Talk:
    """Return a conversation whose connection was accepted."""
    talk = Talk(peer, port, options)
    talk.connect()
    assert wait_for(peer.accept)
    return talk


# what closing, resets and stray segments do


def script_close_with_unread_text(peer: Peer) -> list[object]:
    peer.listen(8)
    talk = accepted(peer, 100)
    seen: list[object] = [talk.give(ACK | PSH, b"unread")[:0]]
    peer.call("close")
    seen += [talk.exchange(), peer.state(100)]
    later = accepted(peer, 101)
    later.give(ACK | PSH | FIN, b"unread")
    peer.call("close")
    return [*seen, later.exchange(), peer.state(101)]


def script_close_wait_closes_with_queued_text(peer: Peer) -> list[object]:
    peer.listen(8)
    talk = accepted(peer, 100)
    talk.finish(wnd=0)
    peer.call("send", b"queued")
    peer.call("shutdown")
    seen: list[object] = [peer.state(100)]
    return [*seen, talk.give(ACK, wnd=8000), peer.state(100), talk.give(ACK, ack=8), peer.state(100)]


def script_reset_is_called_by_its_name(peer: Peer) -> list[object]:
    peer.listen(8)
    seen: list[object] = []
    for port in (100, 101):
        talk = accepted(peer, port)
        if port == 101:
            talk.finish()
        seen += [peer.state(port), talk.give(RST | ACK), peer.state(port), peer.error()]
    return seen


def script_abort(peer: Peer) -> list[object]:
    peer.listen(8)
    talk = accepted(peer, 100)
    peer.call("abort")
    return [talk.exchange(), peer.state(100)]


def script_syn_again_and_stray_segments(peer: Peer) -> list[object]:
    peer.listen(8)
    talk = Talk(peer, 100)
    seen: list[object] = [talk.give(SYN)[:1], talk.give(SYN, seq=0)[:1], peer.state(100)]
    stray = Talk(peer, 101)
    seen += [stray.exchange(Segment(5, 77, flags)) for flags in (SYN | ACK, ACK, FIN | ACK, RST, RST | ACK, FIN, 0)]
    return seen


def script_challenge_acks(peer: Peer) -> list[object]:
    peer.listen(8)
    seen: list[object] = []
    for port, flags, seq in ((100, SYN, 500), (101, RST, 500), (102, RST, 900_000_000), (103, ACK, 900_000_000)):
        talk = accepted(peer, port)
        seen += [talk.give(flags, seq=seq), peer.state(port)]
    return seen


def script_fin_crosses_fin(peer: Peer) -> list[object]:
    peer.listen(8)
    talk = accepted(peer, 100)
    peer.call("shutdown")
    seen: list[object] = [talk.exchange(), peer.state(100)]
    return [*seen, talk.give(FIN | ACK), peer.state(100), talk.give(ACK, ack=2), peer.state(100)]


def script_time_wait(peer: Peer) -> list[object]:
    peer.listen(8)
    talk = accepted(peer, 100)
    peer.call("close")
    talk.exchange()
    seen: list[object] = [talk.give(ACK, ack=2), peer.state(100), talk.give(FIN | ACK, ack=2), peer.state(100)]
    again = talk.give(FIN | ACK, seq=1, ack=2)
    old = talk.give(SYN, seq=0)
    return [*seen, again, old, peer.state(100), talk.give(RST, seq=2), peer.state(100)]


def script_time_wait_is_reopened(peer: Peer) -> list[object]:
    peer.listen(8)
    talk = accepted(peer, 100)
    peer.call("close")
    talk.exchange()
    talk.give(FIN | ACK, ack=2)
    before = talk.iss
    talk.options = FULL._replace(timestamp=(5000, 0))
    answers = talk.give(SYN, seq=70_000)
    return [[answer[:2] for answer in answers], peer.state(100), 0 < (talk.iss - before) & MASK < 1 << 31]


def script_text_after_close(peer: Peer) -> list[object]:
    peer.listen(8)
    talk = accepted(peer, 100)
    peer.call("close")
    talk.exchange()
    return [talk.give(ACK | PSH, b"late", ack=2), peer.state(100)]


def script_icmp_on_a_synchronized_connection(peer: Peer) -> list[object]:
    peer.listen(8)
    talk = accepted(peer, 100)
    peer.call("send", b"x")
    talk.exchange()
    return [[talk.icmp(3, code)[:0], peer.state(100)] for code in (0, 1, 2, 3, 5)]


# the queues of a listener


def script_backlog(peer: Peer) -> list[object]:
    """So many connections fit, and so many handshakes; a SYN for a full accept queue is dropped."""
    seen: list[object] = []
    for place, backlog in enumerate((0, 1, 4)):
        peer.listen(backlog)
        ports = range(100 + 100 * place, 110 + 100 * place)
        talks = [Talk(peer, port) for port in ports]
        for talk in talks:
            talk.connect()
        states = [peer.state(port) for port in ports]
        count = 0
        while peer.accept():
            count += 1
        seen += [states, count]
        close_listener(peer)
    return seen


def script_handshakes(peer: Peer) -> list[object]:
    seen: list[object] = []
    for place, backlog in enumerate((0, 1, 4)):
        peer.listen(backlog)
        ports = range(100 + 100 * place, 110 + 100 * place)
        answered = [bool(Talk(peer, port).give(SYN)) for port in ports]
        seen += [answered, [peer.state(port) for port in ports]]
        close_listener(peer)
    return seen


def script_last_ack_for_a_full_queue(peer: Peer) -> list[object]:
    peer.listen(0)
    first, second = Talk(peer, 100), Talk(peer, 101)
    first.give(SYN)
    first_again = second.give(SYN)
    seen: list[object] = [bool(first_again)]
    first.give(ACK)
    dropped = second.give(ACK)
    seen += [[answer for answer in dropped if "R" in answer], peer.state(100), peer.state(101)]
    assert wait_for(peer.accept)
    second.give(ACK)
    return [*seen, peer.state(101)]


def script_overflow_is_aborted(peer: Peer) -> list[object]:
    set_sysctl("net.ipv4.tcp_abort_on_overflow", 1)
    if isinstance(peer, OurPeer):
        peer.host.profile = LINUX._replace(aborts_on_overflow=True)
    peer.listen(0)
    first, second = Talk(peer, 100), Talk(peer, 101)
    first.give(SYN)
    second.give(SYN)
    first.give(ACK)
    return [second.give(ACK), peer.state(100), peer.state(101)]


def script_deferred_accept(peer: Peer) -> list[object]:
    """A bare ACK is forgotten, text is not."""
    peer.listen(8, defer_s=100)
    talk = Talk(peer, 100)
    talk.connect()
    seen: list[object] = [peer.accept(), peer.state(100)]
    talk.give(ACK | PSH, b"text")
    return [*seen, wait_for(peer.accept), peer.state(100)]


def script_deferral_ends(peer: Peer) -> list[object]:
    """When the time is over SYN|ACK comes again, and a bare ACK is enough."""
    peer.listen(8, defer_s=1)
    talk = Talk(peer, 100)
    talk.connect()
    if isinstance(peer, OurPeer):
        peer.now_ns += 2 * 10**9
    # Why the state: on a slow machine the first ACK may have come when the time was over.
    assert wait_for(lambda: any("S" in one for one in talk.poll()) or peer.state(100) == "ESTABLISHED")
    talk.give(ACK, seq=1)
    return [wait_for(peer.accept), peer.state(100)]


# bytes


def fix_buffers() -> int:
    """Give the namespace the buffers the profile knows; return what Linux may let the window grow to."""
    set_sysctl("net.ipv4.tcp_rmem", "4096 131072 33554432")
    set_sysctl("net.ipv4.tcp_ecn", 2)
    most = Path("/proc/sys/net/core/rmem_max").read_text(encoding="ascii")
    return max(33554432, int(most))


def show(packet: bytes) -> str:
    """A TCP header and text in hexadecimal."""
    return bytes(parse_ip(packet).payload).hex()


def compare_syn() -> tuple[str, str]:
    """Linux's SYN beside ours with the same ports, initial number and clock."""
    profile = LINUX._replace(scaled_for_bytes=fix_buffers())
    wire = TunWire()
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex((OURS, SERVICE))
    found = wire.read()
    assert found is not None
    header = parse_tcp(found[1].payload)
    stamp = header.segment.options.timestamp
    assert stamp is not None
    here, there = Endpoint(KERNEL, header.source_port), Endpoint(OURS, SERVICE)
    ours = Connection(here, there, iss=header.segment.seq, profile=profile, ts_offset_ms=stamp[0])
    ours.open(0)
    (syn,) = ours.poll(0)
    ends = parse_address(KERNEL), parse_address(OURS)
    return show(found[0]), emit.emit_tcp(syn, *ends, here.port, SERVICE, layout=profile.layout).hex()


def compare_syn_acks() -> tuple[list[str], list[str]]:
    """Linux's SYN|ACK to SYNs with various options beside ours."""
    profile = LINUX._replace(scaled_for_bytes=fix_buffers())
    kernel = KernelPeer()
    kernel.listen(16)
    theirs, ours = [], []
    offers = [
        FULL, FULL._replace(timestamp=None), FULL._replace(sack_permitted=False), FULL._replace(window_scale=None),
        FULL._replace(timestamp=None, sack_permitted=False), Options(mss=1460), Options(mss=536), NO_OPTIONS,
    ]  # fmt: skip
    ends = parse_address(KERNEL), parse_address(OURS)
    for port, offer in enumerate(offers, 100):
        syn = Segment(IRS, 0, SYN, 8000, b"", offer)
        kernel.wire.send(syn, port, SERVICE)
        while (found := kernel.wire.read()) is not None:
            header = parse_tcp(found[1].payload)
            if header.destination_port == port:
                break
        assert found is not None
        theirs.append(show(found[0]))
        stamp = header.segment.options.timestamp or (0, 0)
        here, there = Endpoint(KERNEL, SERVICE), Endpoint(OURS, port)
        made = Connection(here, there, iss=header.segment.seq, profile=profile, ts_offset_ms=stamp[0])
        made.open(0, active=False)
        made.receive_segment(syn, 0)
        (answer,) = made.poll(0)
        ours.append(emit.emit_tcp(answer, *ends, SERVICE, port, layout=profile.layout).hex())
    return theirs, ours


def compare_return_route() -> tuple[list[str], list[str]]:
    """Where Linux and we send the SYN|ACK to a SYN that came by a source route, and what route it carries."""
    kernel, ours = KernelPeer(), OurPeer()
    for interface in ("all", "peer0"):
        set_sysctl(f"net.ipv4.conf.{interface}.accept_source_route", 1)
        set_sysctl(f"net.ipv4.conf.{interface}.rp_filter", 0)
    kernel.listen(8)
    ours.listen(8)
    routers = [parse_address(f"10.9.0.{number}") for number in (50, 60, 70)]
    seen: tuple[list[str], list[str]] = ([], [])
    for count in (1, 2, 3):
        passed = b"".join(routers[:count])
        option = bytes((131, 3 + len(passed), 4 + len(passed))) + passed
        option += bytes(-len(option) % 4)
        ends = parse_address(OURS), parse_address(KERNEL)
        tcp = emit.emit_tcp(Segment(IRS, 0, SYN, 8000, b"", FULL), *ends, 200 + count, SERVICE)
        packet = emit.emit_ipv4_header(*ends, len(tcp), options=option) + tcp
        os.write(kernel.wire.device, packet)
        while (found := kernel.wire.read()) is not None and parse_tcp(found[1].payload).destination_port != 200 + count:
            pass
        assert found is not None
        ours.host.receive_packet(packet, ours.now_ns)
        answers = (found[1], parse_ip(ours.host.poll(ours.now_ns)[0]))
        for texts, answer in zip(seen, answers, strict=True):
            texts.append(f"{answer.destination.hex()} {answer.options.rstrip(bytes(1)).hex()}")
    return seen


COMPARISONS = {"syn": compare_syn, "syn_acks": compare_syn_acks, "return_route": compare_return_route}


def close_listener(peer: Peer) -> None:
    """Stop listening; what was not accepted is reset."""
    if isinstance(peer, KernelPeer) and peer.listener is not None:
        peer.listener.close()
    elif isinstance(peer, OurPeer) and peer.listener is not None:
        peer.listener.close(peer.now_ns)


SCRIPTS = {name.removeprefix("script_"): made for name, made in list(globals().items()) if name.startswith("script_")}


def main(name: str) -> None:
    """Run one script on both."""
    set_sysctl("net.ipv4.tcp_syncookies", 0)
    set_sysctl("net.ipv4.tcp_abort_on_overflow", 0)
    if name in COMPARISONS:
        kernel, ours = COMPARISONS[name]()
    else:
        kernel, ours = SCRIPTS[name](KernelPeer()), SCRIPTS[name](OurPeer())
    print(json.dumps({"kernel": kernel, "ours": ours}))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except CallError as error:
        sys.exit(f"ours refused: {error}")
