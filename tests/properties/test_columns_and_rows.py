"""Rows, columns and words say the same: the quick path, the bulk path and the full path print equal bytes."""

import io

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.sock_diag_messages import datagrams

from tcpscope.kernel.processes import Owners
from tcpscope.kernel.sock_diag import parse_rows
from tcpscope.live.columns import attach_holders, read_columns, read_row
from tcpscope.live.listing import Listing
from tcpscope.live.sockets import build_sockets
from tcpscope.views.bulk_table import iter_table
from tcpscope.views.row_table import render_rows
from tcpscope.views.socket_table import USUAL, Style, render_sockets

numpy = pytest.importorskip("numpy")

names = st.sampled_from(("nginx", "python3", "a" * 15, "tmux: server", "né", "\x1b[31m", ""))
held = st.dictionaries(
    st.sampled_from((11, 12, 13, 14, 2**32 - 1)),
    st.lists(st.tuples(st.sampled_from((1, 22, 333, 4194304)), st.integers(3, 5)), min_size=1, max_size=6),
)


def listing_of(tcp, udp, holders, comms):
    listing = Listing()
    listing.datagrams = [(6, tcp), (17, udp)]
    listing.owners = Owners("procfs")
    listing.owners.holders = holders
    listing.owners.names = dict(zip((1, 22, 333, 4194304), comms, strict=False))
    return listing


def columns_of(listing):
    """Return the columns; a message that happens to hold its own sequence number is left to the rows, and not drawn."""
    columns = read_columns(listing)
    assume(columns is not None)
    return columns


@settings(deadline=None)
@given(datagrams(), datagrams(), held, st.lists(names, max_size=4), st.booleans(), st.booleans(), st.booleans())
def test_three_paths_print_equal_bytes(tcp, udp, holders, comms, programs, header, colour):
    listing = listing_of(tcp, udp, holders, comms)
    rows = listing.rows()
    assert len(rows) == len(parse_rows(tcp, 6)) + len(parse_rows(udp, 17))
    by_rows = render_rows(rows, holders if programs else None, listing.owners.names, header=header, colour=colour)
    columns = columns_of(listing)
    if programs:
        attach_holders(columns, listing.owners)
    out = io.BytesIO()
    for piece in iter_table(numpy, columns, header=header, colour=colour):
        out.write(piece)
    assert out.getvalue().decode() == by_rows
    keys = [*USUAL, "program"] if programs else USUAL
    sockets = build_sockets(listing)
    assert render_sockets(sockets, keys, Style(), header=header, colour=colour) == by_rows


@settings(deadline=None)
@given(datagrams(), datagrams())
def test_columns_hold_what_rows_hold(tcp, udp):
    listing = listing_of(tcp, udp, {}, [])
    columns, rows = columns_of(listing), listing.rows()
    assert [read_row(columns, index) for index in range(len(rows))] == rows
    assert columns.inode.tolist() == [row[15] for row in rows]
    assert columns.sport.tolist() == [row[5] for row in rows]


@settings(deadline=None)
@given(datagrams(), st.data())
def test_damaged_answer_is_left_to_the_rows(parts, data):
    whole = b"".join(parts)
    cut = data.draw(st.integers(0, len(whole) - 1))
    listing = listing_of([whole[:cut]], [], {}, [])
    columns, rows = read_columns(listing), listing.rows()
    assert columns is None or len(columns.state) == len(rows)


@settings(deadline=None, max_examples=300)
@given(datagrams(), st.data())
def test_flipped_bytes_never_fail(parts, data):
    whole = bytearray(b"".join(parts))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    listing = listing_of([bytes(whole)], [], {}, [])
    rows, columns = listing.rows(), read_columns(listing)
    assert len(build_sockets(listing)) == len(rows)
    if columns is not None:
        assert len(columns.state) == len(rows)
        attach_holders(columns, listing.owners)
        assert b"".join(map(bytes, iter_table(numpy, columns))).decode() == render_rows(rows, {}, {})
