"""Where things are: the words of a flow, of its row for trouble, of a segment and of a row of the log.

The engines of :mod:`tcpscope.packets.step` know nothing but integers at these places. A flow is ``f`` (32-bit: two
halves of :data:`HALF_WORDS`, then what both share) and ``q`` (64-bit); what only troubled connections need is in
``x``, a row that is taken on demand, so that an open connection stays below 250 bytes. The segment at hand is ``g``,
transitions are rows of ``log``; ``s`` and ``r`` are where the sender's and the receiver's half begin. Sequence numbers
may be stored signed: only differences modulo 2**32 are looked at.
"""

from __future__ import annotations

from tcpscope.model.event import Event
from tcpscope.model.state import State

M = 0xFFFFFFFF
HALFWAY = 0x80000000
ANY_WINDOW = 1 << 30
TWO_MSL_NS = 240 * 10**9
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

# one half of ``f``; the second half starts at HALF_WORDS
STATE, BITS, ISN, NXT, RCV, ACKED, EDGE, FIN_SEQ, PENDING_1, PENDING_2 = range(10)
PACKETS, RTT_MIN_US, RTT_SEQ, RTT_START_US, WINDOW_MSS = range(10, 15)
HEADER_BYTES = 15  #: of IP and TCP, modulo 2**32
HALF_WORDS = 16
# what both halves share
SHARED, FIRST_PACKET, SYN_ROW, EXTRA, INCARNATION = range(32, 37)
FLOW_WORDS = 37
# ``q``
FIRST_NS, LAST_NS, TEXT_BYTES, HISTORY = 0, 1, 3, 5
FLOW_QUADS = 6
# one half of ``x``; the second starts at EXTRA_HALF
RETRANSMISSIONS, OUT_OF_ORDER, DUPLICATE_ACKS, ZERO_WINDOWS, WINDOW_FULL, KEEPALIVES = range(6)
RESETS_LEGAL, RESETS_CHALLENGED, RESETS_BLIND, MISSED_BYTES = range(6, 10)
FILLED_HOLES, OOO_LOW, OOO_HIGH = range(10, 13)  #: retransmissions of what was never captured; numbers beyond a hole
EXTRA_HALF = 13
PENDING_SYN_SEQ, PENDING_SYN_PACKET, PENDING_SYN_HIGH, PENDING_SYN_LOW, PENDING_SYN_SCALE = range(26, 31)
ICMP_SOFT_SEEN, ICMP_HARD_SEEN, ICMP_TOO_BIG_SEEN, MORE_HISTORY_LOW, MORE_HISTORY_HIGH = range(31, 36)
COPIES, COPIES_HERE = 36, 38  #: of either end; of both, those that passed the very place of their original
RESETS_LATE = 39  #: of either end, to a closed one
EXTRA_WORDS = 41

# BITS
HAS_ISN, HAS_NXT, HAS_RCV, HAS_ACKED, HAS_EDGE, HAS_FIN, SENT_SYN, HAS_OOO, HAS_RTT, HAS_SCALE = (
    1, 2, 4, 8, 16, 32, 64, 128, 256, 512,
)  # fmt: skip
OPENED_SHIFT, SCALE_SHIFT, LETTERS_SHIFT = 10, 12, 16
# SHARED
FRESH, FAST_OPEN, SELF, PENDING_SYN_0, PENDING_SYN_1, HIGH_FIRST, IS_IPV6 = 1, 2, 4, 8, 16, 32, 64

# ``g``, the segment at hand; SEG_SCALE is -1 without the option
SEG_NUMBER, SEG_NS, SEG_SEQ, SEG_ACK, SEG_FLAGS, SEG_WND, SEG_TEXT, SEG_SCALE, SEG_MSS, SEG_SERIAL = range(10)
SEG_HEADER_BYTES = 10
SEG_WORDS = 11

# a row of the log; row 0 is the log's own: LOG_NEXT is the row that will be written next
LOG_WHAT, LOG_PACKET, LOG_NS, LOG_EARLIEST, LOG_LATEST = range(5)
LOG_WORDS = 5
LOG_NEXT = 0
#: Words of a flow that name a row of the log.
ROWS_OF_LOG = (SYN_ROW, PENDING_1, PENDING_2, HALF_WORDS + PENDING_1, HALF_WORDS + PENDING_2)
#: Rows that one packet may add to the log, and then some.
ROOM_ROWS = 16

# plain integers: numba takes them for constants
S_ESTABLISHED = int(State.ESTABLISHED)
S_SYN_SENT = int(State.SYN_SENT)
S_SYN_RECEIVED = int(State.SYN_RECEIVED)
S_FIN_WAIT_1 = int(State.FIN_WAIT_1)
S_FIN_WAIT_2 = int(State.FIN_WAIT_2)
S_TIME_WAIT = int(State.TIME_WAIT)
S_CLOSED = int(State.CLOSED)
S_CLOSE_WAIT = int(State.CLOSE_WAIT)
S_LAST_ACK = int(State.LAST_ACK)
S_LISTEN = int(State.LISTEN)
S_CLOSING = int(State.CLOSING)
V_OPEN_ACTIVE = int(Event.OPEN_ACTIVE)
V_CLOSE = int(Event.CLOSE)
V_ABORT = int(Event.ABORT)
V_SYN = int(Event.SYN)
V_SYN_ACK = int(Event.SYN_ACK)
V_ACK_OF_SYN = int(Event.ACK_OF_SYN)
V_ACK_OF_FIN = int(Event.ACK_OF_FIN)
V_FIN = int(Event.FIN)
V_FIN_ACK_OF_FIN = int(Event.FIN_ACK_OF_FIN)
V_RST = int(Event.RST)
V_RST_IN_WINDOW = int(Event.RST_IN_WINDOW)
V_RST_UNACCEPTABLE = int(Event.RST_UNACCEPTABLE)
V_SYN_REOPENS = int(Event.SYN_REOPENS)
V_ACK_UNACCEPTABLE = int(Event.ACK_UNACCEPTABLE)
V_ACK_MISSING = int(Event.ACK_MISSING)
V_SEGMENT_UNACCEPTABLE = int(Event.SEGMENT_UNACCEPTABLE)
V_ICMP_HARD_ERROR = int(Event.ICMP_HARD_ERROR)
EVENTS, STATES = len(Event), len(State) + 1
UNKNOWN, PASSIVELY, ACTIVELY, REOPENED = 0, 1, 2, 3
B_SEEN, B_INFERRED, B_ASSUMED, B_RETRACTED = 0, 1, 2, 3

#: Zeek's letters by their number; 0 ends a history, so the numbers start at 1.
LETTERS = "?shadfrtgw"
L_SYN, L_SYN_ACK, L_ACK, L_DATA, L_FIN, L_RESET, L_RETRANSMISSION, L_GAP, L_ZERO_WINDOW = range(1, 10)
