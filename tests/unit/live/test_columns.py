"""The columns of a crowd: no object for each socket, and holders joined right."""

import gc
import io
import struct

import pytest
from tests.sock_diag_messages import build_message

from tcpscope.kernel.processes import Owners
from tcpscope.live.columns import attach_holders, read_columns
from tcpscope.live.listing import Listing
from tcpscope.views.bulk_table import iter_table

numpy = pytest.importorskip("numpy")


def crowd(copies):
    """A few thousand different sockets, over and over."""
    several = [
        build_message(sport=443, dport=1024 + i, remote=f"192.0.2.{i % 250}", state=(1, 8, 6)[i % 3], inode=i % 3 and i)
        for i in range(2_000)
    ]
    several += [build_message(family=10, source="2001:db8::1", remote=f"2001:db8::{i:x}", inode=i) for i in range(500)]
    listing = Listing()
    listing.datagrams = [(6, [b"".join(several)] * copies)]
    return listing


def records(*holders):
    return b"".join(struct.pack("<QII16s", inode, pid, fd, comm) for inode, pid, fd, comm in holders)


def test_a_hundred_thousand_sockets_are_not_a_hundred_thousand_objects():
    listing = crowd(40)
    owners = Owners("bpf")
    owners.records = records(*((inode, 100 + inode % 50, 3, b"nginx") for inode in range(1, 2_000)))
    gc.collect()
    before = len(gc.get_objects())
    columns = read_columns(listing)
    attach_holders(columns, owners)
    written = sum(len(bytes(piece)) for piece in iter_table(numpy, columns))
    assert len(columns.state) == 100_000
    assert written > 100_000 * 80
    assert len(gc.get_objects()) - before < 5_000


def test_several_holders_one_holder_twice_and_none():
    listing = Listing()
    listing.datagrams = [(6, [b"".join(build_message(inode=inode) for inode in (11, 12, 13, 0))])]
    owners = Owners("bpf")
    owners.records = records(
        (12, 70, 3, b"b"), (11, 80, 9, b"c"), (12, 60, 4, b"a"), (11, 80, 3, b"c"), (99, 90, 3, b"other")
    )
    columns = read_columns(listing)
    unseen = attach_holders(columns, owners)
    out = io.BytesIO()
    for piece in iter_table(numpy, columns, header=False):
        out.write(piece)
    last = [
        line.split()[-1] if "(" not in line else line[-20:].strip() for line in out.getvalue().decode().splitlines()
    ]
    assert last == ["80/c", "60/a,70/b", "-", "(not accepted)"]
    assert unseen == 1
    assert columns.names == {60: "a", 70: "b", 80: "c"}


def test_nothing_listed_is_left_to_the_rows():
    listing = Listing()
    listing.datagrams = [(6, [])]
    assert read_columns(listing) is None
