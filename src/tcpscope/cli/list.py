"""``tcpscope list``: sockets with state, queues and owner.

Two paths: netstat's table straight from rows (nothing imported that start-up would pay for, see
``tests/unit/cli/test_start_up.py``), and words for everything else (:mod:`tcpscope.cli.list_words`).
"""

from __future__ import annotations

import sys

from tcpscope.cli.flags import Options, parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.live.listing import Listing

_LISTEN, _EVERY, _BOUND = 1 << 10, 0xFFF, 1 << 13
_CONNECTED = _EVERY & ~_LISTEN

#: From so many bytes of answer on the table is made from columns (numpy): about 30 000 sockets.
_BULK_BYTES = 30_000 * 124


def run(argv: list[str]) -> int:
    """Run ``tcpscope list``."""
    options = parse_options(argv)
    if options.needs_words:
        from tcpscope.cli.list_words import run_words

        return run_words(options)
    _print_table(options)
    return 0


def select(options: Options) -> tuple[int, int, int]:
    """Turn the switches into what to ask the kernel for: masks of states for TCP and UDP (0: leave out), family.

    As netstat: without ``-a`` connected sockets only, with ``-l`` listening (UDP: unconnected) ones only.
    """
    both = options.tcp == options.udp
    if options.all:
        tcp, udp = _EVERY, _EVERY
    elif options.listening:
        tcp, udp = _LISTEN, 1 << 7
    else:
        tcp, udp = _CONNECTED, 1 << 1
    family = 0 if options.ipv4 == options.ipv6 else 2 if options.ipv4 else 10
    bound = _BOUND if options.bound else 0
    return tcp | bound if options.tcp or both else 0, udp if options.udp or both else 0, family


def _print_table(options: Options) -> None:
    from tcpscope.live.listing import read_listing

    tcp, udp, family = select(options)
    listing = read_listing(tcp=tcp, udp=udp, family=family)
    colour = is_coloured(options.color)
    if listing.payload_bytes >= _BULK_BYTES and _print_bulk(listing, options, colour):
        return
    from tcpscope.views.row_table import render_rows

    rows = listing.rows()
    if options.programs:
        listing.find_owners({row[15] for row in rows if row[15]})
    owners = listing.owners
    holders, names = (owners.holders, owners.names) if owners else (None, {})
    write(render_rows(rows, holders, names, header=not options.no_header, colour=colour))
    for note in listing.notes:
        warn(note)


def _print_bulk(listing: Listing, options: Options, colour: bool) -> bool:
    """Print from columns; ``False`` when that is not possible (no numpy, a damaged answer)."""
    from tcpscope.live.columns import find_holders, load_numpy, read_columns

    numpy, columns = load_numpy(), read_columns(listing)
    if numpy is None or columns is None:
        return False
    if options.programs:
        find_holders(listing, columns)
    from tcpscope.views.bulk_table import iter_table

    sys.stdout.flush()
    for piece in iter_table(numpy, columns, header=not options.no_header, colour=colour):
        sys.stdout.buffer.write(piece)
    for note in listing.notes:
        warn(note)
    return True


def write(text: str) -> None:
    """Write to stdout whatever its encoding is: what it cannot spell is escaped."""
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def warn(note: str) -> None:
    """Say under the table what could not be seen; on stderr, as netstat does, so that pipes carry sockets alone."""
    sys.stdout.flush()
    print(f"note: {note}", file=sys.stderr)


def is_coloured(choice: str) -> bool:
    """Decide about colour: ``always``, ``never``, or ``auto``: on a terminal, unless NO_COLOR is set."""
    if choice != "auto":
        return choice == "always"
    from posix import environ

    return sys.stdout.isatty() and not environ.get(b"NO_COLOR") and environ.get(b"TERM") != b"dumb"
