"""An IP host without I/O: addresses, ports and ICMP around many connections; packets in, packets and deadlines out.

What RFC 9293 leaves to the layers around one connection (§3.9.1.1, §3.9.1.9, §3.9.2): which local address a connection
gets and keeps, who may be connected to, DS field, hop limit, source routes, ICMP errors and whom they concern, and the
answer to segments of no connection. It forwards nothing and joins no fragments. A driver brings packets and time::

    host.receive_packet(octets, now_ns)
    for octets in host.poll(now_ns):      # whenever something came in, was called, or next_deadline() is reached
        put_on_the_wire(octets)

Rules of this file: what is dropped is counted by reason in :attr:`Host.drops`; nothing that arrives raises.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_interface

from tcpscope.machine.calls import CallError, is_valid_remote
from tcpscope.machine.connection import Connection
from tcpscope.machine.internet import DEFAULTS, Internet
from tcpscope.machine.isn import initial_sequence_number, keyed_hash, timestamp_offset
from tcpscope.machine.listener import Listener, Settings
from tcpscope.machine.moves import reset_for
from tcpscope.machine.profile import RFC, Profile
from tcpscope.machine.timewait import TimeWait
from tcpscope.model.address import Endpoint
from tcpscope.model.record import NamedTuple
from tcpscope.model.segment import Segment
from tcpscope.model.state import State
from tcpscope.wire import emit
from tcpscope.wire.address import format_address, parse_address
from tcpscope.wire.checksum import is_good
from tcpscope.wire.icmp import parse_icmp
from tcpscope.wire.parse import Datagram, parse_ip, parse_tcp
from tcpscope.wire.source_route import emit_source_route, parse_source_route, return_route

EPHEMERAL_PORTS = range(49152, 65536)  #: RFC 6335 §6
_TCP = 6
_ICMP = {4: 1, 6: 58}
Ends = tuple[Endpoint, Endpoint]


class Interface(NamedTuple):
    """One address of the host. Where the link's MTU varies, ``least_mtu_bytes`` is its smallest (SHLD-6)."""

    address: str
    prefix_bits: int = 24
    mtu_bytes: int = 1500
    least_mtu_bytes: int = 0


class Host:
    """Connections, listeners and TIME-WAIT records at some addresses."""

    def __init__(self, interfaces: list[Interface], *, secret: bytes, profile: Profile = RFC) -> None:
        self.interfaces = {interface.address: interface for interface in interfaces}
        self.networks = {one.address: ip_interface(f"{one.address}/{one.prefix_bits}").network for one in interfaces}
        self.broadcasts = {
            str(network.broadcast_address) for network in self.networks.values() if network.num_addresses > 2
        }
        self.secret = secret
        self.profile = profile
        self.connections: dict[Ends, Connection] = {}
        self.listeners: dict[Endpoint, Listener] = {}
        self.time_waits: dict[Ends, TimeWait] = {}
        self.drops: Counter[str] = Counter()
        self._out: list[bytes] = []

    # user calls

    def open_active(
        self, remote: Endpoint, now_ns: int, *, local: Endpoint | None = None, internet: Internet = DEFAULTS
    ) -> Connection:
        """Connect; without ``local`` IP chooses the address (MUST-43, MUST-44). Raises CallError."""
        self._check_remote(remote)
        ends = self._choose_local(remote, local), remote
        if ends in self.connections or ends in self.time_waits:
            raise CallError("connection already exists")
        iss = initial_sequence_number(self.secret, *ends, now_ns)
        offset = timestamp_offset(self.secret, *ends)
        connection = Connection(*ends, iss=iss, profile=self.profile, ts_offset_ms=offset)
        connection.set_segment_sizes(mtu_bytes=self._mtu_bytes(ends[0].address))
        connection.set_internet(internet)
        connection.open(now_ns)
        self.connections[ends] = connection
        return connection

    def open_passive(self, local: Endpoint, *, settings: Settings | None = None) -> Listener:
        """Listen at one address, or with a wildcard at all of its family, with one queue to accept from.

        Connections that use the port already, in whatever state, are not disturbed (MUST-41, MUST-42). Raises
        CallError when somebody listens there.
        """
        six = local.is_ipv6
        addresses = [one for one in self.interfaces if (":" in one) is six] if local.is_wildcard else [local.address]
        if not addresses or addresses[0] not in self.interfaces:
            raise CallError(f"{local.address} is no address of this host")
        places = [Endpoint(address, local.port) for address in addresses]
        if any(place in self.listeners for place in places):
            raise CallError("connection already exists")
        made = [Listener(place, secret=self.secret, profile=self.profile, settings=settings) for place in places]
        for listener in made:
            listener.complete = made[0].complete
            listener.mtu_bytes = self._mtu_bytes(listener.local.address)
            self.listeners[listener.local] = listener
        return made[0]

    # the wire

    def receive_packet(self, octets: bytes | bytearray | memoryview, now_ns: int) -> None:
        """Take one IP packet."""
        try:
            datagram = parse_ip(octets)
        except ValueError:
            self.drops["no sound IP header"] += 1
            return
        source, destination = format_address(datagram.source), format_address(datagram.destination)
        if destination not in self.interfaces:
            self.drops["not for this host"] += 1  # broadcast and multicast among them: silently (MUST-57)
        elif datagram.fragment_offset >= 0:
            self.drops["fragment"] += 1
        elif datagram.protocol == _ICMP[datagram.version]:
            self._take_icmp(datagram, now_ns)
        elif datagram.protocol != _TCP:
            self.drops["not TCP"] += 1
        elif not self._is_unicast(source):
            self.drops["source is no unicast address"] += 1  # MUST-63
        else:
            self._take_tcp(datagram, source, destination, now_ns)

    def poll(self, now_ns: int) -> list[bytes]:
        """Return the packets that should be on the wire now; it looks at every connection."""
        self._retire(now_ns)
        out, self._out = self._out, []
        for local, listener in self.listeners.items():
            for remote, segment in listener.poll(now_ns):
                out.append(self._packet((local, remote), segment, self._internet_of(listener, remote)))
        for ends, connection in list(self.connections.items()):
            while segments := connection.poll(now_ns):
                out += [self._packet(ends, segment, connection.tcb.internet) for segment in segments]
            self._settle(ends, connection)
        return out

    def next_deadline(self) -> int | None:
        """Return when :meth:`poll` has something to do if nothing comes in."""
        times = [connection.next_deadline() for connection in self.connections.values()]
        times += [listener.next_deadline() for listener in self.listeners.values()]
        times += [record.deadline_ns for record in self.time_waits.values()]
        return min((when for when in times if when is not None), default=None)

    # arriving

    def _take_tcp(self, datagram: Datagram, source: str, destination: str, now_ns: int) -> None:
        if not is_good(datagram.source, datagram.destination, _TCP, datagram.payload):
            self.drops["checksum"] += 1  # MUST-3
            return
        try:
            header = parse_tcp(datagram.payload)
        except ValueError:
            self.drops["no TCP header"] += 1
            return
        if any(problem.offset_bytes == 12 for problem in header.problems):
            self.drops["data offset"] += 1
            return
        self.drops["malformed option"] += len(header.problems)  # MUST-7: what stands before it counts
        route = parse_source_route(datagram.options) if datagram.options else None
        if route is not None and not route[1]:
            self.drops["source route leads on"] += 1
            return
        ends = Endpoint(destination, header.destination_port), Endpoint(source, header.source_port)
        segment = header.segment._replace(ip_ecn=datagram.traffic_class & 3)
        self._demultiplex(ends, segment, now_ns)
        self._note_internet(ends, datagram.traffic_class >> 2, route)

    def _demultiplex(self, ends: Ends, segment: Segment, now_ns: int) -> None:
        connection, record, listener = (
            self.connections.get(ends),
            self.time_waits.get(ends),
            self.listeners.get(ends[0]),
        )
        iss_above = None
        if connection is not None:
            connection.receive_segment(segment, now_ns)
            return
        if record is not None:
            answer = record.receive_segment(segment, now_ns)
            if answer is not None:
                self._out.append(self._packet(ends, answer, record.internet))
            if record.verdict is State.TIME_WAIT or (record.verdict is State.SYN_RECEIVED and listener is None):
                return
            del self.time_waits[ends]
            if record.verdict is State.CLOSED:
                return
            iss_above = record.snd_nxt  # MAY-2
        if listener is not None:
            listener.receive_segment(ends[1], segment, now_ns, iss_above=iss_above)
            for child in listener.take_fresh():
                self.connections[child.tcb.local, child.tcb.remote or ends[1]] = child
            return
        self.drops["no connection"] += 1
        self._out.extend(self._packet(ends, answer, DEFAULTS) for answer in reset_for(segment))

    def _note_internet(self, ends: Ends, dscp: int, route: tuple[tuple[str, ...], bool] | None) -> None:
        """Tell the connection, or the handshake, what came with its segment."""
        connection = self.connections.get(ends)
        listener = self.listeners.get(ends[0])
        if connection is None and listener is not None:
            connection = listener.incomplete.get(ends[1])
        if connection is not None:
            connection.note_internet(dscp, return_route(route[0]) if route is not None else None)

    def _take_icmp(self, datagram: Datagram, now_ns: int) -> None:
        """Bring an error to the connection whose segment it quotes (MUST-54)."""
        error = parse_icmp(datagram.payload, datagram.version)
        if error is None:
            self.drops["ICMP that is no error about TCP"] += 1
            return
        ends = error.source, error.destination
        connection, listener = self.connections.get(ends), self.listeners.get(error.source)
        if connection is None and listener is not None:
            connection = listener.incomplete.get(error.destination)
        if connection is None:
            self.drops["ICMP error about no connection"] += 1
            return
        connection.icmp_error(error.type, error.code, now_ns, mtu_bytes=error.mtu, seq=error.seq)

    # leaving

    def _packet(self, ends: Ends, segment: Segment, internet: Internet) -> bytes:
        source, destination = parse_address(ends[0].address), parse_address(ends[1].address)
        tcp = emit.emit_tcp(segment, source, destination, ends[0].port, ends[1].port, layout=self.profile.layout)
        octet = internet.dscp << 2 | segment.ip_ecn  # SHLD-22: unchanged
        if len(source) == 16:
            head = emit.emit_ipv6_header(
                source, destination, len(tcp), hop_limit=internet.hop_limit, traffic_class=octet
            )
            return head + tcp
        options = internet.options
        if internet.route:
            destination, route = emit_source_route(internet.route, ends[1].address)
            options = route + options
        options += bytes(-len(options) % 4)
        ttl = internet.hop_limit
        return emit.emit_ipv4_header(source, destination, len(tcp), ttl=ttl, tos=octet, options=options) + tcp

    def _internet_of(self, listener: Listener, remote: Endpoint) -> Internet:
        child = listener.incomplete.get(remote) or self.connections.get((listener.local, remote))
        return child.tcb.internet if child is not None else listener.internet

    # addresses and ports

    def _check_remote(self, remote: Endpoint) -> None:
        if not remote.port or remote.is_wildcard:
            raise CallError("remote socket unspecified")
        if not self._is_unicast(remote.address):
            raise CallError(f"{remote} cannot be connected to: not a unicast address")  # MUST-46

    def _is_unicast(self, address: str) -> bool:
        return is_valid_remote(Endpoint(address, 1)) and address not in self.broadcasts

    def _choose_local(self, remote: Endpoint, local: Endpoint | None) -> Endpoint:
        """Take the address on the peer's own network, else the first of its family (MUST-44), and a free port."""
        wanted = "" if local is None or local.is_wildcard else local.address
        if wanted and wanted not in self.interfaces:
            raise CallError(f"{wanted} is no address of this host")
        six, peer = remote.is_ipv6, ip_address(remote.address)
        family = [address for address in self.interfaces if (":" in address) is six]
        near = [address for address in family if peer in self.networks[address]]
        address = wanted or next(iter(near + family), "")
        if not address or (":" in address) is not six:
            raise CallError(f"no local address to reach {remote.address} from")
        if local is not None and local.port:
            return Endpoint(address, local.port)
        return self._free_port(address, remote)

    def _free_port(self, address: str, remote: Endpoint) -> Endpoint:
        """Pick a port nobody can guess (RFC 6056 §3.3.3)."""
        start = keyed_hash(self.secret, b"port", Endpoint(address, 0), remote)
        for step in range(len(EPHEMERAL_PORTS)):
            local = Endpoint(address, EPHEMERAL_PORTS[(start + step) % len(EPHEMERAL_PORTS)])
            if (local, remote) not in self.connections and (local, remote) not in self.time_waits:
                return local
        raise CallError(f"no free port to reach {remote} from")

    def _mtu_bytes(self, address: str) -> int:
        interface = self.interfaces[address]
        return interface.least_mtu_bytes or interface.mtu_bytes

    # ends of life

    def _settle(self, ends: Ends, connection: Connection) -> None:
        """Forget what is closed; shrink what only waits."""
        if connection.state is State.CLOSED:
            del self.connections[ends]
        elif connection.state is State.TIME_WAIT and not connection.readable_bytes:
            self.time_waits[ends] = TimeWait(connection)
            del self.connections[ends]

    def _retire(self, now_ns: int) -> None:
        for ends in [ends for ends, record in self.time_waits.items() if record.deadline_ns <= now_ns]:
            del self.time_waits[ends]
