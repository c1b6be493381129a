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
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.model.event import Event, Guard
from tcpscope.model.segment import ACK, FIN, RST, SYN
from tcpscope.model.state import State
from tcpscope.packets.pure_ends import (
    CLOSED,
    LISTEN,
    OF_FIN,
    OF_HANDSHAKE,
    SYN_RECEIVED,
    SYN_SENT,
    UNSYNCHRONIZED,
    Ends,
    Half,
)
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

ESTABLISHED, TIME_WAIT = State.ESTABLISHED, State.TIME_WAIT


class Connection(Ends):
    """One incarnation of a flow: what each of its segments says."""

    def __init__(self, serial: int, self_connected: bool = False) -> None:
        super().__init__(serial, self_connected)
        self.is_fresh = True
        self.is_fast_open = False
        self.pending_syn: Sight | None = None

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
        return receiver.state in (*UNSYNCHRONIZED, TIME_WAIT)

    def is_answered_by(self, sight: Sight) -> bool:
        """Whether a SYN|ACK answers the SYN that was seen on the live connection."""
        syn = self.pending_syn
        if syn is None or not sight.flags & ACK or self.halves[0] is self.halves[1]:
            return False
        return (syn.src, syn.sport) == (sight.dst, sight.dport) and _is(syn.seq + 1, sight.ack)

    def is_over(self) -> bool:
        """Whether nothing more is to come but stragglers: both ends finished, or never synchronized."""
        return all(half.state in (*UNSYNCHRONIZED, TIME_WAIT) for half in self.halves)

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
        self.note_window(sender, receiver, sight)
        self.is_fresh = False
        sender.last_ns = sight.t_ns

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
            if receiver.opened == Guard.REOPENED:
                return  # Why: its TIME-WAIT still expects the old numbers, a reset with those may end it
            if self.is_fresh:
                receiver.state = LISTEN
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
        self.send_numbers(sender, receiver, sight)
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
            sender.rcv = (receiver.isn + 1) & MASK
            self.move(sender, Event.SYN, SEEN, sight, receiver.last_ns, sight.t_ns)
        elif sender.state == TIME_WAIT and sender.opened == Guard.REOPENED:
            sender.rcv = (receiver.isn + 1) & MASK
            self.move(sender, Event.SYN_REOPENS, SEEN, sight, receiver.last_ns, sight.t_ns)
        elif sender.state == SYN_SENT and sender.isn == sight.seq:
            self.move(sender, Event.SYN, SEEN, sight, receiver.last_ns, sight.t_ns)
        elif sender.state == ESTABLISHED and event == Event.SYN_ACK and before == SYN_SENT and sender.isn == sight.seq:
            self.take_back(sender)  # simultaneous open: it had the SYN before our SYN|ACK
            self.move(sender, Event.SYN, SEEN, sight, receiver.last_ns, sight.t_ns)
            self.move(sender, Event.SYN_ACK, ASSUMED, sight, sight.t_ns, NEVER)
        elif sender.state == ESTABLISHED and event in OF_HANDSHAKE and sender.isn == sight.seq:
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
        self.send_numbers(sender, receiver, sight)
        if sight.flags & ACK:
            self.prove_by_ack(sender, receiver, sight)
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
                receiver.rcv = (sender.isn + 1) & MASK
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
        elif sender.fin == (sight.seq + sight.text_bytes) & MASK:
            self._see_fin_again(sender, receiver, sight)

    def _see_fin_again(self, sender: Half, receiver: Half, sight: Sight) -> None:
        """The sender repeats its FIN: the ACK of it, and a FIN that it does not acknowledge, did not arrive."""
        covers_fin = receiver.fin >= 0 and (sight.ack - receiver.fin - 1) & MASK < HALF
        misses_fin = sight.flags & ACK and not covers_fin
        while True:
            event, _ = self.last_assumption(sender)
            if not (event == Event.ACK_OF_FIN or (event in OF_FIN and misses_fin)):
                return
            self.take_back(sender)
            if event in OF_FIN:
                sender.rcv = receiver.fin
            if event != Event.FIN:
                receiver.acked = sender.fin

    def _receive(self, sender: Half, receiver: Half, sight: Sight, una: int) -> None:
        """Judge the segment as the receiver does and let the table answer."""
        if receiver.rcv < 0:
            receiver.rcv = sight.seq
        events = classify(
            receiver.state,
            sight.flags,
            sight.seq,
            sight.ack,
            sight.text_bytes,
            snd_una=una if una >= 0 else sight.ack,
            snd_nxt=receiver.nxt if receiver.nxt >= 0 else sight.ack,
            rcv_nxt=receiver.rcv,
            rcv_wnd=receiver.window(receiver.rcv),
            snd_fin=receiver.fin,
            opened_actively=receiver.opened == Guard.OPENED_ACTIVELY,
            reopens=False,
        )
        for event in events:
            if self.move(receiver, event, ASSUMED, sight, sight.t_ns, NEVER) and event in OF_FIN:
                receiver.rcv = (sender.fin + 1) & MASK
        if events[0] in (Event.SEGMENT_UNACCEPTABLE, Event.ACK_UNACCEPTABLE, Event.ACK_MISSING) or sight.flags & SYN:
            return
        self._advance(sender, receiver, sight)

    def _advance(self, sender: Half, receiver: Half, sight: Sight) -> None:
        """Move RCV.NXT over the text, over what was queued behind a hole, and over a FIN that waited there."""
        if not sight.text_bytes:
            return
        end = (sight.seq + sight.text_bytes) & MASK
        if (end - receiver.rcv) & MASK < HALF and end != receiver.rcv:
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
            self.prove_by_ack(sender, receiver, sight)
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
        return classify(
            receiver.state,
            sight.flags,
            sight.seq,
            sight.ack,
            sight.text_bytes,
            snd_una=receiver.isn if receiver.isn >= 0 else sight.ack,
            snd_nxt=receiver.nxt if receiver.nxt >= 0 else sight.ack,
            rcv_nxt=rcv,
            rcv_wnd=receiver.window(rcv),
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
            half.rcv = previous.halves[answerer].rcv
        if previous.is_answered_by(sight) and previous.pending_syn is not None:
            known.see(previous.pending_syn, syn_end)

    def rows(self) -> list[TransitionRow]:
        """All transitions that stand, by connection and packet."""
        return [TransitionRow(*row) for known in self.connections for row in known.rows if row[6] != RETRACTED]


def _is(number: int, other: int) -> bool:
    return number & MASK == other
