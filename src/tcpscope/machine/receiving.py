"""The receiving half: text into order, the window that is offered, and when an acknowledgement is owed.

RFC 9293 §3.10.7.4 seventh, §3.8.6 (window, SWS avoidance), §3.8.6.3 (delayed ACK); RFC 2018 and 2883 (what SACK
blocks say). Text is kept by reference; small pieces are joined so that many small segments cost no more than few.
"""

from __future__ import annotations

from tcpscope.machine.options import TIMESTAMP_BYTES, announced_mss
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.machine.tcb import NEVER, OutOfOrder, Tcb
from tcpscope.model.segment import CWR, Segment
from tcpscope.model.state import State

Piece = bytes | bytearray | memoryview
SMALL_BYTES = 1024
CONGESTION_EXPERIENCED = 3
BLOCKS_KEPT = 256  #: holes remembered at most; what would open more is dropped, as if lost


def free_bytes(tcb: Tcb) -> int:
    """Return the room left in the receive buffer."""
    return max(0, tcb.receive_buffer_bytes - tcb.inbox_bytes)


def first_window(tcb: Tcb) -> int:
    """Return the window of SYN or SYN|ACK: at most 65 535, for its field is never scaled (RFC 7323 §2.2)."""
    free = free_bytes(tcb)
    is_timed = tcb.timestamps_ok and not tcb.opened_actively  # a SYN is sent before that is known
    segment_bytes = announced_mss(tcb) - (TIMESTAMP_BYTES if is_timed else 0)
    if tcb.profile.rounds_first_window and free > segment_bytes:
        return min(min(free, 65536) // segment_bytes * segment_bytes, 65535)
    return min(free, 65535)


def open_window(tcb: Tcb) -> None:
    """Promise the first window.

    Why the rounding down: later segments must be able to name the same edge in a scaled field.
    """
    window, scale = first_window(tcb), tcb.rcv_wscale
    if tcb.profile.first_edge_is_exact:
        window = window >> scale << scale
    tcb.rcv_adv = (tcb.rcv_nxt + window) & MASK


def advertise(tcb: Tcb) -> int:
    """Move the right edge as far as it should go and return the window field.

    The edge never moves left (SHLD-14), and right only by a worthwhile step (MUST-39): a full segment, or half the
    buffer. Why the rounding up: a scaled field cannot name every edge, and the smaller one would take back a promise.
    """
    scale, promised = tcb.rcv_wscale, (tcb.rcv_adv - tcb.rcv_nxt) & MASK
    free = tcb.receive_buffer_bytes - tcb.inbox_bytes
    if tcb.state is State.SYN_RECEIVED:
        return min(promised >> scale, 65535)  # SYN|ACK could not say a wider one again
    step = free - promised
    if step >= tcb.rcv_mss_bytes or step * 2 >= tcb.receive_buffer_bytes:
        field = min(free >> scale, 65535)
        if field << scale >= promised:
            tcb.rcv_adv = (tcb.rcv_nxt + (field << scale)) & MASK
            return field
    field = min((promised + (1 << scale) - 1) >> scale, 65535)
    tcb.rcv_adv = (tcb.rcv_nxt + max(field << scale, promised)) & MASK
    return field


def is_window_update_due(tcb: Tcb) -> bool:
    """Whether reading has freed enough to tell the peer at once: half the buffer, or two segments that it waits for.

    It waits where its window is all but shut, and where something is missing: then no acknowledgement moves on, and
    with it no window, until the hole is filled. Why not always: each read would cost an ACK.
    """
    step = free_bytes(tcb) - tcb.rcv_wnd
    if step * 2 >= tcb.receive_buffer_bytes:
        return True
    return step >= 2 * tcb.rcv_mss_bytes and (tcb.rcv_wnd < tcb.rcv_mss_bytes or bool(tcb.out_of_order))


def take_text(tcb: Tcb, seq: int, text: Piece, now_ns: int) -> None:
    """Take acceptable text that starts at ``seq``: trim it to the window, deliver it or keep it for later."""
    before = (tcb.rcv_nxt - seq) & MASK
    if before < HALF:
        if before:
            tcb.dsack = (seq, tcb.rcv_nxt)
            tcb.acks_now = True
            text = memoryview(text)[before:]
        _take_in_order(tcb, text, now_ns)
    else:
        room = (tcb.rcv_adv - seq) & MASK
        _keep(tcb, seq, text if len(text) <= room else memoryview(text)[:room])
        tcb.acks_now = True  # MAY-13, RFC 5681 §4.2
        tcb.counters.out_of_order_in += 1


def _take_in_order(tcb: Tcb, text: Piece, now_ns: int) -> None:
    room = tcb.rcv_wnd
    if len(text) > room:
        text = memoryview(text)[:room]
        tcb.acks_now = True
    if tcb.inbox_bytes + len(text) > tcb.receive_buffer_bytes + (1 << tcb.rcv_wscale) * 64:
        tcb.acks_now = True  # Why: rounding up of the window was pressed for more than the buffer is worth
        return
    note_segment_size(tcb, len(text))
    deliver(tcb, text)
    if tcb.out_of_order:
        _deliver_what_follows(tcb)
        tcb.acks_now = True
    owe_acknowledgement(tcb, len(text), now_ns)


def note_segment_size(tcb: Tcb, octets: int) -> None:
    """Learn the peer's segment size (RMSS) for the rule of every second full segment; a GSO super-segment is many."""
    if tcb.rcv_mss_bytes < octets:
        tcb.rcv_mss_bytes = min(octets, max(tcb.path_mtu_bytes - 40, 536))


def deliver(tcb: Tcb, text: Piece) -> None:
    """Append text at RCV.NXT to what the application may read."""
    octets = len(text)
    inbox = tcb.inbox
    if inbox and octets < SMALL_BYTES and len(inbox[-1]) < 4 * SMALL_BYTES:
        inbox[-1] = b"".join((inbox[-1], text))
    else:
        inbox.append(text)
    tcb.inbox_bytes += octets
    tcb.rcv_nxt = (tcb.rcv_nxt + octets) & MASK


def owe_acknowledgement(tcb: Tcb, octets: int, now_ns: int) -> None:
    """Owe an ACK at once for each second full segment, counted in octets (SHLD-19), else soon (SHLD-18)."""
    tcb.unacked_text_bytes += octets
    if tcb.unacked_text_bytes >= 2 * tcb.rcv_mss_bytes:
        tcb.acks_now = True
    elif tcb.deadline_delayed_ack_ns == NEVER:
        tcb.deadline_delayed_ack_ns = now_ns + tcb.profile.delayed_ack_ns


def _deliver_what_follows(tcb: Tcb) -> None:
    blocks = tcb.out_of_order
    while blocks and (tcb.rcv_nxt - blocks[0].seq) & MASK < HALF:
        block = blocks.pop(0)
        if block.seq in tcb.ordered_by_recency:
            tcb.ordered_by_recency.remove(block.seq)
        overlap = (tcb.rcv_nxt - block.seq) & MASK
        for piece in block.pieces:
            if overlap < len(piece):
                deliver(tcb, memoryview(piece)[overlap:] if overlap else piece)
            overlap = max(0, overlap - len(piece))


def _keep(tcb: Tcb, seq: int, text: Piece) -> None:
    """Put text into the queue of blocks: sorted, disjoint, never touching. What came first stays."""
    blocks = tcb.out_of_order
    first = 0
    while first < len(blocks) and (seq - blocks[first].end - 1) & MASK < HALF:
        first += 1  # blocks that end before ``seq``
    end = (seq + len(text)) & MASK
    last = first
    while last < len(blocks) and (end - blocks[last].seq) & MASK < HALF:
        last += 1  # blocks that start at or before ``end``
    joined = blocks[first:last]
    _note_duplicate(tcb, seq, end, joined)
    if not joined and len(blocks) >= BLOCKS_KEPT:
        return
    merged = _merge(OutOfOrder(seq, end, [text]), joined)
    blocks[first:last] = [merged]
    gone = {block.seq for block in joined}
    tcb.ordered_by_recency = [merged.seq, *(other for other in tcb.ordered_by_recency if other not in gone)]


def _note_duplicate(tcb: Tcb, seq: int, end: int, blocks: list[OutOfOrder]) -> None:
    """RFC 2883 §4: tell of the first range that was there already."""
    for block in blocks:
        left = seq if (seq - block.seq) & MASK < HALF else block.seq
        right = end if (block.end - end) & MASK < HALF else block.end
        if 0 < (right - left) & MASK < HALF:
            tcb.dsack = (left, right)
            return


def _merge(new: OutOfOrder, blocks: list[OutOfOrder]) -> OutOfOrder:
    """Join ``new`` with the blocks it touches; where they overlap the older octets stay."""
    if not blocks:
        return new
    text = new.pieces[0]
    seq = new.seq if (blocks[0].seq - new.seq) & MASK < HALF else blocks[0].seq
    end = new.end if (new.end - blocks[-1].end) & MASK < HALF else blocks[-1].end
    pieces: list[Piece] = []
    at = new.seq  # up to where ``text`` is used
    for block in blocks:
        gap = (block.seq - at) & MASK
        if 0 < gap < HALF:
            offset = (at - new.seq) & MASK
            pieces.append(memoryview(text)[offset : offset + gap])
        pieces.extend(block.pieces)
        if (block.end - at) & MASK < HALF:
            at = block.end
    rest = (new.end - at) & MASK
    if 0 < rest < HALF:
        pieces.append(memoryview(text)[len(text) - rest :])
    return OutOfOrder(seq, end, pieces)


def sack_blocks(tcb: Tcb) -> tuple[tuple[int, int], ...]:
    """Return the SACK blocks of the next segment: D-SACK first, then the most recently changed (RFC 2018 §4)."""
    most = 3 if tcb.timestamps_ok else 4
    blocks = [tcb.dsack] if tcb.dsack is not None else []
    ends = {block.seq: block.end for block in tcb.out_of_order}
    recent = [seq for seq in tcb.ordered_by_recency if seq in ends][:most]
    blocks.extend((seq, ends[seq]) for seq in recent)
    return tuple(blocks[:most])


def take_congestion_mark(tcb: Tcb, segment: Segment) -> None:
    """Echo a congestion mark until the sender says that it has slowed down (RFC 3168 §6.1.3)."""
    if segment.flags & CWR:
        tcb.ece_pending = False
    if segment.ip_ecn == CONGESTION_EXPERIENCED:
        tcb.ece_pending = True
        tcb.acks_now = True


def take_urgent(tcb: Tcb, segment: Segment) -> None:
    """Note the urgent pointer (§3.10.7.4 sixth): it names the octet after the urgent text (MUST-62)."""
    pointed = (segment.seq + segment.urgent_pointer) & MASK
    if 0 < (pointed - tcb.rcv_up) & MASK < HALF and (pointed - read_position(tcb)) & MASK < HALF:
        tcb.rcv_up = pointed
        tcb.report("urgent", f"{urgent_bytes(tcb)} octets to the end of urgent data")


def read_position(tcb: Tcb) -> int:
    """Return the sequence number of the octet the application reads next."""
    return (tcb.rcv_nxt - tcb.inbox_bytes) & MASK


def urgent_bytes(tcb: Tcb) -> int:
    """Return how many octets lie between the reader and the end of urgent data (MUST-33); 0: no urgent mode."""
    left = (tcb.rcv_up - read_position(tcb)) & MASK
    return left if left < HALF else 0


def note_push(tcb: Tcb, end: int) -> None:
    """Remember up to where the peer has pushed (MAY-17)."""
    if (end - tcb.rcv_psh) & MASK < HALF:
        tcb.rcv_psh = end


def pushed_bytes(tcb: Tcb) -> int:
    """Return how many of the octets that can be read were pushed."""
    left = (tcb.rcv_psh - read_position(tcb)) & MASK
    return min(left, tcb.inbox_bytes) if left < HALF else 0


def read(tcb: Tcb, most_bytes: int) -> bytes:
    """Hand up to ``most_bytes`` to the application and let the window follow."""
    taken: list[Piece] = []
    wanted = most_bytes
    while wanted and tcb.inbox:
        piece = tcb.inbox[0]
        if len(piece) <= wanted:
            taken.append(tcb.inbox.pop(0))
            wanted -= len(piece)
        else:
            view = memoryview(piece)
            taken.append(view[:wanted])
            tcb.inbox[0] = view[wanted:]
            wanted = 0
    text = bytes(taken[0]) if len(taken) == 1 else b"".join(taken)
    tcb.inbox_bytes -= len(text)
    return text


def hold_text_of_syn(tcb: Tcb, text: Piece) -> None:
    """Keep text that came with a SYN until the connection is established (§3.10.7.2)."""
    room = tcb.rcv_wnd
    _keep(tcb, tcb.rcv_nxt, text if len(text) <= room else memoryview(text)[:room])


def release_text_of_syn(tcb: Tcb, now_ns: int) -> None:
    """Deliver what came with the SYN."""
    before = tcb.rcv_nxt
    _deliver_what_follows(tcb)
    octets = (tcb.rcv_nxt - before) & MASK
    if octets:
        owe_acknowledgement(tcb, octets, now_ns)
