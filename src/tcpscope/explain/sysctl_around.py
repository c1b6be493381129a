"""Kernel settings of the layers around TCP: ports and addresses, net.core, connection tracking, files.

Defaults as on Linux 6.18; the source is the kernel's ``Documentation/admin-guide/sysctl`` and ``networking``.
"""

from __future__ import annotations

from tcpscope.explain.sysctl_table import HOST, NAMESPACE, NEW, Setting

AROUND: tuple[Setting, ...] = (
    Setting(
        name="net.core.somaxconn",
        default="4096 (128 before 5.4)",
        scope=NAMESPACE,
        does="Upper limit of the backlog that listen() may ask for.",
        acts=(
            "listen() from now on: a live listener keeps its backlog until it calls listen() again (measured 64, 64,"
            " 1000)"
        ),
        advice="Raise it together with the program's own backlog, then restart or re-listen.",
        wrong="Raising it alone and waiting.",
        see_also=("accept-queue-overflow", "accept queue"),
    ),
    Setting(
        name="net.ipv4.ip_local_port_range",
        default="32768 60999",
        scope=NAMESPACE,
        does=(
            "Local ports for connect() without bind(): 28232 of them. With 60 s of TIME_WAIT that is 470 connections"
            " per second to one destination."
        ),
        acts="at once",
        advice="Widen to 1024 65535 and reserve the ports of services with ip_local_reserved_ports.",
        see_also=("ephemeral-port-exhaustion-timewait", "self-connect"),
    ),
    Setting(
        name="net.ipv4.ip_local_reserved_ports",
        default="empty",
        scope=NAMESPACE,
        does="Ports that connect() must not take.",
        acts="at once",
        advice="Name every service port inside ip_local_port_range: 8080,9000-9010.",
        see_also=("port-taken-by-outgoing", "self-connect"),
    ),
    Setting(
        name="net.ipv6.bindv6only",
        default="0",
        scope=NAMESPACE,
        does="Default of IPV6_V6ONLY: 0 lets a socket on :: take IPv4 too.",
        acts=NEW,
        see_also=("v6only", ":::22"),
    ),
    Setting(
        name="net.core.netdev_max_backlog",
        default="1000",
        scope=NAMESPACE,
        does="Packets a CPU may queue between network card and stack.",
        acts="at once",
        advice="Raise it when the second column of /proc/net/softnet_stat grows.",
        see_also=("softnet-drop",),
    ),
    Setting(
        name="net.netfilter.nf_conntrack_max",
        default="depends on memory",
        scope=HOST,
        does="Connections the firewall can remember; the count is per namespace.",
        acts="at once",
        advice="Raise it, shorten the established timeout, or notrack for hot ports.",
        see_also=("conntrack", "conntrack-table-full"),
    ),
    Setting(
        name="net.netfilter.nf_conntrack_tcp_timeout_established",
        default="432000",
        scope=NAMESPACE,
        does="Seconds of silence after which the firewall forgets an established connection.",
        acts="entries refreshed afterwards",
        advice="Longer than the keepalive of your programs.",
        see_also=("conntrack", "idle-firewall-drop"),
    ),
    Setting(
        name="net.netfilter.nf_conntrack_tcp_timeout_last_ack",
        default="30",
        scope=NAMESPACE,
        does="The same in LAST_ACK; shorter than the 107 s for which Linux repeats its FIN.",
        acts="entries refreshed afterwards",
        see_also=("conntrack", "last-ack-pile"),
    ),
    Setting(
        name="net.ipv4.conf.all.rp_filter",
        default="0 (distributions set 1 or 2)",
        scope=NAMESPACE,
        does="Drops packets whose answer would leave by another interface; with asymmetric routes it drops handshakes.",
        acts="at once",
        advice="2 (loose) with several uplinks.",
        see_also=("syn-recv-ack-lost",),
    ),
    Setting(
        name="net.ipv4.conf.all.route_localnet",
        default="0",
        scope=NAMESPACE,
        does="1 lets packets for 127.0.0.0/8 come in from outside (with DNAT).",
        acts="at once",
        wrong="Relying on 127.0.0.1 as protection where it is 1.",
        see_also=("127.0.0.1:631", "exposed-listener"),
    ),
    Setting(
        name="fs.file-max",
        default="depends on memory",
        scope=HOST,
        does="Descriptors of the whole machine. A program's own limit is RLIMIT_NOFILE.",
        acts="at once",
        advice="LimitNOFILE= in systemd, after closing the leak.",
        see_also=("fd-exhaustion-near", "accept-stalled-by-fd-limit"),
    ),
    Setting(
        name="net.ipv4.ip_unprivileged_port_start",
        default="1024",
        scope=NAMESPACE,
        does="Ports below it need root or CAP_NET_BIND_SERVICE to bind().",
        acts="at once",
        see_also=("bind()",),
    ),
    Setting(
        name="net.ipv4.ip_nonlocal_bind",
        default="0",
        scope=NAMESPACE,
        does="1 allows bind() to an address this host does not have (yet); with 0 that fails with EADDRNOTAVAIL.",
        acts="at once",
        see_also=("bind()",),
    ),
    Setting(
        name="net.ipv4.ip_no_pmtu_disc",
        default="0",
        scope=NAMESPACE,
        does="1 or 2 switch path MTU discovery off: segments may be cut into fragments on the way.",
        acts=NEW,
        see_also=("pmtu-blackhole",),
    ),
    Setting(
        name="net.ipv4.ip_forward",
        default="0",
        scope=NAMESPACE,
        does="1 makes the host a router: packets for others pass through and through its connection tracking.",
        acts="at once",
        see_also=("conntrack",),
    ),
    Setting(
        name="net.ipv4.icmp_ratelimit",
        default="1000 (ms)",
        scope=NAMESPACE,
        does=(
            "Shortest time between ICMP errors to one destination: 'unreachable' answers beyond it are not sent, and"
            " clients wait instead."
        ),
        acts="at once",
        see_also=("SYN_SENT",),
    ),
    Setting(
        name="net.ipv6.conf.all.disable_ipv6",
        default="0",
        scope=NAMESPACE,
        does="1 removes all IPv6 addresses; listeners on :: then serve IPv4 alone.",
        acts="at once",
        see_also=("v6only",),
    ),
    Setting(
        name="net.core.rmem_max",
        default="4194304 (212992 in older kernels)",
        scope=HOST,
        does="Largest receive buffer SO_RCVBUF may ask for, in bytes. Autotuning has its own limit in tcp_rmem.",
        acts="setsockopt() from now on",
        see_also=("net.ipv4.tcp_rmem",),
    ),
    Setting(
        name="net.core.wmem_max",
        default="4194304 (212992 in older kernels)",
        scope=HOST,
        does="Largest send buffer SO_SNDBUF may ask for, in bytes. Autotuning has its own limit in tcp_wmem.",
        acts="setsockopt() from now on",
        see_also=("net.ipv4.tcp_wmem",),
    ),
    Setting(
        name="net.core.rmem_default",
        default="212992",
        scope=HOST,
        does="First receive buffer of sockets other than TCP; TCP takes the second value of tcp_rmem.",
        acts=NEW,
        see_also=("net.ipv4.tcp_rmem",),
    ),
    Setting(
        name="net.core.wmem_default",
        default="212992",
        scope=HOST,
        does="First send buffer of sockets other than TCP; TCP takes the second value of tcp_wmem.",
        acts=NEW,
        see_also=("net.ipv4.tcp_wmem",),
    ),
    Setting(
        name="net.core.netdev_budget",
        default="300",
        scope=HOST,
        does=(
            "Packets one round of the receive softirq may take. The third column of /proc/net/softnet_stat counts"
            " rounds that ran out."
        ),
        acts="at once",
        see_also=("softnet-drop",),
    ),
    Setting(
        name="net.core.default_qdisc",
        default="pfifo_fast (fq_codel on many distributions)",
        scope=HOST,
        does="How an interface queues what it sends. fq paces each connection by itself.",
        acts="interfaces created afterwards",
    ),
    Setting(
        name="net.netfilter.nf_conntrack_buckets",
        default="depends on memory",
        scope=HOST,
        does="Size of the table's hash; lookups slow down when nf_conntrack_max is far above it.",
        acts="at once",
        see_also=("conntrack-table-full",),
    ),
    Setting(
        name="net.netfilter.nf_conntrack_tcp_loose",
        default="1",
        scope=NAMESPACE,
        does=(
            "1 lets the firewall take up connections it has not seen begin; with 0 it treats their packets as invalid."
        ),
        acts="at once",
        see_also=("idle-firewall-drop",),
    ),
    Setting(
        name="net.netfilter.nf_conntrack_tcp_be_liberal",
        default="0",
        scope=NAMESPACE,
        does="1 marks only resets outside the window as invalid, not every segment outside it.",
        acts="at once",
        see_also=("conntrack",),
    ),
    Setting(
        name="net.netfilter.nf_conntrack_tcp_max_retrans",
        default="3",
        scope=NAMESPACE,
        does="After so many retransmissions without an answer the entry gets the timeout max_retrans (300 s).",
        acts="entries refreshed afterwards",
        see_also=("conntrack",),
    ),
    Setting(
        name="fs.nr_open",
        default="1048576",
        scope=HOST,
        does="Upper limit of RLIMIT_NOFILE, the descriptors one process may have.",
        acts="at once",
        see_also=("fd-exhaustion-near",),
    ),
    *(
        Setting(
            name=f"net.netfilter.nf_conntrack_tcp_timeout_{state}",
            default=seconds,
            scope=NAMESPACE,
            does=f"Seconds of silence after which the firewall forgets a connection {what}.",
            acts="entries refreshed afterwards",
            see_also=("conntrack",),
        )
        for state, seconds, what in (
            ("syn_sent", "120", "whose SYN was not answered"),
            ("syn_recv", "60", "whose handshake is not complete"),
            ("fin_wait", "120", "after the first FIN"),
            ("close_wait", "60", "in which only one end has closed"),
            ("time_wait", "120", "that both ends have closed"),
            ("close", "10", "that was reset"),
            ("max_retrans", "300", "that retransmits without an answer"),
            ("unacknowledged", "300", "with data nobody acknowledges"),
        )
    ),
)
