"""From rows to words: :class:`~tcpscope.model.socket.Socket` with holders, timer, memory, cgroup and age.

Age in the present state: the kernel does not keep it. What it tells gives a lower bound in some states (``bound``)
and nothing in the others (``unknown``); ``exact`` comes only from watching (the trace, the history). Each rule is in
:func:`estimate_age`.
"""

from __future__ import annotations

from _socket import inet_ntop
from functools import partial
from sys import byteorder

from tcpscope.kernel import sock_diag
from tcpscope.kernel.counters import read_sysctl
from tcpscope.kernel.namespaces import find_namespaces, inside
from tcpscope.kernel.netlink import parse_attributes
from tcpscope.kernel.tcp_info import parse_memory, parse_tcp_info
from tcpscope.live.listing import EVERY_STATE, own_netns, read_listing
from tcpscope.model.address import Endpoint
from tcpscope.model.collector import collector_paused
from tcpscope.model.errors import NotPermitted, TcpscopeError, UsageError
from tcpscope.model.snapshot import Coverage
from tcpscope.model.socket import Age, Owner, Socket, TcpInfo, Timer
from tcpscope.model.spelling import KERNEL_EXTRA
from tcpscope.model.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tcpscope.kernel.processes import Owners
    from tcpscope.live.listing import Listing
    from tcpscope.model.row import Row

_TIMERS = {1: "on", 2: "keepalive", 3: "timewait", 4: "persist"}
_STATES = {number: State.from_kernel(number) for number in (*range(1, 12), *KERNEL_EXTRA)}
_TIME_WAIT_MS = 60_000  # Linux: TCP_TIMEWAIT_LEN
_UNKNOWN_AGE = Age()


def read_sockets(
    *,
    tcp: int = EVERY_STATE,
    udp: int = EVERY_STATE,
    family: int = 0,
    detail: bool = True,
    owners: bool = True,
    netns: str | None = None,
    select: Callable[[Socket], bool] | None = None,
    bytecode: bytes = b"",
) -> tuple[list[Socket], Coverage]:
    """Read the sockets of one namespace as words, and say what could not be seen.

    ``tcp`` and ``udp`` are masks of kernel states and ``bytecode`` a filter for the kernel: what it can leave out costs
    nothing. ``select`` decides about the rest.
    """
    with inside(netns):
        listing = read_listing(
            tcp=tcp, udp=udp, family=family, extensions=sock_diag.DETAIL if detail else 0, bytecode=bytecode
        )
        if owners:
            listing.find_owners({row[15] for row in listing.rows() if row[15]})
        sockets = build_sockets(listing, cgroups=detail)
    if select is not None:
        sockets = [socket for socket in sockets if select(socket)]
    return sockets, describe_coverage(listing)


def list_sockets(
    *,
    tcp: bool = True,
    udp: bool = True,
    netns: str | None = None,
    detail: bool = True,
    owners: bool = True,
    where: Callable[[Socket], bool] | None = None,
) -> list[Socket]:
    """List the sockets of a network namespace, listeners included: ``tcpscope list -anp``.

    ``netns`` is a name, a path or ``pid:N`` (``None``: the caller's own). ``detail`` asks for ``tcp_info``, memory and
    control group too; ``owners`` finds who holds each socket; ``where`` chooses. Source: ``sock_diag``, else
    ``/proc/net``. What could not be seen is told by the coverage of a snapshot. Raises ``UsageError`` or
    ``NotPermitted`` when the namespace cannot be entered.
    """
    masks = {"tcp": EVERY_STATE if tcp else 0, "udp": EVERY_STATE if udp else 0}
    return read_sockets(tcp=masks["tcp"], udp=masks["udp"], detail=detail, owners=owners, netns=netns, select=where)[0]


def read_namespaces(
    *,
    everywhere: bool = False,
    netns: str | None = None,
    tcp: int = EVERY_STATE,
    udp: int = EVERY_STATE,
    family: int = 0,
    detail: bool = True,
    owners: bool = True,
    select: Callable[[Socket], bool] | None = None,
    bytecode: bytes = b"",
) -> tuple[list[Socket], Coverage, dict[int, str]]:
    """Read the sockets of one namespace, or of all that can be found; also what each namespace is called."""
    ask = partial(
        read_sockets, tcp=tcp, udp=udp, family=family, detail=detail, owners=owners, select=select, bytecode=bytecode
    )
    return _read_everywhere(ask) if everywhere else (*ask(netns=netns), {})


def _read_everywhere(
    ask: Callable[..., tuple[list[Socket], Coverage]],
) -> tuple[list[Socket], Coverage, dict[int, str]]:
    here = own_netns()
    namespaces, refused = find_namespaces()
    labels = {each.inode: "(own)" if each.inode == here else each.label for each in namespaces}
    sockets: list[Socket] = []
    unseen, locked, notes = 0, 0, dict.fromkeys([_hidden(refused)] if refused else [])
    coverage = Coverage()
    for namespace in namespaces:
        try:
            found, coverage = ask(netns=None if namespace.inode == here else namespace.path)
        except UsageError:
            continue  # Why: it vanished while we looked
        except NotPermitted:
            locked += 1
            continue
        except TcpscopeError as error:
            notes[str(error)] = None
            continue
        if found and found[0].netns != namespace.inode:
            continue  # Why: the process that led there went elsewhere while we looked: those are another one's sockets
        sockets += found
        unseen += coverage.sockets_without_owner
        notes.update(dict.fromkeys(f"{labels[namespace.inode]}: {note}" for note in coverage.notes))
    if locked:
        notes[f"{locked} namespace{'s' * (locked > 1)} may not be entered: CAP_SYS_ADMIN is needed (sudo)."] = None
    return sockets, coverage._replace(sockets_without_owner=unseen, notes=tuple(notes)), labels


def _hidden(refused: int) -> str:
    return "1 process hides its namespace." if refused == 1 else f"{refused} processes hide their namespaces."


def build_sockets(listing: Listing, *, cgroups: bool = False) -> list[Socket]:
    """Make a word of every row of a listing; ``cgroups`` also looks up the paths of control groups."""
    paths = read_cgroup_paths() if cgroups else {}
    linear = int(read_sysctl("net.ipv4.tcp_syn_linear_timeouts") or 0)
    with collector_paused():
        return [build_socket(row, listing.owners, listing.netns, paths, linear) for row in listing.rows()]


def describe_coverage(listing: Listing) -> Coverage:
    """Say what could not be seen."""
    owners = listing.owners.source if listing.owners else "none"
    return Coverage("live", listing.source, owners, listing.unseen, tuple(listing.notes))


def build_socket(
    row: Row, owners: Owners | None = None, netns: int = 0, cgroups: dict[int, str] | None = None, syn_linear: int = 4
) -> Socket:
    """Make one word; ``syn_linear`` is ``tcp_syn_linear_timeouts``, which decides how old a SYN_SENT is."""
    proto, family, number, timer, retransmits, sport, dport, source, remote = row[:9]
    interface, cookie, expires_ms, recv_q, send_q, uid, inode, attributes = row[9:]
    state = _STATES.get(number, State.CLOSED)
    known = parse_attributes(attributes, 0, len(attributes))
    kind = _kind(proto, state, timer, inode, known, bool(attributes))
    info = parse_tcp_info(known.get(sock_diag.INET_DIAG_INFO, b"")) if proto == sock_diag.IPPROTO_TCP else None
    is_listener = state == State.LISTEN and proto == sock_diag.IPPROTO_TCP
    from_netlink = bool(cookie)
    return Socket(
        proto="tcp" if proto == sock_diag.IPPROTO_TCP else "udp",
        state=state,
        local=Endpoint(spell_address(family, source), sport),
        remote=Endpoint(spell_address(family, remote), dport),
        recv_q=recv_q,
        send_q=send_q,
        backlog=send_q if is_listener and from_netlink else None,
        owners=_owners(owners, inode),
        uid=uid if inode or kind == "full" else None,
        inode=inode,
        cookie=cookie,
        netns=netns,
        timer=Timer(_TIMERS.get(timer, "unknown"), expires_ms, retransmits) if timer else None,
        age=estimate_age(state, kind, timer, retransmits, expires_ms, info, syn_linear),
        tcp_info=info,
        memory=parse_memory(known.get(sock_diag.INET_DIAG_SKMEMINFO, b"")),
        congestion=_text(known.get(sock_diag.INET_DIAG_CONG)),
        cgroup=_cgroup(known.get(sock_diag.INET_DIAG_CGROUP_ID), cgroups),
        interface=interface,
        v6only=_v6only(family, known),
        mark=_number(known.get(sock_diag.INET_DIAG_MARK)),
        shutdown=_number(known.get(sock_diag.INET_DIAG_SHUTDOWN)),
        kind=kind,
    )


def spell_address(family: int, address: bytes) -> str:
    """Spell the 16 address bytes of a row."""
    text = _ADDRESSES.get((family, address))
    if text is None:
        if len(_ADDRESSES) > 100_000:
            _ADDRESSES.clear()
        text = inet_ntop(family, address[:4] if family == sock_diag.AF_INET else address)
        _ADDRESSES[family, address] = text
    return text


_ADDRESSES: dict[tuple[int, bytes], str] = {}


def estimate_age(
    state: State, kind: str, timer: int, retransmits: int, expires_ms: int, info: TcpInfo | None, syn_linear: int
) -> Age:
    """Give a lower bound of the time in ``state`` where the kernel's numbers allow one.

    - TIME_WAIT: 60 s less what is left; a repeated FIN restarts the clock, so it may be older.
    - ESTABLISHED: the last segment either way came after the handshake.
    - CLOSE_WAIT, CLOSING and a half-closed FIN_WAIT_2 were entered by a segment with an ACK: they are at least as old
      as the last ACK. Later ACKs (keepalive answers, window updates) make it look younger.
    - SYN_SENT: the retransmissions made so far and what is gone of the present timeout. ``last_*`` are garbage there.
    - FIN_WAIT_1, LAST_ACK, an orphan's FIN_WAIT_2 (its timeout is per socket), SYN_RECEIVED (repeated SYNs count as
      retransmissions too), LISTEN and CLOSED: unknown.
    """
    if kind == "mini":
        is_time_wait = state == State.TIME_WAIT
        return Age(max(0, _TIME_WAIT_MS - expires_ms), "bound") if is_time_wait else _UNKNOWN_AGE
    if state == State.SYN_SENT and timer == 1:
        return Age(_syn_sent_ms(retransmits, expires_ms, syn_linear), "bound")
    if info is None:
        return _UNKNOWN_AGE
    if state == State.ESTABLISHED:
        return Age(max(info.last_data_sent_ms, info.last_data_recv_ms, info.last_ack_recv_ms), "bound")
    if state in (State.CLOSE_WAIT, State.CLOSING, State.FIN_WAIT_2):
        return Age(info.last_ack_recv_ms, "bound")
    return _UNKNOWN_AGE


def _syn_sent_ms(retransmits: int, expires_ms: int, linear: int) -> int:
    """Linux: SYNs go out 1 s apart ``linear`` + 1 times, then each timeout doubles (RFC 6298 §5.5)."""
    gone = sum(_syn_timeout_ms(index, linear) for index in range(retransmits))
    return gone + max(0, _syn_timeout_ms(retransmits, linear) - expires_ms)


def _syn_timeout_ms(index: int, linear: int) -> int:
    return 1000 if index <= linear else min(1000 << (index - linear), 120_000)


def _kind(proto: int, state: State, timer: int, inode: int, known: dict[int, bytes], from_netlink: bool) -> str:
    if timer == sock_diag.TIMER_TIMEWAIT:
        return "mini"
    if proto == sock_diag.IPPROTO_TCP and state == State.SYN_RECEIVED and not inode:
        # Linux: a Fast Open child is a full socket and reports its shutdown bits; a request socket has none.
        is_child = from_netlink and sock_diag.INET_DIAG_SHUTDOWN in known
        return "full" if is_child else "request"
    return "full"


def _owners(owners: Owners | None, inode: int) -> tuple[Owner, ...]:
    if owners is None or not inode:
        return ()
    held = owners.holders.get(inode, ())
    return tuple(Owner(pid, owners.names.get(pid, ""), fd) for pid, fd in sorted(held))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.rstrip(b"\0").decode("ascii", "backslashreplace")


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, byteorder)


def _v6only(family: int, known: dict[int, bytes]) -> bool | None:
    """``INET_DIAG_SKV6ONLY`` where the kernel sends it, else the bit of ``struct inet_diag_sockopt``."""
    if family != sock_diag.AF_INET6:
        return None
    value = known.get(sock_diag.INET_DIAG_SKV6ONLY)
    return None if value is None else bool(value[:1] not in (b"", b"\0"))


def _cgroup(value: bytes | None, paths: dict[int, str] | None) -> str | None:
    number = _number(value)
    if not number or not paths:
        return None
    return paths.get(number, f"(gone, id {number})")


def read_cgroup_paths(root: str = "/sys/fs/cgroup") -> dict[int, str]:
    """Map the numbers of control groups (inodes of the unified hierarchy) to paths; empty when it is not mounted."""
    import os

    for top in (root, f"{root}/unified"):
        if os.path.exists(f"{top}/cgroup.controllers"):
            break
    else:
        return {}
    paths = {}
    for folder, _, _ in os.walk(top):
        try:
            paths[os.stat(folder).st_ino] = folder[len(top) :] or "/"
        except OSError:
            continue
    return paths
