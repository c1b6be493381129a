"""The endpoint against Linux's TCP over a TUN device: bytes both ways, close, loss; each run in its own namespace."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="no /dev/net/tun"),
    pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("ip")), reason="needs unshare and ip"),
]


def talk(profile: str, loss: float, size: int) -> dict[str, object]:
    """Run one conversation with the kernel and return what both sides saw."""
    command = [
        "unshare",
        "-n",
        sys.executable,
        str(ROOT / "tests" / "endpoint_tun_peer.py"),
        profile,
        str(loss),
        str(size),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("profile", ["rfc", "linux", "freebsd"])
def test_megabytes_both_ways_with_the_kernel_at_full_speed(profile):
    seen = talk(profile, 0.0, 3_000_000)
    assert seen["kernel_got_ours"] and seen["we_got_it_back"] and seen["kernel_saw_end"], seen
    assert seen["state"] == "TIME_WAIT" and not seen["error"]
    assert seen["retransmits"] < 50, seen  # a busy machine may delay an ACK beyond the RTO
    assert seen["seconds"] < 20  # stop-and-wait against a delayed ACK of 40 ms would take 80 s


@pytest.mark.parametrize("profile", ["rfc", "linux"])
def test_loss_in_both_directions_is_repaired_with_the_kernel(profile):
    seen = talk(profile, 0.02, 1_000_000)
    assert seen["kernel_got_ours"] and seen["we_got_it_back"] and seen["kernel_saw_end"], seen
    assert seen["state"] == "TIME_WAIT" and seen["retransmits"] > 0
