"""The flags of ``list``, defined once: a parser of short clusters for the quick path, argparse for everything else.

Why two parsers: argparse costs more than the listing itself; ``-tanp`` does not need it. Both read :data:`SWITCHES`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_LISTEN, _EVERY, _BOUND = 1 << 10, 0xFFF, 1 << 13
_CONNECTED = _EVERY & ~_LISTEN

#: Letter -> (attribute of :class:`Options`, long option, help). Without arguments, so that they form clusters.
SWITCHES: dict[str, tuple[str, str, str]] = {
    "t": ("tcp", "--tcp", "TCP sockets (without -t and -u: both)"),
    "u": ("udp", "--udp", "UDP sockets"),
    "l": ("listening", "--listening", "listening sockets only"),
    "a": ("all", "--all", "listening and connected ones"),
    "n": ("numeric", "--numeric", "numbers instead of names (this is the default; taken for habit)"),
    "r": ("resolve", "--resolve", "names of hosts, ports and users (asks the resolver; slow)"),
    "p": ("programs", "--programs", "all processes that hold each socket"),
    "i": ("info", "--info", "tcp_info: round-trip time, window, retransmissions, bytes"),
    "e": ("extend", "--extend", "user, inode, cookie, timer, age, control group, memory"),
    "B": ("bound", "--bound", "also sockets that were bound and neither listen nor connect (Linux 6.8)"),
    "W": ("wide", "--wide", "taken for habit: nothing is ever cut"),
    "4": ("ipv4", "--ipv4", "IPv4 only"),
    "6": ("ipv6", "--ipv6", "IPv6 only"),
    "H": ("no_header", "--no-header", "no header line"),
}

#: What people look for under letters that ss, netstat and lsof have and ``list`` has not.
ELSEWHERE = {
    "s": "totals and rates: tcpscope stats; counts per state: tcpscope states",
    "K": "closing sockets: tcpscope kill FILTER",
    "E": "what happens from now on: tcpscope trace",
    "N": "another namespace: --netns NAME",
    "m": "socket memory is shown by -e",
    "x": "unix sockets are not listed",
    "w": "raw sockets are not listed",
    "M": "MPTCP sockets are not listed, their TCP subflows are",
    "O": "detail lines follow their socket; for one line each: --csv or --json",
}

_TIMERS = "--columns=+timer"
#: Long options of ss and netstat -> the same here.
_OF_OTHERS = {
    "--processes": "--programs",
    "--program": "--programs",
    "--extended": "--extend",
    "--memory": "--extend",
    "--options": _TIMERS,
    "--timers": _TIMERS,
    "--continuous": "--watch=1",
}
#: Words a filter begins with, as far as they are no lists of columns.
_FILTER_WORDS = frozenset(("state", "exclude", "src", "dst", "sport", "dport", "host", "port", "not", "pid", "comm"))

EPILOG = """examples:
  tcpscope list -tanp                        every TCP socket with its program, as netstat -tanp
  tcpscope -tulpn                            who listens ('list' may be left out before short flags)
  tcpscope list -tan --sort -recv-q -o +age  the fullest receive queues first, with the time in the state
  tcpscope list -tanpie --json | jq .        everything the kernel tells
  tcpscope list -tan --netns web --watch 1   another network namespace, again and again
  tcpscope list -tnp state close-wait        in one state
  tcpscope list -tn 'dport = :443 and rtt > 50ms'

FILTER is an expression as ss understands it: state time-wait, exclude listening, sport = :443, dst 10.0.0.0/8,
src [::1]:22, not, and, or, parentheses, autobound; besides: pid comm uid netns age rtt recv-q send-q (age > 10m,
rtt > 50ms, recv-q > 0, comm nginx, uid root); for either end :443 or port 443, and host 10.0.0.7.

Without -a, -l and states in FILTER connected sockets are listed, as netstat does. Addresses and ports stay numbers
unless -r is given.
"""


class Options:
    """What was asked for; the class holds the defaults."""

    tcp = udp = listening = all = numeric = resolve = programs = info = extend = bound = wide = False
    ipv4 = ipv6 = no_header = json = csv = all_namespaces = False
    columns: str | None = None
    sort: str | None = None
    watch: float | None = None
    names = "netstat"
    color = "auto"
    netns: str | None = None
    filter: list[str] = []

    @property
    def needs_words(self) -> bool:
        """Whether more is asked for than netstat's table of this namespace."""
        special = self.info or self.extend or self.json or self.csv or self.resolve or self.all_namespaces
        chosen = self.columns or self.sort or self.filter or self.watch is not None
        return bool(special or chosen or self.names != "netstat" or self.netns)


def parse_options(argv: list[str]) -> Options:
    """Parse a command line of ``list``; argparse is asked as soon as there is more than clusters of switches."""
    return parse_clusters(argv) or _parse_all(argv)


def parse_clusters(argv: list[str]) -> Options | None:
    """Parse ``-tan -p`` and the like; ``None`` when there is anything else, a mistake included."""
    options = Options()
    for word in argv:
        if len(word) < 2 or word[0] != "-":
            return None
        for letter in word[1:]:
            if letter not in SWITCHES:
                return None
            setattr(options, SWITCHES[letter][0], True)
    return options


def add_switches(parser: argparse.ArgumentParser, letters: str = "") -> None:
    """Add the switches (or those of ``letters``) to an argparse parser."""
    for letter, (attribute, long, text) in SWITCHES.items():
        if not letters or letter in letters:
            parser.add_argument(f"-{letter}", long, dest=attribute, action="store_true", help=text)


def _parse_all(argv: list[str]) -> Options:
    from tcpscope.cli.parsing import add_output_options, join_values, new_parser

    argv = join_values(_speak_list(argv))
    _check_letters(argv)
    parser = new_parser("list", "List sockets as netstat, ss and lsof do.", EPILOG)
    add_switches(parser)
    add_output_options(parser)
    parser.add_argument("filter", nargs="*", metavar="FILTER", help="an expression as ss understands it")
    options = Options()
    vars(options).update(vars(parser.parse_intermixed_args(argv)))
    check_output_options(options)
    return options


def _speak_list(argv: list[str]) -> list[str]:
    """Say in the options of ``list`` what ss and netstat say otherwise: ``-tanop``, ``-o state time-wait``, long names.

    ``-o`` of ss and netstat takes no value and shows the timers; here a value names columns. Where the value is no
    list of columns, theirs is meant.
    """
    spoken: list[str] = []
    for at, word in enumerate(argv):
        if word == "--":
            return spoken + argv[at:]
        cluster, has_o, rest = word[1:].partition("o")
        if word[:1] != "-" or word[:2] == "--" or not has_o or not all(letter in SWITCHES for letter in cluster):
            spoken.append(_OF_OTHERS.get(word, word))
        elif rest and all(letter in SWITCHES for letter in rest) and rest != "rtt":
            spoken += [f"-{cluster}{rest}", _TIMERS]
        elif not rest and is_filter(argv[at + 1 : at + 3]):
            spoken += [f"-{cluster}"] * bool(cluster) + [_TIMERS]
        else:
            spoken.append(word)
    return spoken


def is_filter(words: list[str]) -> bool:
    """Whether a filter begins here; ``state`` and ``pid`` are columns too, but those stand alone."""
    first = words[0].lower() if words else ""
    is_followed = len(words) > 1 and words[1][:1] != "-"
    return first[:1] in ("(", "!", ":") or " " in first or (first in _FILTER_WORDS and is_followed)


def _check_letters(argv: list[str]) -> None:
    """Name the unknown letter of a cluster; argparse would blame the letter before it."""
    for word in argv:
        if word == "--":
            return
        if word[:1] != "-" or word[:2] == "--":
            continue
        for letter in word[1:].partition("o")[0]:
            if letter not in SWITCHES and letter not in "hc":
                from tcpscope.model.errors import UsageError

                hint = ELSEWHERE.get(letter, "see tcpscope list --help")
                raise UsageError(f"list: unknown flag -{letter} in {word!r} ({hint})")


def check_output_options(options: Options) -> None:
    """Refuse what contradicts itself. Raises :class:`~tcpscope.model.errors.UsageError`."""
    from tcpscope.model.errors import UsageError

    if options.json and options.csv:
        raise UsageError("--json and --csv exclude each other")
    if options.netns and options.all_namespaces:
        raise UsageError("--netns and --all-namespaces exclude each other")
    if options.watch is not None and not 0.05 <= options.watch <= 86_400:
        raise UsageError(f"--watch {options.watch:g}: between 0.05 and 86400 seconds")


def select(options: Options) -> tuple[int, int, int]:
    """Turn the switches into what to ask the kernel for: masks of states for TCP and UDP (0: leave out), family.

    As netstat: without ``-a`` connected sockets only, with ``-l`` listening (UDP: unconnected) ones only.
    """
    both = options.tcp == options.udp
    if options.all:
        tcp, udp = _EVERY, _EVERY
    elif options.listening:
        tcp, udp = _LISTEN, 1 << 7
    else:
        tcp, udp = _CONNECTED, 1 << 1
    family = 0 if options.ipv4 == options.ipv6 else 2 if options.ipv4 else 10
    bound = _BOUND if options.bound else 0
    return tcp | bound if options.tcp or both else 0, udp if options.udp or both else 0, family
