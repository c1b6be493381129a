"""Remedies as code, for the language or program at hand, and as settings with their present value beside them.

``CODE[topic][runtime]`` is one line to write; the runtime ``""`` stands for C and everything unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tcpscope.doctor.aims import is_met
from tcpscope.doctor.look import Look
from tcpscope.model.address import Endpoint
from tcpscope.model.finding import Remedy
from tcpscope.model.socket import Owner, Socket

# fmt: off
CODE: dict[str, dict[str, str]] = {
    "close-on-eof": {
        "": "recv() == 0 is the end of file: close(fd) there and on every error path; with epoll handle EPOLLRDHUP",
        "cpython": "treat recv() == b'' as the end and close in all cases: 'with sock:' or try/finally; asyncio: writer.close(); await writer.wait_closed(); requests/httpx: 'with' around Session and Response, or read the body; pools: retire idle connections before the server does (SQLAlchemy pool_recycle, pool_pre_ping)",
        "jvm": "try-with-resources around Socket, Response and InputStream; Apache HttpClient: EntityUtils.consume() and evictExpiredConnections().evictIdleConnections(t) with t below the server's keep-alive; pools: testOnBorrow, maxIdleTime < the server's",
        "go": "defer resp.Body.Close() and read the body to the end; servers: http.Server{ReadTimeout, IdleTimeout}; raw conns: close on io.EOF",
        "node": "leave allowHalfOpen off, or call socket.end() on 'end'; http.Agent: keepAlive with a timeout below the server's; server.requestTimeout, server.keepAliveTimeout",
        "ruby": "use the block form (TCPSocket.open {...}, Net::HTTP.start {...}) or ensure socket.close; pools: reaping_frequency",
        "php": "fclose()/curl_close() on feof(); persistent connections: set a wait_timeout below the server's",
        "dotnet": "'using' around TcpClient, HttpResponseMessage and Stream; SocketsHttpHandler.PooledConnectionIdleTimeout below the server's",
        "nginx": "an upstream or client connection nginx keeps after EOF is usually one it cannot finish: check worker_connections, proxy_read_timeout, third-party modules",
        "beam": "handle {tcp_closed, Socket} in every state of the owning process and call gen_tcp:close/1",
    },
    "unblock-loop": {
        "": "gdb -p PID -batch -ex 'thread apply all bt'   a stack of every thread: look for the call that does not return",
        "cpython": "py-spy dump --pid PID   look for a blocking call in the event loop (requests, time.sleep, a lock); move it to a thread or await it",
        "jvm": "jstack PID   (or jcmd PID Thread.print) look for the pool's threads all in the same lock, JDBC or HTTP call",
        "go": "kill -QUIT PID   (it ends the program: in a test), or /debug/pprof/goroutine?debug=2: look for goroutines piled on one lock or channel",
        "node": "kill -USR1 PID   opens the inspector: take a CPU profile, look for synchronous work on the event loop",
        "ruby": "rbspy dump --pid PID   look for threads waiting on one lock or one outgoing call",
        "postgresql": "psql -c 'select pid, wait_event_type, state from pg_stat_activity'   look for waits and idle in transaction",
        "nginx": "strace -f -p PID   look for blocking file reads (use aio threads) or a module that blocks",
        "php": "request_slowlog_timeout = 5s and slowlog = FILE in the pool name the call; request_terminate_timeout = 60s ends it; pm.max_children is how many requests run at once",
        "redis": "redis-cli slowlog get 10   (when it answers again) names the command that kept its only thread; until then: gdb -p PID",
    },
    "half-close": {
        "": "after shutdown(SHUT_WR) read with a timeout (SO_RCVTIMEO or poll), then close(): an orphan ends after tcp_fin_timeout, a half-closed socket never",
        "cpython": "after sock.shutdown(SHUT_WR): sock.settimeout(30), read to b'' and close in finally; asyncio: wait_for(reader.read(), 30) then writer.close()",
        "jvm": "after shutdownOutput(): setSoTimeout(30_000), read to -1, then close() in try-with-resources",
        "go": "after CloseWrite(): SetReadDeadline(time.Now().Add(30*time.Second)), io.Copy(io.Discard, conn), Close()",
        "node": "after socket.end(): socket.setTimeout(30000, () => socket.destroy())",
    },
    "send-timeout": {
        "": "setsockopt(TCP_USER_TIMEOUT, 15000): unacknowledged data fails after 15 s instead of 15 minutes",
        "cpython": "sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15000)",
        "jvm": "Netty: EpollChannelOption.TCP_USER_TIMEOUT; plain sockets: a write timeout of your own, then close()",
        "go": "syscall.RawConn.Control: unix.SetsockoptInt(fd, IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 15000); SetWriteDeadline for back-pressure",
        "node": "socket.setTimeout(15000) and destroy() in its handler (Node cannot set TCP_USER_TIMEOUT)",
        "nginx": "send_timeout 15s; reset_timedout_connection on;",
        "postgresql": "tcp_user_timeout = 15s (server), tcp_user_timeout=15000 in the connection string (libpq)",
    },
    "drain-then-close": {
        "": "before close(): stop sending, wait for the queue with a limit, then SO_LINGER {1, 0} only for peers that do not read",
        "nginx": "reset_timedout_connection on; send_timeout 15s;",
        "haproxy": "timeout client-fin 10s; timeout server-fin 10s",
    },
    "connect-timeout": {
        "": "set a connect timeout of 1 to 5 s (non-blocking connect + poll, or TCP_USER_TIMEOUT / TCP_SYNCNT before connect)",
        "cpython": "socket.create_connection(addr, timeout=3); requests: timeout=(3, 30); asyncio: wait_for(open_connection(...), 3)",
        "jvm": "socket.connect(addr, 3000); HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(3)); JDBC: connectTimeout",
        "go": "net.Dialer{Timeout: 3 * time.Second}",
        "node": "net.connect({..., signal: AbortSignal.timeout(3000)})",
        "nginx": "proxy_connect_timeout 3s; proxy_next_upstream timeout error;",
        "postgresql": "connect_timeout=3 in the connection string",
    },
    "accept-faster": {
        "": "call accept() until EAGAIN at each wake-up and hand the work to threads; EPOLLEXCLUSIVE or SO_REUSEPORT with several workers",
        "cpython": "do no work between accept() calls: more workers (gunicorn -w, uvicorn --workers), no blocking call in the event loop",
        "jvm": "raise the acceptor's and worker threads (Tomcat maxThreads, Netty event loops); no blocking work on them",
        "go": "Accept is rarely the limit: look at GOMAXPROCS, GC and descriptors",
        "node": "move CPU work off the event loop (worker_threads) or run a cluster",
        "nginx": "worker_processes auto; worker_connections above what is needed; multi_accept on; listen ... reuseport",
        "postgresql": "a pooler (pgbouncer) before the postmaster, which forks for each connection",
        "redis": "find the slow command (SLOWLOG GET): Redis accepts between commands",
    },
    "backlog": {
        "": "listen(fd, 4096); the kernel takes the smaller of it and net.core.somaxconn, when listen() is called",
        "cpython": "listen(4096); gunicorn --backlog 4096, uvicorn --backlog 4096; socketserver: request_queue_size = 4096 (its default is 5); asyncio: start_server(backlog=4096), default 100",
        "jvm": "new ServerSocket(port, 4096) (default 50); Tomcat acceptCount=4096 (default 100); Netty SO_BACKLOG",
        "go": "Go takes net.core.somaxconn itself: raise it and restart",
        "node": "server.listen({port, backlog: 4096}) (default 511)",
        "nginx": "listen 80 backlog=4096; (default 511), then restart, a reload keeps the old socket",
        "redis": "tcp-backlog 4096 (default 511)",
        "postgresql": "the backlog is min(2 x max_connections, somaxconn)",
        "haproxy": "backlog 4096 in the frontend",
        "apache": "ListenBacklog 4096 (default 511)",
    },
    "keepalive": {
        "": "SO_KEEPALIVE with TCP_KEEPIDLE 60, TCP_KEEPINTVL 10, TCP_KEEPCNT 6 (a dead peer is noticed in 2 min), and an idle timeout of the application",
        "cpython": "sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1); for option, value in ((TCP_KEEPIDLE, 60), (TCP_KEEPINTVL, 10), (TCP_KEEPCNT, 6)): sock.setsockopt(IPPROTO_TCP, option, value)",
        "jvm": "setOption(SO_KEEPALIVE, true) and ExtendedSocketOptions.TCP_KEEPIDLE 60, TCP_KEEPINTERVAL 10, TCP_KEEPCOUNT 6 (Java 11)",
        "go": "net.ListenConfig/Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 60*time.Second, Interval: 10*time.Second, Count: 6}}",
        "node": "socket.setKeepAlive(true, 60000)",
        "nginx": "listen 80 so_keepalive=60s:10s:6;",
        "postgresql": "tcp_keepalives_idle = 60, tcp_keepalives_interval = 10, tcp_keepalives_count = 6",
        "openssh": "ClientAliveInterval 60, ClientAliveCountMax 3",
        "redis": "tcp-keepalive 60, timeout 3600",
        "mysql": "wait_timeout = 3600; the server sets SO_KEEPALIVE, its times come from net.ipv4.tcp_keepalive_*",
        "haproxy": "option clitcpka, option srvtcpka, clitcpka-idle 60s",
    },
    "pooling": {
        "": "keep connections and reuse them (HTTP keep-alive, a pool); let the server close first",
        "cpython": "one requests.Session / httpx.Client / aiohttp.ClientSession for the whole program, not one for each request",
        "jvm": "one HttpClient with a pool (maxTotal, maxPerRoute), HikariCP for JDBC",
        "go": "one http.Client; Transport.MaxIdleConnsPerHost above the concurrency (default 2); read bodies to the end",
        "node": "new http.Agent({keepAlive: true, maxSockets: N})",
        "nginx": "upstream { keepalive 64; } with proxy_http_version 1.1 and proxy_set_header Connection \"\"",
        "php": "persistent connections or a local proxy that pools",
        "haproxy": "http-reuse always",
    },
    "reuse-address": {
        "": "setsockopt(SO_REUSEADDR, 1) before bind(), in the old program too: the old sockets must have had it",
        "cpython": "sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1) before bind(); socketserver: allow_reuse_address = True; asyncio.start_server does it",
        "jvm": "serverSocket.setReuseAddress(true) before bind(); it is the default on Linux",
        "go": "the default of net.Listen",
        "node": "the default of server.listen",
    },
    "write-at-once": {
        "": "setsockopt(TCP_NODELAY, 1), or better: the whole message in one call (writev, sendmsg), or TCP_CORK around several",
        "cpython": "sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) (asyncio does it); send b''.join(parts), or sock.sendmsg(parts)",
        "jvm": "socket.setTcpNoDelay(true); a BufferedOutputStream that is flushed once for each message",
        "node": "socket.setNoDelay(true); socket.cork() and uncork() around several writes",
        "ruby": "socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1); one write for each message",
        "php": "socket_set_option($socket, SOL_TCP, TCP_NODELAY, 1), or one fwrite() for each message",
        "go": "it is the default (SetNoDelay(true)); bufio.Writer with one Flush for each message",
        "nginx": "tcp_nodelay on; (the default)",
    },
    "read-faster": {
        "": "read until EAGAIN at each wake-up; hand slow work to another thread with a bounded queue",
        "cpython": "py-spy dump --pid PID   what is it doing instead of reading?",
        "jvm": "jstack PID   what are the reading threads waiting for?",
        "go": "/debug/pprof/goroutine?debug=2: what are the readers waiting for?",
        "node": "stream.pause() without resume(), or a busy event loop",
    },
}
# fmt: on

#: How lines begin that are typed into a shell, not written into a program.
_TOOLS = ("gdb ", "jstack ", "kill ", "psql ", "py-spy ", "rbspy ", "redis-cli ", "strace ")

#: Finding -> the topics of :data:`CODE` its rules recommend (a test compares this with the rules).
TOPICS: dict[str, tuple[str, ...]] = {
    "close-wait-leak": ("close-on-eof",),
    "close-wait-app-blocked": ("unblock-loop",),
    "fin-wait2-half-closed-forever": ("half-close",),
    "fin-wait1-zero-window": ("drain-then-close",),
    "ephemeral-port-exhaustion-timewait": ("pooling",),
    "ephemeral-port-exhaustion-live": ("close-on-eof",),
    "bind-eaddrinuse-timewait": ("reuse-address",),
    "excessive-connection-churn": ("pooling",),
    "accept-queue-overflow": ("accept-faster", "backlog", "unblock-loop"),
    "backlog-too-small": ("backlog",),
    "syn-flood": ("backlog",),
    "reuseport-imbalance": ("unblock-loop",),
    "ghost-established-by-overflow": ("accept-faster", "backlog"),
    "syn-sent-blackhole": ("connect-timeout",),
    "half-open-stale": ("keepalive",),
    "no-keepalive-on-long-idle": ("keepalive",),
    "keepalive-sysctl-too-long": ("keepalive",),
    "retransmission-stall": ("send-timeout",),
    "idle-firewall-drop": ("keepalive", "send-timeout"),
    "zero-window-peer-slow": ("send-timeout", "read-faster"),
    "reader-stalled-locally": ("read-faster", "unblock-loop"),
    "nagle-delayed-ack": ("write-at-once",),
    "reset-by-peer-rate": ("close-on-eof",),
}


def lines_to_write(finding: str) -> tuple[tuple[str, str], ...]:
    """Return every ``(runtime, line)`` for a finding, whatever program is at hand; ``""`` is C and the unknown."""
    return tuple(line for topic in TOPICS.get(finding, ()) for line in CODE[topic].items())


def code(topic: str, runtime: str = "", pid: int = 0) -> Remedy:
    """Return the line to write (or to type) for a runtime (``""``: C and the unknown)."""
    lines = CODE[topic]
    text = lines.get(runtime, lines[""])
    if pid:
        text = text.replace(" PID", f" {pid}")
    return Remedy("command" if text.startswith(_TOOLS) else "code", text)


def runtime_of(look: Look, owner: Owner | None) -> str:
    """Return the language or program family of a process by its pid, or an empty text."""
    process = look.process(owner) if owner else None
    return process.runtime if process else ""


def code_for(look: Look, topic: str, sockets: Sequence[Socket]) -> tuple[Remedy, ...]:
    """Return the lines for the runtimes of these sockets' owners, at most two."""
    owned: dict[str, int] = {}
    for socket in sockets:
        runtime = look.runtime(socket)
        owned.setdefault(runtime, socket.owners[0].pid if socket.owners else 0)
        if len(owned) == 2:
            break
    known = {runtime: pid for runtime, pid in owned.items() if runtime in CODE[topic]}
    return tuple(code(topic, runtime, pid) for runtime, pid in (known or {"": next(iter(owned.values()), 0)}).items())


def at_peer(remedies: Iterable[Remedy], peer: str = "peer") -> tuple[Remedy, ...]:
    """Return the remedies as what somebody has to do at the other end."""
    return tuple(Remedy(remedy.kind, f"at the {peer}: {remedy.text}") for remedy in remedies)


def sysctl(look: Look, name: str, value: str, why: str = "") -> tuple[Remedy, ...]:
    """Return ``name = value`` with the present value beside it; nothing when the present one is as good or better."""
    now = look.snapshot.sysctls.get(name, "").strip()
    return () if now and is_met(name, now, value) else (change(look, name, value, why),)


def change(look: Look, name: str, value: str, why: str = "") -> Remedy:
    """Return ``name = value`` with the present value beside it, whatever that is."""
    now = look.snapshot.sysctls.get(name)
    present = "present value not known" if now is None else f"now {' '.join(now.split()) or 'empty'}"
    return Remedy("config", f"{name} = {value}    # {present}" + (f"; {why}" if why else ""))


def command(text: str) -> Remedy:
    """Return a command to type."""
    return Remedy("command", text)


def trace_path(remote: Endpoint) -> Remedy:
    """Return the command that shows how far segments to ``remote`` get, over TCP."""
    return command(
        f"mtr -T -P {remote.port} {remote.address}   (or traceroute -T -p {remote.port}) shows where the path ends"
    )


def filter_rule(rule: str, chain: str = "input") -> Remedy:
    """Return the command that adds a rule to this host's packet filter (nftables), and what it needs to be there."""
    return command(
        f"nft 'add rule inet filter {chain} {rule}'   (your own table and chain; if there is none: nft add table inet "
        f"filter; nft 'add chain inet filter {chain} {{ type filter hook {chain} priority 0; }}')"
    )


def config(text: str) -> Remedy:
    """Return a configuration line."""
    return Remedy("config", text)
