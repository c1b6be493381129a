"""STATUS (RFC 9293 §3.9.1.6): a frozen picture of one connection, in the RFC's names and in Linux's ``tcp_info``."""

from __future__ import annotations

from tcpscope.machine.calls import refuse
from tcpscope.machine.flight import pipe_bytes
from tcpscope.machine.moves import take
from tcpscope.machine.options import announced_mss
from tcpscope.machine.receiving import urgent_bytes
from tcpscope.machine.tcb import NEVER, Tcb
from tcpscope.model.address import Endpoint
from tcpscope.model.event import Event
from tcpscope.model.record import NamedTuple
from tcpscope.model.socket import Socket, TcpInfo, Timer
from tcpscope.model.state import State

_TIMESTAMPS, _SACK, _WSCALE, _ECN = 1, 2, 4, 8


class Status(NamedTuple):
    """One connection at one instant; ``timers`` maps a timer's name to its deadline in nanoseconds."""

    state: State
    local: Endpoint
    remote: Endpoint | None
    snd_una: int
    snd_nxt: int
    snd_wnd: int
    snd_fin: int
    iss: int
    rcv_nxt: int
    rcv_wnd: int
    irs: int
    mss_bytes: int
    cwnd_bytes: int
    ssthresh_bytes: int
    pipe_bytes: int
    srtt_ns: int
    rto_ns: int
    unsent_bytes: int
    unread_bytes: int
    urgent_bytes: int
    out_of_order: tuple[tuple[int, int], ...]
    retransmits: int
    timers: dict[str, int]
    error: str
    soft_error: str


def status_of(tcb: Tcb) -> Status:
    """Report the block (§3.10.6). Raises CallError when there is no connection and never was a reason."""
    row = take(tcb, Event.STATUS)
    if not tcb.error:
        refuse(row)
    return Status(
        tcb.state, tcb.local, tcb.remote, tcb.snd_una, tcb.snd_nxt, tcb.snd_wnd, tcb.snd_fin, tcb.iss,
        tcb.rcv_nxt, tcb.rcv_wnd, tcb.irs, tcb.mss_bytes, tcb.congestion.cwnd_bytes, tcb.congestion.ssthresh_bytes,
        pipe_bytes(tcb), tcb.rtt.srtt_ns, tcb.rtt.rto_ns, tcb.unsent_bytes, tcb.inbox_bytes,
        urgent_bytes(tcb) if tcb.irs_known else 0, tuple((block.seq, block.end) for block in tcb.out_of_order),
        tcb.counters.retransmits, timers_of(tcb), tcb.error, tcb.soft_error,
    )  # fmt: skip


def timers_of(tcb: Tcb) -> dict[str, int]:
    """Return the running timers by the names ss uses, with their deadlines."""
    named = {
        "on": tcb.deadline_retransmit_ns,
        "persist": tcb.deadline_persist_ns,
        "delayed-ack": tcb.deadline_delayed_ack_ns,
        "timewait": tcb.deadline_time_wait_ns,
        "fin-wait-2": tcb.deadline_fin_wait_2_ns,
    }
    return {name: when_ns for name, when_ns in named.items() if when_ns != NEVER}


def socket_of(tcb: Tcb) -> Socket:
    """Return the word that ``list`` and ``doctor`` read, as if the kernel had told it."""
    timers = timers_of(tcb)
    timer = None
    for kind in ("on", "persist", "timewait"):
        if kind in timers:
            timer = Timer(kind, max(0, timers[kind] - tcb.now_ns) // 1_000_000, tcb.rtt.backoff)
            break
    return Socket(
        proto="tcp",
        state=tcb.state,
        local=tcb.local,
        remote=tcb.remote or Endpoint("::" if tcb.local.is_ipv6 else "0.0.0.0", 0),
        recv_q=tcb.inbox_bytes + tcb.fin_received,
        send_q=tcb.unsent_bytes + tcb.flight_bytes,
        timer=timer,
        tcp_info=tcp_info_of(tcb),
        congestion=tcb.profile.congestion,
    )


def tcp_info_of(tcb: Tcb) -> TcpInfo:
    """Return the block as ``struct tcp_info``; counts of segments are worked out from octets."""
    mss = tcb.mss_bytes
    counters, rtt = tcb.counters, tcb.rtt
    return TcpInfo(
        state=int(tcb.state),
        ca_state=(0, 3, 4)[tcb.recovery.phase],
        retransmits=rtt.backoff,
        backoff=rtt.backoff,
        options=_TIMESTAMPS * tcb.timestamps_ok | _SACK * tcb.sack_ok | _WSCALE * (tcb.snd_wscale > 0) | _ECN * tcb.ecn,
        snd_wscale=tcb.snd_wscale,
        rcv_wscale=tcb.rcv_wscale,
        rto_us=rtt.rto_ns // 1000,
        ato_us=tcb.profile.delayed_ack_ns // 1000,
        snd_mss=mss,
        rcv_mss=tcb.rcv_mss_bytes,
        unacked=len(tcb.flight),
        sacked=sum(sent.sacked for sent in tcb.flight),
        lost=sum(sent.lost for sent in tcb.flight),
        retrans=sum(sent.transmissions > 1 and not sent.sacked for sent in tcb.flight),
        last_data_sent_ms=(tcb.now_ns - tcb.last_text_ns) // 1_000_000,
        last_data_recv_ms=(tcb.now_ns - tcb.last_received_ns) // 1_000_000,
        pmtu=tcb.path_mtu_bytes,
        rtt_us=rtt.srtt_ns // 1000,
        rttvar_us=rtt.rttvar_ns // 1000,
        snd_ssthresh=min(tcb.congestion.ssthresh_bytes // mss, 0x7FFFFFFF),
        snd_cwnd=tcb.congestion.cwnd_bytes // mss,
        advmss=announced_mss(tcb),
        rcv_space=tcb.receive_buffer_bytes,
        total_retrans=counters.retransmits,
        bytes_acked=max(0, (tcb.snd_una - tcb.iss - 1) & 0xFFFFFFFF) if tcb.irs_known else 0,
        bytes_received=counters.bytes_in,
        segs_out=counters.segments_out,
        segs_in=counters.segments_in,
        notsent_bytes=tcb.unsent_bytes,
        min_rtt_us=rtt.min_rtt_ns // 1000,
        data_segs_in=counters.text_segments_in,
        data_segs_out=counters.text_segments_out,
        bytes_sent=counters.bytes_out,
        snd_wnd=tcb.snd_wnd,
    )
