"""The words of this room: a chunk of packets as columns, one packet, an interface, the facts of a format."""

from __future__ import annotations

from array import array

from tcpscope.model.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bytes read at once. Why: beats a mapped file twofold on full packets and serves pipes and decompressors alike.
CHUNK_BYTES = 4 << 20
#: A record or block that claims more is damage. Why: libpcap's and Wireshark's limit for a whole block.
MAX_BLOCK_BYTES = 16 << 20
#: A packet that claims more than this and more than the snapshot length is damage (libpcap's MAXIMUM_SNAPLEN).
MAX_PACKET_BYTES = 262_144
#: How far to look for the next sound record after a damaged one.
MAX_SEARCH_BYTES = 1 << 20


class Format(NamedTuple):
    """What a reader must know to hop over the records itself.

    ``byte_order`` is ``<`` or ``>``. For ``pcap`` a record is ``record_header_bytes`` (seconds, fraction, captured
    length, original length as 32-bit words, then what a variant adds) and the packet; a fraction is
    ``ns_per_fraction`` long and ``link_type`` holds for all. In ``pcapng`` these differ per interface (0 here).
    """

    kind: str
    byte_order: str = "<"
    ns_per_fraction: int = 1000
    link_type: int = 0
    snaplen: int = 0
    header_bytes: int = 24
    record_header_bytes: int = 16
    version: tuple[int, int] = (2, 4)
    compression: str = ""

    @property
    def max_captured_bytes(self) -> int:
        """A record that claims to hold more is damaged."""
        return min(max(self.snaplen, MAX_PACKET_BYTES), MAX_BLOCK_BYTES)


class Interface(NamedTuple):
    """Where packets were captured, as far as the file says."""

    link_type: int
    snaplen: int = 0
    name: str = ""
    description: str = ""
    filter: str = ""
    system: str = ""
    resolution: str = "10^-6 s"
    offset_s: int = 0


class Chunk(NamedTuple):
    """Packets as columns; packet ``i`` is ``data[offset[i] : offset[i] + captured_len[i]]``.

    Valid until the next chunk is asked for: ``data`` is one buffer, used again. ``data`` is a ``bytearray`` and the
    columns ``array('q')``; of the compiled reader they are contiguous numpy arrays of ``int64``. Without copying,
    ``numpy.frombuffer(chunk.data, numpy.uint8)`` and ``numpy.asarray(chunk.offset)`` give arrays of one type each.
    ``place_bytes`` is where ``data[0]`` stands in the decompressed file, ``first_packet`` the number of the first
    packet, counted from 1 as Wireshark counts. ``interface`` is an index into ``source.interfaces``.
    """

    data: bytearray
    place_bytes: int
    first_packet: int
    offset: Sequence[int]
    captured_len: Sequence[int]
    original_len: Sequence[int]
    t_ns: Sequence[int]
    interface: Sequence[int]
    link_type: Sequence[int]


class Columns:
    """The columns of a chunk while they are filled."""

    __slots__ = ("captured_len", "interface", "link_type", "offset", "original_len", "t_ns")

    def __init__(self) -> None:
        self.offset = array("q")
        self.captured_len = array("q")
        self.original_len = array("q")
        self.t_ns = array("q")
        self.interface = array("q")
        self.link_type = array("q")

    def __len__(self) -> int:
        return len(self.offset)

    def add(self, offset: int, captured: int, original: int, t_ns: int, interface: int, link_type: int) -> None:
        """Append one packet."""
        self.offset.append(offset)
        self.captured_len.append(captured)
        self.original_len.append(original)
        self.t_ns.append(t_ns)
        self.interface.append(interface)
        self.link_type.append(link_type)

    def as_columns(self) -> tuple[array[int], ...]:
        """Return the six columns in the order of :class:`Chunk`."""
        return self.offset, self.captured_len, self.original_len, self.t_ns, self.interface, self.link_type

    def fill_interface(self, interface: int, link_type: int) -> None:
        """Set these two columns for every packet."""
        self.interface = array("q", [interface]) * len(self.offset)
        self.link_type = array("q", [link_type]) * len(self.offset)


class Packet(NamedTuple):
    """One captured packet, copied out of its chunk."""

    number: int
    t_ns: int
    data: bytes
    original_len: int
    link_type: int
    interface: int = 0
