"""The endpoint's recovery against Linux's TCP: filtered loss, congestion marks, reordering, black holes."""

import json
import os
import shutil
from typing import Any

import pytest
from tests.own_namespace import run_in_namespace

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="no /dev/net/tun"),
    pytest.mark.skipif(not all(map(shutil.which, ("unshare", "ip", "nft"))), reason="needs unshare, ip and nft"),
]


def talk(name: str, **settings: object) -> dict[str, Any]:
    """Run one conversation with the kernel and return what both sides saw; all bytes must have come and gone."""
    seen: dict[str, Any] = json.loads(run_in_namespace("tests.rough_tun_peer", name, "500000", json.dumps(settings)))
    assert seen["is_whole"] and seen["state"] == "TIME_WAIT" and not seen["error"], seen
    return seen


def packet_filter(rule: str, hook: str = "prerouting") -> str:
    """Return a ruleset for what our endpoint sends, or in ``output`` for what the kernel's server sends."""
    way = "iif peer0 tcp dport 7000" if hook == "prerouting" else "tcp sport 7000"
    return f"table ip t {{ counter hit {{ }}\n chain c {{ type filter hook {hook} priority 0; {way} {rule}\n }}\n }}\n"


@pytest.mark.parametrize("rack", [True, False])
def test_each_segment_the_packet_filter_drops_goes_again(rack):
    rules = packet_filter("meta length > 200 numgen inc mod 50 7 counter name hit drop")
    seen = talk("linux", rules=rules, profile={"rack": rack})
    assert seen["retransmits"] >= seen["hits"] > 5, seen


@pytest.mark.parametrize("congestion", ["newreno", "cubic"])
def test_kernel_s_echo_of_congestion_marks_shrinks_our_window(congestion):
    rules = packet_filter("ip ecn ect0 numgen inc mod 40 9 counter name hit ip ecn set ce")
    seen = talk("linux", rules=rules, profile={"ecn": True, "congestion": congestion}, sysctls={"net.ipv4.tcp_ecn": 1})
    assert seen["ecn"] and seen["hits"] > 5 and seen["ssthresh"] < 1 << 30, seen


def test_kernel_hears_of_congestion_marks_from_us():
    rules = packet_filter("ip ecn ect0 numgen inc mod 2 1 counter name hit ip ecn set ce", "output")
    seen = talk("linux", rules=rules, profile={"ecn": True}, sysctls={"net.ipv4.tcp_ecn": 1})
    assert seen["ecn"] and seen["hits"] > 0 and seen["kernel_heard_of_marks"] > 0, seen


@pytest.mark.parametrize("profile", ["rfc", "linux"])
def test_reordering_in_both_directions_is_seen_and_breaks_nothing(profile):
    assert talk(profile, late=23)["reordering_seen"]


@pytest.mark.parametrize("probing", [1, 2])
def test_black_hole_in_front_of_the_kernel_is_got_through(probing):
    rules = packet_filter("meta length > 1300 counter name hit drop")
    seen = talk("linux", rules=rules, profile={"mtu_probing": probing})
    assert seen["hits"] >= 3 and seen["mtu_probes"] > 3, seen
    assert 1064 <= seen["path_mtu"] <= 1300, seen
