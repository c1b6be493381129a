"""``tcpscope trace``: every transition the kernel makes, as it happens."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator

from tcpscope.cli.ending import Ending
from tcpscope.cli.parsing import add_color_option, add_names_option, add_namespace_options, new_parser, number_between
from tcpscope.cli.streams import is_coloured, write
from tcpscope.live.trace import Feed, open_trace
from tcpscope.model.errors import UsageError
from tcpscope.model.socket import Age, Socket
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

EPILOG = """examples:
  tcpscope trace                         this namespace, one line per transition
  tcpscope trace sport = :443            one service (FILTER as for list: state, ports, hosts, comm, pid ...)
  tcpscope trace state close-wait        what enters or leaves CLOSE_WAIT
  tcpscope trace --count 20 --json | jq .
  tcpscope trace --ladder dport = :5432  the next connection, both ends side by side
  tcpscope trace --summary --duration 60 how often each move was made
  tcpscope trace --all-namespaces        the whole host, containers included

marks: ~ a named way in which Linux differs from RFC 9293, ! neither RFC 9293 nor a known difference,
       ? not seen but inferred. The first line names the tier (A: BPF, B: perf, C: polling) and why not a better one.
"""
_MANY = 20_000  #: records whose telling takes long enough to wonder about
_SLICE_S = 0.2  #: so long after a signal the run still waits


Matcher = Callable[[Transition], bool]


def run(argv: list[str]) -> int:
    """Run ``tcpscope trace``."""
    arguments = _parse(argv)
    matches = _matcher(arguments.filter)
    gc.set_threshold(
        100_000
    )  # Why: bursts of transitions are young and without cycles; looking through them is in vain
    with _open(arguments) as feed, Ending() as ending:
        if arguments.summary:
            return _run_summary(feed, arguments, matches, ending)
        if arguments.ladder:
            return _run_ladder(feed, arguments, matches, ending)
        return _run_lines(feed, arguments, matches, ending)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = new_parser("trace", "Show every TCP transition the kernel makes, as it happens.", EPILOG)
    add = parser.add_argument
    add("filter", nargs="*", metavar="FILTER", help="only what concerns such sockets, before or after the move")
    add("--count", type=_positive_int, metavar="N", help="stop after N transitions")
    add("--duration", type=_positive_float, metavar="S", help="stop after S seconds")
    add("--json", action="store_true", help="one JSON object per line; the tier is named on stderr")
    add("--summary", action="store_true", help="count moves instead of printing them (cheapest; with --duration)")
    add("--ladder", action="store_true", help="one connection, both ends side by side")
    add("--retransmits", action="store_true", help="retransmissions too (moves that keep their state)")
    add_namespace_options(parser)
    add("--tier", choices=("A", "B", "C"), help="this tier or none (default: the best that works)")
    add_names_option(parser)
    add_color_option(parser)
    add("-H", "--no-header", action="store_true", help="no header; the tier is named on stderr")
    return parser.parse_args(argv)


def _positive_int(text: str) -> int:
    return int(number_between(text, 1, 1e15, "a number from 1"))


def _positive_float(text: str) -> float:
    return number_between(text, 1e-3, 1e9, "seconds above 0")


def _open(arguments: argparse.Namespace) -> Feed:
    if arguments.summary and arguments.ladder:
        raise UsageError("--summary counts, --ladder draws one connection: choose one")
    return open_trace(
        arguments.netns,
        all_namespaces=arguments.all_namespaces,
        details=arguments.retransmits and not arguments.summary,
        tier=arguments.tier,
    )


# which transitions


def _matcher(words: list[str]) -> Matcher | None:
    """The one place where FILTER meets transitions: a socket as it was before, or as it is after, must match."""
    if not words:
        return None
    from tcpscope.cli.filtering import read_selection

    selection = read_selection(words)
    if selection is None:
        return None
    matches = selection.matches
    return lambda move: matches(socket_of(move, move.after)) or matches(socket_of(move, move.before))


def socket_of(move: Transition, state: State) -> Socket:
    """Return a socket word with what a transition tells of it, for predicates."""
    known = move.in_state_ns is not None
    return Socket(
        proto="tcp",
        state=state,
        local=move.flow.local,
        remote=move.flow.remote,
        owners=(move.by,) if move.by else (),
        netns=move.netns,
        age=Age((move.in_state_ns or 0) // 1_000_000, "exact" if known else "unknown"),
    )


def _iter_moves(
    feed: Feed, arguments: argparse.Namespace, matches: Matcher | None, ending: Ending
) -> Iterator[list[Transition]]:
    """Iterate over the batches of what is wanted; an empty one now and then, to look around."""
    left = arguments.count
    for moves in _iter_batches(feed, arguments, ending):
        if matches is not None:
            moves = [move for move in moves if matches(move)]
        if left is not None:
            moves = moves[:left]
            left -= len(moves)
        yield moves
        if left == 0:
            return


def _iter_batches(feed: Feed, arguments: argparse.Namespace, ending: Ending) -> Iterator[list[Transition]]:
    """Iterate until time or a signal ends it, and then over what was recorded before that and is not told yet."""
    deadline = float("inf") if arguments.duration is None else time.monotonic() + arguments.duration
    while not ending.signal and (wait_s := min(_SLICE_S, deadline - time.monotonic())) > 0:
        yield feed.read_transitions(wait_s)
    feed.stop()
    if (unread := feed.read_unread()) > _MANY and sys.stderr.isatty():
        print(f"# {unread} records from before the end are still told; Ctrl-C ends at once", file=sys.stderr)
    yield from feed.iter_rest()


# lines


def _run_lines(feed: Feed, arguments: argparse.Namespace, matches: Matcher | None, ending: Ending) -> int:
    spell = _speller(arguments)
    _announce(feed, arguments)
    total = lost = 0
    started = time.monotonic()
    for moves in _iter_moves(feed, arguments, matches, ending):
        if moves:
            write(spell(moves))
            total += len(moves)
        lost = _tell_loss(feed, arguments, lost)
        sys.stdout.flush()
    lost = _tell_loss(feed, arguments, lost)
    return _finish(feed, arguments, total, time.monotonic() - started, ending)


def _speller(arguments: argparse.Namespace) -> Callable[[list[Transition]], str]:
    """Return what makes lines of moves."""
    if arguments.json:
        from tcpscope.views.transition_json import TransitionLines

        return TransitionLines().spell
    from tcpscope.views.transitions import TransitionStyle, TransitionTable

    style = TransitionStyle(arguments.names, arguments.all_namespaces, is_coloured(arguments.color))
    return TransitionTable(style).spell


def _announce(feed: Feed, arguments: argparse.Namespace) -> None:
    """Name the tier, why it and not a better one, and what it does not see; not between JSON's lines."""
    where = "all namespaces" if feed.netns is None else f"namespace net:[{feed.netns}]"
    if feed.netns is not None and not feed.tells_namespaces:
        where = "all namespaces (this tier cannot tell them apart)"
    is_apart = arguments.no_header or arguments.json
    stream = sys.stderr if is_apart else sys.stdout
    print(f"# tier {feed.tier}: {feed.reason}; {where}", file=stream)
    for clause in feed.missing:
        print(f"# not seen: {clause}", file=stream)
    if not is_apart and not arguments.ladder and not arguments.summary:
        from tcpscope.views.transitions import TransitionStyle, header_line

        print(header_line(TransitionStyle(arguments.names, arguments.all_namespaces)))
    stream.flush()
    sys.stdout.flush()


def _tell_loss(feed: Feed, arguments: argparse.Namespace, told: int) -> int:
    """Tell what was lost since the last time; return the total."""
    lost = feed.read_lost()
    if lost > told:
        text = f"# lost {lost - told} {feed.lost_are}: counts are low"
        print(f'{{"lost":{lost - told}}}' if arguments.json else text)
    return lost


def _finish(feed: Feed, arguments: argparse.Namespace, total: int, seconds: float, ending: Ending) -> int:
    """Sum up; what still waits in the ring when the run ends is not hidden either."""
    told_all = arguments.ladder or not (ending.signal or arguments.duration is not None)
    unread = 0 if told_all else feed.read_unread()
    untold = feed.read_untold()
    if arguments.json:
        rest = "".join(f',"{name}":{number}' for name, number in (("unread", unread), ("untold", untold)) if number)
        if rest:
            print(f'{{"lost":0{rest}}}')
        sys.stdout.flush()
    else:
        sys.stdout.flush()
        rest = f", {unread} not read in time" if unread else ""
        rest += f"; at least {untold} more that no record told" if untold else ""
        print(f"# {_told(total, seconds, feed.read_lost())}{rest}", file=sys.stderr)
    return ending.exit_code(_is_endless(arguments))


def _told(total: int, seconds: float, lost: int) -> str:
    return f"{total} transition{'s' * (total != 1)} in {seconds:.1f} s, {lost} lost"


def _is_endless(arguments: argparse.Namespace) -> bool:
    return arguments.count is None and arguments.duration is None


# counts


def _run_summary(feed: Feed, arguments: argparse.Namespace, matches: Matcher | None, ending: Ending) -> int:
    _announce(feed, arguments)
    counts: dict[tuple[State, State], int] = {}
    started = time.monotonic()
    if matches is None and arguments.count is None:
        _count_all(feed, arguments, ending)
        feed.stop()
        counts = feed.read_counts()
    else:
        for moves in _iter_moves(feed, arguments, matches, ending):
            for move in moves:
                counts[move.before, move.after] = counts.get((move.before, move.after), 0) + 1
    _print_counts(counts, arguments, feed, time.monotonic() - started)
    return ending.exit_code(_is_endless(arguments))


def _count_all(feed: Feed, arguments: argparse.Namespace, ending: Ending) -> None:
    deadline = float("inf") if arguments.duration is None else time.monotonic() + arguments.duration
    while not ending.signal and (left := deadline - time.monotonic()) > 0:
        feed.count_transitions(min(_SLICE_S, left))


def _print_counts(
    counts: dict[tuple[State, State], int], arguments: argparse.Namespace, feed: Feed, seconds: float
) -> None:
    total, lost = sum(counts.values()), feed.read_lost()
    if arguments.json:
        import json

        rows = [{"before": pair[0].name, "after": pair[1].name, "count": count} for pair, count in counts.items()]
        told = {
            "schema": "tcpscope.trace/1",
            "tier": feed.tier,
            "reason": feed.reason,
            "missing": list(feed.missing),
            "netns": feed.netns if feed.tells_namespaces else None,
            "counts": rows,
            "transitions": total,
            "lost": lost,
            "seconds": seconds,
        }
        print(json.dumps(told))
        return
    from tcpscope.machine.lifecycle import LIFE_ORDER
    from tcpscope.views.transitions import render_counts

    write(render_counts(counts, arguments.names, LIFE_ORDER))
    sys.stdout.flush()
    print(f"# {_told(total, seconds, lost)}", file=sys.stderr)


# ladder


def _run_ladder(feed: Feed, arguments: argparse.Namespace, matches: Matcher | None, ending: Ending) -> int:
    from tcpscope.views.ladder import draw_head, draw_rungs
    from tcpscope.views.transition_ladder import Ladder

    _announce(feed, arguments)
    ladder: Ladder | None = None
    spell = _speller(arguments)
    total = 0
    started = time.monotonic()
    count, arguments.count = arguments.count, None  # here it counts rungs
    for moves in _iter_moves(feed, arguments, None, ending):
        for move in moves:
            if ladder is None and _begins_ladder(move, matches):
                ladder = Ladder(move, arguments.names)
                if not arguments.json:
                    write("\n".join(draw_head(str(ladder.left), str(ladder.right))) + "\n")
            if ladder is not None and ladder.takes(move.flow):
                total += 1
                rung = ladder.rung(move)
                write(spell([move]) if arguments.json else "\n".join(draw_rungs([rung])) + "\n")
        sys.stdout.flush()
        if ladder is not None and (ladder.is_over or (count is not None and total >= count)):
            break
    if ladder is None:
        print("# no connection began", file=sys.stderr)
    return _finish(feed, arguments, total, time.monotonic() - started, ending)


def _begins_ladder(move: Transition, matches: Matcher | None) -> bool:
    """A new connection: its opener's SYN, or the SYN that came from elsewhere."""
    opens = move.after is State.SYN_SENT or (move.before is State.LISTEN and move.after is State.SYN_RECEIVED)
    if not (opens and move.flow.local.port and move.flow.remote.port):
        return False
    if matches is None:
        return True
    return matches(move) or matches(move._replace(flow=move.flow.reversed, by=None))
