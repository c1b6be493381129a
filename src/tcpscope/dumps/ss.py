"""Rows of ss (iproute2), with and without ``-p -i -o -m -e -O``, details on the same line or on the next.

``[Netid] State Recv-Q Send-Q Local:Port Peer:Port [users:(("name",pid=1,fd=3))] [timer:(on,200ms,0)] [uid:..]``
``[ino:..] [sk:..] [skmem:(r0,..)] [cubic wscale:7,7 rto:204 rtt:0.1/0.05 ...]``
"""

from __future__ import annotations

from tcpscope.dumps.addresses import AddressReader, parse_numeric
from tcpscope.dumps.rows import (
    INODE_UNKNOWN,
    STATE_WORDS,
    WILDCARD4,
    Kinds,
    is_count,
    make_socket,
)
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket, SocketMemory, TcpInfo, Timer
from tcpscope.model.spelling import DIALECTS
from tcpscope.model.state import State

STATES = {DIALECTS["ss"][state]: state for state in State} | {"CLOSED": State.CLOSED}
NETIDS = {"tcp": "tcp", "udp": "udp", "mptcp": "tcp"}
#: Address families of ss that hold no TCP or UDP; their rows are known and left out.
OTHER_NETIDS = frozenset(
    ("nl", "p_raw", "p_dgr", "u_str", "u_dgr", "u_seq", "raw", "icmp6", "v_str", "v_dgr", "dccp", "sctp", "tipc", "xdp")
)
#: How a line that continues the row above begins.
CONTINUES = ("users:((", "timer:(", "skmem:(", "ino:", "uid:", "cgroup:", "sk:")
#: Words that ss alone prints, wherever they stand in a line.
DETAILS = ("skmem:(r", 'users:(("', "timer:(on,", "timer:(keepalive,", "wscale:", "rto:", "bytes_acked:", "segs_out:")

_TIMER_UNITS = (("min", 60_000), ("sec", 1000), ("ms", 1), ("hour", 3_600_000), ("day", 86_400_000))
_MEMORY = {"r": 0, "rb": 1, "t": 2, "tb": 3, "f": 4, "w": 5, "o": 6, "bl": 7, "d": 8}
#: ss's name of a value of ``tcp_info`` -> (field of TcpInfo, factor). ss prints milliseconds.
_INFO = {
    "rto": ("rto_us", 1000), "ato": ("ato_us", 1000), "mss": ("snd_mss", 1), "pmtu": ("pmtu", 1),
    "rcvmss": ("rcv_mss", 1), "advmss": ("advmss", 1), "cwnd": ("snd_cwnd", 1), "ssthresh": ("snd_ssthresh", 1),
    "backoff": ("backoff", 1), "unacked": ("unacked", 1), "lost": ("lost", 1), "sacked": ("sacked", 1),
    "bytes_sent": ("bytes_sent", 1), "bytes_retrans": ("bytes_retrans", 1), "bytes_acked": ("bytes_acked", 1),
    "bytes_received": ("bytes_received", 1), "segs_out": ("segs_out", 1), "segs_in": ("segs_in", 1),
    "data_segs_out": ("data_segs_out", 1), "data_segs_in": ("data_segs_in", 1), "lastsnd": ("last_data_sent_ms", 1),
    "lastrcv": ("last_data_recv_ms", 1), "lastack": ("last_ack_recv_ms", 1), "notsent": ("notsent_bytes", 1),
    "minrtt": ("min_rtt_us", 1000), "rcv_rtt": ("rcv_rtt_us", 1000), "rcv_space": ("rcv_space", 1),
    "rcv_ssthresh": ("rcv_ssthresh", 1), "snd_wnd": ("snd_wnd", 1), "dsack_dups": ("dsack_dups", 1),
    "reordering": ("reordering", 1), "reord_seen": ("reord_seen", 1), "rcv_ooopack": ("rcv_ooopack", 1),
    "delivered": ("delivered", 1), "busy": ("busy_time_us", 1000), "rwnd_limited": ("rwnd_limited_us", 1000),
    "sndbuf_limited": ("sndbuf_limited_us", 1000),
}  # fmt: skip
_USERS = "users:("
_RATES = frozenset(("pacing_rate", "delivery_rate"))
_FLAGS = {"ts": 1, "sack": 2, "ecn": 8, "ecnseen": 16, "fastopen": 32}


class SsReader:
    """Reads rows and the lines that continue them."""

    def __init__(self, addresses: AddressReader) -> None:
        self.addresses = addresses
        self.kinds = Kinds()
        self.is_stateless = False  #: rows have no State column, for one state was asked for
        self.asked: State | None = None
        self.is_old = False  #: iproute2 before 4.16: ``*`` is the wildcard of IPv4, ``::`` that of IPv6

    def set_command(self, words: list[str]) -> None:
        """Take the words of a call: ``ss -tan state time-wait`` prints no State column."""
        place = words.index("state") + 1 if "state" in words[:-1] else 0
        self.asked = STATE_WORDS.get(words[place].upper()) if place and words.count("state") == 1 else None
        self.is_stateless = self.asked is not None

    def set_heading(self, words: list[str]) -> None:
        """Take headings: those without ``State`` say that it was asked for."""
        if "Recv-Q" in words and "Proto" not in words:
            self.is_stateless = "State" not in words

    def is_row_without_state(self, words: list[str]) -> bool:
        """Whether a line looks like a row below headings without ``State``."""
        at = 1 if words[0] in NETIDS else 0
        return self.is_stateless and len(words) > at + 3 and is_count(words[at]) and is_count(words[at + 1])

    def read_stateless(self, words: list[str]) -> Socket | None:
        """Read a row of ``ss state ...``: no State column."""
        if not self.is_row_without_state(words):
            return None
        at = 1 if words[0] in NETIDS else 0
        state = State.LISTEN if self.asked is None and words[at + 3].endswith(":*") else self.asked
        return self.read([*words[:at], DIALECTS["ss"][state], *words[at:]]) if state else None

    def settled(self, sockets: list[Socket]) -> list[Socket]:
        """Return the rows with the wildcard that an old ss has meant."""
        if not self.is_old:
            return sockets
        return [
            one._replace(local=Endpoint("0.0.0.0", one.local.port), remote=WILDCARD4, v6only=None)
            if one.v6only is False
            else one
            for one in sockets
        ]

    def learn(self, words: list[str], socket: Socket) -> None:
        """Remember what rows like this one share, for :meth:`Kinds.follow`."""
        if socket.state is not State.LISTEN:
            self.kinds.learn(words, 4 if words[0] in NETIDS else 3, socket, parse_numeric)

    def read(self, words: list[str]) -> Socket | None:
        """Read one row, details at its end included; ``None`` when it is none."""
        proto = NETIDS.get(words[0], "")
        at = 1 if proto else 0
        if len(words) < at + 5:
            return None
        state = STATES.get(words[at]) or STATE_WORDS.get(words[at])
        if state is None or not (is_count(words[at + 1]) and is_count(words[at + 2])):
            return None
        local, remote = self.addresses.read(words[at + 3]), self.addresses.read(words[at + 4])
        if local is None or remote is None:
            return None
        is_dual_stack = local.address == "*"  # ss: "*" is the IPv6 wildcard that takes IPv4 too, "[::]" IPv6 alone
        if is_dual_stack:
            local = Endpoint("::", local.port)
        elif words[at + 3].startswith(":::") or (remote.address == "*" and not local.is_ipv6):
            self.is_old = True  # a new ss writes the peer of an IPv4 listener as 0.0.0.0
        if remote.address == "*":
            remote = Endpoint("::" if local.is_ipv6 else "0.0.0.0", remote.port)
        recv_q, send_q = int(words[at + 1]), int(words[at + 2])
        if not proto:
            proto = "udp" if state == State.CLOSED else "tcp"
        socket = make_socket(proto, state, local, remote, (recv_q, send_q))
        if is_dual_stack and state == State.CLOSED:
            socket = socket._replace(v6only=False)
        if state == State.LISTEN:  # a new ss writes the peer of one that takes IPv4 too as *, of the others as [::]
            is_told = local.is_ipv6 and words[at + 4][0] in "*["
            v6only = words[at + 4][0] == "[" if is_told else None
            socket = socket._replace(backlog=send_q, v6only=v6only)
        return self.continue_row(socket, words[at + 5 :]) if len(words) > at + 5 else socket

    def continue_row(self, socket: Socket, words: list[str]) -> Socket:
        """Add details to a row: words of the form ``name:value`` in any order."""
        changes: dict[str, object] = {}
        info: dict[str, int] = {}
        words = _with_whole_users(words)
        for place, word in enumerate(words):
            name, colon, value = word.partition(":")
            if word in _RATES and place + 1 < len(words):
                info[word] = _bytes_a_second(words[place + 1])
            elif not colon:
                _read_flag(word, info, changes)
            elif name in _INFO or name in ("rtt", "wscale", "retrans"):
                _read_info(name, value, info)
            else:
                _read_detail(name, value, socket, changes)
        if info:
            known = socket.tcp_info or TcpInfo(state=int(socket.state))
            options = info.pop("options", 0) | known.options
            changes["tcp_info"] = known._replace(options=options, **info)
        timer = changes.get("timer")
        if isinstance(timer, Timer) and timer.kind == "timewait":
            changes["kind"] = "mini"
        return socket._replace(**changes) if changes else socket  # type: ignore[arg-type]  # names are fields


def _read_flag(word: str, info: dict[str, int], changes: dict[str, object]) -> None:
    if word in _FLAGS:
        info["options"] = info.get("options", 0) | _FLAGS[word]
    elif word in ("cubic", "reno", "bbr", "dctcp", "vegas", "westwood", "htcp", "bic", "illinois", "scalable"):
        changes["congestion"] = word


def _read_info(name: str, value: str, info: dict[str, int]) -> None:
    first, _, second = value.partition("/")
    if name == "rtt":
        info["rtt_us"], info["rttvar_us"] = _scaled(first, 1000), _scaled(second, 1000)
    elif name == "wscale":
        sender, _, receiver = value.partition(",")
        info["snd_wscale"], info["rcv_wscale"] = _scaled(sender, 1), _scaled(receiver, 1)
        info["options"] = info.get("options", 0) | 4
    elif name == "retrans":  # outstanding / total
        info["retrans"], info["total_retrans"] = _scaled(first, 1), _scaled(second, 1)
    else:
        field, factor = _INFO[name]
        info[field] = _scaled(first.partition("ms")[0] if factor == 1000 else first, factor)


def _bytes_a_second(text: str) -> int:
    """Read ``34.8Gbps`` and ``374491428571bps``: bits, where the kernel counts octets."""
    number = text.removesuffix("bps")
    factor = {"T": 10**12, "G": 10**9, "M": 10**6, "K": 1000, "k": 1000}.get(number[-1:], 1)
    return _scaled(number.rstrip("TGMKk"), factor) // 8


def _scaled(text: str, factor: int) -> int:
    try:
        return int(float(text) * factor)
    except (ValueError, OverflowError):
        return 0


def _read_detail(name: str, value: str, socket: Socket, changes: dict[str, object]) -> None:
    if name == "users":
        changes["owners"] = _owners(value)
    elif name == "timer":
        changes["timer"] = _timer(value)
    elif name == "uid" and is_count(value):
        changes["uid"] = int(value)
    elif name == "ino" and is_count(value):
        changes["inode"] = int(value)
    elif name == "sk":
        changes["cookie"] = _hexadecimal(value)
        if "inode" not in changes and socket.inode == INODE_UNKNOWN:
            changes["inode"] = 0  # -e prints ino: for every socket that has one, before sk:
    elif name == "v6only":
        changes["v6only"] = value == "1"
    elif name == "cgroup":
        changes["cgroup"] = value
    elif name == "skmem":
        changes["memory"] = _memory(value)


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _with_whole_users(words: list[str]) -> list[str]:
    """Put together what blanks in names have split: ``users:(("Isolated Web Co",pid=7,fd=9))``."""
    begin = next((place for place, word in enumerate(words) if word.startswith("users:((")), len(words))
    end = next((place for place in range(begin, len(words)) if words[place].endswith("))")), begin)
    return words if begin == end else [*words[:begin], " ".join(words[begin : end + 1]), *words[end + 1 :]]


def is_cut_in_users(line: str, following: str) -> bool:
    """Whether a line stops within its list of holders, or within the word that begins it, and the next one goes on."""
    begin = line.rfind(_USERS)
    if begin >= 0:
        return "))" not in line[begin:]
    had = line.rpartition(" ")[2]
    return bool(had) and (had + following).startswith(_USERS + '("') and _USERS.startswith(had)


def _owners(text: str) -> tuple[Owner, ...]:
    """Read ``(("sshd",pid=812,fd=3),("sshd",pid=813,fd=3))``; a name may hold anything but a quote."""
    owners = []
    for part in text.split('("')[1:]:
        name, _, numbers = part.partition('"')
        pairs = [pair for pair in numbers.strip("(),").split(",") if pair]
        fields = dict(pair.partition("=")[::2] for pair in pairs)
        if len(pairs) == 2 and all(map(is_count, pairs)):  # before iproute2 3.19: ``("sshd",812,3)``
            fields = {"pid": pairs[0], "fd": pairs[1]}
        if is_count(fields.get("pid", "")):
            fd = fields.get("fd", "")
            owners.append(Owner(int(fields["pid"]), name, int(fd) if is_count(fd) else -1))
    return tuple(owners)


def _timer(text: str) -> Timer | None:
    """Read ``(on,200ms,0)``, ``(keepalive,119min,0)``, ``(on,,10)`` and the ``9.552ms`` that means 9.552 seconds."""
    parts = text.strip("()").split(",")
    if len(parts) < 2 or not parts[0]:
        return None
    retransmits = int(parts[2]) if len(parts) > 2 and is_count(parts[2]) else 0
    return Timer(parts[0], _timer_ms(parts[1]), retransmits)


def _timer_ms(text: str) -> int:
    # Why: ss prints seconds below a minute with three decimals and the unit of milliseconds (iproute2 6.1)
    if text.endswith("ms") and "." in text:
        return _scaled(text[:-2], 1000)
    total = 0
    while text:
        digits = len(text) - len(text.lstrip("0123456789."))
        unit = next(((name, ms) for name, ms in _TIMER_UNITS if text.startswith(name, digits)), None)
        if not digits or unit is None:
            break
        total += _scaled(text[:digits], unit[1])
        text = text[digits + len(unit[0]) :]
    return total


def _memory(text: str) -> SocketMemory:
    values = [0] * len(SocketMemory._fields)
    for part in text.strip("()").split(","):
        letters = part.rstrip("0123456789")
        if letters in _MEMORY and is_count(part[len(letters) :]):
            values[_MEMORY[letters]] = int(part[len(letters) :])
    return SocketMemory(*values)
