"""``tcpscope read`` for captures: both ends' states of every connection, with reasons."""

from __future__ import annotations

import os
import sys

from tcpscope.cli.read_files import Files, Refused, refused_object
from tcpscope.cli.streams import write
from tcpscope.model.collector import collector_paused
from tcpscope.model.errors import UsageError
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager
    from typing import Any

    from tcpscope.cli.filtering import Selection
    from tcpscope.model.captured import CapturedSegment
    from tcpscope.model.connection import Connection
    from tcpscope.model.socket import Socket
    from tcpscope.model.state import State
    from tcpscope.packets.analysis import Analysis

    Matches = Callable[[Socket], bool]

_ROWS = 50


def show_captures(files: Files, options: Namespace, selection: Selection | None, rest: Mapping[str, object]) -> int:
    """Show the captures among ``files``; ``rest`` goes into the JSON object too. Return 1 when one is damaged."""
    matches = None if selection is None else selection.matches
    if options.lines:
        return _print_lines(files.captures, options, matches)
    # Why: numpy's linear algebra, which nothing here uses, starts threads when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with collector_paused():
        return _show_analysis(files, options, matches, rest)


def _show_analysis(files: Files, options: Namespace, matches: Matches | None, rest: Mapping[str, object]) -> int:
    from tcpscope.packets.analysis import analyse

    with _Replayable(files.captures, needed=options.ladder is not None) as replayable:
        with _Executor(options.cluster) as executor:
            progress = _draw_progress if sys.stderr.isatty() else None
            analysis = analyse(
                replayable.paths, engine=options.engine, executor=executor, progress=progress, tell=_tell,
                matches=matches if options.state_at is None else None,
            )  # fmt: skip
        if options.ladder is not None:
            _print_ladder(analysis, replayable.paths, options)
        elif options.state_at is not None:
            _print_states_at(analysis, options, matches)
        elif options.export:
            _export(analysis.connections, options)
        elif options.json:
            print_json(analysis, files.refused, rest)
        else:
            _print_table(analysis, options)
    for damage in analysis.damage:
        print(f"tcpscope: damaged: {damage}", file=sys.stderr)
    return 1 if analysis.damage else 0


class _Executor:
    """The workers of a Dask cluster, or ``None``: the analysis chooses its own."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._open: AbstractContextManager[Executor] | None = None

    def __enter__(self) -> Executor | None:
        if self._address is None:
            return None
        from tcpscope.packets.spread import open_cluster

        self._open = open_cluster(self._address)
        return self._open.__enter__()

    def __exit__(self, *about: Any) -> None:  # noqa: ANN401  # Why: the three of the protocol, handed on
        if self._open is not None:
            self._open.__exit__(*about)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _draw_progress(done_bytes: int, all_bytes: int) -> None:
    """Draw how far reading is, on a terminal only; the last call wipes it out."""
    if done_bytes >= all_bytes:
        sys.stderr.write("\r\x1b[K")
        return
    filled = 30 * done_bytes // max(all_bytes, 1)
    bar = "#" * filled + "-" * (30 - filled)
    sys.stderr.write(f"\rreading [{bar}] {done_bytes >> 20} of {all_bytes >> 20} MiB")
    sys.stderr.flush()


class _Replayable:
    """The captures for two readings: standard input is kept in a temporary file when it is ``needed`` twice."""

    def __init__(self, paths: list[str], *, needed: bool) -> None:
        self.paths = paths
        self._needed = needed and "-" in paths
        self._name = ""

    def __enter__(self) -> _Replayable:
        if self._needed:
            import shutil
            import tempfile

            with tempfile.NamedTemporaryFile(prefix="tcpscope-", delete=False) as copy:
                self._name = copy.name
                shutil.copyfileobj(sys.stdin.buffer, copy)
            self.paths = [self._name if path == "-" else path for path in self.paths]
        return self

    def __exit__(self, *_: object) -> None:
        if self._name:
            os.unlink(self._name)


def _print_lines(paths: Sequence[str], options: Namespace, matches: Matches | None) -> int:
    """Print segment by segment what is known at that moment, as ``tcpscope capture`` does."""
    import json
    from itertools import count

    from tcpscope.capture import open_capture
    from tcpscope.packets.following import Follower
    from tcpscope.views.packet_line import LineStyle, segment_object

    follower, style, is_damaged, before = Follower(), LineStyle(options.names), False, 0
    printed = count(1)
    for path in paths:
        with open_capture(path) as source:
            for chunk in source.iter_chunks():
                onward = chunk._replace(first_packet=before + chunk.first_packet)
                for number, seen in follower.follow(onward):
                    if matches is not None and not any(map(matches, _sockets_of(seen))):
                        continue
                    line = (
                        json.dumps({**segment_object(seen), "connection": number}) if options.json else style.line(seen)
                    )
                    write(line + "\n")
                    if next(printed) == options.limit:
                        return 0
            before += source.packets
            for damage in source.damage:
                is_damaged = True
                print(f"tcpscope: damaged: {damage}", file=sys.stderr)
    return 1 if is_damaged else 0


def _sockets_of(seen: CapturedSegment) -> Iterator[Socket]:
    """Both ends after a segment, as sockets for a filter."""
    from tcpscope.model.socket import Socket
    from tcpscope.model.state import State

    yield Socket("tcp", seen.source_state or State.CLOSED, seen.source, seen.destination)
    yield Socket("tcp", seen.destination_state or State.CLOSED, seen.destination, seen.source)


def _print_ladder(analysis: Analysis, paths: Sequence[str], options: Namespace) -> None:
    from tcpscope.capture import open_capture
    from tcpscope.capture.segments import iter_segments
    from tcpscope.packets.merge import find_copied
    from tcpscope.views.ladder_svg import draw_ladder_svg
    from tcpscope.views.packet_ladder import draw_packet_ladder, iter_rungs

    total = len(analysis.connections)
    if not 1 <= options.ladder <= total:
        raise UsageError(f"--ladder {options.ladder}: the capture holds connections 1 to {total}")
    connection = analysis.connections[options.ladder - 1]
    ends = (connection.client, connection.server)
    segments: list[CapturedSegment] = []
    # Why before: packets of several captures are counted on from file to file
    paths, before = _point_of(analysis, connection.first_packet, paths)
    first = before
    for path in paths:
        with open_capture(path) as source:
            segments += [
                seen._replace(number=before + seen.number)
                for seen in iter_segments(source.iter_chunks(), ends)
                if connection.start_ns <= seen.t_ns <= connection.end_ns
                and before + seen.number >= connection.first_packet
            ]
            before += source.packets
    if connection.copies:
        copied = find_copied(paths, ends)
        segments = [seen for seen in segments if seen.number - first not in copied]
    rungs = iter_rungs(connection, segments, options.names)
    if options.svg:
        write(draw_ladder_svg(str(ends[0]), str(ends[1]), rungs, connection.verdict))
    else:
        write("\n".join(draw_packet_ladder(connection, rungs)) + "\n")


def _point_of(analysis: Analysis, first_packet: int, paths: Sequence[str]) -> tuple[Sequence[str], int]:
    """Return the captures of the point where a connection was seen, and how many packets are numbered before them."""
    before = 0
    for point in analysis.sources:
        packets = sum(source.packets for source in point)
        if before < first_packet <= before + packets:
            return [source.path for source in point], before
        before += packets
    return paths, 0


def _print_states_at(analysis: Analysis, options: Namespace, matches: Matches | None) -> None:
    from tcpscope.views.state_at import end_object, iter_states_at, render_states_at, socket_at

    at_ns = parse_time(options.state_at, analysis.totals.first_ns or 0)
    ends = [end for end in iter_states_at(analysis.connections, at_ns) if matches is None or matches(socket_at(end))]
    if options.json:
        import json

        print(
            json.dumps(
                {"schema": "tcpscope.read/1", "kind": "state-at", "t_ns": at_ns, "sockets": [*map(end_object, ends)]}
            )
        )
        return
    names = "ss" if options.names == "netstat" else options.names
    write(render_states_at(ends, names, header=not options.no_header))


def parse_time(text: str, first_ns: int) -> int:
    """Read ``+SECONDS`` after the first packet, seconds since the epoch, or an ISO time. Raises ``UsageError``."""
    from datetime import datetime
    from decimal import Decimal, InvalidOperation

    try:
        seconds = Decimal(text.removeprefix("+"))
        if not seconds.is_finite():
            raise InvalidOperation
        return int(seconds * 1_000_000_000) + (first_ns if text.startswith("+") else 0)
    except InvalidOperation:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--state-at {text!r}: give +SECONDS, seconds since the epoch or 2026-01-31T12:00:00"
        ) from None
    return int(moment.timestamp() * 1_000_000) * 1000


def _export(connections: Iterable[Connection], options: Namespace) -> None:
    if options.export in ("parquet", "arrow"):
        from tcpscope.views.arrow import write_tables

        for name in write_tables(connections, options.to, options.export):
            print(name)
        return
    import time

    from tcpscope.views.zeek_log import iter_zeek_json, iter_zeek_tsv

    opened = time.strftime("%Y-%m-%d-%H-%M-%S")
    lines = iter_zeek_tsv(connections, opened) if options.export == "zeek" else iter_zeek_json(connections)
    if options.to:
        with open(options.to, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
        return
    for line in lines:
        sys.stdout.write(line + "\n")


def print_json(analysis: Analysis, refused: Sequence[Refused], rest: Mapping[str, object]) -> None:
    """Print the object of the contract piece by piece: a large capture is never one large string.

    ``rest`` are the fields of the dumps that were read with it.
    """
    import json

    from tcpscope.views.connection_object import connection_object, damage_object, finding_object

    out = sys.stdout.write
    kind = "capture and dump" if rest else "capture"
    out(f'{{"schema": "tcpscope.read/1", "kind": "{kind}", "connections": [')
    for index, connection in enumerate(analysis.connections):
        out((", " if index else "") + json.dumps(connection_object(connection)))
    totals = analysis.totals
    tail = {
        "damage": [
            *(damage_object(damage) for damage in analysis.damage), *map(refused_object, refused),
        ],
        "totals": {
            "packets": totals.packets, "segments": totals.segments, "connections": totals.connections,
            "first_ns": totals.first_ns, "last_ns": totals.last_ns, "not_tcp": totals.not_tcp,
            "fragments": totals.fragments, "cut": totals.cut, "twice": totals.twice, "copies": totals.copies,
            "translated": totals.translated, "folded": totals.folded, "engine": totals.engine,
            "state_pairs": [
                {"client_state": client.name, "server_state": server.name, "count": count}
                for (client, server), count in totals.state_pairs.items()
            ],
        },
        "findings": [finding_object(finding) for finding in analysis.findings],
        **rest,
    }  # fmt: skip
    out("], " + json.dumps(tail)[1:] + "\n")


def _print_table(analysis: Analysis, options: Namespace) -> None:
    from tcpscope.views.connection_table import choose_columns, render_connections, sort_connections

    connections: Sequence[Connection] = analysis.connections
    try:
        columns = choose_columns(options.columns)
        if options.sort:
            connections = sort_connections(connections, options.sort)
    except ValueError as error:
        raise UsageError(str(error)) from None
    limit = (_ROWS if options.limit is None else options.limit) or len(connections)
    shown = [connections[index] for index in range(min(limit, len(connections)))]
    if not options.csv and not options.no_header:
        write("\n".join(_summarize(analysis, options.names)) + "\n\n")
    write(render_connections(shown, columns, options.names, header=not options.no_header, csv=options.csv))
    left = len(connections) - len(shown)
    if left > 0:
        print(f"note: {left} more connections: --limit 0 shows all", file=sys.stderr)


def _summarize(analysis: Analysis, names: str) -> list[str]:
    from collections import Counter

    from tcpscope.doctor.wording import many
    from tcpscope.views.connection_table import draw_pairs
    from tcpscope.views.packet_line import spell_clock

    totals = analysis.totals
    if totals.first_ns is None or totals.last_ns is None:
        return ["no packets"]
    seconds = (totals.last_ns - totals.first_ns) / 1e9
    lines = [
        f"{many(totals.packets, 'packet')} in {seconds:.3f} s from {spell_clock(totals.first_ns)}, "
        f"{many(totals.segments, 'TCP segment')}, {many(totals.connections, 'connection')}"
    ]
    for count, what in (
        (totals.not_tcp, "no TCP"),
        (totals.fragments, "fragments whose rest is not here"),
        (totals.cut, "cut short"),
    ):
        if count:
            lines.append(f"not followed: {many(count, 'packet')} ({what})")
    if totals.copies:
        lines.append(
            f"counted once: {many(totals.copies, 'packet')} captured before (a mirror port, or several interfaces), "
            "no retransmissions"
        )
    if totals.translated:
        lines.append(
            f"counted twice: {many(totals.translated, 'connection')}, as it seems, before and after NAT "
            "(-o +notes tells which)"
        )
    if totals.folded:
        lines.append(f"only counted: {many(totals.folded, 'connection')} (SYNs without an answer: a flood)")
    if totals.twice:
        lines.append(
            f"{len(analysis.sources)} points of capture: {many(totals.twice, 'connection')} seen at two, counted once "
            "(-o +notes tells what was lost between)"
        )
    verdicts: dict[tuple[State, State], Counter[str]] = {}
    for connection in analysis.connections.examples():
        pair = (connection.client_state, connection.server_state)
        verdicts.setdefault(pair, Counter())[connection.verdict] += 1
    lines += ["", "    count  client is   server is    verdict", *draw_pairs(totals.state_pairs, verdicts, names)]
    for finding in analysis.findings:
        lines.append(f"{finding.severity.name:<8} {finding.title}  [{finding.id}]")
    return lines
