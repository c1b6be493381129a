"""What an address in a socket table means: whom a listener on it serves, and how each tool writes it.

Reachability was measured on Linux 6.18 from a peer over IPv4 and IPv6, one bind() after the other.
"""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, prose_sections
from tcpscope.model.address import Endpoint
from tcpscope.model.record import NamedTuple


class Binding(NamedTuple):
    """One way to bind, how tools show it, and who gets through."""

    bind: str
    ss: str
    netstat: str
    ipv4_peer: str
    ipv6_peer: str


BINDINGS: dict[str, Binding] = {
    "any-v4": Binding("0.0.0.0", "0.0.0.0:p", "tcp 0.0.0.0:p", "yes", "refused"),
    "any-dual": Binding(":: (v6only 0, default)", "*:p", "tcp6 :::p", "yes", "yes"),
    "any-v6": Binding(":: (v6only 1)", "[::]:p", "tcp6 :::p", "refused", "yes"),
    "loopback": Binding(
        "127.0.0.1 or ::1", "127.0.0.1:p, [::1]:p", "tcp 127.0.0.1:p, tcp6 ::1:p", "refused", "refused"
    ),
    "specific-v4": Binding("a specific IPv4", "a.b.c.d:p", "tcp a.b.c.d:p", "yes", "refused"),
    "specific-v6": Binding("a specific IPv6", "[x:y::z]:p", "tcp6 x:y::z:p", "refused", "yes"),
    "mapped": Binding("::ffff:a.b.c.d", "[::ffff:a.b.c.d]:p", "tcp6 a.b.c.d:p", "yes", "refused"),
}

_SUMMARIES = {
    "any-v4": "Every IPv4 address of this host, loopback included; no IPv6.",
    "any-v6-or-dual": (
        "Every address of this host. By default (v6only off) IPv4 too, although the address looks like IPv6."
    ),
    "any-dual": "Every address of this host, IPv4 and IPv6: a dual-stack socket, as ss writes it.",
    "any-v6": "Every IPv6 address of this host. As ss writes it, it is IPv6 only.",
    "loopback-v4": "This host alone: IPv4 loopback. Other hosts are refused.",
    "loopback-v6": "This host alone: IPv6 loopback. Other hosts are refused.",
    "mapped": (
        "An IPv4 address on an IPv6 socket: a connection that came in over IPv4 through a dual-stack listener, or a"
        " listener bound so."
    ),
    "specific-v4": "This one IPv4 address alone.",
    "specific-v6": "This one IPv6 address alone.",
    "link-local": "One interface's own link: an address that means nothing without its interface (%eth0).",
    "multicast": "A multicast group. TCP has no use for it: only UDP sockets can show it.",
    "no-peer": "No peer: the place of the other end of a listener or an unconnected socket.",
}
_BINDING_OF = {
    "any-v6-or-dual": ("any-dual", "any-v6"),
    "loopback-v4": ("loopback",),
    "loopback-v6": ("loopback",),
    "link-local": ("specific-v6",),
    "multicast": (),
    "no-peer": (),
}
_V6ONLY = (
    (
        "IPV6_V6ONLY decides whether a socket bound to :: also takes IPv4. Off is Linux's default (net.ipv6.bindv6only"
        " 0): IPv4 clients get in as ::ffff:a.b.c.d."
    ),
    (
        "netstat prints :::p for both; ss prints *:p (both families) or [::]:p (IPv6 only); tcpscope asks the kernel"
        " and says v6only."
    ),
)
_LOOPBACK = (
    "Not always unreachable: DNAT to loopback (route_localnet), containers on the host's network and SSH forwards get"
    " there."
)


def parse_address(text: str) -> tuple[str, str, str] | None:
    """Split an address as a socket table writes it into ``(address, zone, port)``; ``None`` if it is none.

    Understands ``0.0.0.0:22 :::22 ::1:631 [::]:22 *:22 127.0.0.53%lo:53 [fe80::1]%eth0:22 ::ffff:10.0.0.1:80``,
    and an address without a port. The port may be ``*``.
    """
    text = text.strip()
    host, port = _split_port(text)
    host, _, zone = host.strip("[]").replace("]%", "%").partition("%")
    if not (port == "*" or _is_port(port) or not port):
        return None
    if host == "*":
        return ("*", zone, port) if port else None
    return (host, zone, port) if _is_ip(host) else None


def _split_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, rest = text.rpartition("]")
        zone, _, port = rest.rpartition(":") if ":" in rest else (rest, "", "")
        return host + bracket + zone, port
    if text.count(":") < 2:
        host, _, port = text.partition(":")
        return host, port
    # Why: a bare IPv6 address has at least two colons too; netstat always appends a port, so try that reading first.
    host, _, port = text.rpartition(":")
    host = ":" if host == "" else host
    if _is_ip(host.partition("%")[0]) and (port == "*" or _is_port(port)):
        return host, port
    if text.startswith(":::") and (port == "*" or _is_port(port)):
        return "::", port
    return text, ""


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def _is_ip(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def classify_address(address: str, port: str, bracketed: bool) -> str:
    """Name the kind of an address; keys of the summaries of this module. ``bracketed``: written as ss writes it."""
    import ipaddress

    if address == "*":
        return "no-peer" if port == "*" else "any-dual"
    ip = ipaddress.ip_address(address)
    if ip.is_unspecified:
        if port == "*":
            return "no-peer"
        return "any-v4" if ip.version == 4 else ("any-v6" if bracketed else "any-v6-or-dual")
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None:
        return "loopback-v4" if mapped.is_loopback else "mapped"
    if ip.is_loopback:
        return f"loopback-v{ip.version}"
    if ip.is_multicast:
        return "multicast"
    if ip.version == 6 and ip.is_link_local:
        return "link-local"
    return f"specific-v{ip.version}"


def explain_address(text: str) -> Answer | None:
    """Explain an address of a socket table, or return ``None`` when ``text`` is none."""
    parsed = parse_address(text)
    if parsed is None:
        return None
    address, zone, port = parsed
    kind = classify_address(address, port, text.strip().startswith("["))
    spelled = f"{'*' if address == '*' else Endpoint(address, 0).address}"
    bindings = tuple(BINDINGS[name] for name in _BINDING_OF.get(kind, (kind,)))
    sections = []
    if bindings:
        sections.append(Section("Who reaches a listener there (measured on Linux 6.18)", grid=_grid(bindings)))
    sections += prose_sections(("Mind", _mind(kind, zone)))
    if port.isdigit():
        sections.append(
            Section(
                "See who it is", commands=(f"tcpscope explain :{port}", f"tcpscope list -tanp '( sport = :{port} )'")
            )
        )
    see = ("v6only", "Local Address") if kind != "no-peer" else ("Foreign Address", "LISTEN")
    facts = {
        "address": spelled,
        "port": int(port) if port.isdigit() else None,
        "zone": zone or None,
        "class": kind,
        "bindings": [binding._asdict() for binding in bindings],
    }
    return Answer("address", text.strip(), f"Address {text.strip()}", _SUMMARIES[kind], tuple(sections), see, facts)


def _mind(kind: str, zone: str) -> tuple[str, ...]:
    texts: tuple[str, ...] = ()
    if kind.startswith("any") and kind != "any-v4":
        texts = _V6ONLY
    elif kind.startswith("loopback"):
        texts = (_LOOPBACK,)
    elif kind == "mapped":
        texts = (
            (
                "netstat hides the ::ffff: prefix and prints tcp6 a.b.c.d:p. Take the prefix off before grouping by"
                " client."
            ),
        )
    if kind.startswith(("any", "specific")):
        texts = (*texts, "It listens there; whether it can be reached, firewall and routing decide.")
    if zone:
        texts = (*texts, f"%{zone}: bound to that interface, so packets that come in elsewhere do not match.")
    return texts


def _grid(bindings: tuple[Binding, ...]) -> Grid:
    rows = tuple(tuple(binding) for binding in bindings)
    return Grid(("bind()", "in ss", "in netstat", "IPv4 peer", "IPv6 peer"), rows)


def explain_v6only() -> Answer:
    """Explain IPV6_V6ONLY with the whole table of bindings."""
    sections = (
        Section("Every way to bind (measured on Linux 6.18)", grid=_grid(tuple(BINDINGS.values()))),
        *prose_sections(("Mind", _V6ONLY)),
    )
    return Answer(
        "address",
        "v6only",
        "IPV6_V6ONLY: does a socket on :: take IPv4?",
        "By default yes: :::22 serves IPv4 clients too.",
        (*sections, Section("See it", commands=("tcpscope list -tlnp", "sysctl net.ipv6.bindv6only"))),
        (":::22", "claim 001-4", "net.ipv6.bindv6only"),
        {"bindings": {name: binding._asdict() for name, binding in BINDINGS.items()}},
    )
