"""Community IDs of the published baseline: the TCP flows of corelight/community-id-spec, seeds 0 and 1."""

import socket

import pytest

from tcpscope.packets.community import community_id

IPV6 = ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943, "2607:f8b0:400c:c03::1a", 25)
IPV4 = ("128.232.110.120", 34855, "66.35.250.204", 80)


@pytest.mark.parametrize(
    ("flow", "seed", "expected"),
    [
        (IPV6, 0, "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
        (IPV6, 1, "1:eJYTW6AOzFLlSUoESovMjnu7rMw="),
        (IPV4, 0, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (IPV4, 1, "1:3V71V58M3Ksw/yuFALMcW0LAHvc="),
    ],
)
def test_baseline_in_both_directions(flow, seed, expected):
    source, sport, target, dport = flow
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = socket.inet_pton(family, source), socket.inet_pton(family, target)
    assert community_id(*ends, sport, dport, seed) == expected
    assert community_id(*ends[::-1], dport, sport, seed) == expected
