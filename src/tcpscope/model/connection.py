"""``Connection``: one TCP connection of a capture with both ends' states, and ``Direction``, one way through it."""

from __future__ import annotations

from tcpscope.model.address import Endpoint
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State
from tcpscope.model.transition import Transition


class Direction(NamedTuple):
    """What one end sent, as seen where the capture was taken.

    ``text_bytes`` counts payload as sent, again or not; ``stream_bytes`` the stretch of the sequence space
    (``None`` when its start is not known); ``missed_bytes`` were acknowledged but never captured. Resets by their
    place in the receiver's window (RFC 5961): ``resets_legal`` at RCV.NXT, ``resets_challenged`` elsewhere inside,
    ``resets_blind`` outside. ``rtt_min_ms``: from the capture to the other end and back.
    """

    packets: int = 0
    text_bytes: int = 0
    stream_bytes: int | None = None
    retransmissions: int = 0
    out_of_order: int = 0
    duplicate_acks: int = 0
    zero_windows: int = 0
    window_full: int = 0
    keepalives: int = 0
    resets_legal: int = 0
    resets_challenged: int = 0
    resets_blind: int = 0
    missed_bytes: int = 0
    rtt_min_ms: float | None = None
    mss: int | None = None
    window_scale: int | None = None
    filled_holes: int = 0  #: retransmissions of what was never captured: lost before the capture
    copies: int = 0  #: packets captured once more, by a mirror port or at another interface; counted nowhere else
    ip_bytes: int = 0  #: octets of all IP packets, headers and all
    resets_late: int = 0  #: to an end that had closed, or still held an older connection of these ports

    @property
    def resets(self) -> int:
        """All resets, wherever they lay."""
        return self.resets_legal + self.resets_challenged + self.resets_blind + self.resets_late


class Connection(NamedTuple):
    """One incarnation of a pair of addresses and ports.

    ``client`` sent the first SYN; without a handshake it is a guess (``is_client_certain``). ``client_state`` and
    ``server_state`` are what packets show; ends that only timers bring (2 MSL) are ``expected`` transitions and do
    not change them. ``opened_by``: ``client``, ``both`` (simultaneous open) or empty; ``closed_by`` names who closed
    first, ``closed_how`` is ``fin``, ``reset``, ``refused``, ``icmp`` or empty. ``verdict`` says who owes the next
    packet, ``refuted_by`` what would show it wrong.
    """

    client: Endpoint
    server: Endpoint
    start_ns: int
    end_ns: int
    client_state: State
    server_state: State
    transitions: tuple[Transition, ...] = ()
    to_server: Direction = Direction()
    to_client: Direction = Direction()
    is_client_certain: bool = True
    opened_by: str = ""
    closed_by: str = ""
    closed_how: str = ""
    handshake_ms: float | None = None
    incarnation: int = 0  #: 0 for the first use of these addresses and ports in the capture
    conn_state: str = ""  #: as Zeek names it
    history: str = ""  #: as Zeek writes it
    community_id: str = ""
    icmp_errors: int = 0
    notes: tuple[str, ...] = ()
    verdict: str = ""
    refuted_by: str = ""
    first_packet: int = 0
    number: int = 0  #: position among the connections of the capture, from 1

    @property
    def packets(self) -> int:
        """Segments in both directions."""
        return self.to_server.packets + self.to_client.packets

    @property
    def bytes(self) -> int:
        """Payload in both directions, as sent."""
        return self.to_server.text_bytes + self.to_client.text_bytes

    @property
    def retransmissions(self) -> int:
        """Retransmitted segments in both directions."""
        return self.to_server.retransmissions + self.to_client.retransmissions

    @property
    def copies(self) -> int:
        """Packets captured once more, both directions."""
        return self.to_server.copies + self.to_client.copies

    @property
    def out_of_order(self) -> int:
        """Segments captured out of order, both directions."""
        return self.to_server.out_of_order + self.to_client.out_of_order

    @property
    def zero_windows(self) -> int:
        """Segments that offered no window, both directions."""
        return self.to_server.zero_windows + self.to_client.zero_windows

    @property
    def resets(self) -> int:
        """Resets in both directions."""
        return self.to_server.resets + self.to_client.resets
