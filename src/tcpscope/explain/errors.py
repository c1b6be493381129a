"""What programs read when a connection goes wrong: the errors of the socket calls, and what TCP did to cause them.

Not here: what a call does in each state (:mod:`tcpscope.explain.calls`). Numbers and messages are Linux's.
"""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, fold, prose_sections
from tcpscope.model.record import NamedTuple


class CallError(NamedTuple):
    """One error number; ``message`` is what strerror() says, ``calls`` are those that return it."""

    name: str
    number: int
    message: str
    calls: tuple[str, ...]
    summary: str
    points: tuple[str, ...] = ()
    see_also: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


ERRORS: tuple[CallError, ...] = (
    CallError(
        name="ECONNREFUSED",
        number=111,
        message="Connection refused",
        calls=("connect()",),
        summary="The SYN was answered with RST: the host is there, and nobody listens at this address and port.",
        points=(
            "An answer came, so the path works. No answer at all is ETIMEDOUT.",
            "The server may listen elsewhere: on 127.0.0.1 and not on this address, on IPv4 and not on IPv6.",
            "A packet filter that rejects looks the same; one that drops gives ETIMEDOUT.",
            "A full accept queue does not refuse: Linux drops the SYN, and the client waits in SYN_SENT.",
        ),
        see_also=("SYN_SENT -> CLOSED", "RST", "connection-refused-storm"),
        names=("ConnectionRefusedError", "WSAECONNREFUSED"),
    ),
    CallError(
        name="ECONNRESET",
        number=104,
        message="Connection reset by peer",
        calls=("recv()", "send()"),
        summary="RST came on a connection: the peer has thrown it away, or knows nothing of it.",
        points=(
            "The peer's program closed without reading all that had come, or with SO_LINGER 0; or data came after its"
            " close().",
            "The peer was restarted, or something between has forgotten the connection and answers for it.",
            "What was queued is lost in both directions. The error is told once: after it recv() returns 0, and send()"
            " fails with EPIPE.",
            "The socket stays with the program, in no list, until close().",
        ),
        see_also=("RST", "SO_LINGER", "zombie-socket-fds", "rst-storm-sent"),
        names=("ConnectionResetError", "WSAECONNRESET", "connection reset"),
    ),
    CallError(
        name="EPIPE",
        number=32,
        message="Broken pipe",
        calls=("send()",),
        summary="Nothing can be sent any more: this end has shut its direction, or the connection was reset.",
        points=(
            "After the peer's close() the first send() succeeds: FIN alone does not say that it no longer reads. Its"
            " kernel answers with RST, and the next send() fails.",
            "With EPIPE comes SIGPIPE, which ends a program that does not ignore it (MSG_NOSIGNAL).",
        ),
        see_also=("CLOSE_WAIT", "ECONNRESET", "shutdown()"),
        names=("BrokenPipeError", "SIGPIPE"),
    ),
    CallError(
        name="ETIMEDOUT",
        number=110,
        message="Connection timed out",
        calls=("connect()", "recv()", "send()"),
        summary="Something was sent again and again, and no answer came; the kernel has given up.",
        points=(
            "connect(): no answer to the SYN for 131 s (net.ipv4.tcp_syn_retries).",
            "On a connection: data unacknowledged for 924.6 s (net.ipv4.tcp_retries2) or for TCP_USER_TIMEOUT, or no"
            " answer to keepalive probes.",
            "Without data in flight and without keepalive nothing ever times out: the connection is half-open.",
            "A program's own limit (settimeout(), SO_RCVTIMEO) is another thing: the connection lives on.",
        ),
        see_also=("syn-retries", "retransmission", "keepalive", "half-open"),
        names=("TimeoutError", "WSAETIMEDOUT", "timed out"),
    ),
    CallError(
        name="EADDRINUSE",
        number=98,
        message="Address already in use",
        calls=("bind()", "listen()"),
        summary="Another socket has this local address and port.",
        points=(
            "A listener has it: tcpscope list -tlnp sport = :PORT.",
            "Nobody listens: connections of the old server are in TIME_WAIT or another state, and not both the old and"
            " the new socket have SO_REUSEADDR.",
            "An outgoing connection has taken the port from the ephemeral range.",
        ),
        see_also=("SO_REUSEADDR", "TIME_WAIT", "bind-eaddrinuse-timewait", "port-taken-by-outgoing"),
        names=("WSAEADDRINUSE",),
    ),
    CallError(
        name="EADDRNOTAVAIL",
        number=99,
        message="Cannot assign requested address",
        calls=("bind()", "connect()"),
        summary="There is no such local address, or no local port left towards this destination.",
        points=(
            "bind(): the address is on no interface of this host (or of this network namespace).",
            "connect(): every port of net.ipv4.ip_local_port_range is in use towards this address and port, TIME_WAIT"
            " included. Other destinations still work.",
        ),
        see_also=("ephemeral port", "ephemeral-port-exhaustion-timewait", "net.ipv4.ip_nonlocal_bind"),
        names=("WSAEADDRNOTAVAIL",),
    ),
    CallError(
        name="EHOSTUNREACH",
        number=113,
        message="No route to host",
        calls=("connect()", "send()", "recv()"),
        summary="The network says that the host cannot be reached: ICMP, or no answer to ARP for 3 s.",
        points=(
            "connect() fails at once with it; RFC 9293 would go on trying (MUST-56).",
            "On a connection it is told in the place of ETIMEDOUT when the kernel gives up, and not before.",
            "Some packet filters reject with ICMP host prohibited: the host is there.",
        ),
        see_also=("soft-icmp-ends-connect", "ETIMEDOUT", "no-route"),
        names=("host unreachable", "WSAEHOSTUNREACH"),
    ),
    CallError(
        name="ENETUNREACH",
        number=101,
        message="Network is unreachable",
        calls=("connect()",),
        summary="This host has no route there: connect() fails at once, and no packet was sent.",
        points=("Common with IPv6 addresses on a host that has none.",),
        see_also=("EHOSTUNREACH", "no-route"),
        names=("WSAENETUNREACH",),
    ),
    CallError(
        name="ECONNABORTED",
        number=103,
        message="Software caused connection abort",
        calls=("recv()", "send()"),
        summary="The connection was ended from outside on this host: tcpscope kill or ss -K (SOCK_DESTROY).",
        points=("The peer was sent a RST if the state asks for one.",),
        see_also=("ABORT",),
        names=("ConnectionAbortedError", "WSAECONNABORTED"),
    ),
    CallError(
        name="ENOTCONN",
        number=107,
        message="Transport endpoint is not connected",
        calls=("recv()", "shutdown()"),
        summary="There is no connection: never connected, a listener, or one that was reset.",
        see_also=("CLOSED", "LISTEN"),
        names=("WSAENOTCONN",),
    ),
    CallError(
        name="EISCONN",
        number=106,
        message="Transport endpoint is already connected",
        calls=("connect()",),
        summary="connect() on a socket that is connected already, or that listens.",
        points=("RFC 9293 lets a listener turn into a client; Linux does not.",),
        see_also=("LISTEN -> SYN_SENT", "no-listen-to-syn-sent"),
        names=("WSAEISCONN",),
    ),
    CallError(
        name="EINPROGRESS",
        number=115,
        message="Operation now in progress",
        calls=("connect()",),
        summary="A non-blocking connect() has sent its SYN. It is no failure: the socket is in SYN_SENT.",
        points=("Wait until it is writable, then ask getsockopt(SO_ERROR): 0 means ESTABLISHED.",),
        see_also=("SYN_SENT", "connect()"),
        names=("BlockingIOError",),
    ),
    CallError(
        name="EAGAIN",
        number=11,
        message="Resource temporarily unavailable",
        calls=("recv()", "send()", "accept()"),
        summary="Nothing can be done right now without waiting: nothing to read, no room to write, nobody to accept.",
        points=(
            "On a non-blocking socket, or after SO_RCVTIMEO or SO_SNDTIMEO. The connection is as it was.",
            "0 octets from recv() are another thing: the end of file, the peer has closed.",
        ),
        see_also=("SO_SNDTIMEO", "Recv-Q", "Send-Q"),
        names=("EWOULDBLOCK",),
    ),
    CallError(
        name="EMFILE",
        number=24,
        message="Too many open files",
        calls=("accept()", "socket()"),
        summary="The process has no descriptor left. Finished handshakes stay in the accept queue.",
        points=("Often the last symptom of sockets that are never closed: look for CLOSE_WAIT.",),
        see_also=("accept-stalled-by-fd-limit", "close-wait-leak", "accept queue"),
        names=("ENFILE",),
    ),
    CallError(
        name="EACCES",
        number=13,
        message="Permission denied",
        calls=("bind()",),
        summary="Ports below net.ipv4.ip_unprivileged_port_start (1024) need root or CAP_NET_BIND_SERVICE.",
        see_also=("net.ipv4.ip_unprivileged_port_start",),
        names=("PermissionError",),
    ),
)

_BY_NAME = {
    fold(name): error
    for error in ERRORS
    for name in (error.name, error.message, f"errno {error.number}", f"[errno {error.number}]", *error.names)
}


def error_named(text: str) -> CallError | None:
    """Return the error of this name, number or message; also when a program's whole message holds one of these."""
    found = _BY_NAME.get(fold(text))
    if found is not None:
        return found
    words = {word.strip("[](){}<>:;,.'\"").lower() for word in text.split()}
    said = " ".join(text.lower().split())
    return next((one for one in ERRORS if one.name.lower() in words or one.message.lower() in said), None)


def explain_error(error: CallError) -> Answer:
    """Explain one error: who returns it, what TCP did, what to look at."""
    calls = " ".join(error.calls)
    return Answer(
        "error",
        error.name,
        f"{error.name}: {error.message}",
        error.summary,
        (Section("Returned by", (f"{calls} (errno {error.number})",)), *prose_sections(("Mind", error.points))),
        error.see_also,
        {"error": error.name, "errno": error.number, "message": error.message, "calls": list(error.calls)},
    )


def explain_errors() -> Answer:
    """List the errors of the socket calls."""
    rows = tuple((one.name, one.message, " ".join(one.calls), one.summary) for one in ERRORS)
    return Answer(
        "errors",
        "errors",
        "Errors of the socket calls",
        "What a program reads when a connection goes wrong, and what TCP did to cause it.",
        (Section("Errors", grid=Grid(("name", "message", "from", "what happened"), rows)),),
        ("ECONNRESET", "ETIMEDOUT", "RST"),
        {"errors": [one.name for one in ERRORS]},
    )
