"""The pure engine: what each observed segment says about both ends of its connection. The truth of this room.

A segment from S to R is an output of S, which betrays S's own calls, timers and what S had received before, and an
input of R, subject to loss behind the tap. Every change of state is a row of the life cycle
(:func:`~tcpscope.machine.lifecycle.find_row`); arriving segments are judged by
:func:`~tcpscope.machine.classify.classify` against bounds of R's numbers. It is written to be read, not to be fast:
:mod:`tcpscope.packets.step` does the same on flat integers, and a test holds them equal.

Rules of this file:

* A SYN takes effect at its receiver when the receiver answers; until then the receiver is *assumed* to be in LISTEN.
* Any other segment takes effect when it is seen (``assumed``), becomes ``inferred`` when R's own segments prove it,
  and is taken back when they contradict it: R's FIN again after our ACK of it, SYN|ACK again after the handshake.
* Without a handshake both ends are taken for ESTABLISHED; no transition is claimed for it.
* What no packet can show (2 MSL, timeouts) is not decided here.
"""

from __future__ import annotations

from tcpscope.machine.classify import classify
from tcpscope.machine.lifecycle import find_row
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.model.event import Event, Guard
from tcpscope.model.segment import ACK, FIN, RST, SYN
from tcpscope.model.state import State
from tcpscope.packets.rows import (
    ASSUMED,
    ICMP_HARD,
    INFERRED,
    NEVER,
    RETRACTED,
    SEEN,
    TCP,
    TWO_MSL_NS,
    Sight,
    TransitionRow,
)

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED = State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED
ESTABLISHED, TIME_WAIT = State.ESTABLISHED, State.TIME_WAIT
#: A window nobody told us: as large as RFC 7323 allows.
ANY_WINDOW = 1 << 30
_UNSYNCHRONIZED = (CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED)
_OF_HANDSHAKE = (Event.SYN_ACK, Event.ACK_OF_SYN)
_OF_FIN = (Event.FIN, Event.FIN_ACK_OF_FIN)


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

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What the table may ask about this end. No packet shows what a program has queued or left unread."""
        always = (Guard.REMOTE_GIVEN, Guard.NOTHING_QUEUED)
        return always if self.opened is None else (self.opened, *always)


class Connection:
    """Both ends of one incarnation of a flow, and the rows found so far."""

    def __init__(self, serial: int, self_connected: bool = False) -> None:
        self.serial = serial
        low = Half(CLOSED)
        self.halves = (low, low) if self_connected else (low, Half(CLOSED))
        self.is_fresh = True
        self.is_fast_open = False
        self.pending_syn: Sight | None = None
        self.rows: list[list[int]] = []

    @property
    def last_ns(self) -> int:
        """Time of the last segment."""
        return max(self.halves[0].last_ns, self.halves[1].last_ns)

    # bookkeeping

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

    # what is seen

    def opens_another(self, sight: Sight, end: int) -> bool:
        """Whether this segment belongs to the next incarnation of the addresses and ports."""
        if self.is_fresh or sight.kind != TCP:
            return False
        sender, receiver = self.halves[end], self.halves[1 - end]
        if sight.t_ns - self.last_ns > TWO_MSL_NS and self.is_over():
            return True
        if sight.flags & (SYN | RST) != SYN or sender is receiver:
            return False
        if sight.flags & ACK:
            return self.is_answered_by(sight)
        if sender.isn == sight.seq:
            return False
        if sender.state == LISTEN and sender.isn < 0 and receiver.state == SYN_SENT:
            return False
        return receiver.state in (*_UNSYNCHRONIZED, TIME_WAIT)

    def is_answered_by(self, sight: Sight) -> bool:
        """Whether a SYN|ACK answers the SYN that was seen on the live connection."""
        syn = self.pending_syn
        if syn is None or not sight.flags & ACK or self.halves[0] is self.halves[1]:
            return False
        return (syn.src, syn.sport) == (sight.dst, sight.dport) and _is(syn.seq + 1, sight.ack)

    def is_over(self) -> bool:
        """Whether nothing more is to come but stragglers: both ends finished, or never synchronized."""
        return all(half.state in (*_UNSYNCHRONIZED, TIME_WAIT) for half in self.halves)

    def see(self, sight: Sight, end: int) -> None:
        """Take in one segment sent by ``end``."""
        sender, receiver = self.halves[end], self.halves[1 - end]
        if sight.kind != TCP:
            if sight.kind == ICMP_HARD and sender.state in (SYN_SENT, SYN_RECEIVED):
                self.move(sender, Event.ICMP_HARD_ERROR, ASSUMED, sight, sight.t_ns, NEVER)
            return
        if sight.flags & RST:
            self._see_reset(sender, receiver, sight)
        elif sight.flags & SYN and sight.flags & ACK:
            self._see_syn_ack(sender, receiver, sight)
        elif sight.flags & SYN:
            self._see_syn(sender, receiver, sight)
        else:
            self._see_segment(sender, receiver, sight)
        if sight.flags & SYN and sight.wscale >= 0:
            sender.wscale = min(sight.wscale, 14)
        self._note_window(sender, receiver, sight)
        self.is_fresh = False
        sender.last_ns = sight.t_ns

    def _note_window(self, sender: Half, receiver: Half, sight: Sight) -> None:
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

    def _see_syn(self, sender: Half, receiver: Half, sight: Sight) -> None:
        if sight.seq == sender.isn:
            if not sender.sent_syn:  # its SYN|ACK was captured first
                sender.sent_syn = True
                if sender.syn_row >= 0:
                    self.rows[sender.syn_row][6] = SEEN
            return
        crosses = sender.state == LISTEN and sender.isn < 0 and receiver.state == SYN_SENT
        if not (self.is_fresh or crosses or (sender.state == CLOSED and receiver.state == SYN_SENT)):
            self.pending_syn = sight  # a SYN on a live connection: RFC 5961 §4
            return
        sender.state = CLOSED
        self._open(sender, sight, SEEN, sight.seq)
        sender.sent_syn = True
        self.is_fast_open = self.is_fast_open or sight.text_bytes > 0
        if receiver is not sender:
            if self.is_fresh:
                receiver.state = receiver.state if receiver.opened == Guard.REOPENED else LISTEN
            receiver.rcv = (sight.seq + 1) & MASK

    def _open(self, half: Half, sight: Sight, basis: int, isn: int) -> None:
        half.opened = Guard.OPENED_ACTIVELY
        half.isn = isn & MASK
        half.nxt = (isn + 1 + (sight.text_bytes if basis == SEEN else 0)) & MASK
        half.syn_row = len(self.rows)
        self.move(half, Event.OPEN_ACTIVE, basis, sight, NEVER, sight.t_ns)

    def _see_syn_ack(self, sender: Half, receiver: Half, sight: Sight) -> None:
        if self.is_fresh and receiver is not sender:
            self._open(receiver, sight, INFERRED, sight.ack - 1)
            sender.state = sender.state if sender.opened == Guard.REOPENED else LISTEN
        if sender.isn >= 0 and sender.isn != sight.seq:
            is_undecided = receiver.state == SYN_SENT or self.last_assumption(receiver)[0] == Event.SYN_ACK
            if not is_undecided or sender.state not in (SYN_RECEIVED, ESTABLISHED):
                return
            sender.isn, sender.nxt = sight.seq, (sight.seq + 1) & MASK  # a cookie, or another server behind a balancer
            receiver.rcv = sender.nxt
        if not self._answers_syn(sender, receiver, sight):
            return
        sender.sent_syn = True
        self._send_numbers(sender, receiver, sight)
        if receiver.state == SYN_SENT or (receiver.state == SYN_RECEIVED and receiver.opened == Guard.OPENED_ACTIVELY):
            receiver.rcv = (sight.seq + 1) & MASK
            self._receive(sender, receiver, sight, receiver.isn)

    def _answers_syn(self, sender: Half, receiver: Half, sight: Sight) -> bool:
        """What a SYN|ACK says about its sender; False when it says nothing."""
        event, before = self.last_assumption(sender)
        is_ghost = sender.state in (ESTABLISHED, CLOSED) and sender.isn < 0 and receiver.state == SYN_SENT
        if sender.state == LISTEN or is_ghost:
            sender.state = LISTEN
            sender.opened = Guard.OPENED_PASSIVELY
            self.move(sender, Event.SYN, SEEN, sight, receiver.last_ns, sight.t_ns)
        elif sender.state == TIME_WAIT and sender.opened == Guard.REOPENED:
            self.move(sender, Event.SYN_REOPENS, SEEN, sight, receiver.last_ns, sight.t_ns)
        elif sender.state == SYN_SENT and sender.isn == sight.seq:
            self.move(sender, Event.SYN, SEEN, sight, receiver.last_ns, sight.t_ns)
        elif sender.state == ESTABLISHED and event == Event.SYN_ACK and before == SYN_SENT and sender.isn == sight.seq:
            self.take_back(sender)  # simultaneous open: it had the SYN before our SYN|ACK
            self.move(sender, Event.SYN, SEEN, sight, receiver.last_ns, sight.t_ns)
            self.move(sender, Event.SYN_ACK, ASSUMED, sight, sight.t_ns, NEVER)
        elif sender.state == ESTABLISHED and event in _OF_HANDSHAKE and sender.isn == sight.seq:
            self.take_back(sender)  # the last ACK of the handshake did not arrive, or was not taken
            receiver.acked = sender.isn
            return True
        elif sender.state != SYN_RECEIVED:
            return False
        sender.isn = sight.seq
        return True

    def _see_segment(self, sender: Half, receiver: Half, sight: Sight) -> None:
        if self.is_fresh:
            sender.state = receiver.state = ESTABLISHED
        if not self._is_alive(sender, receiver, sight):
            return
        una = sender.acked if sender.acked >= 0 else receiver.isn
        self._send_numbers(sender, receiver, sight)
        if sight.flags & ACK:
            self._prove_by_ack(sender, receiver, sight)
        if sight.flags & FIN:
            self._see_fin(sender, receiver, sight)
        awaits = receiver.state in (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)
        if awaits and receiver.fin >= 0 and una == (receiver.fin + 1) & MASK:
            una = receiver.fin  # Why: the ACK of its FIN came before, but in a segment it could not take
        if receiver.state not in (CLOSED, LISTEN):
            self._receive(sender, receiver, sight, una)

    def _is_alive(self, sender: Half, receiver: Half, sight: Sight) -> bool:
        """What sending anything but SYN and RST says about the sender's state so far; False ends the matter."""
        has_ack = bool(sight.flags & ACK)
        if sender.state == SYN_SENT:
            if not has_ack:
                if sight.flags & FIN:
                    self.move(sender, Event.CLOSE, ASSUMED, sight, sender.last_ns, sight.t_ns)
                return False
            if receiver.state in (LISTEN, CLOSED):
                receiver.state = LISTEN
                receiver.opened = Guard.OPENED_PASSIVELY
                self.move(receiver, Event.SYN, INFERRED, sight, sender.last_ns, sight.t_ns)
            elif receiver.state == TIME_WAIT:
                self.move(receiver, Event.SYN_REOPENS, INFERRED, sight, sender.last_ns, sight.t_ns)
            self.move(sender, Event.SYN_ACK, INFERRED, sight, sender.last_ns, sight.t_ns)
        elif sender.state in (LISTEN, TIME_WAIT) and receiver.state == SYN_SENT:
            self._answer_without_syn_ack(sender, receiver, sight)
        elif sender.state == LISTEN:
            sender.state = ESTABLISHED
        elif sender.state == CLOSED:
            event, _ = self.last_assumption(sender)
            repeats_fin = event == Event.ACK_OF_FIN and sight.flags & FIN
            if not (repeats_fin or (event in (Event.ABORT, Event.CLOSE) and has_ack)):
                return False
            if event != Event.ACK_OF_FIN:  # a forged reset, or a FIN out of SYN-SENT that meant nothing
                self.take_back(sender)
                return self._is_alive(sender, receiver, sight)
        if sender.state == SYN_RECEIVED and not self.is_fast_open:
            self.move(sender, Event.ACK_OF_SYN, INFERRED, sight, sender.last_ns, sight.t_ns)
        return True

    def _answer_without_syn_ack(self, sender: Half, receiver: Half, sight: Sight) -> None:
        """A SYN was answered by a segment without SYN: the SYN|ACK was not captured, or this end is half-open."""
        is_answer = sight.flags & ACK and 0 < (sight.ack - receiver.isn) & MASK <= (receiver.nxt - receiver.isn) & MASK
        if is_answer and sender.state == LISTEN:
            sender.opened = Guard.OPENED_PASSIVELY
            self.move(sender, Event.SYN, INFERRED, sight, receiver.last_ns, sight.t_ns)
            self.move(receiver, Event.SYN_ACK, INFERRED, sight, receiver.last_ns, sight.t_ns)
            receiver.rcv = sight.seq
        elif sender.state == LISTEN:
            sender.state = ESTABLISHED

    def _send_numbers(self, sender: Half, receiver: Half, sight: Sight) -> None:
        seg_len = sight.text_bytes + (sight.flags & SYN != 0) + (sight.flags & FIN != 0)
        end = (sight.seq + seg_len) & MASK
        if sender.nxt < 0 or (end - sender.nxt) & MASK < HALF:
            sender.nxt = end
        if not sight.flags & ACK:
            return
        if receiver.nxt < 0 or (receiver.state not in _UNSYNCHRONIZED and _is_a_gap(sight.ack, receiver.nxt)):
            receiver.nxt = sight.ack  # what it acknowledges was not captured
        if 0 <= (receiver.nxt - sight.ack) & MASK < HALF:
            if sender.acked < 0 or (sight.ack - sender.acked) & MASK < HALF:
                sender.acked = sight.ack
            if sender.rcv < 0 or (sight.ack - sender.rcv) & MASK < HALF:
                sender.rcv = sight.ack

    def _prove_by_ack(self, sender: Half, receiver: Half, sight: Sight) -> None:
        """Turn assumptions about the sender into inferences, as far as this ACK proves that it received them."""
        covers_fin = receiver.fin >= 0 and (sight.ack - receiver.fin - 1) & MASK < HALF
        covers_syn = receiver.isn < 0 or (sight.ack - receiver.isn - 1) & MASK < HALF
        for place in range(len(sender.pending), 0, -1):
            event = self.rows[sender.pending[place - 1]][4]
            if (event in _OF_FIN and covers_fin) or (event in _OF_HANDSHAKE and covers_syn):
                self.prove(sender, place, sight.t_ns)
                break
        if covers_fin and not sender.state.has_received_fin and sender.state != CLOSED:
            self.move(sender, Event.FIN, INFERRED, sight, sender.last_ns, sight.t_ns)

    def _see_fin(self, sender: Half, receiver: Half, sight: Sight) -> None:
        if sender.fin < 0:
            sender.fin = (sight.seq + sight.text_bytes) & MASK
            covers_fin = receiver.fin >= 0 and (sight.ack - receiver.fin - 1) & MASK < HALF
            crosses = self.last_assumption(sender) == (Event.FIN, ESTABLISHED) and not covers_fin
            if crosses and sight.flags & ACK:
                self.take_back(sender)  # it had not received the peer's FIN when it sent its own
                self.move(sender, Event.CLOSE, SEEN, sight, sender.last_ns, sight.t_ns)
                self.move(sender, Event.FIN, ASSUMED, sight, sight.t_ns, NEVER)
                return
            self.move(sender, Event.CLOSE, SEEN, sight, sender.last_ns, sight.t_ns)
        elif (
            self.last_assumption(sender)[0] == Event.ACK_OF_FIN and sender.fin == (sight.seq + sight.text_bytes) & MASK
        ):
            self.take_back(sender)  # it repeats its FIN: the ACK of it did not arrive
            receiver.acked = sender.fin

    def _receive(self, sender: Half, receiver: Half, sight: Sight, una: int) -> None:
        """Judge the segment as the receiver does and let the table answer."""
        if receiver.rcv < 0:
            receiver.rcv = sight.seq
        window = ANY_WINDOW
        if receiver.edge >= 0:
            ahead = (receiver.edge - receiver.rcv) & MASK
            window = ahead if ahead < HALF else 0
        events = classify(
            receiver.state,
            sight.flags,
            sight.seq,
            sight.ack,
            sight.text_bytes,
            snd_una=una if una >= 0 else sight.ack,
            snd_nxt=receiver.nxt if receiver.nxt >= 0 else sight.ack,
            rcv_nxt=receiver.rcv,
            rcv_wnd=window,
            snd_fin=receiver.fin,
            opened_actively=receiver.opened == Guard.OPENED_ACTIVELY,
            reopens=False,
        )
        for event in events:
            if self.move(receiver, event, ASSUMED, sight, sight.t_ns, NEVER) and event in _OF_FIN:
                receiver.rcv = (sender.fin + 1) & MASK
        if events[0] in (Event.SEGMENT_UNACCEPTABLE, Event.ACK_UNACCEPTABLE, Event.ACK_MISSING) or sight.flags & SYN:
            return
        self._advance(sender, receiver, sight)

    def _advance(self, sender: Half, receiver: Half, sight: Sight) -> None:
        """Move RCV.NXT over the text, over what was queued behind a hole, and over a FIN that waited there."""
        end = (sight.seq + sight.text_bytes) & MASK
        if sight.text_bytes and (end - receiver.rcv) & MASK < HALF and end != receiver.rcv:
            if (receiver.rcv - sight.seq) & MASK < HALF:
                receiver.rcv = end
            else:
                low, high = receiver.ooo
                if low == high:
                    receiver.ooo = (sight.seq, end)
                else:
                    # Why: one range; a hole inside it counts as filled, the receiver's ACK tells otherwise.
                    low = sight.seq if (low - sight.seq) & MASK < HALF else low
                    receiver.ooo = (low, end if (end - high) & MASK < HALF else high)
        low, high = receiver.ooo
        if low != high and (receiver.rcv - low) & MASK < HALF:
            if (high - receiver.rcv) & MASK < HALF:
                receiver.rcv = high
            receiver.ooo = (0, 0)
        is_due = receiver.rcv == sender.fin and not receiver.state.has_received_fin
        if is_due and self.move(receiver, Event.FIN, ASSUMED, sight, sight.t_ns, NEVER):
            receiver.rcv = (sender.fin + 1) & MASK

    def _see_reset(self, sender: Half, receiver: Half, sight: Sight) -> None:
        if self.is_fresh:
            sender.state = receiver.state = ESTABLISHED
        event = self.judge_reset(sender, receiver, sight)
        if sender.state == LISTEN:
            sender.state = CLOSED  # nobody listened there
        elif sender.state not in (CLOSED, SYN_SENT) and (
            event != Event.RST_UNACCEPTABLE or receiver.state in (CLOSED, LISTEN)
        ):
            if self.last_assumption(sender)[0] == Event.SYN_ACK and not sight.flags & ACK:
                self.take_back(sender)  # the SYN|ACK found no connection: a scanner, or a program gone meanwhile
            basis = ASSUMED if event == Event.RST_IN_WINDOW else SEEN
            self.move(sender, Event.ABORT, basis, sight, sender.last_ns, sight.t_ns)
        if sight.flags & ACK and event == Event.RST:
            self._prove_by_ack(sender, receiver, sight)
        if receiver is not sender or event == Event.RST:
            self.move(receiver, event, ASSUMED, sight, sight.t_ns, NEVER)

    def judge_reset(self, sender: Half, receiver: Half, sight: Sight) -> Event:
        """Judge a reset as its receiver does: obeyed, challenged or dropped. RCV.NXT is known within bounds."""
        rcv = receiver.rcv
        if rcv >= 0:
            low = receiver.acked if receiver.acked >= 0 else rcv
            high = sender.nxt if sender.nxt >= 0 and (sender.nxt - rcv) & MASK < HALF else rcv
            if (sight.seq - low) & MASK <= (high - low) & MASK:
                rcv = sight.seq
        else:
            rcv = sight.seq
        window = ANY_WINDOW
        if receiver.edge >= 0:
            ahead = (receiver.edge - rcv) & MASK
            window = ahead if ahead < HALF else 0
        return classify(
            receiver.state,
            sight.flags,
            sight.seq,
            sight.ack,
            sight.text_bytes,
            snd_una=receiver.isn if receiver.isn >= 0 else sight.ack,
            snd_nxt=receiver.nxt if receiver.nxt >= 0 else sight.ack,
            rcv_nxt=rcv,
            rcv_wnd=window,
            reopens=False,
        )[0]


class PureEngine:
    """All flows of a capture: connections by their addresses and ports, in order of their first packet."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.flows: list[tuple[Sight, int]] = []
        self._open: dict[tuple[bytes, int, bytes, int], Connection] = {}

    def see(self, sight: Sight) -> Connection | None:
        """Take in one packet; return its connection (``None`` for an ICMP error about an unknown one)."""
        source, target = (sight.src, sight.sport), (sight.dst, sight.dport)
        end = 0 if source <= target else 1
        key = (*source, *target) if end == 0 else (*target, *source)
        known = self._open.get(key)
        if known is None and sight.kind != TCP:
            return None
        if known is None or known.opens_another(sight, end):
            previous, known = known, Connection(len(self.connections), source == target)
            self.connections.append(known)
            self.flows.append((sight, end))
            self._open[key] = known
            if previous is not None and sight.flags & SYN:
                self._reincarnate(previous, known, sight, end)
        known.see(sight, end)
        return known

    def _reincarnate(self, previous: Connection, known: Connection, sight: Sight, end: int) -> None:
        syn_end = 1 - end if sight.flags & ACK else end
        answerer = 1 - syn_end
        if previous.halves[answerer].state == TIME_WAIT:
            half = known.halves[answerer]
            half.state, half.opened = TIME_WAIT, Guard.REOPENED
        if previous.is_answered_by(sight) and previous.pending_syn is not None:
            known.see(previous.pending_syn, syn_end)

    def rows(self) -> list[TransitionRow]:
        """All transitions that stand, by connection and packet."""
        return [TransitionRow(*row) for known in self.connections for row in known.rows if row[6] != RETRACTED]


def _is(number: int, other: int) -> bool:
    return number & MASK == other


def _is_a_gap(ack: int, nxt: int) -> bool:
    """Whether an ACK of numbers never seen is believable: not absurdly far ahead."""
    return 0 < (ack - nxt) & MASK < ANY_WINDOW
