"""The endpoint against Linux's TCP over a TUN device: bytes both ways, close, loss; each run in its own namespace."""

import json
import os
import shutil

import pytest
from tests.own_namespace import run_in_namespace

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="no /dev/net/tun"),
    pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("ip")), reason="needs unshare and ip"),
]


def talk(profile: str, loss: float, size: int) -> dict[str, object]:
    """Run one conversation with the kernel and return what both sides saw."""
    return json.loads(run_in_namespace("tests.endpoint_tun_peer", profile, str(loss), str(size)))


@pytest.mark.parametrize("profile", ["rfc", "linux", "freebsd"])
def test_megabytes_both_ways_with_the_kernel_at_full_speed(profile):
    seen = talk(profile, 0.0, 3_000_000)
    assert seen["kernel_got_ours"] and seen["we_got_it_back"] and seen["kernel_saw_end"], seen
    assert seen["state"] == "TIME_WAIT" and not seen["error"]
    assert seen["retransmits"] < 500, seen  # of 2072 segments; a busy machine may delay an ACK beyond the RTO
    assert seen["most_in_flight"] > 10 * 1448, seen  # no stop-and-wait against a delayed ACK


@pytest.mark.parametrize("profile", ["rfc", "linux"])
def test_loss_in_both_directions_is_repaired_with_the_kernel(profile):
    seen = talk(profile, 0.02, 1_000_000)
    assert seen["kernel_got_ours"] and seen["we_got_it_back"] and seen["kernel_saw_end"], seen
    assert seen["state"] == "TIME_WAIT" and seen["retransmits"] > 0


@pytest.mark.parametrize("timestamps", [1, 0])
def test_linux_client_gets_through_a_flood_by_a_cookie(timestamps):
    """With timestamps the cookie brings back scale, SACK and ECN; without, the segment size alone."""
    seen = json.loads(run_in_namespace("tests.host_on_tun", str(timestamps)))
    assert seen["answered"] == 500 and seen["kept"] == 5, seen
    assert seen["cookies_accepted"] == 1 and seen["cookies_sent"] >= 496, seen
    assert seen["echoed"] and not seen["error"], seen
    ours, kernel = seen["ours"], seen["kernel"]
    assert ours["mss_bytes"] == (1448 if timestamps else 1460)
    assert [ours[name] for name in ("timestamps_ok", "sack_ok", "ecn")] == [bool(timestamps)] * 3
    assert set(kernel["options"]) == ({"timestamps", "sack", "scale", "ecn"} if timestamps else set())
    assert (kernel["their_scale"], kernel["our_scale"]) == (ours["snd_wscale"], ours["rcv_wscale"])
    assert (ours["rcv_wscale"] == 5 and ours["snd_wscale"] > 0) is bool(timestamps)
