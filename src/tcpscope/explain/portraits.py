"""The eleven states for people, as data: who is in one, who must act, how long it lasts, what a pile of it means.

How a state is entered and left is not written here: that is generated from :mod:`tcpscope.machine.lifecycle`.
Residence and timers are those of Linux 6.18 with its defaults.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State


class Pile(NamedTuple):
    """What many of this state mean under a condition, and the findings that say so."""

    when: str
    meaning: str
    findings: tuple[str, ...] = ()


class Portrait(NamedTuple):
    """One state: everything that the table cannot say."""

    summary: str
    side: str
    acts: str  #: who must act next, and how
    normal: str  #: how long it normally lasts
    linux: str  #: what ends it on Linux when nobody acts
    owner: str  #: which process the tools show
    peer: str  #: the states the other end is usually in
    piles: tuple[Pile, ...]


PORTRAITS: dict[State, Portrait] = {
    State.CLOSED: Portrait(
        summary="There is no connection. A socket exists at most as a number in a program.",
        side="both, before and after",
        acts="the program: connect() or listen() to begin, close() to give the descriptor back",
        normal="not a state one stays in",
        linux="nothing ends it: a descriptor lives until the program closes it",
        owner=(
            "Lists leave it out. A socket that was only bound is in no list of ss or netstat; tcpscope list -B shows"
            " it. One that the peer's RST killed is in no list at all until close()."
        ),
        peer="CLOSED or LISTEN",
        piles=(
            Pile(
                "descriptors of a process that are in no list",
                "it does not close sockets that were reset",
                ("zombie-socket-fds",),
            ),
        ),
    ),
    State.LISTEN: Portrait(
        summary=(
            "A program waits for connections. The handshake is done by the kernel beside it; this socket itself never"
            " leaves LISTEN."
        ),
        side="the server",
        acts="a client, by sending SYN; then the program, by calling accept()",
        normal="the life of the program",
        linux="no timer",
        owner="The program that called listen(), and every child that inherited the descriptor.",
        peer="none",
        piles=(
            Pile(
                "Recv-Q stays above 0",
                "the program accepts too slowly; at backlog + 1 SYNs are dropped and clients hang in SYN_SENT",
                ("accept-queue-overflow", "accept-stalled-by-fd-limit", "reuseport-imbalance"),
            ),
            Pile(
                "address 0.0.0.0, * or ::",
                "reachable from outside unless a firewall forbids it",
                ("exposed-listener", "dual-stack-surprise"),
            ),
            Pile(
                "a listener nobody knows",
                "find the program behind it",
                ("unexpected-listener", "deleted-executable-listening", "world-listening-without-owner"),
            ),
        ),
    ),
    State.SYN_SENT: Portrait(
        summary="The program called connect(); the SYN is out and nothing has answered.",
        side="the client",
        acts="the other host, with SYN,ACK or RST",
        normal="one round trip, so it is rarely seen",
        linux=(
            "131 s with default settings, then ETIMEDOUT (measured 133.6 s, 11 SYNs); 3 s and EHOSTUNREACH when the"
            " host is absent from the own LAN"
        ),
        owner="The program that connects.",
        peer="LISTEN; or nothing, or a full accept queue",
        piles=(
            Pile(
                "to one destination, more than 3 s",
                "packets vanish: a filter, a dead host, or a listener whose accept queue is full",
                ("syn-sent-blackhole",),
            ),
            Pile(
                "to many addresses on few ports",
                "a scanner, a worm, or service discovery in a broken network",
                ("scanner-or-worm-pattern",),
            ),
            Pile("address and port equal on both ends", "the program has connected to itself", ("self-connect",)),
        ),
    ),
    State.SYN_RECEIVED: Portrait(
        summary="A SYN came and SYN,ACK went out; the last ACK of the handshake is missing.",
        side="the server (both ends in a simultaneous open)",
        acts="the client, with the ACK",
        normal="one round trip",
        linux="63 s with default settings (measured 64.2 s), then it vanishes silently; no program learns of it",
        owner="None: it is a request socket of the kernel, inode 0. netstat shows '-'.",
        peer="ESTABLISHED (its ACK was lost or is deferred) or nothing (forged address)",
        piles=(
            Pile(
                "near backlog + 1, many sources",
                "a SYN flood, or real clients faster than the listener; SYN cookies keep it usable. The number is"
                " capped, so it never measures the flood",
                ("syn-flood",),
            ),
            Pile(
                "few, always the same clients",
                "their ACKs are lost: asymmetric route or firewall",
                ("syn-recv-ack-lost",),
            ),
            Pile("TCPDeferAcceptDrop grows", "TCP_DEFER_ACCEPT: healthy", ("deferred-accept-misread",)),
        ),
    ),
    State.ESTABLISHED: Portrait(
        summary=(
            "The handshake is complete. It says nothing about traffic: the connection may be idle for ever, or not even"
            " accepted."
        ),
        side="both",
        acts="either program: send, or close",
        normal="as long as the programs want",
        linux=(
            "no timer while nothing is unacknowledged; unacknowledged data gives up after 924 s (measured 938 s);"
            " keepalive only if the program set it"
        ),
        owner="The program; none and inode 0 means that accept() has not taken it yet.",
        peer="ESTABLISHED; CLOSE_WAIT for an instant; nothing, when the peer vanished without FIN",
        piles=(
            Pile(
                "idle, no keepalive, segs_in stands still",
                "half open: the peer is gone and nobody has noticed",
                ("half-open-stale", "no-keepalive-on-long-idle"),
            ),
            Pile(
                "no owner, inode 0",
                "not accepted: the program is behind or out of descriptors",
                ("accept-queue-overflow", "accept-stalled-by-fd-limit"),
            ),
            Pile("Recv-Q stands high", "the local program does not read", ("reader-stalled-locally",)),
            Pile(
                "Send-Q stands high",
                "timer on with retransmissions: path or peer lost; timer persist: the peer does not read",
                ("retransmission-stall", "zero-window-peer-slow", "pmtu-blackhole", "idle-firewall-drop"),
            ),
        ),
    ),
    State.FIN_WAIT_1: Portrait(
        summary="This end closed first; its FIN is queued or sent and not acknowledged.",
        side="the end that closes first (client or server)",
        acts="the peer's kernel, with the ACK; no program is involved there",
        normal="one round trip, plus the time to deliver what was queued before the FIN",
        linux=(
            "102 s for an orphan (measured 107.0 s); behind a zero window longer (measured 341.5 s); a socket still"
            " open follows tcp_retries2"
        ),
        owner="None after close() (orphan, '-'); the program after shutdown().",
        peer="ESTABLISHED (the FIN did not arrive) or CLOSE_WAIT (its ACK did not)",
        piles=(
            Pile("timer on, retransmissions 2 or more", "the path to the peer is dead", ("fin-wait1-stuck",)),
            Pile("timer persist, Send-Q large", "the peer does not read: slow or hostile", ("fin-wait1-zero-window",)),
        ),
    ),
    State.FIN_WAIT_2: Portrait(
        summary="This end closed first and its FIN is acknowledged; it waits for the peer's FIN.",
        side="the end that closed first (client or server)",
        acts="the peer's program, by closing its end",
        normal="the peer's time to notice the end of file and close",
        linux="after close(): tcp_fin_timeout, 60 s (measured 62.3 s). After shutdown(): no limit at all",
        owner="None after close(): a mini-socket with timer 'timewait'. The program after shutdown(): no timer.",
        peer="CLOSE_WAIT",
        piles=(
            Pile(
                "timer timewait, many, few remotes",
                "those peers leave CLOSE_WAIT behind; 60 s times the rate of closes is normal",
                ("fin-wait2-orphan-pile",),
            ),
            Pile(
                "no timer, an owner, for minutes",
                "half-closed with shutdown() and the peer never closes",
                ("fin-wait2-half-closed-forever",),
            ),
        ),
    ),
    State.CLOSE_WAIT: Portrait(
        summary=(
            "The peer has closed; the program here has not. The kernel has acknowledged the FIN and waits for close()."
        ),
        side="the end that closes second (client or server)",
        acts="the local program: read the end of file and close() the socket",
        normal="milliseconds, as long as the program needs to notice",
        linux=(
            "no timer at all, so it lasts as long as the program keeps the socket; keepalive ends it only when the peer"
            " is gone"
        ),
        owner="The program that must close it; every holder of the descriptor after a fork.",
        peer="FIN_WAIT_2: 60 s after close(), as long as it likes after shutdown(); then nothing",
        piles=(
            Pile(
                "Recv-Q 0",
                "the program read the end of file and forgot close(): a leak",
                ("close-wait-leak", "shared-socket-holders"),
            ),
            Pile(
                "Recv-Q 1 or more",
                "the program has not read up to the end of file: it is stuck or overloaded",
                ("close-wait-app-blocked",),
            ),
            Pile("inode 0", "closed by the client before accept() took it", ("accept-queue-overflow",)),
        ),
    ),
    State.CLOSING: Portrait(
        summary="Both ends closed at once: the FINs crossed, and ours is not acknowledged yet.",
        side="both ends of a simultaneous close",
        acts="the peer's kernel, with the ACK of our FIN",
        normal="one round trip; almost never seen",
        linux="as an orphan: 102 s",
        owner="None after close(): an orphan.",
        peer="CLOSING or TIME_WAIT",
        piles=(Pile("any that lasts more than 2 s", "the ACK of our FIN is lost on the way", ("closing-visible",)),),
    ),
    State.LAST_ACK: Portrait(
        summary="The peer closed first, the program here closed too; our FIN waits for its ACK.",
        side="the end that closes second (client or server)",
        acts="the peer's kernel, with the last ACK",
        normal="one round trip",
        linux="102 s (measured 107.2 s), then dropped silently",
        owner="None: an orphan, unless the program only called shutdown().",
        peer="TIME_WAIT, FIN_WAIT_2, or nothing",
        piles=(
            Pile(
                "timer on, retransmissions 2 or more",
                "the peer's host or the path is gone, or a firewall has forgotten the connection",
                ("last-ack-pile",),
            ),
        ),
    ),
    State.TIME_WAIT: Portrait(
        summary=(
            "Both ends have closed. The end that closed first remembers the connection, so that a lost last ACK can be"
            " repeated and old segments die."
        ),
        side="the end that closed first (client or server); both after a simultaneous close",
        acts="nobody: it ends by itself",
        normal="60 s; less only when a new SYN of the same client reopens it, or tcp_tw_reuse takes its port",
        linux="60 s, compiled in (measured 62.0 to 62.4 s); no sysctl changes it",
        owner="None: a mini-socket of 256 bytes (a full one has 2368, measured), without a descriptor.",
        peer="nothing; LAST_ACK if the last ACK was lost",
        piles=(
            Pile("any number, and nothing fails", "normal: closes per second times 60", ("time-wait-normal",)),
            Pile(
                "to one destination, near the size of the port range",
                "connect() fails with EADDRNOTAVAIL: pool connections, or tcp_tw_reuse=1 on the client",
                ("ephemeral-port-exhaustion-timewait", "excessive-connection-churn"),
            ),
            Pile("at tcp_max_tw_buckets", "the kernel sends RST instead of waiting", ("tw-bucket-overflow",)),
            Pile(
                "on the own service port, restart fails",
                "SO_REUSEADDR is missing on the old or the new listener",
                ("bind-eaddrinuse-timewait",),
            ),
        ),
    ),
}
