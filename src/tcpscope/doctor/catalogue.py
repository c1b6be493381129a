"""Every finding the doctor knows: id, number, what it means in one line, what it needs, how well it was checked.

``needs`` says what a rule cannot do without: ``two-looks`` (rates), ``tcp_info``, ``counters``, ``timers``,
``backlog`` (only sock_diag tells it), ``owners`` (root, for other people's processes), ``processes``, ``sysctls``,
``limits``, ``history`` (earlier looks) or ``firewall``. What is missing is reported as not judged, never as health.
``verified`` tells whether the illness was made for real on Linux 6.18 and found (and its trap made and not found);
the others are tested on snapshots constructed from documented kernel output. F59 is free (TCP Fast Open).
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple


class Entry(NamedTuple):
    """One finding of the catalogue. ``rules`` is the module of :mod:`tcpscope.doctor` that holds its rule."""

    id: str
    number: int
    title: str
    meaning: str
    rules: str
    needs: tuple[str, ...] = ()
    verified: bool = False

    @property
    def recipe(self) -> str:
        """``verified`` or ``constructed``."""
        return "verified" if self.verified else "constructed"


# fmt: off
_ENTRIES = (
    # the closing side
    Entry("close-wait-leak", 1, "The program does not close what its peers have closed", "CLOSE_WAIT: the peer's FIN came, this program read the end of file and kept the socket", "close_wait", (), True),
    Entry("close-wait-app-blocked", 2, "The program does not even read the end of file", "CLOSE_WAIT with unread bytes: the event loop or the worker pool is stuck, it is no missing close()", "close_wait", (), True),
    Entry("fin-wait2-orphan-pile", 3, "Peers do not close", "closed here, FIN acknowledged, the peer's program keeps its end in CLOSE_WAIT; Linux forgets it after tcp_fin_timeout", "close_side", (), True),
    Entry("fin-wait2-half-closed-forever", 4, "shutdown() without close(): FIN_WAIT_2 without an end", "the program shut its sending direction and waits for a FIN that does not come; no timer ends this", "close_side", ("timers",), True),
    Entry("fin-wait1-stuck", 5, "Our FIN is not acknowledged", "closed here, but the path or the peer is gone: the kernel repeats the FIN up to about 107 s", "close_side", ("timers",), True),
    Entry("fin-wait1-zero-window", 6, "A peer that does not read keeps closed sockets alive", "closed with data queued, the peer's window is zero: the kernel probes for minutes and keeps the memory", "close_side", ("timers",), True),
    Entry("last-ack-pile", 7, "The last acknowledgement does not come", "both sides closed, our FIN is repeated: the peer's host or the path is gone, or a firewall eats late packets", "close_side", ("timers",), True),
    Entry("closing-visible", 8, "Simultaneous close, and an ACK was lost", "CLOSING is passed in one round trip; to see it means a lost acknowledgement", "close_side", (), True),
    Entry("time-wait-normal", 9, "Many TIME_WAIT, and that is normal", "the side that closes first keeps 60 s of memory so that old segments cannot hurt a new connection", "ports", ()),
    Entry("ephemeral-port-exhaustion-timewait", 10, "Outgoing ports to one destination run out in TIME_WAIT", "connect() fails with EADDRNOTAVAIL when every port to one address and port is taken", "ports", ("sysctls",), True),
    Entry("ephemeral-port-exhaustion-live", 11, "Outgoing ports to one destination run out in live connections", "a pool leak, or a proxy with a single upstream address", "ports", ("sysctls",), True),
    Entry("tw-bucket-overflow", 12, "The TIME_WAIT table is full", "past tcp_max_tw_buckets the kernel skips TIME_WAIT and answers the peer's last segments with RST", "ports", ("two-looks", "counters"), True),
    Entry("bind-eaddrinuse-timewait", 13, "A restart meets its own old connections", "bind() fails with EADDRINUSE while old connections hold the port and SO_REUSEADDR is missing", "ports", (), True),
    Entry("port-taken-by-outgoing", 14, "A server's port lies in the range for outgoing connections", "any connect() may take the port; then listen fails though nobody listens", "ports", ("sysctls",), True),
    # the opening side
    Entry("accept-queue-overflow", 15, "A listener turns new connections away", "the queue of completed connections is full because accept() is not called fast enough", "accepting", ("backlog",), True),
    Entry("backlog-too-small", 16, "A busy listener has a small backlog", "a burst larger than the backlog is lost and retried a second later", "accepting", ("backlog", "two-looks", "counters")),
    Entry("accept-stalled-by-fd-limit", 17, "accept() fails because the program has no descriptors left", "clients believe they are connected, the program never sees them", "accepting", ("processes",), True),
    Entry("ghost-established-by-overflow", 18, "Clients think they are connected, the server has forgotten them", "the last ACK of the handshake met a full accept queue (or a SYN cookie was dropped there)", "handshaking", ("tcp_info",), True),
    Entry("syn-flood", 19, "SYN flood, or something that looks like one", "handshakes begun and never finished fill a listener's SYN queue", "handshaking", (), True),
    Entry("syn-recv-ack-lost", 20, "The last ACK of handshakes gets lost", "SYN|ACK is repeated to a few peers that think they are connected: asymmetric routing or a firewall", "handshaking", ("timers",), True),
    Entry("syn-sent-blackhole", 21, "SYNs to a destination vanish", "no SYN|ACK, no RST, no ICMP: dropped by a filter, a full accept queue, or nobody is there", "opening", (), True),
    Entry("connection-refused-storm", 22, "Connections are refused in numbers", "the destination answers RST: nothing listens there (or a firewall rejects)", "opening", ("two-looks", "counters"), True),
    Entry("scanner-or-worm-pattern", 23, "One process tries to reach very many hosts or ports", "the picture of a scan or a worm, or of service discovery in a broken network", "opening", (), True),
    Entry("inbound-scan", 24, "Somebody tries ports here", "many RSTs go out for segments that belong to no socket", "opening", ("two-looks", "counters")),
    Entry("self-connect", 25, "A socket is connected to itself", "a client retried a dead local port until the kernel chose that very port as source: simultaneous open with itself", "opening", (), True),
    Entry("no-route", 26, "Destinations without a route or without an answer on the link", "connect() fails with ENETUNREACH or EHOSTUNREACH", "opening", ("two-looks", "counters")),
    Entry("deferred-accept-misread", 27, "SYN_RECEIVED here is TCP_DEFER_ACCEPT, not an attack", "the client is connected; the kernel waits for its first data before it wakes the server", "handshaking", ("timers",), True),
    Entry("listener-missing", 28, "A port that used to listen does not any more", "earlier looks saw a listener; now clients are refused", "accepting", ("history",)),
    Entry("listener-closed-with-queue", 29, "A listener was closed with connections still waiting", "a restart reset clients that were connected and not yet accepted", "accepting", ("two-looks", "counters"), True),
    Entry("reuseport-imbalance", 30, "One of several workers on the same port is stuck", "SO_REUSEPORT deals connections to a worker that does not accept: one client in N hangs", "accepting", ("backlog",), True),
    # established connections
    Entry("half-open-stale", 31, "Connections whose peers have probably gone", "ESTABLISHED, silent for hours, no keepalive: nothing will ever tell this end", "idle", ("tcp_info",), True),
    Entry("no-keepalive-on-long-idle", 32, "Long idle connections without keepalive", "load balancers and firewalls forget idle connections after 4 to 6 minutes, silently", "idle", ("tcp_info", "timers")),
    Entry("keepalive-sysctl-too-long", 33, "Keepalive starts later than middleboxes forget", "tcp_keepalive_time is longer than common idle limits on the way", "idle", ("sysctls", "timers")),
    Entry("keepalive-too-aggressive", 34, "Keepalive gives up after a few seconds", "a short loss during probing kills healthy connections", "idle", ("sysctls",)),
    Entry("retransmission-stall", 35, "Data is repeated and not acknowledged", "the path or the peer is gone; the program will hear ETIMEDOUT only after many minutes", "sending", ("timers",), True),
    Entry("packet-loss", 36, "Segments get lost", "the share of retransmitted segments between the two looks", "counters", ("two-looks", "counters"), True),
    Entry("spurious-retransmit-reorder", 37, "Retransmissions were not needed: reordering, not loss", "peers report duplicates (DSACK) for most of what was repeated", "counters", ("two-looks", "counters")),
    Entry("zero-window-peer-slow", 38, "The peer does not read", "its window is zero; the kernel probes for ever as long as it answers", "sending", ("timers",), True),
    Entry("reader-stalled-locally", 39, "The program here does not read", "bytes wait in Recv-Q and none moved", "sending", ("tcp_info",)),
    Entry("rcvbuf-pruning", 40, "Receive buffers are too small for what comes", "the kernel collapses or drops data that has already arrived", "counters", ("two-looks", "counters")),
    Entry("sndbuf-limited", 41, "Sending waits for the send buffer", "SO_SNDBUF or tcp_wmem limits throughput, not the network", "sending", ("tcp_info",)),
    Entry("tcp-memory-pressure", 42, "TCP runs out of memory", "all sockets together are above the pressure line of tcp_mem", "capacity", ("limits", "sysctls")),
    Entry("too-many-orphans", 43, "Too many closed sockets still finish on their own", "past tcp_max_orphans (half or a quarter of it for bad ones) the kernel resets them", "capacity", ("limits", "sysctls")),
    Entry("rst-storm-sent", 44, "This host sends many RSTs", "broken down by the reason the kernel counts", "counters", ("two-looks", "counters"), True),
    Entry("reset-by-peer-rate", 45, "Established connections are reset", "resets, aborts and timeouts of established connections, as a share of the opened ones", "counters", ("two-looks", "counters")),
    Entry("ghost-reconnect", 46, "Clients come back on connections this host still has", "a SYN on a live 4-tuple is answered with a challenge ACK", "counters", ("two-looks", "counters"), True),
    Entry("zombie-socket-fds", 47, "A process holds sockets no list shows", "reset by the peer or never bound, and never closed: descriptors leak invisibly", "descriptors", ("processes",), True),
    Entry("fd-exhaustion-near", 48, "A process is about to run out of descriptors", "then accept(), socket() and open() fail with EMFILE", "descriptors", ("processes",)),
    Entry("system-sockets-leak", 49, "The machine allocates more sockets than any list shows", "sockets that are neither in use nor orphaned grow", "descriptors", ("history", "limits")),
    Entry("shared-socket-holders", 50, "One socket is held by several processes", "the FIN goes out only when the last of them closes", "descriptors", ("owners",), True),
    Entry("idle-firewall-drop", 51, "Something on the way forgot idle connections", "after a silence the first data is never acknowledged", "sending", ("tcp_info", "timers"), True),
    Entry("pmtu-blackhole", 52, "Full-size segments vanish, small ones pass", "the path's MTU is smaller than believed and ICMP is filtered", "sending", ("tcp_info", "timers"), True),
    Entry("checksum-errors", 53, "Segments with bad checksums arrive", "a network card, an offload or a middlebox damages packets", "counters", ("two-looks", "counters"), True),
    Entry("paws-drops", 54, "Segments are dropped for old timestamps", "PAWS: several hosts with different clocks behind one address, or a middlebox", "counters", ("two-looks", "counters")),
    Entry("backlog-drop", 55, "Segments are dropped while the program holds the socket", "a slow system call owns the socket and its backlog is full", "counters", ("two-looks", "counters")),
    Entry("softnet-drop", 56, "The kernel drops packets before TCP sees them", "a CPU's input queue is full", "capacity", ("two-looks", "limits")),
    Entry("conntrack-table-full", 57, "The connection tracking table is nearly full", "then packets of new connections are dropped", "capacity", ("limits",)),
    Entry("conn-concentration", 58, "One address holds very many connections", "a NAT, a load balancer, a bad pool or a slowloris", "idle", ()),
    # exposure and configuration
    Entry("exposed-listener", 60, "A sensitive service listens to the world", "bound to every address, with no evidence that anything protects it", "exposure", (), True),
    Entry("unexpected-listener", 61, "A listener nobody expects here", "not seen before, or opened by a shell", "exposure", ("owners",)),
    Entry("deleted-executable-listening", 62, "A listener runs from a deleted file", "upgraded without a restart, or hiding", "exposure", ("processes",), True),
    Entry("dual-stack-surprise", 63, "A listener serves both families, the firewall filters one", "`::` without IPV6_V6ONLY accepts IPv4 and IPv6", "exposure", ("firewall",)),
    Entry("loopback-only-service", 64, "Services for this host alone", "works from here, refused from elsewhere", "exposure", ()),
    Entry("world-listening-without-owner", 65, "A public listener without a visible owner", "another pid namespace, the kernel itself, or missing privilege", "exposure", ()),
    Entry("sysctl-lint", 66, "A kernel setting that hurts", "a value known to cause the illnesses above, or widespread wrong advice", "settings", ("sysctls",), True),
    Entry("nagle-delayed-ack", 69, "Small writes wait for delayed acknowledgements", "a program writes a message in two pieces: Nagle's algorithm keeps the second until the peer acknowledges the first, which it delays by 40 ms", "small_writes", ("two-looks", "tcp_info"), True),
    Entry("tool-visibility", 67, "The doctor cannot see everything", "what is not seen must not be read as health", "settings", ()),
    Entry("excessive-connection-churn", 68, "Very many short connections to one destination", "a new handshake for each request: pooling saves ports and time", "ports", ("two-looks", "counters")),
)
# fmt: on

#: Finding id -> its entry, in the order of their numbers.
CATALOGUE: dict[str, Entry] = {entry.id: entry for entry in _ENTRIES}


def entry_of(name: str) -> Entry:
    """Find an entry by id or number (``close-wait-leak``, ``F01``, ``f1``). Raises ``ValueError`` naming near ones."""
    wanted = name.strip().lower().replace("_", "-")
    if wanted in CATALOGUE:
        return CATALOGUE[wanted]
    if wanted[:1] == "f" and wanted[1:].isdecimal():
        for entry in _ENTRIES:
            if entry.number == int(wanted[1:]):
                return entry
    from difflib import get_close_matches

    near = get_close_matches(wanted, CATALOGUE, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see 'tcpscope doctor --list'"
    raise ValueError(f"{name!r} is no finding: {hint}")
