"""Connections with data that does not move: repeated, held back by the peer, or unread here (F35, F38, F39, F41, F51, F52).

The timer decides what a Send-Q means. ``on`` with repeats: the path or the peer is gone. ``persist``: the peer's window
is zero, its program does not read. None at all: pacing, congestion window or the send buffer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tcpscope.doctor import ages
from tcpscope.doctor.case import Case
from tcpscope.doctor.close_side import persisting_ms
from tcpscope.doctor.filtering import witness_filter
from tcpscope.doctor.hints import at_peer, code_for, command, config, sysctl, trace_path
from tcpscope.doctor.look import Look, group
from tcpscope.doctor.wording import address, count, example, listing, many, percent, size, span
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

#: Lower bound of seconds until ETIMEDOUT for tcp_retries2 (measured with RTO 200 ms: 3 -> 6.9, 8 -> 108, 15 -> 938).
_RTO_MAX_S = 120.0
#: What a stall says when the whole host is silent; :mod:`~tcpscope.doctor.causes` asks for it.
NOBODY_HEARD = "no other connection to {} heard anything since"


def unanswered(look: Look) -> Iterator[Finding]:
    """F35 retransmission-stall, F51 idle-firewall-drop, F52 pmtu-blackhole: each stalled socket counts for one."""
    stalled = [socket for socket in _with_queue(look) if _is_stalled(look, socket)]
    if not stalled:
        return
    by_remote = group(stalled, lambda socket: address(socket.remote.address))
    others = _others(look, by_remote)
    forgotten: list[Socket] = []
    rest: list[Socket] = []
    for remote, sockets in by_remote.items():
        full = [socket for socket in sockets if _is_full_size(socket)]
        heard = _heard_lately(others[remote], full) if len(full) >= look.limit_of("pmtu-blackhole.count") else []
        if heard:
            yield _blackhole(look, remote, full, heard)
            sockets = [socket for socket in sockets if not _is_full_size(socket)]
        for socket in sockets:
            (forgotten if _idle_before_s(socket) > look.limit_of("idle-firewall-drop.gap_s") else rest).append(socket)
    if forgotten:
        yield _forgotten(look, forgotten)
    for remote, sockets in group(rest, lambda socket: address(socket.remote.address)).items():
        yield _stall(look, sockets, others[remote])


def _with_queue(look: Look) -> list[Socket]:
    return look.established_silent() + [socket for socket in look.states[State.CLOSE_WAIT] if socket.send_q]


def _is_stalled(look: Look, socket: Socket) -> bool:
    if socket.timer is None or socket.timer.kind != "on":
        return False
    if ages.retransmits(socket) < look.limit_of("retransmission-stall.medium"):
        return False
    info = socket.tcp_info
    return info is None or info.last_ack_recv_ms > look.limit_of("retransmission-stall.silence_ms")


def _idle_before_s(socket: Socket) -> float:
    """Seconds of silence before the data that was never acknowledged."""
    info = socket.tcp_info
    if info is None or (not info.bytes_acked and not info.bytes_received):
        return 0.0
    return (info.last_ack_recv_ms - ages.unanswered_ms(socket)) / 1000


def _is_full_size(socket: Socket) -> bool:
    info = socket.tcp_info
    return info is not None and info.snd_mss > 0 and socket.send_q >= info.snd_mss


def _others(look: Look, remotes: Iterable[str]) -> dict[str, list[Socket]]:
    """Return what there is to each of these hosts, connected or in TIME_WAIT: one pass over very many sockets."""
    found: dict[str, list[Socket]] = {remote: [] for remote in remotes}
    for state in (State.ESTABLISHED, State.CLOSE_WAIT, State.TIME_WAIT):
        for socket in look.states[state]:
            to_same = found.get(socket.remote.unmapped)
            if to_same is not None:
                to_same.append(socket)
    return found


def _heard_lately(others: Sequence[Socket], stalled: Sequence[Socket]) -> list[Socket]:
    """Return those that heard something after the stall began: the host is there, small segments pass."""
    # Why: the estimate of the stall is up to a tenth too long (timers run late), and the last ACK came before it.
    since_ms = max(map(ages.unanswered_ms, stalled)) * 0.9
    mine = {socket.flow for socket in stalled}
    return [socket for socket in others if 0 <= _heard_ms_ago(socket) < since_ms and socket.flow not in mine]


def _heard_ms_ago(socket: Socket) -> int:
    """Time since the peer was heard; -1 when the socket does not tell. TIME_WAIT began with its FIN or its last ACK."""
    if socket.state == State.TIME_WAIT:
        return ages.bound_ms(socket) if socket.timer else -1
    info = socket.tcp_info
    return min(info.last_ack_recv_ms, info.last_data_recv_ms) if info else -1


def _witness_stall(case: Case, sockets: Sequence[Socket]) -> None:
    queued = sum(socket.send_q for socket in sockets)
    most = max(map(ages.retransmits, sockets))
    case.witness(
        0.6,
        f"{many(len(sockets), 'connection')} with {size(queued)} unacknowledged, repeated up to {most} times over {span(max(map(ages.unanswered_ms, sockets)))}, e.g. {example(sockets)}",
    )
    quiet = [socket.tcp_info.last_ack_recv_ms for socket in sockets if socket.tcp_info]
    if quiet:
        case.witness(0.4, f"nothing acknowledged for {span(min(quiet))} or more")


def _stall(look: Look, sockets: Sequence[Socket], others: Sequence[Socket]) -> Finding:
    remote = address(sockets[0].remote.address)
    most = max(map(ages.retransmits, sockets))
    case = Case("retransmission-stall", remote)
    _witness_stall(case, sockets)
    heard = _heard_lately(others, sockets)
    if heard:
        case.doubt(
            0.2,
            f"{many(len(heard), 'other connection')} to {remote} heard something since, e.g. {example(heard)}: the host is alive",
        )
    else:
        case.cleared(NOBODY_HEARD.format(remote), 0.2)
    ends = [one for socket in sockets[:20] if (one := look.other_end(socket)) is not None]
    if ends:
        case.witness(
            0.3,
            f"the other end is visible: {ends[0].state.name} of {look.whose(ends[0])}; the segments do not reach it",
        )
    left = _time_left(look, sockets)
    blocked = witness_filter(look, case, sockets[0].remote, is_new=False, local=sockets[0].local)
    return case.close(
        Severity.HIGH if most >= look.limit_of("retransmission-stall.high") else Severity.MEDIUM,
        f"{remote} does not acknowledge what {look.whose_all(sockets)} sends",
        f"The timer repeats the oldest segment with doubling pauses. {left} Keepalive does not help while data is "
        "unacknowledged; TCP_USER_TIMEOUT does.",
        (
            *blocked.remedies,
            *code_for(look, "send-timeout", sockets),
            *sysctl(look, "net.ipv4.tcp_retries2", "8", "gives up after about 108 s (RFC 9293 asks for 100 s or more)"),
            trace_path(sockets[0].remote),
        ),
        sockets,
    )


def _time_left(look: Look, sockets: Sequence[Socket]) -> str:
    retries = look.setting("net.ipv4.tcp_retries2", 15)
    done = min(map(ages.retransmits, sockets))
    left = sum(min(0.2 * 2**n, _RTO_MAX_S) for n in range(max(0, done), max(0, min(retries, 50)) + 1))
    return (
        f"With tcp_retries2 {retries} the program hears ETIMEDOUT in about {span(left * 1000)}."
        if left
        else "It is about to give up."
    )


def _forgotten(look: Look, sockets: Sequence[Socket]) -> Finding:
    remotes = group(sockets, lambda socket: address(socket.remote.address))
    case = Case("idle-firewall-drop", listing(remotes))
    _witness_stall(case, sockets)
    gap = max(map(_idle_before_s, sockets))
    case.witness(0.5, f"they had been silent for up to {span(gap * 1000)} before that data was sent")
    invalid = look.delta("nf_conntrack.invalid")
    if invalid:
        case.witness(0.4, f"nf_conntrack counts {count(invalid)} invalid packets between the looks")
    else:
        case.unseen("the firewall on the way; a peer that died while idle looks the same", 0.25)
    return case.close(
        Severity.HIGH
        if max(map(ages.retransmits, sockets)) >= look.limit_of("retransmission-stall.high")
        else Severity.MEDIUM,
        f"{many(len(sockets), 'connection')} died while idle: something on the way has forgotten {'them' if len(sockets) > 1 else 'it'}",
        "A stateful firewall, NAT or load balancer dropped its entry during the silence and now drops the data. The peer "
        "still shows ESTABLISHED and hears nothing.",
        (
            *code_for(look, "keepalive", sockets),
            *code_for(look, "send-timeout", sockets),
            config(
                "on the middlebox: a longer idle limit, or a reset when it forgets (AWS NLB: 350 s; Azure LB: enable TCP reset)"
            ),
        ),
        sockets,
    )


def _blackhole(look: Look, remote: str, sockets: Sequence[Socket], heard: Sequence[Socket]) -> Finding:
    case = Case("pmtu-blackhole", remote)
    _witness_stall(case, sockets)
    info = sockets[0].tcp_info
    if info:
        case.witness(
            0.3,
            f"all of them wait for full segments (MSS {info.snd_mss}, path MTU believed {info.pmtu or 'not known'})",
        )
    case.witness(
        0.5,
        f"small segments pass: {many(len(heard), 'connection')} with {remote} heard something since, e.g. {example(heard)}",
    )
    return case.close(
        Severity.HIGH,
        f"Full-size segments to {remote} vanish while small ones pass",
        "The path's MTU is smaller than believed and the ICMP message that says so is filtered. Handshakes and small "
        "requests work, the first large transfer hangs.",
        (
            *sysctl(
                look,
                "net.ipv4.tcp_mtu_probing",
                "1",
                "finds the size itself (measured: 20 kB delivered after 6 s; never with 0)",
            ),
            config("on the router or tunnel, nft, chain forward: tcp flags syn tcp option maxseg size set rt mtu"),
            config("let ICMP 'fragmentation needed' and ICMPv6 'packet too big' pass"),
            command(f"tracepath {remote}; ping -M do -s 1472 {remote}"),
        ),
        sockets,
    )


def zero_window(look: Look) -> Iterator[Finding]:
    """F38 zero-window-peer-slow; F35 where the window is open and this host keeps the data back."""
    probing = [socket for socket in _with_queue(look) if socket.timer and socket.timer.kind == "persist"]
    held = [socket for socket in probing if socket.is_held_here]
    for remote, sockets in group(held, lambda socket: address(socket.remote.address)).items():
        lasting = max(_held_back_ms(look, socket) for socket in sockets)
        if lasting >= look.limit_of("retransmission-stall.silence_ms"):
            yield _kept_here(look, remote, sockets, lasting)
    for (remote, _), sockets in group(
        [socket for socket in probing if not socket.is_held_here],
        lambda socket: (address(socket.remote.address), min(socket.local.port, socket.remote.port)),
    ).items():
        lasting = max(_held_back_ms(look, socket) for socket in sockets)
        if lasting >= look.limit_of("zero-window-peer-slow.medium_s") * 1000:
            yield _held_back(look, remote, sockets, lasting)


def _kept_here(look: Look, remote: str, sockets: Sequence[Socket], lasting: int) -> Finding:
    case = Case("retransmission-stall", remote)
    room = min(socket.tcp_info.snd_wnd or 0 for socket in sockets if socket.tcp_info)
    queued = size(sum(socket.send_q for socket in sockets))
    case.witness(
        0.7,
        f"{many(len(sockets), 'connection')} with {queued} queued and nothing on its way for at least {span(lasting)}, while the peer's window has room for {size(room)}, e.g. {example(sockets)}",
    )
    blocked = witness_filter(look, case, sockets[0].remote, is_new=False, local=sockets[0].local)
    if not blocked.by:
        case.unseen("what drops it: no rule of this host's packet filter that is read here names the port", 0.1)
    return case.close(
        Severity.HIGH,
        f"What {look.whose_all(sockets)} sends to {remote} does not leave this host",
        "The own packet filter (hook output) or the output queue drops each segment. TCP does not count it as sent and "
        "tries again with the timer of the window probe (persist), at most two minutes apart; the peer is not to blame. "
        "With tcp_retries2 attempts gone the program hears ETIMEDOUT.",
        (
            *blocked.remedies,
            command("nft list ruleset; iptables-save   which rule of the hook output drops it"),
            command("tc -s qdisc   whether the output queue drops"),
        ),
        sockets,
    )


def _held_back_ms(look: Look, socket: Socket) -> int:
    earlier = look.before(socket)
    both = earlier is not None and earlier.timer is not None and earlier.timer.kind == "persist"
    return max(persisting_ms(socket), int(look.elapsed_s * 1000) if both else 0)


def _held_back(look: Look, remote: str, sockets: Sequence[Socket], lasting: int) -> Finding:
    case = Case("zero-window-peer-slow", remote)
    case.witness(
        0.7,
        f"{many(len(sockets), 'connection')} with {size(sum(socket.send_q for socket in sockets))} queued and a persist timer for at least {span(lasting)}, e.g. {example(sockets)}",
    )
    limited = [
        one.tcp_info for one in sockets if one.tcp_info and one.tcp_info.busy_time_us and one.tcp_info.rwnd_limited_us
    ]
    if limited:
        share = sum(info.rwnd_limited_us or 0 for info in limited) / max(
            1, sum(info.busy_time_us or 0 for info in limited)
        )
        case.witness(0.3, f"{percent(min(1.0, share))} of their sending time went into waiting for the peer's window")
    ends = [one for socket in sockets[:20] if (one := look.other_end(socket)) is not None and one.recv_q]
    if ends:
        case.witness(0.8, f"the reader is visible: {look.whose(ends[0])} has {size(ends[0].recv_q)} unread in Recv-Q")
    else:
        case.doubt(0.1, "a pause may be intended (back-pressure)")
    return case.close(
        Severity.HIGH if lasting >= look.limit_of("zero-window-peer-slow.high_s") * 1000 else Severity.MEDIUM,
        f"{remote} does not read what {look.whose_all(sockets)} sends it",
        "The peer's receive window is zero: its program does not read. The kernel here probes it, with pauses growing to two "
        "minutes, for as long as the peer answers: there is no timeout.",
        (
            *(code_for(look, "read-faster", ends) if ends else at_peer(code_for(look, "read-faster", ()))),
            *code_for(look, "send-timeout", sockets),
        ),
        sockets,
    )


def reader_stalled(look: Look) -> Iterator[Finding]:
    """F39 reader-stalled-locally."""
    least = look.limit_of("reader-stalled-locally.bytes")
    full = [
        socket
        for socket in look.states[State.ESTABLISHED]
        if socket.recv_q > least and socket.inode and _is_unread(look, socket)
    ]
    for sockets in group(full, look.whose).values():
        case = Case("reader-stalled-locally", look.whose(sockets[0]))
        quiet = [socket.tcp_info.last_data_recv_ms for socket in sockets if socket.tcp_info]
        case.witness(
            0.6,
            f"{many(len(sockets), 'connection')} with {size(sum(one.recv_q for one in sockets))} unread, nothing moved for {span(min(quiet, default=0))}, e.g. {example(sockets)}",
        )
        if look.previous is not None:
            case.witness(0.4, "Recv-Q did not shrink between the looks")
        else:
            case.unseen("whether it is being read (a second look tells)", 0.2)
        closed = (look.delta("TcpExt.TCPToZeroWindowAdv") or 0) + (look.delta("TcpExt.TCPWantZeroWindowAdv") or 0)
        if closed:
            case.witness(0.3, f"zero windows announced +{count(closed)}")
        for owner in sockets[0].owners[:1]:
            process = look.process(owner)
            if process and (process.state or process.wait_channel):
                case.witness(
                    0.1,
                    f"{owner.name} ({owner.pid}) is in state {process.state or '?'} {process.wait_channel}".rstrip(),
                )
        yield case.close(
            Severity.MEDIUM,
            f"{look.whose(sockets[0])} does not read {many(len(sockets), 'connection')}",
            "Received bytes wait in Recv-Q and the program does not take them; the window closes and the sender is held back.",
            (*code_for(look, "read-faster", sockets), *code_for(look, "unblock-loop", sockets)),
            sockets,
        )


def _is_unread(look: Look, socket: Socket) -> bool:
    info, earlier = socket.tcp_info, look.before(socket)
    if earlier is not None:
        received = info.bytes_received if info else None
        then = earlier.tcp_info.bytes_received if earlier.tcp_info else None
        if earlier.recv_q > socket.recv_q or received != then:
            return False
    return info is not None and info.last_data_recv_ms >= look.limit_of("reader-stalled-locally.age_s") * 1000


def sndbuf_limited(look: Look) -> Iterator[Finding]:
    """F41 sndbuf-limited."""
    share, busy_us = look.limit_of("sndbuf-limited.share"), look.limit_of("sndbuf-limited.busy_s") * 1e6
    held = [
        socket for socket in look.established_silent()
        if (info := socket.tcp_info) and (info.busy_time_us or 0) > busy_us
        and (info.sndbuf_limited_us or 0) > share * (info.busy_time_us or 0)
    ]  # fmt: skip
    refused = look.delta("TcpExt.TCPWqueueTooBig")
    if not held and not refused:
        return
    case = Case("sndbuf-limited", "this host")
    if held:
        case.witness(
            0.6,
            f"{many(len(held), 'connection')} spent more than {percent(share)} of their sending time waiting for the send buffer, e.g. {example(held)}",
        )
    if refused:
        case.witness(0.6, f"TCPWqueueTooBig +{count(refused)}: the write queue was full")
    yield case.close(
        Severity.LOW if refused else Severity.INFO,
        "The send buffer limits throughput, not the network",
        "The socket had data to send and room on the network, and no room in its own buffer.",
        (
            config("do not set SO_SNDBUF: it switches autotuning off"),
            *sysctl(look, "net.ipv4.tcp_wmem", "4096 65536 16777216"),
        ),
        held,
    )


RULES = (unanswered, zero_window, reader_stalled, sndbuf_limited)
