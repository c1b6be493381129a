"""The peers that captures are checked against, or a skip that says which is missing."""

import os
import shutil
import subprocess

import pytest


def peer(name):
    """The path of a peer's program, or skip the test."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run_peer(name, *arguments, **options):
    """What a peer prints."""
    done = subprocess.run([peer(name), *map(str, arguments)], capture_output=True, timeout=300, check=False, **options)
    return done.stdout.decode(errors="replace")


PREFERENCES = (
    "-o", "ip.defragment:FALSE", "-o", "tcp.relative_sequence_numbers:FALSE", "-o", "tcp.check_checksum:TRUE",
)  # fmt: skip
TSHARK_FIELDS = [
    "frame.number", "frame.time_epoch", "ip.src", "ipv6.src", "tcp.srcport", "tcp.dstport", "tcp.seq_raw",
    "tcp.ack_raw", "tcp.flags", "tcp.window_size_value", "tcp.len", "tcp.options.mss_val",
    "tcp.options.wscale.shift", "tcp.options.timestamp.tsval", "tcp.options.sack_le", "tcp.checksum.status",
]  # fmt: skip


def tshark_segments(path):
    """TCP segments of a capture as tshark sees them: one dictionary per packet, every packet once."""
    options = [part for field in TSHARK_FIELDS for part in ("-e", field)]
    text = run_peer("tshark", "-n", "-r", path, *PREFERENCES, "-T", "fields", *options)
    rows = [dict(zip(TSHARK_FIELDS, line.split("\t"), strict=True)) for line in text.splitlines()]
    return [row for row in rows if row["tcp.srcport"]]
