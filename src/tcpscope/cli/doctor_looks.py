"""What ``tcpscope doctor`` looks at: this host twice, with what it remembers; or dumps and captures, sorted by host."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import reduce

from tcpscope.doctor import Look, Thresholds
from tcpscope.model.errors import UsageError
from tcpscope.model.finding import Finding
from tcpscope.model.history import History
from tcpscope.model.snapshot import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from tcpscope.live.witness import Witnessed


def look_at_host(options: argparse.Namespace, thresholds: Thresholds) -> list[Look]:
    """Look at each namespace asked for, twice unless ``--once``, and remember what was seen."""
    from tcpscope.live.snapshot import take_snapshot
    from tcpscope.live.witness import Witnessed, with_witnessed

    places = _places(options.netns)
    earlier = {}
    seen = Witnessed({})
    if not options.once:
        # Why: the first look needs no owners; who holds a socket is asked when it is reported.
        earlier = {place: take_snapshot(netns=place, owners=False, defer=True) for place in places}
        # Why: beside a crowd of sockets watching would cost more than looking.
        is_quiet = all(isinstance(one.sockets, list) for one in earlier.values())
        seen = _wait(options.interval, is_witnessed=is_quiet, all_namespaces=places != [None])
    snapshots = {place: take_snapshot(netns=place) for place in places}
    snapshots = {place: with_witnessed(snapshot, seen) for place, snapshot in snapshots.items()}
    first = next(iter(snapshots.values()))
    history = _history(first, options)
    looks = []
    for place, snapshot in snapshots.items():
        others = [one for one in snapshots.values() if one is not snapshot]
        look = Look(
            snapshot,
            earlier.get(place),
            history=history,
            thresholds=thresholds,
            others=others,
            wanted_ports=options.port,
            place=_spell_place(place) if len(snapshots) > 1 else "",
        )
        looks.append(look)
    if not options.no_store:
        _remember(history, looks)
    return looks


def _places(wanted: Sequence[str]) -> list[str | None]:
    if "all" not in wanted:
        return list(dict.fromkeys(wanted)) or [None]
    from tcpscope.kernel.namespaces import find_namespaces

    found, _ = find_namespaces()
    return [None, *(one.path for one in found[1:])]


def _spell_place(place: str | None) -> str:
    """Spell a namespace as ``--netns`` takes it."""
    return "this namespace" if place is None else f"--netns {place.removeprefix('/run/netns/')}"


def _wait(seconds: float, *, is_witnessed: bool, all_namespaces: bool) -> Witnessed:
    """Wait for the second look; unless there is a crowd, note which sockets enter their state meanwhile."""
    import time

    from tcpscope.live.witness import Witnessed, watch

    shows = sys.stderr.isatty()

    def tell(left: float) -> None:
        if shows:
            sys.stderr.write(f"\rlooking again in {left:.0f} s ")
            sys.stderr.flush()

    if is_witnessed:
        seen = watch(seconds, tell, all_namespaces=all_namespaces)
    else:
        tell(seconds)
        time.sleep(seconds)
        seen = Witnessed({})
    if shows:
        sys.stderr.write("\r\033[K")
    return seen


def _history(snapshot: Snapshot, options: argparse.Namespace) -> History:
    if options.no_store:
        return History()
    from tcpscope.history.first_seen import read_history

    return read_history(snapshot.host.boot_id)


def _remember(history: History, looks: Sequence[Look]) -> None:
    from tcpscope.doctor import trends
    from tcpscope.history.first_seen import write_history
    from tcpscope.history.remember import remember

    looked = history.looks
    told: set[str] = set()
    for look in looks:
        # Why: a number of the whole machine is remembered once for all of its namespaces.
        numbers = {name: value for name, value in trends(look).items() if name not in told}
        told.update(numbers)
        history = remember(history, look.snapshot, numbers)
    write_history(history._replace(looks=looked + 1), looks[0].snapshot.host.boot_id)


def look_at_files(options: argparse.Namespace, thresholds: Thresholds) -> tuple[list[Look], list[Finding]]:
    """Look at dumps and captures, those of one host together; also return what the packets themselves tell."""
    if options.netns:
        raise UsageError("--netns is for this host, not for files")
    rows, told = _read_files(options.files)
    hosts: list[list[Snapshot]] = []
    names: list[str] = []
    for name, row in zip(options.files, rows, strict=True):
        same = next((known for known in hosts if _is_same_host(known[-1], row[0])), None)
        if same is None:
            hosts.append(list(row))
            names.append(name)
        else:
            same.extend(row)
    last = [_aged(row) for row in hosts]
    looks = [
        Look(
            last[number],
            row[-2] if len(row) > 1 else None,
            thresholds=thresholds,
            others=[snapshot for snapshot in last if snapshot is not last[number]],
            wanted_ports=options.port,
            place=names[number] if len(hosts) > 1 else "",
        )
        for number, row in enumerate(hosts)
    ]
    return looks, told if len(hosts) > 1 else [finding._replace(place="") for finding in told]


def _read_files(names: list[str]) -> tuple[list[list[Snapshot]], list[Finding]]:
    """Read the looks that each file holds, oldest first, and the findings of the captures among them."""
    from tcpscope.cli.read_files import is_capture
    from tcpscope.cli.spooled import Spooled
    from tcpscope.doctor.connections import snapshot_of_connections
    from tcpscope.dumps.read import read_dumps

    rows: list[list[Snapshot]] = []
    told: list[Finding] = []
    with Spooled(names) as paths:
        for path, name in zip(paths, names, strict=True):
            if not is_capture(path):
                rows.append(read_dumps(path))
                continue
            from tcpscope.packets import analyse

            analysis = analyse([path])
            told += [finding._replace(place=name) for finding in analysis.findings]
            rows.append([snapshot_of_connections(analysis.connections, name)])
    return rows, told


def _aged(looks: Sequence[Snapshot]) -> Snapshot:
    """Return the last look, with the ages that the looks before it tell."""
    from tcpscope.dumps.read import with_ages

    return reduce(with_ages, looks)


def _is_same_host(first: Snapshot, second: Snapshot) -> bool:
    """Whether two dumps show one host: its own addresses are the same, or what it listens for and connects to."""
    mine, others = _own_addresses(first), _own_addresses(second)
    if mine and others:
        return len(mine & others) * 2 > min(len(mine), len(others))
    ends, other_ends = _held_ends(first), _held_ends(second)
    return len(ends & other_ends) * 2 >= min(len(ends), len(other_ends))


def _held_ends(snapshot: Snapshot) -> set[object]:
    return {(one.flow, tuple(owner.pid for owner in one.owners)) for one in snapshot.sockets}


def _own_addresses(snapshot: Snapshot) -> set[str]:
    return {one.local.unmapped for one in snapshot.sockets if not one.local.is_wildcard and not one.local.is_loopback}
