"""Which finding explains which: the cause comes first, and each symptom is told once.

``BECAUSE`` has a row for each symptom and the causes that explain it, the nearest first. Some findings replace others
outright (``INSTEAD``): they look at the same sockets and know better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tcpscope.doctor.opening import WAS_REFUSED
from tcpscope.doctor.sending import NOBODY_HEARD
from tcpscope.model.finding import Finding

Related = Callable[[Finding, Finding], bool]


def _same_process(symptom: Finding, cause: Finding) -> bool:
    mine = _pids(symptom)
    return not mine or not _pids(cause) or bool(mine & _pids(cause))


def _same_port(symptom: Finding, cause: Finding) -> bool:
    """Whether the symptom's remote port is the cause's local one, at an address that fits."""
    wanted = {(socket.remote.unmapped, socket.remote.port) for socket in symptom.sockets}
    for socket in cause.sockets:
        here = socket.local
        if any(port == here.port and (here.is_wildcard or host == here.unmapped) for host, port in wanted):
            return True
    return False


def _ends_meet(symptom: Finding, cause: Finding) -> bool:
    """Whether some socket of one is the other end of a socket of the other."""
    ends = {
        (socket.remote.unmapped, socket.remote.port, socket.local.unmapped, socket.local.port)
        for socket in symptom.sockets
    }
    return any(
        (socket.local.unmapped, socket.local.port, socket.remote.unmapped, socket.remote.port) in ends
        for socket in cause.sockets
    )


def _same_remote(symptom: Finding, cause: Finding) -> bool:
    remotes = {socket.remote.unmapped for socket in symptom.sockets}
    return not remotes or any(socket.remote.unmapped in remotes for socket in cause.sockets)


def _host_is_gone(symptom: Finding, cause: Finding) -> bool:
    """Whether the stall is one of a whole host that falls silent: one connection alone says nothing of another's SYNs."""
    silent = any(NOBODY_HEARD.partition("{}")[0] in line for line in cause.counter_evidence)
    return silent and _same_remote(symptom, cause)


def _refused_there(symptom: Finding, cause: Finding) -> bool:
    """Whether the refusals that were seen are those of the cause's port."""
    port = cause.scope.removeprefix("port ")
    told = any(WAS_REFUSED in line and line.endswith(f":{port}") for line in symptom.evidence)
    return told and _anywhere(symptom, cause)


def _refused_itself(symptom: Finding, cause: Finding) -> bool:
    """Whether the process is among those that were seen to be refused; any may be when none was seen."""
    told = [line for line in cause.evidence if WAS_REFUSED in line]
    pid = symptom.scope.removeprefix("pid ")
    return _anywhere(symptom, cause) and (not told or any(f"({pid}){WAS_REFUSED}" in line for line in told))


def _same_scope(symptom: Finding, cause: Finding) -> bool:
    return symptom.scope == cause.scope


def _same_sockets(symptom: Finding, cause: Finding) -> bool:
    mine = {socket.flow for socket in symptom.sockets}
    return any(socket.flow in mine for socket in cause.sockets)


def _on(setting: str) -> Related:
    """Whether the symptom is a word about this setting, and the other one names it among its remedies."""

    def is_told(symptom: Finding, cause: Finding) -> bool:
        told = any(f".{setting} = " in remedy.text for remedy in cause.remedies)
        return told and symptom.scope.endswith(f".{setting}") and _anywhere(symptom, cause)

    return is_told


def _anywhere(symptom: Finding, cause: Finding) -> bool:
    """Counters and settings are those of one namespace."""
    return symptom.place == cause.place


def _counted_here(symptom: Finding, cause: Finding) -> bool:
    """A symptom that was only counted, without a socket to point at."""
    return not symptom.sockets and _anywhere(symptom, cause)


def _pids(finding: Finding) -> set[int]:
    return {owner.pid for socket in finding.sockets for owner in socket.owners}


#: Symptom -> its possible causes, nearest first, and when the two belong together.
BECAUSE: dict[str, tuple[tuple[str, Related], ...]] = {
    "accept-stalled-by-fd-limit": (("close-wait-leak", _same_process), ("half-open-stale", _same_process), ("zombie-socket-fds", _same_scope)),
    "fd-exhaustion-near": (("close-wait-leak", _same_process), ("half-open-stale", _same_process), ("zombie-socket-fds", _same_scope)),
    "accept-queue-overflow": (("accept-stalled-by-fd-limit", _same_process), ("close-wait-app-blocked", _same_process), ("fd-exhaustion-near", _same_process), ("reuseport-imbalance", _same_sockets)),
    "syn-sent-blackhole": (("accept-queue-overflow", _same_port), ("accept-stalled-by-fd-limit", _same_port), ("syn-flood", _same_port), ("conntrack-table-full", _anywhere), ("no-route", _anywhere), ("ghost-established-by-overflow", _same_remote), ("retransmission-stall", _host_is_gone)),
    "ghost-established-by-overflow": (("accept-queue-overflow", _same_port), ("accept-queue-overflow", _counted_here), ("syn-flood", _same_port)),
    "fin-wait2-orphan-pile": (("close-wait-leak", _ends_meet), ("close-wait-app-blocked", _ends_meet)),
    "fin-wait2-half-closed-forever": (("close-wait-leak", _ends_meet), ("close-wait-app-blocked", _ends_meet)),
    "zombie-socket-fds": (("connection-refused-storm", _refused_itself), ("listener-closed-with-queue", _anywhere)),
    "system-sockets-leak": (("zombie-socket-fds", _anywhere),),
    "zero-window-peer-slow": (("reader-stalled-locally", _ends_meet), ("close-wait-app-blocked", _ends_meet)),
    "fin-wait1-zero-window": (("reader-stalled-locally", _ends_meet),),
    "reader-stalled-locally": (("close-wait-app-blocked", _same_process),),
    "retransmission-stall": (("pmtu-blackhole", _same_remote), ("idle-firewall-drop", _same_remote), ("ghost-established-by-overflow", _same_sockets)),
    "fin-wait1-stuck": (("ghost-established-by-overflow", _same_remote), ("retransmission-stall", _same_remote)),
    "last-ack-pile": (("retransmission-stall", _same_remote), ("fin-wait1-stuck", _same_remote)),
    "packet-loss": (("softnet-drop", _anywhere), ("checksum-errors", _anywhere), ("pmtu-blackhole", _anywhere), ("ghost-established-by-overflow", _anywhere), ("retransmission-stall", _anywhere), ("fin-wait1-stuck", _anywhere), ("last-ack-pile", _anywhere)),
    "too-many-orphans": (("fin-wait1-zero-window", _anywhere), ("fin-wait1-stuck", _anywhere), ("last-ack-pile", _anywhere)),
    "tcp-memory-pressure": (("fin-wait1-zero-window", _anywhere), ("reader-stalled-locally", _anywhere), ("zero-window-peer-slow", _anywhere)),
    "bind-eaddrinuse-timewait": (("port-taken-by-outgoing", _same_scope), ("self-connect", _same_sockets)),
    "shared-socket-holders": (("close-wait-leak", _same_sockets), ("close-wait-app-blocked", _same_sockets)),
    "rst-storm-sent": (("connection-refused-storm", _anywhere), ("tw-bucket-overflow", _anywhere), ("listener-missing", _anywhere), ("listener-closed-with-queue", _anywhere), ("inbound-scan", _anywhere)),
    "connection-refused-storm": (("listener-missing", _refused_there),),
    "reset-by-peer-rate": (("listener-closed-with-queue", _anywhere), ("ghost-reconnect", _anywhere)),
    "ephemeral-port-exhaustion-live": (("close-wait-leak", _same_sockets),),
    "half-open-stale": (("idle-firewall-drop", _same_remote),),
}  # fmt: skip

#: A finding that makes another one wrong or idle, and when.
INSTEAD: tuple[tuple[str, str, Related], ...] = (
    ("ephemeral-port-exhaustion-timewait", "time-wait-normal", _anywhere),
    ("ephemeral-port-exhaustion-live", "time-wait-normal", _anywhere),
    ("half-open-stale", "no-keepalive-on-long-idle", _same_sockets),
    ("accept-stalled-by-fd-limit", "fd-exhaustion-near", _same_scope),
    ("exposed-listener", "unexpected-listener", _same_sockets),
    ("accept-queue-overflow", "backlog-too-small", _same_sockets),
    # Why: the better one names the setting, with its present value, among its remedies.
    ("ephemeral-port-exhaustion-timewait", "sysctl-lint", _on("ip_local_port_range")),
    ("ephemeral-port-exhaustion-live", "sysctl-lint", _on("ip_local_port_range")),
    ("syn-flood", "sysctl-lint", _on("tcp_syncookies")),
    ("tw-bucket-overflow", "sysctl-lint", _on("tcp_max_tw_buckets")),
    ("accept-queue-overflow", "sysctl-lint", _on("somaxconn")),
    # Why: a handshake whose last ACK found no room repeats SYN|ACK to a client that is connected: the same counter.
    ("accept-queue-overflow", "ghost-reconnect", _anywhere),
    ("syn-recv-ack-lost", "ghost-reconnect", _anywhere),
    ("deleted-executable-listening", "unexpected-listener", _same_sockets),
)


def arrange(findings: Iterable[Finding]) -> list[Finding]:
    """Name causes, drop what another finding replaces, and sort: severe first, each symptom right after its cause."""
    kept = sorted(_without_replaced(list(findings)), key=_urgency)
    causes = [_cause_of(finding, kept) for finding in kept]
    symptoms: dict[int, list[int]] = {}
    for number, cause in enumerate(causes):
        if cause is not None:
            symptoms.setdefault(cause, []).append(number)
    explained = [
        finding if cause is None else finding._replace(explained_by=kept[cause].id)
        for finding, cause in zip(kept, causes, strict=True)
    ]
    trees = [list(_tree(number, symptoms)) for number, cause in enumerate(causes) if cause is None]
    # Why: a cause is as urgent as the worst it brings about.
    trees.sort(key=lambda tree: min(_urgency(kept[number])[0] for number in tree))
    return [explained[number] for tree in trees for number in tree]


def _urgency(finding: Finding) -> tuple[int, float, str, str]:
    return -int(finding.severity), -finding.confidence, finding.id, finding.scope


def _without_replaced(findings: list[Finding]) -> list[Finding]:
    gone: set[int] = set()
    for better, worse, related in INSTEAD:
        reasons = [finding for finding in findings if finding.id == better]
        gone.update(id(one) for one in findings if one.id == worse and any(related(one, reason) for reason in reasons))
    return [finding for finding in findings if id(finding) not in gone]


def _cause_of(finding: Finding, findings: Sequence[Finding]) -> int | None:
    """Return the place of the finding that explains this one. ``BECAUSE`` has no circles, so neither has the answer."""
    for cause_id, related in BECAUSE.get(finding.id, ()):
        for number, one in enumerate(findings):
            if one.id == cause_id and related(finding, one):
                return number
    return None


def _tree(number: int, symptoms: dict[int, list[int]]) -> Iterator[int]:
    yield number
    for symptom in symptoms.get(number, ()):
        yield from _tree(symptom, symptoms)
