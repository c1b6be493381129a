"""A real socket explained: what state it is in, why, who must act next, what will happen and when.

Pure: the sockets are handed in; where they come from (live host, dump, history) is the caller's business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tcpscope.explain.answer import Answer, Grid, Section
from tcpscope.explain.portraits import PORTRAITS
from tcpscope.explain.states import findings_of
from tcpscope.model.socket import Socket, Timer
from tcpscope.model.state import State

LIMIT = 20  #: groups of like sockets that are explained; more are counted
EXAMPLES = 5  #: sockets of a group that are named
_OPEN_DATA_ENDS = "unacknowledged data gives up after 924 s with default settings (measured 938 s), then ETIMEDOUT"


def explain_sockets(sockets: Sequence[Socket], what: str, source: str = "live", unseen: Collection[str] = ()) -> Answer:
    """Explain every socket in ``sockets``, like ones together.

    ``what`` is how the user named them, ``source`` where they come from (``live``, ``dump``); ``unseen`` names what
    that source does not show at all (``timers``, ``queues``).
    """
    tcp = [socket for socket in sockets if socket.proto.startswith("tcp")]
    groups = _group(tcp, unseen)
    counts = {state: sum(socket.state == state for socket in tcp) for state in State}
    census = ", ".join(f"{number} {state.name}" for state, number in counts.items() if number)
    rest = f" The first {LIMIT} kinds of {len(groups)} are explained." if len(groups) > LIMIT else ""
    plural = "s match" if len(tcp) != 1 else " matches"
    summary = f"{len(tcp)} TCP socket{plural}: {census}.{rest}" if tcp else "No TCP socket matches."
    see = tuple(state.name for state, number in counts.items() if number)[:4]
    shown = [socket_as_json(one, unseen) for one in tcp]
    facts: dict[str, object] = {"matches": len(tcp), "source": source, "sockets": shown}
    sections = tuple(_section(group, unseen) for group in groups[:LIMIT])
    return Answer("socket", what, f"Sockets {what}", summary, sections, see, facts)


def _group(sockets: Sequence[Socket], unseen: Collection[str]) -> list[list[Socket]]:
    """Put sockets together that are explained with the same words."""
    groups: dict[tuple[object, ...], list[Socket]] = {}
    for socket in sockets:
        key = (socket.state, why(socket, unseen), who_acts(socket), _holders(socket))
        groups.setdefault(key, []).append(socket)
    return list(groups.values())


def _holders(socket: Socket) -> tuple[object, ...]:
    return tuple(owner.pid for owner in socket.owners) or (who_owns(socket),)


def _section(group: Sequence[Socket], unseen: Collection[str]) -> Section:
    first = group[0]
    rows = (
        ("why", why(first, unseen)),
        ("who acts next", who_acts(first)),
        ("what comes", _span([what_comes(one, unseen) for one in sorted(group, key=_expiry)])),
        ("owner", who_owns(first) if len(group) == 1 else _owner_of_all(first)),
        ("queues", "" if "queues" in unseen else _span([queues_text(one) for one in group])),
        ("in this state", _span([age_text(one) for one in sorted(group, key=lambda one: one.age.ms)])),
    )
    names = tuple(_name(one) for one in group[:EXAMPLES])
    rest = (f"and {len(group) - EXAMPLES} more",) if len(group) > EXAMPLES else ()
    heading = f"{names[0]} {first.state.name}" if len(group) == 1 else f"{len(group)} sockets in {first.state.name}"
    items = (*names, *rest) if len(group) > 1 else ()
    return Section(heading, items=items, grid=Grid(("", ""), tuple(row for row in rows if row[1])))


def _name(socket: Socket) -> str:
    return str(socket.local) if socket.is_listener else f"{socket.local} -> {socket.remote}"


def _expiry(socket: Socket) -> int:
    return socket.timer.expires_ms if socket.timer else 0


def _owner_of_all(socket: Socket) -> str:
    return ", ".join(f"{owner.name} (pid {owner.pid})" for owner in socket.owners) or who_owns(socket)


def _span(texts: Sequence[str]) -> str:
    """Join what several sockets say: once when they agree, else the first and the last."""
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} ... {texts[-1]}"


def why(socket: Socket, unseen: Collection[str] = ()) -> str:
    """Say why the socket is in its state, as far as its own numbers tell."""
    state = socket.state
    if "queues" in unseen and state in (State.CLOSE_WAIT, State.ESTABLISHED, State.LISTEN):
        return PORTRAITS[state].summary
    if socket.is_unaccepted:
        return f"{PORTRAITS[state].summary} No program has called accept() for it yet."
    if state is State.CLOSE_WAIT:
        return _why_close_wait(socket)
    if state is State.FIN_WAIT_2:
        how = (
            "The program has closed it completely."
            if socket.kind == "mini" or socket.is_orphan
            else "The program called shutdown() and keeps the socket."
        )
        return f"{PORTRAITS[state].summary} {how}"
    if state is State.ESTABLISHED and socket.send_q and socket.timer:
        return _why_send_q(socket, socket.timer)
    if state is State.ESTABLISHED and socket.recv_q:
        return f"{socket.recv_q} bytes have arrived and wait for the program to read them."
    if state is State.LISTEN and socket.backlog is not None and socket.recv_q > socket.backlog:
        return f"{PORTRAITS[state].summary} Its accept queue is full: {socket.recv_q} of {socket.backlog}."
    return PORTRAITS[state].summary


def _why_close_wait(socket: Socket) -> str:
    if socket.recv_q == 0:
        return "The peer has closed. The program has read the end of file and has not closed the socket."
    if socket.recv_q == 1:
        return "The peer has closed. The program has not read the end of file yet: the 1 in Recv-Q is the peer's FIN."
    return f"The peer has closed. {socket.recv_q - 1} bytes and the end of file wait to be read."


def _why_send_q(socket: Socket, timer: Timer) -> str:
    if socket.is_held_here:
        return (
            f"{socket.send_q} bytes wait although the peer's window has room: this host's own packet filter, or its"
            " output queue, drops what TCP sends."
        )
    if timer.kind == "persist":
        return f"{socket.send_q} bytes wait: the peer's window is 0, its program does not read."
    if timer.kind == "on" and timer.retransmits:
        return (
            f"{socket.send_q} bytes are not acknowledged after {timer.retransmits} retransmissions: the path or the"
            " peer is gone."
        )
    return f"{socket.send_q} bytes are on their way."


def who_acts(socket: Socket) -> str:
    """Say who must act next."""
    state = socket.state
    if socket.is_unaccepted:
        return "the listening program: accept()"
    if state is State.CLOSE_WAIT and socket.owners:
        names = ", ".join(f"{owner.name} (pid {owner.pid})" for owner in socket.owners)
        return f"{names}: close it" + ("" if len(socket.owners) == 1 else "; all of them hold it")
    if state is State.FIN_WAIT_2 and socket.kind == "full" and not socket.is_orphan:
        return "the peer's program, by closing; or the one here, by closing what it only shut down"
    if state is State.ESTABLISHED and socket.send_q and socket.timer:
        if socket.is_held_here:
            return "whoever set up this host's packet filter (nft list ruleset) or output queue (tc -s qdisc)"
        if socket.timer.kind == "persist":
            return "the peer's program: read"
        if socket.timer.kind == "on":
            return "the peer's kernel, with an ACK"
    if state is State.ESTABLISHED and socket.recv_q and not socket.send_q:
        return "the program here: read; its peer may send meanwhile"
    return PORTRAITS[state].acts


def what_comes(socket: Socket, unseen: Collection[str] = ()) -> str:
    """Say what will happen when nobody acts, and when; with unseen timers only what the state alone tells."""
    timer = socket.timer
    if timer is None or not timer.kind or timer.kind == "off":
        return _without_timer(socket) if "timers" not in unseen or socket.is_listener else PORTRAITS[socket.state].linux
    when = _seconds(timer.expires_ms)
    if timer.kind == "timewait":
        return f"gone in {when}"
    if timer.kind == "keepalive":
        return f"a keepalive probe in {when}"
    if socket.is_held_here:
        return f"another attempt in {when}, at most 2 min apart; ETIMEDOUT after tcp_retries2 of them"
    if timer.kind == "persist":
        return f"a window probe in {when}, again and again while the peer answers"
    tried = f", after {timer.retransmits} retransmission{'s' * (timer.retransmits != 1)}" if timer.retransmits else ""
    is_open = socket.state in (State.ESTABLISHED, State.CLOSE_WAIT)
    end = _OPEN_DATA_ENDS if is_open else PORTRAITS[socket.state].linux
    return f"retransmission in {when}{tried}; {end}"


def _without_timer(socket: Socket) -> str:
    if socket.state is State.LISTEN:
        return "nothing, until a client comes"
    if socket.state in (State.TIME_WAIT, State.SYN_SENT, State.SYN_RECEIVED) or socket.is_orphan:
        return PORTRAITS[socket.state].linux
    return "nothing: no timer runs, so it can stay like this for ever"


def who_owns(socket: Socket) -> str:
    """Name the holders, or the reason why there is none."""
    if socket.owners:
        return ", ".join(
            f"{owner.name} (pid {owner.pid}{f', fd {owner.fd}' if owner.fd >= 0 else ''})" for owner in socket.owners
        )
    if socket.is_unaccepted:
        return "none yet: not accepted"
    if socket.kind == "request":
        return "none: a handshake of the kernel (request socket)"
    if socket.kind == "mini":
        return "none: the kernel's memory of a closed connection (mini-socket)"
    if socket.is_orphan:
        return "none: its program has closed it (orphan)"
    return "not visible with these privileges" if socket.inode else "none shown"


def queues_text(socket: Socket) -> str:
    """Say what the two queues hold."""
    if socket.is_listener:
        limit = f", backlog {socket.backlog}" if socket.backlog is not None else ", backlog not known"
        return f"{socket.recv_q} waiting for accept(){limit}"
    return f"Recv-Q {socket.recv_q}, Send-Q {socket.send_q} bytes" if socket.recv_q or socket.send_q else ""


def age_text(socket: Socket) -> str:
    """Say for how long, and how well that is known."""
    if socket.age.known == "unknown":
        return ""
    return ("at least " if socket.age.known == "bound" else "") + _seconds(socket.age.ms)


def _seconds(ms: int) -> str:
    if ms < 10_000:
        return f"{ms / 1000:.1f} s"
    seconds = ms // 1000
    if seconds < 120:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def socket_as_json(socket: Socket, unseen: Collection[str] = ()) -> dict[str, object]:
    """Return the explanation of one socket as JSON prints it."""
    return {
        "proto": socket.proto,
        "state": socket.state.name,
        "local": {"address": socket.local.address, "port": socket.local.port},
        "remote": {"address": socket.remote.address, "port": socket.remote.port},
        "processes": [{"pid": owner.pid, "name": owner.name, "fd": owner.fd} for owner in socket.owners],
        "why": why(socket, unseen),
        "acts_next": who_acts(socket),
        "what_comes": what_comes(socket, unseen),
        "possible_findings": list(findings_of(socket.state)),
    }
