"""Whether this namespace's packet filter drops incoming packets by default, per address family (nftables).

Read by netlink: base chains at hook ``input`` and their policy; ``iptables-nft`` keeps its rules there too. Not read:
single rules, and what stands before this host; where the older ``ip_tables`` filters nothing is said. Nothing is loaded
by asking: where ``nf_tables`` is not in the kernel yet, the answer is "not looked at". Constants:
``include/uapi/linux/netfilter/nf_tables.h``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from tcpscope.kernel.netlink import NLM_F_DUMP, NLM_F_REQUEST, dump, iter_messages, open_netlink, pack_message
from tcpscope.kernel.netlink import parse_attributes as attributes_of

_NETLINK_NETFILTER = 12
_GET_CHAIN, _NEW_CHAIN = 10 << 8 | 4, 10 << 8 | 3  # NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_...
_GENERIC_HEADER = b"\0\0\0\0"  # struct nfgenmsg: any family, version 0
_HOOK, _POLICY, _HOOK_NUMBER = 4, 5, 1  # NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_HOOK_HOOKNUM
_LOCAL_IN, _DROP = 1, 0
#: NFPROTO_INET covers both families.
_FAMILIES = {1: ("ip", "ip6"), 2: ("ip",), 10: ("ip6",)}


def read_input_policies() -> dict[str, int]:
    """Return ``firewall.ip.input_drops`` and ``firewall.ip6.input_drops`` (1 or 0); empty when it cannot be seen."""
    if not _is_present() or _has_older_tables():
        return {}
    try:
        channel = open_netlink(_NETLINK_NETFILTER)
    except OSError:
        return {}
    try:
        return parse_input_policies(
            dump(channel, pack_message(_GET_CHAIN, NLM_F_REQUEST | NLM_F_DUMP, _GENERIC_HEADER))
        )
    except OSError:
        return {}
    finally:
        channel.close()


def _has_older_tables() -> bool:
    """Whether the older ip_tables filters here too: its policies are not read, so nothing is claimed."""
    for name in ("ip_tables_names", "ip6_tables_names"):
        try:
            with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
                if "filter" in file.read():
                    return True
        except OSError:
            continue
    return False


def _is_present() -> bool:
    """Whether asking loads nothing: the code is in the kernel already, or the kernel has no modules at all."""
    if os.path.exists("/sys/module/nf_tables") or not os.path.exists("/proc/modules"):
        return True
    try:
        with open(f"/lib/modules/{os.uname().release}/modules.builtin", encoding="ascii", errors="replace") as file:
            return "/nf_tables." in file.read()
    except OSError:
        return False


def parse_input_policies(datagrams: Iterable[bytes]) -> dict[str, int]:
    """Parse the answer to a dump of chains."""
    drops = {"ip": 0, "ip6": 0}
    for kind, datagram, start, end in iter_messages(datagrams):
        if kind != _NEW_CHAIN or end - start < len(_GENERIC_HEADER):
            continue
        known = attributes_of(datagram, start + len(_GENERIC_HEADER), end)
        hook = attributes_of(known.get(_HOOK, b""), 0, len(known.get(_HOOK, b"")))
        is_input = _number(hook.get(_HOOK_NUMBER)) == _LOCAL_IN
        if is_input and _number(known.get(_POLICY)) == _DROP:
            for family in _FAMILIES.get(datagram[start], ()):
                drops[family] = 1
    return {f"firewall.{family}.input_drops": value for family, value in drops.items()}


def _number(value: bytes | None) -> int:
    return int.from_bytes(value, "big") if value else -1
