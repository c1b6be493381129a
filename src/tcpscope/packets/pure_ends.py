"""Both ends of a connection in the pure engine: states, bounds for their numbers, and moves along the table.

What segments mean is decided in :mod:`tcpscope.packets.pure`; here is what is known, and how a move is noted, proved
and taken back.
"""

from __future__ import annotations

from tcpscope.machine.lifecycle import find_row
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.model.event import Event, Guard
from tcpscope.model.segment import ACK, FIN, RST, SYN
from tcpscope.model.state import State
from tcpscope.packets.rows import ASSUMED, INFERRED, NEVER, RETRACTED, Sight

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED = State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED
UNSYNCHRONIZED = (CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED)
OF_HANDSHAKE = (Event.SYN_ACK, Event.ACK_OF_SYN)
OF_FIN = (Event.FIN, Event.FIN_ACK_OF_FIN)
#: A window nobody told us: as large as RFC 7323 allows.
ANY_WINDOW = 1 << 30


class Half:
    """One end: its state and bounds for its numbers; -1 is unknown."""

    __slots__ = (
        "acked", "edge", "fin", "isn", "last_ns", "nxt", "ooo", "opened", "pending", "rcv", "sent_syn", "state",
        "syn_row", "wscale",
    )  # fmt: skip

    def __init__(self, state: State) -> None:
        self.state = state
        self.opened: Guard | None = None
        self.isn = -1
        self.nxt = -1  #: SND.NXT: one past the highest number this end was seen to send
        self.rcv = -1  #: RCV.NXT: everything before it was seen, or acknowledged by this end
        self.acked = -1  #: the highest number this end has acknowledged (the peer's SND.UNA)
        self.edge = -1  #: right edge of the window this end has offered
        self.wscale = -1
        self.fin = -1  #: sequence number of this end's FIN
        self.ooo = (0, 0)  #: numbers seen beyond a hole
        self.sent_syn = False
        self.syn_row = -1
        self.pending: list[int] = []  #: assumed rows that the next outputs prove or contradict
        self.last_ns = NEVER

    def window(self, rcv: int) -> int:
        """RCV.WND as far as known, when RCV.NXT is ``rcv``."""
        if self.edge < 0:
            return ANY_WINDOW
        ahead = (self.edge - rcv) & MASK
        return ahead if ahead < HALF else 0

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What the table may ask about this end. No packet shows what a program has queued or left unread."""
        always = (Guard.REMOTE_GIVEN, Guard.NOTHING_QUEUED)
        return always if self.opened is None else (self.opened, *always)


class Ends:
    """Both ends of one incarnation of a flow, and the rows found so far."""

    def __init__(self, serial: int, self_connected: bool = False) -> None:
        self.serial = serial
        low = Half(CLOSED)
        self.halves = (low, low) if self_connected else (low, Half(CLOSED))
        self.rows: list[list[int]] = []

    @property
    def last_ns(self) -> int:
        """Time of the last segment."""
        return max(self.halves[0].last_ns, self.halves[1].last_ns)

    def move(self, half: Half, event: Event, basis: int, sight: Sight, earliest: int, latest: int) -> bool:
        """Apply the table's row for ``event`` at ``half``; note it when the state changes."""
        row = find_row(half.state, event, half.guards)
        if row is None or not row.changes_state:
            return False
        if basis == ASSUMED:
            half.pending = [*half.pending[-1:], len(self.rows)]
        end = 0 if half is self.halves[0] else 1
        self.rows.append(
            [self.serial, sight.number, end, row.before, event, row.after, basis, sight.t_ns, earliest, latest]
        )
        half.state = row.after
        return True

    def last_assumption(self, half: Half) -> tuple[int, int]:
        """Return (event, state before) of the last assumed row that nothing has proved yet, or (-1, -1)."""
        if not half.pending:
            return -1, -1
        row = self.rows[half.pending[-1]]
        return row[4], row[3]

    def take_back(self, half: Half) -> None:
        """Undo the last assumption: the end never received what moved it."""
        row = self.rows[half.pending.pop()]
        row[6] = RETRACTED
        half.state = State(row[3])

    def prove(self, half: Half, count: int, t_ns: int) -> None:
        """The ``count`` oldest assumptions about ``half`` hold: it has answered accordingly."""
        for index in half.pending[:count]:
            self.rows[index][6] = INFERRED
            self.rows[index][9] = t_ns
        half.pending = half.pending[count:]

    def prove_by_ack(self, sender: Half, receiver: Half, sight: Sight) -> None:
        """Turn assumptions about the sender into inferences, as far as this ACK proves that it received them."""
        covers_fin = receiver.fin >= 0 and (sight.ack - receiver.fin - 1) & MASK < HALF
        covers_syn = receiver.isn < 0 or (sight.ack - receiver.isn - 1) & MASK < HALF
        for place in range(len(sender.pending), 0, -1):
            event = self.rows[sender.pending[place - 1]][4]
            if (event in OF_FIN and covers_fin) or (event in OF_HANDSHAKE and covers_syn):
                self.prove(sender, place, sight.t_ns)
                break
        if covers_fin and not sender.state.has_received_fin and sender.state != CLOSED:
            self.move(sender, Event.FIN, INFERRED, sight, sender.last_ns, sight.t_ns)

    def send_numbers(self, sender: Half, receiver: Half, sight: Sight) -> None:
        """Bring the numbers up to date that the sender shows."""
        seg_len = sight.text_bytes + (sight.flags & SYN != 0) + (sight.flags & FIN != 0)
        end = (sight.seq + seg_len) & MASK
        if sender.nxt < 0 or (end - sender.nxt) & MASK < HALF:
            sender.nxt = end
        if not sight.flags & ACK:
            return
        if receiver.nxt < 0 or (receiver.state not in UNSYNCHRONIZED and _is_a_gap(sight.ack, receiver.nxt)):
            receiver.nxt = sight.ack  # what it acknowledges was not captured
        if 0 <= (receiver.nxt - sight.ack) & MASK < HALF:
            if sender.acked < 0 or (sight.ack - sender.acked) & MASK < HALF:
                sender.acked = sight.ack
            if sender.rcv < 0 or (sight.ack - sender.rcv) & MASK < HALF:
                sender.rcv = sight.ack

    def note_window(self, sender: Half, receiver: Half, sight: Sight) -> None:
        """Remember the right edge of the window that the sender offers, when its scale is known."""
        if not sight.flags & ACK or sight.flags & RST:
            return
        is_scaled = sender.wscale >= 0 and receiver.wscale >= 0 and not sight.flags & SYN
        # Why: without both SYNs the scale is unknown, and so is the window.
        if not (sender.sent_syn and receiver.sent_syn):
            sender.edge = -1
            return
        edge = (sight.ack + (sight.wnd << (sender.wscale if is_scaled else 0))) & MASK
        if sender.edge < 0 or (edge - sender.edge) & MASK < HALF:
            sender.edge = edge


def _is_a_gap(ack: int, nxt: int) -> bool:
    """Whether an ACK of numbers never seen is believable: not absurdly far ahead."""
    return 0 < (ack - nxt) & MASK < ANY_WINDOW
