"""``tcpscope list``: sockets with state, queues and owner.

Two paths: netstat's table straight from rows (nothing imported that start-up would pay for, see
``tests/unit/cli/test_start_up.py``), and words for everything else (:mod:`tcpscope.cli.list_words`).
"""

from __future__ import annotations

import sys

from tcpscope.cli.flags import Options, parse_options, select
from tcpscope.cli.streams import is_coloured, warn, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.live.listing import Listing

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
