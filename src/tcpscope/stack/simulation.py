"""Plays stories over the simulated network and measures transfers over it; pure virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tcpscope.machine import recovery
from tcpscope.machine.calls import CallError
from tcpscope.machine.connection import Connection
from tcpscope.machine.profile import LINUX, Profile
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, FIN, RST, SYN, Segment
from tcpscope.model.simulated import AGAIN, Step, Transfer
from tcpscope.model.state import State
from tcpscope.stack.network import MS, Link, Network, Passage
from tcpscope.stack.stories import CLIENT, SERVER, Call, Loss, Story

ADDRESSES = (Endpoint("192.0.2.1", 40000), Endpoint("192.0.2.2", 80))
_ISS = (1000, 5000)
_READ = 1 << 20
_SPELLED = {"end-of-file": "end of file: the peer has closed"}


class Player:
    """Plays one story and writes down its steps."""

    def __init__(self, story: Story, profile: Profile, links: tuple[Link, Link], random: Random) -> None:
        self.story = story
        self.reads = [True, story.server_reads]
        self.to_send = [0, 0]
        self.steps: list[Step] = []
        self.phases = [recovery.OPEN, recovery.OPEN]
        self.highest = [0, 0]  # one past the highest number each end has put on the link, from its ISS on
        ends = [
            Connection(ADDRESSES[end], ADDRESSES[1 - end] if end == CLIENT else None, iss=_ISS[end], profile=profile)
            for end in (CLIENT, SERVER)
        ]
        self.network = Network(ends, links, random)
        self.network.keeps_passages = False
        self.network.on_passage = self._note_passage
        self.network.on_change = self._note_change
        self.network.loses = _Loser(story.losses, self.network).loses if story.losses else None

    def play(self) -> list[Step]:
        """Play to the end; return the steps."""
        for call in self.story.calls:
            self.network.run_until(self._use, limit_ns=max(0, call.when_ns - self.network.now_ns))
            self.network.now_ns = max(self.network.now_ns, call.when_ns)
            self._carry_out(call)
        rest_ns = self.story.duration_ns - self.network.now_ns
        self.network.run_until(self._is_over, limit_ns=max(0, rest_ns))
        return self.steps

    def _is_over(self) -> bool:
        self._use()
        return all(end.tcb.state in (State.CLOSED, State.LISTEN) for end in self.network.ends)

    def _use(self) -> bool:
        """Let the programs do what they do all the time: send what is left, read what is there."""
        for end, connection in enumerate(self.network.ends):
            if self.to_send[end] and connection.tcb.state in (State.ESTABLISHED, State.CLOSE_WAIT):
                self.to_send[end] -= connection.send(bytes(self.to_send[end]))
            while self.reads[end]:
                try:
                    text = connection.receive(_READ)
                except CallError:
                    break
                if not text:
                    break
        return False

    def _carry_out(self, call: Call) -> None:
        connection, now_ns = self.network.ends[call.end], self.network.now_ns
        octets = f" {call.octets} octets" if call.octets else ""
        self._add(call.end, "call", f"{call.name}(){octets}")
        if call.name == "listen":
            connection.open(now_ns, active=False)
        elif call.name == "connect":
            connection.open(now_ns, remote=ADDRESSES[1 - call.end])
        elif call.name == "send":
            self.to_send[call.end] += call.octets
        elif call.name == "read":
            self.reads[call.end] = True
        else:
            {"close": connection.close, "shutdown": connection.shutdown, "abort": connection.abort}[call.name](now_ns)
        self._note_change(call.end)

    def _note_passage(self, passage: Passage) -> None:
        tcb = self.network.ends[passage.end].tcb
        text = spell_segment(passage.segment, _ISS[passage.end], _ISS[1 - passage.end])
        numbers = (min(tcb.congestion.cwnd_bytes, 1 << 30), tcb.flight_bytes, tcb.snd_wnd)
        notes = [spell_sack(passage.segment, _ISS[1 - passage.end])]
        end_of_it = (passage.segment.seq + passage.segment.seg_len - _ISS[passage.end]) & 0xFFFFFFFF
        if passage.segment.seg_len and not passage.segment.flags & RST:
            if end_of_it <= self.highest[passage.end]:
                notes.insert(0, AGAIN)
            self.highest[passage.end] = max(end_of_it, self.highest[passage.end])
        self._add(passage.end, "segment", text, passage.fate, numbers, "  ".join(filter(None, notes)))

    def _note_change(self, end: int) -> None:
        for report in self.network.ends[end].events():
            if report.kind == "state" and report.row is not None and report.row.changes_state:
                self._add(end, "state", f"{report.row.event.name} -> {report.row.after.name}")
            elif report.kind in ("error", "probe", "undo", "r1", "end-of-file"):
                self._add(end, "report", _SPELLED.get(report.kind) or report.text)
        self._note_recovery(end)
        if self.story.server_closes and end == SERVER and self.network.ends[end].tcb.state is State.CLOSE_WAIT:
            self._carry_out(Call(self.network.now_ns, end, "close"))

    def _note_recovery(self, end: int) -> None:
        """Write down where the repair of losses begins and ends (RFC 6675, RFC 6298 §5)."""
        tcb = self.network.ends[end].tcb
        before, phase = self.phases[end], tcb.recovery.phase
        self.phases[end] = phase
        if phase == before or not tcb.irs_known:
            return
        words = {recovery.RECOVERY: "losses seen", recovery.LOSS: "timeout", recovery.OPEN: "repaired"}
        if tcb.state is not State.CLOSED:
            self._add(end, "report", f"{words[phase]}, cwnd {min(tcb.congestion.cwnd_bytes, 1 << 30)}")

    def _add(
        self, end: int, kind: str, text: str, fate: str = "", numbers: tuple[int, int, int] = (0, 0, 0), note: str = ""
    ) -> None:
        one, two = (connection.tcb.state for connection in self.network.ends)
        self.steps.append(Step(self.network.now_ns, end, kind, text, (one, two), fate, numbers, note))


class _Loser:
    """Loses what a story says: counts segments of each kind as each end sends them."""

    def __init__(self, losses: Sequence[Loss], network: Network) -> None:
        self.losses = losses
        self.network = network
        self.counts: dict[tuple[int, str], int] = {}

    def loses(self, end: int, segment: Segment) -> bool:
        """Whether this segment is to be lost."""
        for loss in self.losses:
            if loss.kind == "after" and loss.end == end and self.network.now_ns >= loss.number:
                return True
        kinds = self._kinds(end, segment)
        numbers = {kind: self.counts.get((end, kind), 0) for kind in kinds}
        for kind in kinds:
            self.counts[end, kind] = numbers[kind] + 1
        return any(loss.end == end and numbers.get(loss.kind, -1) == loss.number for loss in self.losses)

    def _kinds(self, end: int, segment: Segment) -> list[str]:
        if segment.flags & SYN:
            return ["syn"]
        kinds = []
        if len(segment.payload):
            kinds.append("text")
        if segment.flags & FIN:
            kinds.append("fin")
        if not kinds and segment.flags & ACK and self.network.ends[end].tcb.state is State.TIME_WAIT:
            kinds.append("last-ack")
        return kinds


def play(story: Story, *, profile: Profile = LINUX, links: tuple[Link, Link], seed: int = 1) -> list[Step]:
    """Play a story and return its steps."""
    return Player(story, profile, links, Random(seed)).play()


def transfer(
    octets: int, *, profile: Profile, links: tuple[Link, Link], seed: int = 1, flows: int = 1, limit_ns: int = 10**14
) -> list[Transfer]:
    """Send ``octets`` from each client to its server at once; return one measurement per flow."""
    ends: list[Connection] = []
    for flow in range(flows):
        client, server = (end._replace(port=end.port + flow) for end in ADDRESSES)
        ends += (
            Connection(client, server, iss=1000 + flow, profile=profile),
            Connection(server, None, iss=5000 + flow, profile=profile),
        )
    network = Network(ends, links, Random(seed))
    network.keeps_passages = False
    for client_end, server_end in zip(ends[::2], ends[1::2], strict=True):
        client_end.set_nodelay(True)
        server_end.open(0, active=False)
        client_end.open(0)
    state = _Pump(network, octets)
    network.run_until(state.work, limit_ns=limit_ns)
    return [
        Transfer(state.delivered[flow], state.finished_ns[flow] or network.now_ns, client.retransmits, client.timeouts)
        for flow, client in enumerate(end.tcb.counters for end in ends[::2])
    ]


class _Pump:
    """The two programs of each flow: one writes, one reads."""

    def __init__(self, network: Network, octets: int) -> None:
        flows = len(network.ends) // 2
        self.network = network
        self.octets = octets
        self.left = [octets] * flows
        self.delivered = [0] * flows
        self.finished_ns = [0] * flows
        self.text = bytes(1 << 16)

    def work(self) -> bool:
        """Write and read what can be; say whether all is delivered."""
        for flow in range(len(self.left)):
            client, server = self.network.ends[2 * flow], self.network.ends[2 * flow + 1]
            while self.left[flow] and client.tcb.state is State.ESTABLISHED:
                taken = client.send(self.text[: self.left[flow]])
                if not taken:
                    break
                self.left[flow] -= taken
            while text := server.receive(_READ):
                self.delivered[flow] += len(text)
            if self.delivered[flow] >= self.octets and not self.finished_ns[flow]:
                self.finished_ns[flow] = self.network.now_ns
        return all(self.finished_ns)


def loss_table(
    losses: Sequence[float],
    buffers: Sequence[int],
    *,
    profile: Profile,
    rtt_ns: int = 100 * MS,
    octets: int = 10 << 20,
    seed: int = 1,
    on_cell: Callable[[], None] = lambda: None,
) -> list[tuple[int, list[Transfer]]]:
    """Measure a transfer for each buffer and loss (both directions); rows of ``(buffer, transfers)``."""
    rows = []
    for size in buffers:
        chosen = profile._replace(receive_buffer_bytes=size, send_buffer_bytes=size, scaled_for_bytes=0)
        cells = []
        for loss in losses:
            link = Link(rtt_ns // 2, loss)
            cells.append(transfer(octets, profile=chosen, links=(link, link), seed=seed)[0])
            on_cell()
        rows.append((size, cells))
    return rows


def fairness(transfers: Sequence[Transfer]) -> float:
    """Return Jain's index of the flows' throughputs: 1.0 when all are equal."""
    rates = [one.bytes_per_second for one in transfers]
    squares = sum(rate * rate for rate in rates)
    return sum(rates) ** 2 / (len(rates) * squares) if squares else 0.0


def spell_segment(segment: Segment, seq_from: int, ack_from: int) -> str:
    """Spell flags, relative numbers and length: ``SYN|ACK 0 ack 1`` or ``500 octets 1..500 ack 1``."""
    names = [name for bit, name in ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST")) if segment.flags & bit]
    if segment.flags & ACK and (names or not len(segment.payload)):
        names.append("ACK")
    words = ["|".join(names)] if names else []
    seq = (segment.seq - seq_from) & 0xFFFFFFFF
    if len(segment.payload):
        words.append(f"{len(segment.payload)} octets {seq}..{seq + len(segment.payload) - 1}")
    elif names and names[0] in ("SYN", "FIN"):
        words.append(f"seq {seq}")
    if segment.flags & ACK:
        words.append(f"ack {(segment.ack - ack_from) & 0xFFFFFFFF}")
    if not segment.wnd and not segment.flags & RST:
        words.append("window 0")
    return " ".join(words)


def spell_sack(segment: Segment, ack_from: int) -> str:
    """Spell the blocks of a selective acknowledgement with relative numbers; empty without."""
    blocks = (
        f"{(left - ack_from) & 0xFFFFFFFF}..{(right - ack_from - 1) & 0xFFFFFFFF}"
        for left, right in segment.options.sack
    )
    return f"sack {' '.join(blocks)}" if segment.options.sack else ""
