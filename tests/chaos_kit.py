"""Random calls, segments and timers against one connection, with the invariants checked after each."""

from __future__ import annotations

from random import Random

from tests.endpoint_kit import IRS, Bench
from tests.transfer_kit import check_invariants

from tcpscope.machine.calls import CallError
from tcpscope.machine.profile import PROFILES
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.model.segment import ACK, RST, Options, Segment
from tcpscope.model.state import State

#: The most segments one input may cause, timers aside: a window of text and its acknowledgement.
MOST_REPLIES = 120
CALLS = ["open", "open", "listen", "send", "send", "send", "receive", "receive", "shutdown", "close", "abort", "status"]
FLAGS = [0x10, 0x10, 0x10, 0x50, 0xD0, 0x18, 0x11, 0x02, 0x12, 0x04, 0x14, 0x01, 0x00, 0x30, 0x29, 0xC2, 0x52, 0xFF]


class Chaos:
    """One connection in the hands of a generator."""

    def __init__(self, random: Random) -> None:
        self.random = random
        profile = random.choice(list(PROFILES.values()))
        profile = profile._replace(
            timestamps=random.random() < 0.5, ignores_rst_in_time_wait=random.random() < 0.5, ecn=random.random() < 0.3,
            mtu_probing=random.choice([0, 1, 2]), congestion=random.choice(["newreno", "cubic"]),
        )  # fmt: skip
        bench = Bench(profile, fast_path=random.random() < 0.5)
        bench.connection.set_buffers(receive_bytes=random.choice([1, 700, 65535, 1 << 20]))
        bench.tcb.taken = None
        bench.to(random.choice(list(State)))
        bench.tcb.ecn = profile.ecn
        self.now_ns = bench.now_ns
        self.connection, self.tcb = bench.connection, bench.tcb
        self.connection.set_keepalive(random.random() < 0.3, idle_ns=10**9, interval_ns=10**9, count=2)
        self.connection.set_segment_sizes(gso_bytes=random.choice([0, 0, 60_000]))
        self.edge: tuple[int, int, int] | None = None
        self.snd_max = (self.tcb.iss, self.tcb.snd_nxt)  #: the end of everything that was ever on the wire

    def step(self) -> None:
        """Do one random thing and check what must hold."""
        was_reset = False
        kind = self.random.random()
        if kind < 0.62:
            segment = self.segment()
            was_reset = bool(segment.flags & RST)
            self.connection.receive_segment(segment, self.now_ns)
        elif kind < 0.82:
            self.call()
        elif kind < 0.97:
            self.let_time_pass()
        else:
            seq = self.random.choice([None, self.tcb.snd_una])
            self.connection.icmp_error(
                self.random.choice([3, 4, 11, 12]), self.random.randrange(6), self.now_ns,
                mtu_bytes=self.random.choice([0, 68, 576, 1300, 9000]), seq=seq,
            )  # fmt: skip
        self.poll(was_reset)

    def segment(self) -> Segment:
        """Make a segment near the connection's numbers, or anywhere."""
        random, tcb = self.random, self.tcb
        near = tcb.rcv_nxt if tcb.irs_known else IRS
        seq = near + random.choice(
            [0, 0, 0, 0, -1, 1, 5, -5, 1000, tcb.rcv_wnd, tcb.rcv_wnd - 1, -70_000, random.getrandbits(32)]
        )
        ack = random.choice([tcb.snd_nxt, tcb.snd_nxt, tcb.snd_una, tcb.snd_una + 1, tcb.snd_nxt + 1, tcb.snd_nxt - 1])
        if random.random() < 0.1:
            ack = random.getrandbits(32)
        text = bytes(random.choice([0, 0, 0, 1, 5, 100, 1460, 70_000]))
        return Segment(
            seq & MASK, ack & MASK, random.choice(FLAGS) if random.random() < 0.8 else random.randrange(256),
            random.choice([0, 1, 100, 8000, 65535]), text, self.options(), random.choice([0, 0, 0, 1, 65535]),
            ip_ecn=random.choice([0, 0, 2, 3]),
        )  # fmt: skip

    def options(self) -> Options:
        """Make odd options."""
        random, tcb = self.random, self.tcb
        sack = tuple(
            ((tcb.snd_una + random.randrange(-5, 5000)) & MASK, (tcb.snd_una + random.randrange(-5, 5000)) & MASK)
            for _ in range(random.choice([0, 0, 0, 1, 3]))
        )
        stamp = None
        if random.random() < 0.7:
            recent = max(tcb.ts_recent, 0)
            stamp = (
                (recent + random.choice([0, 0, 1, -1, 1 << 31])) & MASK,
                random.choice([0, 1, random.getrandbits(32)]),
            )
        return Options(
            random.choice([None, 0, 1, 536, 1460, 65535]), random.choice([None, 0, 3, 14, 255]), random.random() < 0.7,
            sack, stamp,
        )  # fmt: skip

    def call(self) -> None:
        """Make a random user call; refusing is fine, nothing else is."""
        connection, random = self.connection, self.random
        name = random.choice(
            [
                "open",
                "open",
                "listen",
                "send",
                "send",
                "send",
                "receive",
                "receive",
                "shutdown",
                "close",
                "abort",
                "status",
            ]
        )
        try:
            if name == "open":
                connection.open(self.now_ns)
            elif name == "listen":
                connection.open(self.now_ns, active=False)
            elif name == "send":
                connection.send(
                    bytes(random.choice([1, 50, 3000, 100_000])),
                    push=random.random() < 0.7,
                    urgent=random.random() < 0.2,
                )
            elif name == "receive":
                connection.receive(random.choice([1, 1000, 1 << 20]))
            elif name in ("shutdown", "close", "abort"):
                if random.random() < 0.2:
                    getattr(connection, name)(self.now_ns)
            else:
                connection.status()
        except CallError:
            pass

    def let_time_pass(self) -> None:
        """Go to the next deadline, or somewhere before it, or far beyond."""
        when = self.connection.next_deadline()
        if when is None or self.random.random() < 0.3:
            self.now_ns += self.random.choice([1, 10**6, 10**9, 10**12])
            return
        if when > self.now_ns + 1 and self.random.random() < 0.5:
            self.now_ns += (when - self.now_ns) // 2
            assert self.connection.poll(self.now_ns) == [], "nothing was due before the deadline"
        self.now_ns = max(self.now_ns, when)

    def poll(self, was_reset: bool) -> None:
        """Take what comes out and check it."""
        count = 0
        while segments := self.connection.poll(self.now_ns):
            count += len(segments)
            assert count <= MOST_REPLIES, "replies are bounded"
            for segment in segments:
                self.check(segment)
                assert not (was_reset and segment.flags & RST), "a reset is never answered by a reset"
        after = self.connection.next_deadline()
        assert after is None or after > self.now_ns, "after polling nothing is due"
        check_invariants(self.tcb)
        self.check_sending()
        if self.tcb.state in (State.TIME_WAIT, State.LISTEN, State.CLOSED):
            self.edge = None  # the next incarnation may use the same numbers

    def check_sending(self) -> None:
        """SND.UNA <= SND.NXT <= SND.MAX: here the last two are one, for a timeout never takes SND.NXT back."""
        tcb, (iss, snd_max) = self.tcb, self.snd_max
        if iss != tcb.iss or tcb.state in (State.CLOSED, State.LISTEN, State.TIME_WAIT):
            self.snd_max = (tcb.iss, tcb.snd_nxt)
            return
        assert (tcb.snd_nxt - tcb.snd_una) & MASK <= (snd_max - tcb.snd_una) & MASK < HALF, "SND.NXT beyond SND.MAX"
        assert tcb.snd_nxt == snd_max, "what was sent is on the way, acknowledged or waits to be sent again"

    def check(self, segment: Segment) -> None:
        """The right edge that was told to the peer never moves left (SHLD-14)."""
        end = (segment.seq + segment.seg_len) & MASK
        if segment.seg_len and 0 < (end - self.snd_max[1]) & MASK < HALF:
            self.snd_max = (self.snd_max[0], end)
        if not segment.flags & ACK or segment.flags & RST:
            return
        scale = 0 if segment.flags & 2 else self.tcb.rcv_wscale
        edge = (segment.ack + (segment.wnd << scale)) & MASK
        incarnation = (self.tcb.irs, self.tcb.iss)
        if self.edge is not None and self.edge[:2] == incarnation:
            # Linux, FreeBSD: SYN|ACK tells of an edge that the scaled field of an ACK before ESTABLISHED cannot name
            is_blurred = not self.tcb.profile.first_edge_is_exact and self.tcb.state is State.SYN_RECEIVED
            blur = (1 << self.tcb.rcv_wscale) - 1 if is_blurred else 0
            assert (edge + blur - self.edge[2]) & MASK < HALF, "the receive edge moved left"
        self.edge = (*incarnation, edge)
