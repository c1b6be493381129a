"""What the ends agree on with SYN: MSS, window scale, timestamps, SACK and ECN (RFC 9293 §3.7.1, 7323, 2018, 3168).

Options are words here (:class:`tcpscope.model.segment.Options`); bytes, order and padding are the wire's, by
``Profile.layout``.
"""

from __future__ import annotations

from tcpscope.machine.sequence import HALF, MASK
from tcpscope.machine.tcb import Tcb
from tcpscope.model.segment import ACK, CWR, ECE, NO_OPTIONS, SYN, Options, Segment

MIN_MSS_BYTES = 48
MAX_WINDOW_SCALE = 14
LEAST_USER_TIMEOUT_NS = 100_000_000_000
TIMESTAMP_BYTES = 12  #: with two octets of padding
RTO_AFTER_LOST_SYN_NS = 3_000_000_000  #: RFC 6298 §5.7, unless the handshake gave a sample
PAWS_IDLE_NS = 24 * 24 * 3600 * 1_000_000_000  #: RFC 7323 §5.5: after 24 days a timestamp proves nothing


def header_bytes(tcb: Tcb) -> int:
    """Return the octets of fixed IP and TCP header."""
    return 60 if tcb.local.is_ipv6 else 40


def default_mss(tcb: Tcb) -> int:
    """Return the send MSS of a peer that named none (MUST-15)."""
    return 1220 if tcb.local.is_ipv6 else 536


def announced_mss(tcb: Tcb) -> int:
    """Return the MSS to announce: what the path's first link carries (MUST-67), or less on request."""
    fits = tcb.link_mtu_bytes - header_bytes(tcb)
    return min(tcb.application_mss_bytes, fits) if tcb.application_mss_bytes else fits


def window_scale_for(buffer_bytes: int) -> int:
    """Return the smallest shift with which a window field can tell of ``buffer_bytes``."""
    return min((-(-buffer_bytes // 65535) - 1).bit_length(), MAX_WINDOW_SCALE) if buffer_bytes else 0


def window_scale(tcb: Tcb) -> int:
    """Return the shift to offer: for the buffer the application has set, else for what the profile foresees."""
    is_set = tcb.receive_buffer_bytes != tcb.profile.receive_buffer_bytes
    return window_scale_for(
        tcb.receive_buffer_bytes if is_set else tcb.profile.scaled_for_bytes or tcb.receive_buffer_bytes
    )


def offer(tcb: Tcb, now_ns: int) -> Options:
    """Return the options of our SYN, or of our SYN|ACK: there only what the peer offered too."""
    profile, peer = tcb.profile, tcb.syn_options
    first = not tcb.irs_known
    return Options(
        mss=announced_mss(tcb),
        window_scale=window_scale(tcb) if profile.window_scaling and (first or peer.window_scale is not None) else None,
        sack_permitted=profile.sack and (first or peer.sack_permitted),
        timestamp=(timestamp_now(tcb, now_ns), max(tcb.ts_recent, 0))
        if profile.timestamps and (first or peer.timestamp is not None)
        else None,
        user_timeout_ms=tcb.user_timeout_ns // 1_000_000 if tcb.announces_user_timeout else None,
    )


def take_user_timeout(tcb: Tcb, told_ms: int) -> None:
    """Follow the peer's user timeout unless the application has set one (RFC 5482 §3.1): never below 100 s."""
    if not tcb.user_timeout_ns and not tcb.announces_user_timeout:
        tcb.user_timeout_ns = max(told_ms * 1_000_000, LEAST_USER_TIMEOUT_NS)


def agree(tcb: Tcb, segment: Segment) -> None:
    """Take the peer's SYN: an extension is in use when both SYNs carry it."""
    options, profile = segment.options, tcb.profile
    tcb.syn_options = options
    tcb.irs_known = True
    tcb.sack_ok = profile.sack and options.sack_permitted
    tcb.timestamps_ok = profile.timestamps and options.timestamp is not None
    if options.timestamp is not None and profile.timestamps:
        tcb.ts_recent, tcb.ts_recent_ns = options.timestamp[0], tcb.now_ns
    if options.user_timeout_ms:
        take_user_timeout(tcb, options.user_timeout_ms)
    if profile.window_scaling and options.window_scale is not None:
        tcb.snd_wscale = min(options.window_scale, MAX_WINDOW_SCALE)
        tcb.rcv_wscale = window_scale(tcb)
    else:
        tcb.snd_wscale = tcb.rcv_wscale = 0
    _agree_on_ecn(tcb, segment)
    tcb.peer_mss_bytes = options.mss or default_mss(tcb)
    size_segments(tcb)
    tcb.congestion = tcb.new_congestion()


def _agree_on_ecn(tcb: Tcb, segment: Segment) -> None:
    """RFC 3168 §6.1.1: SYN asks with ECE and CWR, SYN|ACK grants with ECE alone."""
    asked = segment.flags & (ECE | CWR | ACK) == ECE | CWR
    granted = segment.flags & (ECE | CWR | ACK) == ECE | ACK
    tcb.ecn = (asked and not tcb.opened_actively) or (granted and tcb.profile.ecn)


def text_bytes(tcb: Tcb, mtu_bytes: int) -> int:
    """Return the text of a full segment in a packet of ``mtu_bytes`` (MUST-16): what every one carries taken off."""
    mss = min(tcb.peer_mss_bytes, mtu_bytes - header_bytes(tcb))
    if tcb.application_mss_bytes:
        mss = min(mss, tcb.application_mss_bytes)
    mss -= tcb.internet.option_bytes
    return max(mss, MIN_MSS_BYTES) - (TIMESTAMP_BYTES if tcb.timestamps_ok else 0)


def size_segments(tcb: Tcb) -> None:
    """Work out the effective send MSS; the congestion window follows."""
    mss = text_bytes(tcb, tcb.path_mtu_bytes)
    if mss != tcb.mss_bytes:
        tcb.mss_bytes = mss
        tcb.congestion.on_mss(mss)


def timestamp_now(tcb: Tcb, now_ns: int) -> int:
    """Return TSval: milliseconds of the caller's clock, moved by the connection's own offset (RFC 7323 §7.1)."""
    return (now_ns // 1_000_000 + tcb.ts_offset_ms) & MASK


def options_now(tcb: Tcb, now_ns: int) -> Options:
    """Return the options of a segment without SYN; SACK blocks are added where they are due."""
    if not tcb.timestamps_ok:
        return NO_OPTIONS
    return Options(None, None, False, (), (timestamp_now(tcb, now_ns), tcb.ts_recent))


def is_old_by_timestamp(tcb: Tcb, segment: Segment, now_ns: int) -> bool:
    """Whether PAWS proves ``segment`` to be an old duplicate (RFC 7323 §5.3 R1)."""
    stamp = segment.options.timestamp
    if stamp is None or tcb.ts_recent < 0 or (stamp[0] - tcb.ts_recent) & MASK < HALF:
        return False
    return now_ns - tcb.ts_recent_ns < PAWS_IDLE_NS


def lacks_timestamp(tcb: Tcb, segment: Segment) -> bool:
    """Whether a segment must be dropped for having no timestamp; SYN and the third ACK are forgiven."""
    return (
        tcb.profile.drops_untimed
        and tcb.state.is_synchronized
        and segment.options.timestamp is None
        and not segment.flags & SYN
    )


def note_timestamp(tcb: Tcb, segment: Segment, now_ns: int) -> None:
    """Remember TSval for echoing when the segment covers the last ACK we sent (RFC 7323 §4.3)."""
    stamp = segment.options.timestamp
    if stamp is not None and (tcb.last_ack_sent - segment.seq) & MASK < HALF:
        tcb.ts_recent, tcb.ts_recent_ns = stamp[0], now_ns


def start_congestion(tcb: Tcb, syn_was_repeated: bool) -> None:
    """Set the initial window (RFC 6928); a lost SYN is a warning (RFC 5681 §3.1: one segment)."""
    segments = 1 if syn_was_repeated else tcb.initial_cwnd_segments
    tcb.congestion = tcb.new_congestion(segments)
    tcb.recovery.undo = None  # the window of a lost SYN knew nothing of the peer's segment size
    if syn_was_repeated:
        tcb.rtt.rto_base_ns, tcb.rtt.backoff = max(tcb.rtt.rto_base_ns, RTO_AFTER_LOST_SYN_NS), 0
