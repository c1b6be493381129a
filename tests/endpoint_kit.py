"""A connection on a bench: driven by hand-made segments, calls and a clock, with a ladder into every state."""

from __future__ import annotations

from tcpscope.machine.connection import Connection
from tcpscope.machine.profile import RFC, Profile
from tcpscope.machine.sequence import add
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, FIN, NO_OPTIONS, RST, SYN, Options, Segment
from tcpscope.model.state import State

LOCAL, REMOTE = Endpoint("192.0.2.1", 1000), Endpoint("192.0.2.2", 80)
ISS, IRS = 0xFFFFFF00, 0x7FFFFFF0  # both wrap a sign bit soon
MS, SECOND = 1_000_000, 1_000_000_000
PLAIN = RFC._replace(timestamps=False, sack=False, window_scaling=False)
WND = 8000
MSS_1000 = Options(mss=1000)


class Bench:
    """One connection and what its peer would say. ``got`` feeds a segment and returns what comes out."""

    def __init__(self, profile: Profile = PLAIN, *, remote: Endpoint | None = REMOTE, fast_path: bool = True):
        self.now_ns = 10 * SECOND
        self.connection = Connection(LOCAL, remote, iss=ISS, profile=profile)
        self.tcb = self.connection.tcb
        self.tcb.fast_path = fast_path
        self.tcb.taken = []
        self.seq = IRS  #: the peer's next sequence number
        self.out: list[Segment] = []
        self.first = 0  #: number of the first octet of text, once :func:`loaded`

    @property
    def state(self) -> State:
        return self.connection.state

    @property
    def rows(self) -> list[str]:
        return [row.id for row in self.tcb.taken or []]

    def flush(self) -> list[Segment]:
        """Poll until nothing more comes; ``out`` keeps it too."""
        self.out = []
        while segments := self.connection.poll(self.now_ns):
            self.out += segments
            assert len(self.out) < 500, "the endpoint does not stop"
        return self.out

    def wait(self, ns: int) -> list[Segment]:
        """Let time pass from deadline to deadline; return everything that was sent."""
        end, sent = self.now_ns + ns, []
        while (when := self.connection.next_deadline()) is not None and when <= end:
            self.now_ns = max(self.now_ns, when)
            sent += self.flush()
        self.now_ns = end
        self.out = sent + self.flush()
        return self.out

    def got(
        self, flags: int, *, seq: int | None = None, ack: int | None = None, text: bytes = b"", wnd: int = WND,
        options: Options = NO_OPTIONS, urgent: int = 0,
    ) -> list[Segment]:  # fmt: skip
        """Feed one segment; by default it follows the last one in order and acknowledges everything sent."""
        segment = Segment(
            self.seq if seq is None else seq & 0xFFFFFFFF,
            (self.tcb.snd_nxt if ack is None else ack & 0xFFFFFFFF) if flags & ACK else 0,
            flags, wnd, text, options, urgent,
        )  # fmt: skip
        if seq is None and not flags & RST:
            self.seq = add(self.seq, segment.seg_len)
        self.connection.receive_segment(segment, self.now_ns)
        return self.flush()

    def call(self, name: str, *args: object, **named: object) -> list[Segment]:
        """Make a user call (time is added where it is wanted) and return what comes out."""
        method = getattr(self.connection, name)
        if name in ("open", "shutdown", "close", "abort"):
            args = (self.now_ns, *args)
        method(*args, **named)
        return self.flush()

    # the ladder

    def listen(self) -> Bench:
        self.call("open", active=False)
        assert self.state is State.LISTEN
        return self

    def syn_sent(self) -> Bench:
        self.call("open")
        assert self.state is State.SYN_SENT
        return self

    def syn_received(self, options: Options = NO_OPTIONS) -> Bench:
        self.listen().got(SYN, options=options)
        assert self.state is State.SYN_RECEIVED
        return self

    def syn_received_actively(self) -> Bench:
        self.syn_sent().got(SYN)
        assert self.state is State.SYN_RECEIVED
        return self

    def established(self, options: Options = NO_OPTIONS) -> Bench:
        self.syn_sent().got(SYN | ACK, options=options)
        assert self.state is State.ESTABLISHED
        return self

    def fin_wait_1(self) -> Bench:
        self.established().call("shutdown")
        assert self.state is State.FIN_WAIT_1
        return self

    def fin_wait_2(self) -> Bench:
        self.fin_wait_1().got(ACK)
        assert self.state is State.FIN_WAIT_2
        return self

    def close_wait(self) -> Bench:
        self.established().got(FIN | ACK)
        assert self.state is State.CLOSE_WAIT
        return self

    def closing(self) -> Bench:
        bench = self.fin_wait_1()
        bench.got(FIN | ACK, ack=add(bench.tcb.snd_nxt, -1))
        assert self.state is State.CLOSING
        return self

    def last_ack(self) -> Bench:
        self.close_wait().call("shutdown")
        assert self.state is State.LAST_ACK
        return self

    def time_wait(self) -> Bench:
        self.fin_wait_2().got(FIN | ACK)
        assert self.state is State.TIME_WAIT
        return self

    def to(self, state: State) -> Bench:
        """Climb to ``state`` by its natural road."""
        return self if state is State.CLOSED else getattr(self, state.name.lower())()


def loaded(options: Options = MSS_1000, profile=PLAIN, segments: int = 10) -> Bench:
    """A sender with ``segments`` full segments in flight."""
    bench = Bench(profile).syn_sent()
    bench.now_ns += 100 * MS
    bench.got(SYN | ACK, options=options)
    bench.got(ACK, wnd=65535)
    sent = bench.call("send", bytes(range(256)) * 250)[:segments]
    bench.now_ns += 100 * MS
    assert [len(segment.payload) for segment in sent] == [1000] * segments
    bench.first = sent[0].seq
    return bench


def sack(bench: Bench, ack: int, *ranges: tuple[int, int]) -> list[int]:
    """Acknowledge with SACK blocks; offsets are from the first octet. Return the offsets of what is sent."""
    blocks = tuple((add(bench.first, left), add(bench.first, right)) for left, right in ranges)
    sent = bench.got(ACK, ack=add(bench.first, ack), wnd=65535, options=Options(sack=blocks))
    return [(segment.seq - bench.first) & 0xFFFFFFFF for segment in sent]
