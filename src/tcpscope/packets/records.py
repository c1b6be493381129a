"""From the rows of a ledger to :class:`~tcpscope.model.connection.Connection`: roles, names, times. Built on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tcpscope.machine.compiled import GUARD_SETS
from tcpscope.machine.lifecycle import find_row
from tcpscope.model.address import Endpoint, Flow
from tcpscope.model.connection import Connection, Direction
from tcpscope.model.event import Event
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.model.state import State
from tcpscope.model.transition import Transition
from tcpscope.packets import layout, zeek
from tcpscope.packets.community import community_id
from tcpscope.packets.ledger import in_order
from tcpscope.packets.roles import client_end, spell_address
from tcpscope.packets.rows import CERTAINTIES, NEVER, TWO_MSL_NS, TransitionRow
from tcpscope.packets.totals import final_pairs
from tcpscope.packets.verdict import judge

if TYPE_CHECKING:
    from tcpscope.packets.ledger import Ledger

#: Linux keeps TIME-WAIT for 60 s (TCP_TIMEWAIT_LEN), the RFC for 2 MSL.
_LINUX_TIME_WAIT_NS = 60 * 10**9
_ROLES = ("client", "server")


#: How many connections :meth:`Connections.examples` gives of each final pair of states of a large capture.
_EXAMPLES_OF_A_PAIR = 100
_FEW = 1000


class Connections(Sequence[Connection]):
    """All connections of a ledger in order of their first packet; each is built when it is asked for.

    ``places`` says for each serial of the ledger where it is here.
    """

    def __init__(
        self, ledger: Ledger, places: Sequence[int] | None = None, notes: Mapping[int, str] | None = None
    ) -> None:
        """``places``: for each serial its place in the whole capture, when this is a choice of its connections.

        ``notes``: what else is known of connections, by serial.
        """
        self._notes_of = notes or {}
        self.ledger = ledger
        self._order, self.places = in_order(ledger)
        self.places = self.places if places is None else places

    def examples(self) -> Iterator[Connection]:
        """Yield connections of every final pair of states: all of a few, the first ones of many."""
        most = _EXAMPLES_OF_A_PAIR if len(self) > _FEW else _FEW
        for pair in final_pairs(self.ledger, most):
            for serial in pair.serials:
                yield build_connection(self.ledger, serial)

    def __len__(self) -> int:
        return len(self.ledger)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204 - int or slice, as Sequence
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        serial = int(self._order[index])
        found = build_connection(self.ledger, serial)._replace(number=int(self.places[serial]) + 1)
        note = self._notes_of.get(serial)
        return found if note is None else found._replace(notes=(*found.notes, note))


def build_connection(ledger: Ledger, serial: int) -> Connection:
    """Return connection ``serial`` (counted from 0) of the ledger as a word."""
    f, q, extra, key = ledger.flow(serial)
    rows = ledger.rows_of(serial)
    client, is_certain = client_end(f, key)
    half_bytes = (len(key) - 4) // 2
    ends = (
        Endpoint(spell_address(key[:half_bytes]), int.from_bytes(key[-4:-2])),
        Endpoint(spell_address(key[half_bytes:-4]), int.from_bytes(key[-2:])),
    )
    is_self = bool(f[layout.SHARED] & layout.SELF)
    server = client if is_self else 1 - client
    flow = Flow(ends[client], ends[1 - client])
    last_ns = max(q[layout.LAST_NS], q[layout.LAST_NS + 1])
    passed = _rows_of_older(rows)
    closed_by, closed_how = _closing(rows[passed:], client)
    record = Connection(
        client=ends[client],
        server=ends[1 - client],
        start_ns=q[layout.FIRST_NS],
        end_ns=max(last_ns, q[layout.FIRST_NS]),
        client_state=State(f[client * layout.HALF_WORDS + layout.STATE]),
        server_state=State(f[server * layout.HALF_WORDS + layout.STATE]),
        transitions=tuple(_spell_row(row, flow, client, f) for row in rows) + _expected(f, q, flow, client, server),
        to_server=_direction(f, q, extra, client),
        to_client=Direction() if is_self else _direction(f, q, extra, server),
        is_client_certain=is_certain,
        opened_by=_opener(f, client, server),
        closed_by=closed_by,
        closed_how=closed_how,
        handshake_ms=_handshake_ms(rows, client, server),
        incarnation=f[layout.INCARNATION],
        conn_state=zeek.conn_state(f, q, extra, client),
        history=zeek.spell_history(f, q, extra, client),
        community_id=community_id(
            key[:half_bytes], key[half_bytes:-4], int.from_bytes(key[-4:-2]), int.from_bytes(key[-2:])
        ),
        icmp_errors=extra[layout.ICMP_SOFT_SEEN] + extra[layout.ICMP_HARD_SEEN] + extra[layout.ICMP_TOO_BIG_SEEN],
        notes=_notes(f, extra, is_self, is_certain, passed > 0),
        first_packet=f[layout.FIRST_PACKET],
    )
    verdict, refuted_by = judge(record)
    return record._replace(verdict=verdict, refuted_by=refuted_by)


def _spell_row(row: TransitionRow, flow: Flow, client: int, f: list[int]) -> Transition:
    role = _ROLES[0 if row.end == client else 1]
    opened = f[row.end * layout.HALF_WORDS + layout.BITS] >> layout.OPENED_SHIFT & 3
    before, event = State(row.before), Event(row.event)
    rule = find_row(before, event, GUARD_SETS[opened])
    return Transition(
        flow if role == "client" else flow.reversed,
        role,
        before,
        event,
        State(row.after),
        row.t_ns,
        source="capture",
        certainty=CERTAINTIES[row.basis],
        packet=row.packet,
        earliest_ns=None if row.earliest_ns == NEVER else row.earliest_ns,
        latest_ns=None if row.latest_ns == NEVER else row.latest_ns,
        cause="" if rule is None else f"{rule.note} (RFC 9293 §{rule.rfc})",
    )


def _expected(f: list[int], q: list[int], flow: Flow, client: int, server: int) -> tuple[Transition, ...]:
    """TIME-WAIT ends by a timer that no packet shows."""
    expected = []
    for role, end in zip(_ROLES, (client, server) if client != server else (client,), strict=False):
        if f[end * layout.HALF_WORDS + layout.STATE] != State.TIME_WAIT:
            continue
        since = max(q[layout.LAST_NS], q[layout.LAST_NS + 1])
        expected.append(
            Transition(
                flow if role == "client" else flow.reversed,
                role,
                State.TIME_WAIT,
                Event.TIME_WAIT_TIMEOUT,
                State.CLOSED,
                since + _LINUX_TIME_WAIT_NS,
                source="capture",
                certainty="expected",
                earliest_ns=since + _LINUX_TIME_WAIT_NS,
                latest_ns=since + TWO_MSL_NS,
                cause="2 MSL are over (60 s on Linux)",
            )
        )
    return tuple(expected)


def _direction(f: list[int], q: list[int], extra: list[int], end: int) -> Direction:
    half, x = end * layout.HALF_WORDS, end * layout.EXTRA_HALF
    bits = f[half + layout.BITS]
    text = q[layout.TEXT_BYTES + end]
    stream = None
    if bits & layout.HAS_ISN and bits & layout.HAS_NXT:
        span = (f[half + layout.NXT] - f[half + layout.ISN] - 1 - bool(bits & layout.HAS_FIN)) & layout.M
        # Why: the numbers wrap every 4 GiB; how often is known from what was sent.
        turns = max(round((text - span) / (1 << 32)), 0)
        stream = (span if span < layout.M - 1 else 0) + (turns << 32)
    rtt_us = f[half + layout.RTT_MIN_US]
    mss = f[half + layout.WINDOW_MSS] >> 16 & 0xFFFF
    return Direction(
        f[half + layout.PACKETS],
        text,
        stream,
        extra[x + layout.RETRANSMISSIONS],
        extra[x + layout.OUT_OF_ORDER],
        extra[x + layout.DUPLICATE_ACKS],
        extra[x + layout.ZERO_WINDOWS],
        extra[x + layout.WINDOW_FULL],
        extra[x + layout.KEEPALIVES],
        extra[x + layout.RESETS_LEGAL],
        extra[x + layout.RESETS_CHALLENGED],
        extra[x + layout.RESETS_BLIND],
        extra[x + layout.MISSED_BYTES],
        rtt_us / 1000 if rtt_us else None,
        mss or None,
        bits >> layout.SCALE_SHIFT & 15 if bits & layout.HAS_SCALE else None,
        extra[x + layout.FILLED_HOLES],
        extra[layout.COPIES + end],
        text + _header_bytes(f, half),
        extra[layout.RESETS_LATE + end],
    )


def _header_bytes(f: list[int], half: int) -> int:
    """Return the octets of all headers of one end, whose lowest 32 bits are kept."""
    least = f[half + layout.PACKETS] * (60 if f[layout.SHARED] & layout.IS_IPV6 else 40)
    return least + ((f[half + layout.HEADER_BYTES] - least) & layout.M)


def _opener(f: list[int], client: int, server: int) -> str:
    opened = [f[end * layout.HALF_WORDS + layout.BITS] >> layout.OPENED_SHIFT & 3 for end in (client, server)]
    if opened[0] != layout.ACTIVELY:
        return "client" if opened[1] in (layout.PASSIVELY, layout.REOPENED) else ""
    return "both" if opened[1] == layout.ACTIVELY else "client"


def _rows_of_older(rows: list[TransitionRow]) -> int:
    """Return how many rows come before the peer's open when a reset ended an older connection that it still held."""
    for place in range(len(rows) - 1, 0, -1):
        row = rows[place]
        if row.before == State.LISTEN:
            is_reset = any(old.end == row.end and old.event == Event.RST for old in rows[:place])
            return place if is_reset else 0
    return 0


def _closing(rows: list[TransitionRow], client: int) -> tuple[str, str]:
    """Who closed first and how."""
    both = [row for row in rows if row.event == Event.CLOSE and row.after == State.FIN_WAIT_1]
    if len({row.end for row in both}) == 2:
        return "both", "fin"
    for row in rows:
        role = _ROLES[0 if row.end == client else 1]
        if row.event == Event.CLOSE:
            return role, "fin"
        if row.event == Event.ABORT:
            return role, "reset"
        if row.event == Event.ICMP_HARD_ERROR:
            return "", "icmp"
        if row.event == Event.RST:
            other = _ROLES[1 if row.end == client else 0]
            return other, "refused" if row.before == State.SYN_SENT else "reset"
    return "", ""


def _handshake_ms(rows: list[TransitionRow], client: int, server: int) -> float | None:
    start = next((r for r in rows if r.end == client and r.event == Event.OPEN_ACTIVE and r.basis == 0), None)
    done = next((r for r in rows if r.end == server and r.after == State.ESTABLISHED), None)
    if start is None or done is None or done.t_ns < start.t_ns:
        return None
    return (done.t_ns - start.t_ns) / 1e6


def _notes(f: list[int], extra: list[int], is_self: bool, is_certain: bool, was_held: bool) -> tuple[str, ...]:
    notes = []
    if was_held:
        notes.append(
            "the server still held an older connection of these ports: a reset ended that, then this one opened"
        )
    if is_self:
        notes.append("self-connect: both ends are one socket")
    elif not is_certain:
        notes.append("no handshake captured: states before the first packet and the roles are assumed")
    if not (f[layout.PACKETS] and f[layout.HALF_WORDS + layout.PACKETS]) and not is_self:
        notes.append("one direction captured")
    if f[layout.SHARED] & layout.FAST_OPEN:
        notes.append("TCP Fast Open: data in the SYN")
    if f[layout.SHARED] & (layout.PENDING_SYN_0 | layout.PENDING_SYN_1):
        notes.append(f"SYN on the live connection (packet {extra[layout.PENDING_SYN_PACKET]})")
    copies = extra[layout.COPIES] + extra[layout.COPIES + 1]
    if copies:
        notes.append(f"{copies} copies of packets (a mirror port, or several interfaces): each packet is counted once")
    missed = extra[layout.MISSED_BYTES] + extra[layout.EXTRA_HALF + layout.MISSED_BYTES]
    if missed:
        notes.append(f"{missed} octets acknowledged but not captured")
    for word, what in (
        (layout.ICMP_HARD_SEEN, "ICMP port or protocol unreachable"),
        (layout.ICMP_SOFT_SEEN, "ICMP net or host unreachable, or time exceeded"),
        (layout.ICMP_TOO_BIG_SEEN, "ICMP packet too big"),
    ):
        if extra[word]:
            notes.append(f"{what}: {extra[word]}")
    return tuple(notes)
