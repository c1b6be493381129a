"""What the path carries: less after Packet Too Big (RFC 1191, 8201) or when full segments vanish, more by probing.

RFC 4821 (packetization layer path MTU discovery), RFC 5927 §7 (which ICMP errors to believe). A probe is the next text
in one longer segment: no octet more is sent than without it, and its loss alone is no sign of congestion. Nothing here
has a timer: a search goes on while text flows.
"""

from __future__ import annotations

from tcpscope.machine import recovery
from tcpscope.machine.flight import mark_lost, pipe_bytes
from tcpscope.machine.mtu_search import MtuSearch
from tcpscope.machine.options import MIN_MSS_BYTES, TIMESTAMP_BYTES, header_bytes, size_segments, text_bytes
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.machine.tcb import Tcb

IPV6_LEAST_BYTES = 1280
IPV4_LEAST_BYTES = 68
IPV4_HOSTS_ACCEPT_BYTES = 576
#: RFC 1191 §7.1: for routers that do not say what fits.
PLATEAUS_BYTES = (32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)
#: Segments that must follow a probe for its loss to be seen without a timeout.
FOLLOWERS = recovery.DUP_THRESHOLD + 1
NEVER, AFTER_BLACK_HOLE, ALWAYS = 0, 1, 2  #: Profile.mtu_probing


def least_bytes(tcb: Tcb) -> int:
    """Return the smallest packet size that is ever fallen back to."""
    least = IPV6_LEAST_BYTES if tcb.local.is_ipv6 else max(IPV4_LEAST_BYTES, tcb.profile.min_path_mtu_bytes)
    return max(least, MIN_MSS_BYTES + header_bytes(tcb))


def most_bytes(tcb: Tcb) -> int:
    """Return the largest packet the first link, the peer and the application allow."""
    mss = min(tcb.peer_mss_bytes, tcb.application_mss_bytes or tcb.peer_mss_bytes)
    return min(tcb.link_mtu_bytes, mss + header_bytes(tcb))


def start(tcb: Tcb) -> None:
    """Begin with what every path carries and search upwards, where the profile wants it (RFC 4821 §7.2)."""
    tcb.search = None
    low_bytes = min(tcb.path_mtu_bytes, base_bytes(tcb))
    if tcb.profile.mtu_probing == ALWAYS and low_bytes < most_bytes(tcb):
        _fall_back(tcb, low_bytes)


def base_bytes(tcb: Tcb) -> int:
    """Return the packet size that is taken to pass everywhere."""
    return max(least_bytes(tcb), tcb.profile.base_mss_bytes + header_bytes(tcb))


def take_too_big(tcb: Tcb, mtu_bytes: int, seq: int | None) -> None:
    """Take a Packet Too Big about the segment at ``seq``; what it says must be possible (RFC 5927 §7.2)."""
    least = IPV6_LEAST_BYTES if tcb.local.is_ipv6 else IPV4_LEAST_BYTES
    search = tcb.search
    is_probe = search is not None and seq is not None and 0 <= (seq - search.probe_seq) & MASK < _probe_span(search)
    sent_bytes = search.probe_bytes if search is not None and is_probe else _packet_bytes(tcb, seq)
    if mtu_bytes < least and tcb.local.is_ipv6:
        tcb.report("dropped", "Packet Too Big names less than IPv6's minimum (RFC 8201 §4)")
        return
    if mtu_bytes < least:
        mtu_bytes = next(size for size in PLATEAUS_BYTES if size < sent_bytes or size == PLATEAUS_BYTES[-1])
    if mtu_bytes >= sent_bytes:
        tcb.report("dropped", "Packet Too Big about a packet that fits (RFC 5927)")
    elif search is not None and is_probe and mtu_bytes >= search.low_bytes:
        _lose_probe(tcb)
        search.narrow(mtu_bytes, _again_ns(tcb))
        recovery.repair(tcb)
    else:
        shrink_path(tcb, mtu_bytes)


def shrink_path(tcb: Tcb, mtu_bytes: int) -> bool:
    """Send smaller segments from now on, and again what was too long; no sign of congestion (RFC 1191 §6.5)."""
    mtu_bytes = max(mtu_bytes, least_bytes(tcb))
    if mtu_bytes >= tcb.path_mtu_bytes:
        return False
    _resize(tcb, mtu_bytes)
    if not tcb.irs_known:
        return True
    # RFC 1191 §6.3: not before ten minutes is it tried whether the path has become wider.
    tcb.search = MtuSearch(mtu_bytes, most_bytes(tcb), high_bytes=mtu_bytes, again_ns=_again_ns(tcb))
    for sent in tcb.flight:
        if len(sent.payload) > tcb.mss_bytes:
            mark_lost(tcb, sent)
    if tcb.recovery.lost_bytes:
        recovery.repair(tcb)
    return True


def suspect_black_hole(tcb: Tcb) -> None:
    """Fall back when a long segment was sent in vain several times (RFC 4821 §7.7, RFC 2923 §2.1); then search upwards.

    First to what passes nearly everywhere, then to what every host must accept: to the first that is shorter than
    what has vanished.
    """
    if tcb.profile.mtu_probing == NEVER:
        return
    head_bytes = len(tcb.flight[0].payload)
    floor = IPV6_LEAST_BYTES if tcb.local.is_ipv6 else IPV4_HOSTS_ACCEPT_BYTES
    for smaller in (base_bytes(tcb), max(floor, least_bytes(tcb))):
        if smaller < tcb.path_mtu_bytes and text_bytes(tcb, smaller) < head_bytes:
            _fall_back(tcb, smaller)
            for sent in tcb.flight:
                mark_lost(tcb, sent)
            return


def probe_text_bytes(tcb: Tcb, now_ns: int) -> int:
    """Return the octets of text of the probe that should go instead of the next segment; 0: none. Changes nothing."""
    search, state = tcb.search, tcb.recovery
    if search is None or tcb.profile.mtu_probing == NEVER or search.probe_bytes or search.rest_end >= 0:
        return 0
    if state.phase or state.sacked_bytes or state.lost_bytes or tcb.dup_acks or tcb.out_of_order or tcb.dsack:
        return 0
    size = search.candidate_bytes(now_ns)
    octets = text_bytes(tcb, size) if size else 0
    needed = octets + FOLLOWERS * tcb.mss_bytes
    flight_bytes = tcb.flight_bytes
    if octets <= tcb.mss_bytes or tcb.unsent_bytes < needed or tcb.snd_wnd - flight_bytes < needed:
        return 0
    cwnd_bytes = tcb.congestion.cwnd_bytes
    return octets if cwnd_bytes >= needed and cwnd_bytes - pipe_bytes(tcb) >= octets else 0


def note_probe(tcb: Tcb, octets: int, now_ns: int) -> None:
    """Remember that the newest segment, of ``octets``, is a probe."""
    if tcb.search is not None:
        size = tcb.search.candidate_bytes(now_ns)
        tcb.search.begin_probe(size, (tcb.snd_nxt - octets) & MASK, tcb.snd_nxt)
        tcb.counters.mtu_probes += 1


def renew(tcb: Tcb, now_ns: int) -> None:
    """Without probing, take the first link's size again when the router's word has grown old (RFC 1191 §6.3)."""
    search = tcb.search
    if search is not None and tcb.profile.mtu_probing == NEVER and now_ns >= search.again_ns:
        tcb.search = None
        _resize(tcb, tcb.link_mtu_bytes)


def take_ack(tcb: Tcb, ack: int) -> None:
    """Learn from an acknowledgement whether the probe has passed."""
    search = tcb.search
    if search is None:
        return
    if search.rest_end >= 0 and (ack - search.rest_end) & MASK < HALF:
        search.rest_end = -1
    if search.probe_end >= 0 and (ack - search.probe_end) & MASK < HALF:
        _resize(tcb, search.probe_bytes)
        search.succeed(_again_ns(tcb))


def _fall_back(tcb: Tcb, mtu_bytes: int) -> None:
    _resize(tcb, mtu_bytes)
    tcb.search = MtuSearch(mtu_bytes, most_bytes(tcb), again_ns=_again_ns(tcb))


def _resize(tcb: Tcb, mtu_bytes: int) -> None:
    tcb.path_mtu_bytes = mtu_bytes
    if tcb.irs_known:
        size_segments(tcb)
        tcb.report("path-mtu", f"{mtu_bytes} octets: {tcb.mss_bytes} octets of text per segment")


def _again_ns(tcb: Tcb) -> int:
    return tcb.now_ns + tcb.profile.mtu_raise_ns


def _probe_span(search: MtuSearch) -> int:
    return (search.probe_end - search.probe_seq) & MASK if search.probe_bytes else 0


def _lose_probe(tcb: Tcb) -> None:
    search = tcb.search
    for sent in tcb.flight:
        if search is not None and (sent.seq - search.probe_seq) & MASK < _probe_span(search):
            mark_lost(tcb, sent)


def _packet_bytes(tcb: Tcb, seq: int | None) -> int:
    """Return the size of the packet that held ``seq``; where nobody says which it was, of a full one."""
    if seq is None or not tcb.irs_known:
        return tcb.path_mtu_bytes
    for sent in tcb.flight:
        if (seq - sent.seq) & MASK < sent.size:
            overhead = header_bytes(tcb) + tcb.internet.option_bytes + (TIMESTAMP_BYTES if tcb.timestamps_ok else 0)
            return min(len(sent.payload), tcb.mss_bytes) + overhead
    return tcb.path_mtu_bytes
