"""Counters in a dump: ``nstat``, ``netstat -s`` and ``/proc/net/{snmp,netstat}``, under the kernel's names."""

from __future__ import annotations

from tcpscope.dumps.rows import is_count

#: What ``netstat -s`` (net-tools) says after the number, where it does not print the counter's own name.
SENTENCES = {
    "active connection openings": "Tcp.ActiveOpens",
    "active connections openings": "Tcp.ActiveOpens",
    "passive connection openings": "Tcp.PassiveOpens",
    "failed connection attempts": "Tcp.AttemptFails",
    "connection resets received": "Tcp.EstabResets",
    "connections established": "Tcp.CurrEstab",
    "segments received": "Tcp.InSegs",
    "segments sent out": "Tcp.OutSegs",
    "segments retransmitted": "Tcp.RetransSegs",
    "segments retransmited": "Tcp.RetransSegs",
    "bad segments received": "Tcp.InErrs",
    "resets sent": "Tcp.OutRsts",
    "SYN cookies sent": "TcpExt.SyncookiesSent",
    "SYN cookies received": "TcpExt.SyncookiesRecv",
    "invalid SYN cookies received": "TcpExt.SyncookiesFailed",
    "resets received for embryonic SYN_RECV sockets": "TcpExt.EmbryonicRsts",
    "TCP sockets finished time wait in fast timer": "TcpExt.TW",
    "times the listen queue of a socket overflowed": "TcpExt.ListenOverflows",
    "SYNs to LISTEN sockets dropped": "TcpExt.ListenDrops",
    "SYNs to LISTEN sockets ignored": "TcpExt.ListenDrops",
    "other TCP timeouts": "TcpExt.TCPTimeouts",
    "connections reset due to unexpected data": "TcpExt.TCPAbortOnData",
    "connections reset due to early user close": "TcpExt.TCPAbortOnClose",
    "connections aborted due to memory pressure": "TcpExt.TCPAbortOnMemory",
    "connections aborted due to timeout": "TcpExt.TCPAbortOnTimeout",
    "fast retransmits": "TcpExt.TCPFastRetrans",
    "DSACKs received": "TcpExt.TCPDSACKRecv",
    "time wait sockets recycled by time stamp": "TcpExt.TWRecycled",
    "TCP sockets finished time wait in slow timer": "TcpExt.TWKilled",
    "connections aborted after user close in linger timeout": "TcpExt.TCPAbortOnLinger",
    "times unable to send RST due to no memory": "TcpExt.TCPAbortFailed",
    "packets rejected in established connections because of timestamp": "TcpExt.PAWSEstab",
    "active connections rejected because of time stamp": "TcpExt.PAWSActive",
    "packets pruned from receive queue": "TcpExt.RcvPruned",
    "retransmits in slow start": "TcpExt.TCPSlowStartRetrans",
    "retransmits lost": "TcpExt.TCPLostRetransmit",
    "delayed acks sent": "TcpExt.DelayedACKs",
    "packet headers predicted": "TcpExt.TCPHPHits",
}
GROUPS = ("TcpExt", "Tcp", "IpExt", "Ip", "Udp", "Icmp")


class StatisticsReader:
    """Collects counters line by line."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.names: tuple[str, list[str]] | None = None
        self.section = ""  #: of ``netstat -s``: the group whose counters are printed by name

    def read(self, words: list[str]) -> bool:
        """Take one line; say whether it held counters."""
        return self._read_nstat(words) or self._read_proc(words) or self._read_sentence(words)

    def _read_nstat(self, words: list[str]) -> bool:
        """``TcpExtListenOverflows           5                  0.0``."""
        if len(words) not in (2, 3) or not is_count(words[1]):
            return False
        for group in GROUPS:
            rest = words[0].removeprefix(group)
            if rest != words[0] and rest[:1].isupper() and rest.isalnum():
                self.counters[f"{group}.{rest}"] = int(words[1])
                return True
        return False

    def _read_proc(self, words: list[str]) -> bool:
        """A line of names, then a line of numbers, both beginning with the group."""
        group = words[0].removesuffix(":")
        if group == words[0] or group not in GROUPS or len(words) < 3:
            return False
        if self.names and self.names[0] == group and len(words) == len(self.names[1]) + 1:
            for name, number in zip(self.names[1], words[1:], strict=True):
                if is_count(number.removeprefix("-")):
                    self.counters[f"{group}.{name}"] = int(number)
            self.names = None
            return True
        if words[1][:1].isalpha():
            self.names = (group, words[1:])
            return True
        return False

    def _read_sentence(self, words: list[str]) -> bool:
        """``120 connections established``, ``TCPTimeouts: 7``, ``TCP ran low on memory 3 times``; ``TcpExt:``."""
        if len(words) == 1 and words[0].endswith(":"):
            self.section = words[0][:-1] if words[0][:-1] in GROUPS else ""
            return False
        if len(words) == 2 and is_count(words[1]) and words[0].endswith(":"):
            section = self.section or ("TcpExt" if words[0].startswith("TCP") else "")
            if section in ("Tcp", "TcpExt") and words[0][:-1].isalnum():
                self.counters[f"{section}.{words[0][:-1]}"] = int(words[1])
                return True
        if words[:5] == ["TCP", "ran", "low", "on", "memory"] and len(words) > 5 and is_count(words[5]):
            self.counters["TcpExt.TCPMemoryPressures"] = int(words[5])
            return True
        if len(words) > 1 and is_count(words[0]):
            name = SENTENCES.get(" ".join(words[1:]), "")
            if name:
                self.counters[name] = int(words[0])
                return True
        return False
