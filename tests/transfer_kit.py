"""Two connections over a bad network: what one sends must be what the other reads, whatever the links do."""

from __future__ import annotations

from random import Random

from tcpscope.machine.congestion import ALGORITHMS
from tcpscope.machine.connection import Connection
from tcpscope.machine.profile import PROFILES, Profile
from tcpscope.machine.tcb import Tcb
from tcpscope.model.address import Endpoint
from tcpscope.model.state import State
from tcpscope.stack.network import Link, Network

A, B = Endpoint("192.0.2.1", 1000), Endpoint("192.0.2.2", 80)
MS, SECOND = 1_000_000, 1_000_000_000


def check_invariants(tcb: Tcb) -> None:
    """What must hold after every step, whatever came in."""
    flight = (tcb.snd_nxt - tcb.snd_una) & 0xFFFFFFFF
    assert flight < 1 << 31, "SND.UNA <= SND.NXT"
    assert tcb.rcv_wnd < 1 << 31, "RCV.NXT is not beyond the right edge"
    if tcb.state not in (State.TIME_WAIT, State.CLOSED, State.LISTEN):
        at = tcb.snd_una
        for sent in tcb.flight:
            assert sent.seq == at, "the flight has no holes"
            assert len(sent.payload) + (sent.flags & 1 != 0) + (sent.flags & 2 != 0) == sent.size
            at = sent.end
        assert at == tcb.snd_nxt, "the flight ends at SND.NXT"
        recovery = tcb.recovery
        assert recovery.sacked_bytes == sum(sent.size for sent in tcb.flight if sent.sacked)
        assert recovery.lost_bytes == sum(sent.size for sent in tcb.flight if sent.lost)
        assert not any(sent.lost and sent.sacked for sent in tcb.flight)
    assert tcb.unsent_bytes == sum(map(len, tcb.unsent))
    assert tcb.inbox_bytes == sum(map(len, tcb.inbox))
    for block in tcb.out_of_order:
        assert sum(map(len, block.pieces)) == (block.end - block.seq) & 0xFFFFFFFF
        assert (block.seq - tcb.rcv_nxt) & 0xFFFFFFFF < 1 << 31
    assert tcb.congestion.cwnd_bytes > 0


class Transfer:
    """Bytes both ways, until both ends are closed."""

    def __init__(self, seed: int, *, profile: Profile | None = None, sizes: tuple[int, int] | None = None) -> None:
        random = self.random = Random(seed)
        self.profile = profile or random.choice(list(PROFILES.values()))
        links = tuple(self._link() for _ in range(2))
        iss = random.choice([0, 1, 2**31 - 5, 2**32 - 5, 2**32 - 3000, random.getrandbits(32)])
        self.client = Connection(A, B, iss=iss, profile=self._vary(self.profile))
        self.server = Connection(B, None, iss=random.getrandbits(32), profile=self._vary(self.profile))
        for end in (self.client, self.server):
            self._set_up(end)
        self.sizes = sizes or (random.choice([0, 1, 700, 20_000, 90_000]), random.choice([0, 1, 3000, 60_000]))
        self.texts = (random.randbytes(self.sizes[0]), random.randbytes(self.sizes[1]))
        self.sent = [0, 0]
        self.read = [bytearray(), bytearray()]
        self.network = Network((self.client, self.server), links, random)  # type: ignore[arg-type]
        self.network.keeps_passages = False
        self.checks = True
        self.is_shut = [False, False]
        self.is_hasty = random.random() < 0.3

    def _vary(self, profile: Profile) -> Profile:
        random = self.random
        return profile._replace(
            timestamps=random.random() < 0.7, sack=random.random() < 0.7, window_scaling=random.random() < 0.7,
            rack=random.random() < 0.7, mtu_probing=random.choice([1, 2]), ecn=random.random() < 0.3,
            congestion=random.choice(list(ALGORITHMS)),
        )  # fmt: skip

    def _link(self) -> Link:
        random = self.random
        return Link(
            delay_ns=random.choice([0, 1, 20, 150]) * MS,
            loss=random.choice([0, 0.01, 0.1, 0.25]),
            duplicate=random.choice([0, 0.05, 0.3]),
            reorder=random.choice([0, 0.05, 0.5]),
            reorder_ns=random.choice([1, 30, 400]) * MS,
            mtu_bytes=random.choice([0, 0, 600, 1400]),
            black_hole=random.random() < 0.3,
        )

    def _set_up(self, end: Connection) -> None:
        random = self.random
        end.set_buffers(
            receive_bytes=random.choice([700, 4096, 65535, 300_000]), send_bytes=random.choice([1000, 65535])
        )
        end.set_user_timeout(5000 * SECOND)  # R2 would rightly end a connection on the worst of these links
        end.set_nodelay(random.random() < 0.3)
        end.tcb.fast_path = random.random() < 0.7
        end.set_segment_sizes(mtu_bytes=random.choice([296, 1500, 9000]), gso_bytes=random.choice([0, 0, 60_000]))

    def step(self) -> bool:
        """Let both programs write and read; say whether everything is done."""
        for index, end in enumerate(self.network.ends):
            self._write(index, end)
            self._read(index, end)
            if self.checks:
                check_invariants(end.tcb)
        return all(end.state in (State.CLOSED, State.TIME_WAIT) for end in self.network.ends)

    def _write(self, index: int, end: Connection) -> None:
        if end.state not in (State.ESTABLISHED, State.CLOSE_WAIT) or end.tcb.close_pending:
            return
        text, at = self.texts[index], self.sent[index]
        if at < len(text):
            size = self.random.choice([1, 100, 5000, 50_000])
            self.sent[index] += end.send(text[at : at + size], push=self.random.random() < 0.8)
        elif not self.is_shut[index] and (self.is_hasty or len(self.read[index]) == self.sizes[1 - index]):
            self.is_shut[index] = True
            end.shutdown(self.network.now_ns)

    def _read(self, index: int, end: Connection) -> None:
        if end.readable_bytes and self.random.random() < 0.7:
            text = end.receive(self.random.choice([1, 400, 100_000]))
            assert text
            self.read[index] += text

    def run(self, limit_ns: int = 50_000 * SECOND) -> None:
        """Open, transfer both ways and close; raise when bytes differ or nothing moves any more."""
        self.server.open(0, active=False)
        self.client.open(0)
        while not self.network.run_until(self.step, limit_ns=SECOND):
            assert self.network.now_ns < limit_ns, self.story()
            self.network.now_ns = max(self.network.now_ns, min(self.network.next_ns() or 0, limit_ns))
            for end in self.network.ends:
                assert not end.error, (end.error, self.story())
            if self.network.next_ns() is None:
                self.network.now_ns += SECOND
        for index, end in enumerate(self.network.ends):
            self.read[index] += end.receive() or b""
        assert bytes(self.read[1]) == self.texts[0], self.story()
        assert bytes(self.read[0]) == self.texts[1], self.story()

    def story(self) -> str:
        """Say where the transfer stands."""
        tcbs = [end.tcb for end in self.network.ends]
        return " | ".join(
            f"{tcb.state.name} sent={self.sent[i]}/{self.sizes[i]} read={len(self.read[i])} "
            f"unsent={tcb.unsent_bytes} flight={tcb.flight_bytes} wnd={tcb.snd_wnd} inbox={tcb.inbox_bytes} {tcb.error}"
            for i, tcb in enumerate(tcbs)
        )
