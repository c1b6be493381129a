"""What the packet filter is said to do with a port is what the kernel does with a connection to it."""

import errno
import shutil
import socket

import pytest
from tests.patience import wait_until

from tcpscope.doctor import diagnose
from tcpscope.doctor.filtering import find_refusal, show_chain
from tcpscope.explain.sockets import why
from tcpscope.kernel.packet_filter import read_packet_filter
from tcpscope.kernel.sandbox import Sandbox
from tcpscope.live.snapshot import take_snapshot

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("nft"), reason="nft is not installed")]

RULES = """
table inet t {
  set allowed { type inet_service; flags interval; elements = { 22, 8000-8010 } }
  chain other {
    tcp dport 7000 counter drop
    return
  }
  chain in {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    ct state invalid drop
    iifname "lo" accept
    meta l4proto { icmp, ipv6-icmp } accept
    udp dport 53 accept
    tcp dport 7000-7001 jump other
    tcp dport @allowed accept
    tcp dport { 80, 81, 5000-5005 } accept
    tcp dport 100-110 reject with tcp reset
    meta nfproto ipv6 tcp dport 6000 accept
    ct state new tcp dport 6002 accept
    tcp dport != 1-9999 reject with tcp reset
  }
  chain early {
    type filter hook input priority -10;
    tcp dport 81 drop
  }
}
"""
PORTS = (22, 23, 53, 80, 81, 105, 5003, 6000, 6002, 7000, 7001, 8005, 9443, 20000)


def _try(host, family, address, port, patience_s):
    """Connect to a port where nobody listens: a packet filter that lets it pass shows as a reset by the kernel."""
    with host.entered(), socket.socket(family) as one:
        one.settimeout(patience_s)
        return one.connect_ex((address, port))


def test_every_port_fares_as_the_rules_were_read():
    with Sandbox() as sandbox:
        sandbox.server.nft(RULES)
        with sandbox.server.entered():
            chains = read_packet_filter()
        said, done = {}, {}
        for name, family, address in (
            ("ip", socket.AF_INET, sandbox.server.address),
            ("ip6", socket.AF_INET6, sandbox.server.address6),
        ):
            for port in PORTS:
                refusal = find_refusal(chains, "input", name, port)
                assert refusal is None or refusal.is_sure
                drops = refusal is not None and refusal.rule.verdict == "drop"
                said[name, port] = "nothing comes back" if drops else "reset"
                # Why: what is dropped never comes, however long one waits; a reset may be late on a busy machine.
                code = _try(sandbox.client, family, address, port, 0.3 if drops else 10)
                done[name, port] = "reset" if code == errno.ECONNREFUSED else "nothing comes back"
        assert said == done


OLDER = """
-i lo -j ACCEPT
-p tcp -m multiport --dports 7000,7001 -j other
-p tcp --dport 80 -j DROP
-p tcp --dport 100:110 -j REJECT --reject-with tcp-reset
-p udp -j DROP
-p tcp ! --dport 1:9999 -j DROP
"""


@pytest.mark.skipif(not shutil.which("iptables-legacy"), reason="iptables-legacy is not installed")
def test_rules_of_the_older_ip_tables_are_read_and_named_for_its_own_tool():
    with Sandbox() as sandbox:
        server = sandbox.server
        for line in ("-N other", "-A other -p tcp --dport 7000 -j DROP", "-A other -j RETURN"):
            server.run("iptables-legacy", *line.split())
        for line in OLDER.split("\n")[1:-1]:
            server.run("iptables-legacy", "-A", "INPUT", *line.split())
        with server.entered():
            chains = read_packet_filter()
        ports = (22, 80, 105, 7000, 7001, 20000)
        said = {port: find_refusal(chains, "input", "ip", port) for port in ports}
        drops = {port: one is not None and one.rule.verdict == "drop" for port, one in said.items()}
        # Why: what is dropped never comes, however long one waits; a reset may be late on a busy machine.
        answers = {
            port: _try(sandbox.client, socket.AF_INET, server.address, port, 0.3 if drops[port] else 10)
            for port in ports
        }
        assert drops == {port: code != errno.ECONNREFUSED for port, code in answers.items()}
        assert show_chain(said[7000].chain) == "iptables-legacy -nvL other --line-numbers"
        listed = server.run(*show_chain(said[80].chain).split()).splitlines()
        assert any(line.split()[:1] == [str(said[80].rule.handle)] and "dpt:80" in line for line in listed)


def test_counters_of_rules_grow_with_what_they_drop():
    with Sandbox() as sandbox:
        sandbox.server.nft(RULES)
        _try(sandbox.client, socket.AF_INET, sandbox.server.address, 7000, 0.3)
        with sandbox.server.entered():
            chains = read_packet_filter()
        refusal = find_refusal(chains, "input", "ip", 7000)
        assert (str(refusal.chain), refusal.rule.verdict) == ("inet t other", "drop")
        assert refusal.rule.packets >= 1


def test_data_that_the_own_filter_drops_is_not_blamed_on_the_peer():
    """The kernel runs the window probe's timer although the peer's window is open."""
    with Sandbox() as sandbox:
        client, server = sandbox.client, sandbox.server
        with server.entered():
            listener = socket.create_server((server.address, 9100))
        with client.entered(), socket.create_connection((server.address, 9100)):
            one, _ = listener.accept()
            server.nft("table inet own { chain out { type filter hook output priority 0; tcp sport 9100 drop; }; }")
            one.send(b"x" * 1000)
            with server.entered():
                kept = wait_until(lambda: [socket for socket in take_snapshot().sockets if socket.is_held_here])
                findings = wait_until(
                    lambda: [one for one in diagnose(take_snapshot()) if one.id == "retransmission-stall"]
                )
                ids = {finding.id for finding in diagnose(take_snapshot())}
            one.close()
        listener.close()
    assert [(one.local.port, one.timer.kind, one.tcp_info.snd_wnd > 0) for one in kept] == [(9100, "persist", True)]
    assert "packet filter" in why(kept[0])
    assert any("inet own out (hook output): from port 9100 drop" in line for line in findings[0].evidence)
    assert "zero-window-peer-slow" not in ids


def test_a_host_without_rules_refuses_nothing():
    with Sandbox() as sandbox, sandbox.server.entered():
        assert read_packet_filter() == ()
