"""``tcpscope capture``: packets as they pass, as tcpdump prints them, with both ends' states."""

from __future__ import annotations

import sys

from tcpscope.cli.parsing import add_names_option, new_parser
from tcpscope.cli.streams import write
from tcpscope.model.errors import UsageError
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Generator

    from tcpscope.capture.libpcap_filter import PacketFilter
    from tcpscope.capture.live import LiveSource
    from tcpscope.capture.writing import CaptureFile
    from tcpscope.model.captured import CapturedSegment

EPILOG = """examples:
  sudo tcpscope capture port 443               lines as tcpdump's, each end with its state
  sudo tcpscope capture -i eth0 -c 100         one interface, a hundred segments
  sudo tcpscope capture -w trace.pcapng tcp    keep the packets as well (pcap, or pcapng by the name)
  sudo tcpscope capture --ladder 1 port 9000   the first connection as a ladder
  sudo tcpscope capture --json | jq .          one object per segment

FILTER is the language of tcpdump (man pcap-filter); it needs libpcap. A state is what is known at that moment; read
the file afterwards (tcpscope read trace.pcapng) for what later packets prove or contradict."""


def run(argv: list[str]) -> int:
    """Run ``tcpscope capture``."""
    options = _parse(argv)
    from tcpscope.capture.live import LiveSource

    with LiveSource(
        options.interface,
        ring_bytes=options.buffer << 10,
        packet_filter=_compile_filter(" ".join(options.filter), options.interface),
        promiscuous=not options.no_promiscuous,
    ) as source:
        return _follow(source, options)


def follow_segments(interface: str = "any", filter: str = "") -> Generator[tuple[int, CapturedSegment], None, None]:
    """Follow the TCP segments of an interface: ``(number of the connection, segment with both ends' states)``.

    ``tcpscope.capture`` is this. ``filter`` is an expression of tcpdump's. Packets are taken from the call on; it never
    ends by itself, and closing it gives the interface back. Raises ``NotPermitted`` without CAP_NET_RAW.
    """
    from tcpscope.capture.live import LiveSource

    return _iter_seen(LiveSource(interface, packet_filter=_compile_filter(filter, interface)))


def _iter_seen(source: LiveSource) -> Generator[tuple[int, CapturedSegment], None, None]:
    from tcpscope.packets.following import Follower

    follower = Follower()
    with source:
        for chunk in source.iter_chunks():
            yield from follower.follow(chunk)


def _compile_filter(expression: str, interface: str) -> PacketFilter | None:
    if not expression:
        return None
    from tcpscope.capture.libpcap_filter import PacketFilter
    from tcpscope.capture.live import filter_link_type_of

    return PacketFilter(expression, filter_link_type_of(interface))


def _parse(argv: list[str]) -> Namespace:
    parser = new_parser("capture", "Show TCP segments as they pass, with both ends' states.", EPILOG)
    parser.add_argument("-i", "--interface", default="any", metavar="IF", help="interface (any)")
    parser.add_argument("-c", "--count", type=int, default=0, metavar="N", help="stop after N segments")
    parser.add_argument("-w", "--write", metavar="FILE", help="write every packet too; - is standard output")
    parser.add_argument("--ladder", type=int, metavar="N", help="the N-th connection as a ladder, nothing else")
    parser.add_argument("--json", action="store_true", help="one JSON object per segment")
    parser.add_argument("-n", action="store_true", help="accepted; addresses are never looked up")
    parser.add_argument("-S", "--absolute", action="store_true", help="absolute sequence numbers")
    parser.add_argument("-p", "--no-promiscuous", action="store_true", help="no promiscuous mode")
    parser.add_argument("-B", "--buffer", type=int, default=16384, metavar="KIB", help="size of the ring (16384)")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds")
    add_names_option(parser)
    parser.add_argument("filter", nargs="*", metavar="FILTER", help="a packet filter (man pcap-filter)")
    options = parser.parse_args(argv)
    if options.write == "-" and sys.stdout.isatty():
        raise UsageError("-w - writes packets to standard output, which is a terminal: pipe it, or name a file")
    if options.buffer < 1024:
        raise UsageError("-B: the ring needs 1024 KiB or more")
    return options


def _follow(source: LiveSource, options: Namespace) -> int:
    import signal
    import time

    from tcpscope.packets.following import Follower

    previous = {number: signal.signal(number, lambda *_: source.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    file = _open_file(options.write, source)
    follower, show = Follower(), _Shower(options)
    until = time.monotonic() + options.seconds if options.seconds else None
    print(f"capturing on {source.name}; Ctrl-C ends it", file=sys.stderr)
    shown = 0
    try:
        for chunk in source.iter_chunks():
            if file is not None:
                for index, offset in enumerate(chunk.offset):
                    end = offset + chunk.captured_len[index]
                    file.write(chunk.t_ns[index], chunk.data[offset:end], chunk.original_len[index])
                file.flush()
            for number, seen in follower.follow(chunk):
                if not options.count or shown < options.count:
                    show.segment(number, seen)
                    shown += 1
            show.flush()
            if (options.count and shown >= options.count) or (until is not None and time.monotonic() >= until):
                source.stop()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if file is not None:
            file.close()
    _report(source, shown, follower.connections)
    return 0


def _open_file(path: str | None, source: LiveSource) -> CaptureFile | None:
    if path is None:
        return None
    from tcpscope.capture.writing import CaptureFile

    return CaptureFile(path, source.interfaces[0])


class _Shower:
    """Prints segments the way that was asked for."""

    def __init__(self, options: Namespace) -> None:
        from tcpscope.views.packet_line import LineStyle

        self._options = options
        self._style = LineStyle(options.names, absolute=options.absolute)
        self._is_silent = options.write == "-"
        self._start_ns = 0
        self._client: object = None

    def segment(self, number: int, seen: CapturedSegment) -> None:
        """Print one segment of connection ``number``."""
        if self._is_silent:
            return
        if self._options.ladder is not None:
            if number == self._options.ladder:
                self._rung(seen)
        elif self._options.json:
            import json

            from tcpscope.views.packet_line import segment_object

            write(json.dumps({**segment_object(seen), "connection": number}) + "\n")
        else:
            write(self._style.line(seen) + "\n")

    def flush(self) -> None:
        """Let the reader of a pipe see the lines."""
        sys.stdout.flush()

    def _rung(self, seen: CapturedSegment) -> None:
        from tcpscope.views.ladder import WIDE, draw_rungs
        from tcpscope.views.packet_ladder import draw_live_head, live_rung

        if self._client is None:
            self._client, self._start_ns = seen.source, seen.t_ns
            write(draw_live_head(seen) + "\n")
        is_client = seen.source == self._client
        rung = live_rung(seen, self._style, self._options.names, self._start_ns, is_client)
        write("".join(line + "\n" for line in draw_rungs([rung], WIDE)))


def _report(source: LiveSource, shown: int, connections: int) -> None:
    from tcpscope.doctor.wording import many

    dropped = f"; {source.dropped} dropped by the kernel (try a larger ring: -B)" if source.dropped else ""
    print(
        f"{many(source.packets, 'packet')} captured, {many(shown, 'TCP segment')} shown, "
        f"{many(connections, 'connection')}{dropped}",
        file=sys.stderr,
    )
