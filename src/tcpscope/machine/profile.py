"""Personalities of the endpoint as data: ``RFC`` (to the letter), ``LINUX`` and ``FREEBSD`` (as measured).

A profile holds every number and every choice RFC 9293 leaves open or real systems make otherwise; code never asks
for a profile's name. Linux's values were measured on 6.18 (``tests/scenes`` compares them with the running kernel);
FreeBSD's are those of its TCP test suite and of its sources.
"""

from __future__ import annotations

from tcpscope.machine.layout import FREEBSD_LAYOUT, LINUX_LAYOUT, RFC_LAYOUT, Layout
from tcpscope.model.record import NamedTuple

MS = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND


class Profile(NamedTuple):
    """Numbers and choices of one system; times in nanoseconds."""

    name: str
    # SYN and options
    layout: Layout = RFC_LAYOUT  #: order, alignment and padding of options
    timestamps: bool = True
    sack: bool = True
    window_scaling: bool = True
    ecn: bool = False  #: ask for ECN on active open (RFC 3168); a peer's request is always granted
    keeps_text_of_syn: bool = True  #: text on a SYN waits for ESTABLISHED instead of being sent again
    repeats_syn_ack: bool = False  #: SYN again in SYN-RECEIVED is answered with SYN|ACK instead of ACK
    silent_on_syn_ack_in_listen: bool = False  #: SYN|ACK to a listener is dropped instead of reset
    # the listener's queues
    accept_queue_share: tuple[int, int] = (1, 1)  #: full when it holds more than this share of the backlog
    drops_syn_when_full: bool = True  #: a SYN for a full accept queue; else its handshake goes on
    aborts_on_overflow: bool = False  #: the third ACK for a full accept queue is reset instead of dropped
    # buffers and windows
    receive_buffer_bytes: int = 65535  #: what may wait to be read
    scaled_for_bytes: int = 0  #: the window scale is that of a buffer this long unless the application sets its own
    rounds_first_window: bool = False  #: the window of SYN and SYN|ACK is a whole number of segments
    first_edge_is_exact: bool = True  #: SYN|ACK promises only what scaled fields can name too (SHLD-14)
    send_buffer_bytes: int = 262144
    initial_cwnd_segments: int = 10  #: RFC 6928
    probe_octets: int = 1  #: zero-window probe with one new octet, or 0: none, numbered SND.UNA - 1
    # acknowledgements
    delayed_ack_ns: int = 200 * MS  #: MUST-40: below half a second
    drops_untimed: bool = True  #: RFC 7323 §3.2: a segment without timestamps after negotiation is dropped
    challenge_acks: int = 10  #: at most so many per ``challenge_period_ns`` (RFC 5961 §7)
    challenge_period_ns: int = 5 * SECOND  #: see ``challenge_acks``
    exact_rst: bool = True  #: RFC 5961 §3
    abort_with_ack: bool = False  #: the RST of ABORT carries ACK
    # timers
    initial_rto_ns: int = SECOND
    min_rto_ns: int = SECOND  #: RFC 6298 §2.4
    max_rto_ns: int = 60 * SECOND  #: RFC 6298 §2.5
    clock_granularity_ns: int = MS
    r1_retransmits: int = 3  #: SHLD-10
    r2_ns: int = 5 * MINUTE  #: SHLD-11: at least 100 s
    syn_r2_ns: int = 3 * MINUTE  #: MUST-23: at least 3 minutes
    syn_ack_r2_ns: int = 3 * MINUTE  #: the same for SYN|ACK of a passive open
    syn_linear_timeouts: int = 0  #: so many timeouts of a SYN pass before the doubling starts
    keepalive_idle_ns: int = 2 * 3600 * SECOND  #: MUST-28
    keepalive_interval_ns: int = 75 * SECOND
    keepalive_count: int = 9  #: so many unanswered probes end the connection
    msl_ns: int = 2 * MINUTE  #: TIME-WAIT lasts twice as long (MUST-13)
    fin_wait_2_ns: int = MINUTE  #: for an end whose program has closed both directions
    push_override_ns: int = 200 * MS  #: SWS avoidance never holds data longer (§3.8.6.2.1)
    # closing
    closes_at_once: bool = False  #: CLOSE in CLOSE-WAIT enters LAST-ACK though text is queued; the FIN follows it
    resets_unread: bool = True  #: close() with unread text resets (SHLD-3); else it is dropped and a FIN sent
    reset_after_end: str = "connection reset"  #: what a reset in CLOSE-WAIT is called
    repeats_fin_in_closing: bool = False  #: the FIN that crossed ours is answered with our FIN again
    ignores_rst_in_time_wait: bool = False  #: RFC 1337
    reopens_time_wait: bool = True  #: MAY-2, RFC 6191
    acks_old_syn_in_time_wait: bool = False  #: a SYN that may not reopen is answered instead of dropped
    # errors and the path
    mtu_probing: int = 1  #: RFC 4821: 0 never, 1 once full segments have vanished, 2 from the start
    base_mss_bytes: int = 1024  #: what is taken to pass everywhere (RFC 4821 §7.7)
    mtu_raise_ns: int = 10 * MINUTE  #: how long a smaller path is believed in (RFC 1191 §6.3, RFC 8899 §5.1.1)
    min_path_mtu_bytes: int = 68  #: no ICMP error makes IPv4 packets smaller
    hard_icmp_aborts: bool = True  #: also on a synchronized connection (SHLD-26); RFC 5927 advises against
    soft_icmp_ends_connect: bool = False  #: in SYN-SENT any ICMP error counts as hard (against MUST-56)
    fills_window: bool = False  #: without Nagle a short segment may use up the peer's window (against MUST-38)
    # loss and congestion
    rack: bool = True  #: losses by time and tail loss probes (RFC 8985) where SACK was agreed; else RFC 6675
    congestion: str = "newreno"


#: RFC 9293 and the RFCs it names, to the letter.
RFC = Profile("rfc")

#: Linux 6.18 with default sysctls.
LINUX = Profile(
    "linux",
    layout=LINUX_LAYOUT,
    keeps_text_of_syn=False,
    repeats_syn_ack=True,
    receive_buffer_bytes=131072,
    scaled_for_bytes=32 << 20,
    rounds_first_window=True,
    first_edge_is_exact=False,
    probe_octets=0,
    delayed_ack_ns=40 * MS,
    drops_untimed=False,
    challenge_acks=1,
    challenge_period_ns=500 * MS,
    abort_with_ack=True,
    min_rto_ns=200 * MS,
    max_rto_ns=120 * SECOND,
    r2_ns=924_600 * MS,
    syn_r2_ns=131 * SECOND,
    syn_ack_r2_ns=63 * SECOND,
    syn_linear_timeouts=4,
    msl_ns=30 * SECOND,
    closes_at_once=True,
    reset_after_end="broken pipe",
    acks_old_syn_in_time_wait=True,
    hard_icmp_aborts=False,
    soft_icmp_ends_connect=True,
    mtu_probing=0,
    min_path_mtu_bytes=552,
    fills_window=True,
    congestion="cubic",
)

#: FreeBSD with default sysctls.
FREEBSD = Profile(
    "freebsd",
    layout=FREEBSD_LAYOUT,
    repeats_syn_ack=True,
    silent_on_syn_ack_in_listen=True,
    accept_queue_share=(3, 2),
    drops_syn_when_full=False,
    aborts_on_overflow=True,
    receive_buffer_bytes=65536,
    scaled_for_bytes=2 << 20,
    first_edge_is_exact=False,
    delayed_ack_ns=40 * MS,
    drops_untimed=False,
    challenge_acks=5,
    challenge_period_ns=SECOND,
    abort_with_ack=True,
    min_rto_ns=230 * MS,
    max_rto_ns=64 * SECOND,
    r2_ns=424 * SECOND,
    syn_r2_ns=75 * SECOND,
    syn_ack_r2_ns=15 * SECOND,
    keepalive_count=8,
    msl_ns=30 * SECOND,
    closes_at_once=True,
    resets_unread=False,
    repeats_fin_in_closing=True,
    ignores_rst_in_time_wait=True,
    hard_icmp_aborts=False,
    mtu_probing=0,
    rack=False,  # its default stack recovers by RFC 6675
    congestion="cubic",
)

#: Profile by name, for options and scripts.
PROFILES = {profile.name: profile for profile in (RFC, LINUX, FREEBSD)}
