"""Words to expression: the grammar of ``ss`` (iproute2), extended.

::

    filter     = { ("state" | "exclude") STATE } [ ["and" | "or"] list ]
    list       = term { ["and" | "or"] term }            left to right, no precedence (see below)
    term       = "not" term | "(" list ")" | predicate
    predicate  = ("src" | "dst") ["=" | "!="] HOST | ("sport" | "dport") [OP] PORT | "dev" [OP] DEVICE
               | "fwmark" [OP] MARK["/"MASK] | "cgroup" [OP] PATH | "autobound" | "state" STATE
               | ("pid" | "uid" | "netns" | "recv-q" | "send-q" | "age" | "rtt" | "comm") [OP] VALUE
               | ":" PORT | "port" [OP] PORT | "host" ["=" | "!="] HOST       either end

``and`` and ``or`` bind equally and from the left: ``a or b and c`` is ``(a or b) and c``. The manual of ss says
otherwise, its grammar does this, and what counts here is to select what ss selects (measured with iproute2 6.1).
``and`` may be left out. Every operator has the aliases of ss (``= == eq``, ``!= ne neq``, ``& && and`` ...).
Differences, all of them things ss refuses: parentheses and operators need no spaces around them, ``:443`` and
``port 443`` mean either end, a state may stand anywhere (also before ``and`` and ``or``), states are read in the
spelling of every tool, names may be quoted (``comm "tmux: server"``).

Names (services, hosts, devices, users) are looked up through :class:`Names`; this room does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tcpscope.filters import expression as ex
from tcpscope.filters.tokens import AND_WORDS, NOT_WORDS, OPERATORS, OR_WORDS, Token, split_tokens
from tcpscope.filters.values import (
    BYTES,
    NANOSECONDS,
    below_cgroup_root,
    is_bare_address,
    parse_address,
    parse_number,
    parse_prefix_bits,
    parse_scaled,
    split_bare_port,
    split_family,
    split_port,
)
from tcpscope.model.errors import UsageError
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State

QUANTITIES = ("pid", "uid", "netns", "age", "rtt", "recv-q", "send-q")
_ALIASES = {
    "recvq": "recv-q",
    "sendq": "send-q",
    "rq": "recv-q",
    "sq": "send-q",
    "src-port": "sport",
    "excl": "exclude",
}
PREDICATES = (
    "src",
    "dst",
    "sport",
    "dport",
    "host",
    "port",
    "dev",
    "fwmark",
    "cgroup",
    "autobound",
    "state",
    "comm",
    *QUANTITIES,
)

_ALL, _NONE = frozenset(State), frozenset[State]()
#: Groups of states that ss knows by name.
STATE_GROUPS: dict[str, frozenset[State]] = {
    "all": _ALL,
    "connected": _ALL - {State.CLOSED, State.LISTEN},
    "synchronized": _ALL - {State.CLOSED, State.LISTEN, State.SYN_SENT},
    "bucket": frozenset((State.SYN_RECEIVED, State.TIME_WAIT)),
    "big": _ALL - {State.SYN_RECEIVED, State.TIME_WAIT},
}


class Names(NamedTuple):
    """How names become numbers; each takes a name and returns ``None`` when there is none."""

    port: Callable[[str], int | None] = lambda name: None
    addresses: Callable[[str], Sequence[str]] = lambda name: ()
    device: Callable[[str], int | None] = lambda name: None
    user: Callable[[str], int | None] = lambda name: None
    netns: Callable[[str], int | None] = lambda name: None
    ephemeral_ports: tuple[int, int] = (32768, 60999)


#: Numbers only: what a caller without a system to ask passes.
NO_NAMES = Names()


def parse_filter(words: Sequence[str] | str, names: Names = NO_NAMES) -> ex.Filter:
    """Parse a filter as given on a command line. Raises ``UsageError`` that points at the bad word."""
    text = words if isinstance(words, str) else " ".join(words)
    text = "".join(" " if char.isspace() else char for char in text)  # Why: a mark under the text needs one line
    return _Parser(text, names).parse()


def parse_state_group(text: str) -> frozenset[State]:
    """Read a state in any spelling or a group of ss (``all connected synchronized bucket big``)."""
    group = STATE_GROUPS.get(text.lower())
    if group is not None:
        return group
    if text.lower() in ("unconnected", "unconn"):
        return frozenset((State.CLOSED,))
    if text.lower() == "syn-rcv":
        return frozenset((State.SYN_RECEIVED,))
    return frozenset((State.parse(text),))


def _is_required(term: ex.Expression, found: ex.Expression) -> bool:
    """Whether nothing matches ``found`` that does not match ``term``, its first term."""
    while isinstance(found, ex.And):
        found = found.left
    return found is term


class _Parser:
    def __init__(self, text: str, names: Names) -> None:
        self.text = text
        self.names = names
        self.tokens = split_tokens(text)
        self.at = 0
        self.named = _NONE

    def parse(self) -> ex.Filter:
        states = self._leading_states()
        if states is not None and self._word() in (*AND_WORDS, *OR_WORDS):
            first = ex.InStates(states)
            found = self._list(first)
            # Why None: 'state listening or ..' names more than listeners, and kill closes those only when told to.
            is_required = _is_required(first, found)
            return self._end(ex.Filter(states if is_required else None, found, self.named if is_required else _NONE))
        return self._end(ex.Filter(states, self._list() if self._peek() else None, self.named))

    def _end(self, found: ex.Filter) -> ex.Filter:
        rest = self._peek()
        if rest is not None:
            raise self._error(rest, f"{rest.text!r} is not expected here")
        return found

    # words ------------------------------------------------------------------------------------------------------

    def _peek(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _word(self) -> str:
        token = self._peek()
        if token is None:
            return ""
        word = token.text.lower()
        return _ALIASES.get(word, word)

    def _take(self, wanted: str) -> Token:
        token = self._peek()
        if token is None or token.text in ("(", ")"):
            raise self._error(token, f"{wanted} is missing")
        self.at += 1
        return token

    def _error(self, token: Token | None, why: str) -> UsageError:
        start = token.start if token else len(self.text)
        length = len(token.text) if token else 1
        return UsageError(f"bad filter: {why}\n  {self.text}\n  {' ' * start}{'^' * max(length, 1)}")

    # grammar ----------------------------------------------------------------------------------------------------

    def _leading_states(self) -> frozenset[State] | None:
        states: frozenset[State] | None = None
        while self._word() in ("state", "exclude"):
            adds = self._word() == "state"
            self.at += 1
            group = self._states()
            self.named = self.named | group if adds and len(group) == 1 else self.named - (_NONE if adds else group)
            states = (states or frozenset()) | group if adds else (_ALL if states is None else states) - group
        return states

    def _states(self) -> frozenset[State]:
        token = self._take("the name of a state")
        try:
            return parse_state_group(token.text)
        except ValueError:
            known = " ".join([*(state.spell("ss").lower() for state in State), *STATE_GROUPS])
            raise self._error(token, f"{token.text!r} is no state; known: {known}") from None

    def _list(self, first: ex.Expression | None = None) -> ex.Expression:
        found = first or self._term()
        while self._peek() is not None and self._word() != ")":
            word = self._word()
            if word in (*AND_WORDS, *OR_WORDS):
                self.at += 1
            right = self._term()
            found = ex.Or(found, right) if word in OR_WORDS else ex.And(found, right)
        return found

    def _term(self) -> ex.Expression:
        """Read one term. Iterative in its ``not``s, recursive only in parentheses (depth is bounded)."""
        negated = False
        while self._word() in NOT_WORDS:
            negated = not negated
            self.at += 1
        found = self._group() if self._word() == "(" else self._predicate()
        return ex.Not(found) if negated else found

    def _group(self) -> ex.Expression:
        opening = self._peek()
        if self.text.count("(") > 100:
            raise self._error(opening, "more than 100 parentheses")
        self.at += 1
        if self._peek() is None or self._word() == ")":
            raise self._error(self._peek(), "an expression is missing")
        found = self._list()
        if self._word() != ")":
            raise self._error(opening, "this parenthesis is never closed")
        self.at += 1
        return found

    def _predicate(self) -> ex.Expression:
        token = self._take("a predicate")
        word = _ALIASES.get(token.text.lower(), token.text.lower())
        if word in ("src", "dst"):
            is_negated = self._operator(token, ("=", "!=")) == "!="
            found = self._host(word)
            return ex.Not(found) if is_negated else found
        if word in ("sport", "dport"):
            return self._port(token, ex.LOCAL if word == "sport" else ex.REMOTE)
        if word == "port":
            return self._either_port(token)
        if word == "host":
            return self._either_host(token)
        if word == "autobound":
            return ex.Autobound(*self.names.ephemeral_ports)
        if word == "state":
            return ex.InStates(self._states())
        if word == "exclude":
            return ex.Not(ex.InStates(self._states()))
        if word in ("dev", "fwmark", "cgroup"):
            return self._labelled(token, word)
        if word == "comm":
            return ex.Command(self._operator(token, ("=", "!=")), _unquoted(self._take("a program name").text))
        if word in QUANTITIES:
            return self._quantity(token, word)
        if word.startswith(":") and len(word) > 1:
            port = self._port_number(token, token.text[1:])
            return ex.Or(ex.Port(ex.LOCAL, "=", port), ex.Port(ex.REMOTE, "=", port))
        raise self._error(token, f"{token.text!r} is no predicate{_hint(token.text)}")

    def _operator(self, subject: Token, allowed: Sequence[str]) -> str:
        word = self._word()
        if word not in OPERATORS:
            return "="
        operator = OPERATORS[word]
        if operator not in allowed:
            raise self._error(self._peek(), f"{subject.text!r} takes only {' '.join(allowed)}")
        self.at += 1
        return operator

    def _port(self, subject: Token, side: str) -> ex.Expression:
        operator = self._operator(subject, tuple(dict.fromkeys(OPERATORS.values())))
        token = self._take("a port")
        family, text = split_family(token.text)
        text = text.removeprefix("*:") or "*"
        if text.lstrip(":") == "*":
            if operator not in ("=", "!="):
                raise self._error(token, f"{operator} needs a port; * is any")
            any_port = _with_family(family, ex.Host(side))
            return any_port if operator == "=" else ex.Not(any_port)
        return _with_family(family, ex.Port(side, operator, self._port_number(token, text.removeprefix(":"))))

    def _either_port(self, subject: Token) -> ex.Expression:
        """``port 443`` as tcpdump has it: at either end; ``port != 443``: at none."""
        at = self.at
        local = self._port(subject, ex.LOCAL)
        is_negated = self.tokens[at].text.lower() in OPERATORS and OPERATORS[self.tokens[at].text.lower()] == "!="
        self.at = at
        remote = self._port(subject, ex.REMOTE)
        return ex.And(local, remote) if is_negated else ex.Or(local, remote)

    def _either_host(self, subject: Token) -> ex.Expression:
        """``host 10.0.0.7``: at either end; ``host != 10.0.0.7``: at none."""
        is_negated = self._operator(subject, ("=", "!=")) == "!="
        at = self.at
        local = self._host(ex.LOCAL)
        self.at = at
        found = ex.Or(local, self._host(ex.REMOTE))
        return ex.Not(found) if is_negated else found

    def _port_number(self, token: Token, text: str) -> int:
        number = parse_number(text)
        if number is None:
            number = self.names.port(text)
        if number is None or not 0 <= number <= 65535:
            raise self._error(token, f"{text!r} does not look like a port")
        return number

    def _host(self, side: str) -> ex.Expression:
        token = self._take("an address")
        family, text = split_family(token.text)
        split = split_bare_port(text)
        if split is None:
            return self._endpoint(token, side, family, *split_port(text))
        found = self._endpoint(token, side, family, *split)
        # Why both: ::1:22 is also the address 0:0:0:0:0:0:1:22, and what it means only its writer knows
        return ex.Or(found, self._endpoint(token, side, family, text, "")) if is_bare_address(text) else found

    def _endpoint(self, token: Token, side: str, family: int, address: str, port_text: str) -> ex.Expression:
        port = None if port_text in ("", "*") else self._port_number(token, port_text)
        if address in ("", "*", "any", "all", "default"):
            return _with_family(family, ex.Host(side, port=port))
        return _with_family(family, self._network(token, side, address, port, family))

    def _network(self, token: Token, side: str, address: str, port: int | None, family: int) -> ex.Expression:
        whole, slash, bits_text = address.partition("/")
        host, _, zone = whole.partition("%")
        found = self._network_of(token, side, host, bits_text if slash else None, port, family)
        return ex.And(found, ex.Device(self._device_index(token, zone))) if zone else found

    def _network_of(
        self, token: Token, side: str, host: str, bits_text: str | None, port: int | None, family: int
    ) -> ex.Host:
        networks = [packed] if (packed := parse_address(host)) else self._resolved(token, host, family)
        size = len(networks[0])
        bits = size * 8 if bits_text is None else parse_prefix_bits(bits_text)
        if bits is None or not 0 <= bits <= size * 8:
            raise self._error(token, f"{bits_text!r} is no prefix length of this address (0 to {size * 8})")
        kind = 4 if size == 4 else 6
        return ex.Host(side, kind, networks[0], bits, port, tuple(networks[1:]))

    def _resolved(self, token: Token, host: str, family: int) -> list[bytes]:
        packed = [found for text in self.names.addresses(host) if (found := parse_address(text))]
        size = 16 if family == 6 else 4
        chosen = [one for one in packed if len(one) == size] or ([] if family else packed)
        if not chosen:
            raise self._error(token, f"{host!r} is neither an address nor the name of a host")
        return [one for one in chosen if len(one) == len(chosen[0])]

    def _labelled(self, subject: Token, word: str) -> ex.Expression:
        operator = self._operator(subject, ("=", "!="))
        token = self._take({"dev": "a device", "fwmark": "a mark", "cgroup": "a path"}[word])
        found: ex.Expression
        if word == "dev":
            found = ex.Device(self._device_index(token, token.text))
        elif word == "fwmark":
            value_text, _, mask_text = token.text.partition("/")
            value, mask = parse_number(value_text), parse_number(mask_text or "0xffffffff")
            if value is None or mask is None:
                raise self._error(token, f"{token.text!r} is no mark (MARK or MARK/MASK, decimal or 0x...)")
            found = ex.Mark(value, mask)
        else:
            found = ex.Cgroup("/" + below_cgroup_root(_unquoted(token.text)).strip("/"))
        return ex.Not(found) if operator == "!=" else found

    def _device_index(self, token: Token, name: str) -> int:
        index = parse_number(name)
        index = self.names.device(name) if index is None else index
        if index is None:
            raise self._error(token, f"there is no device {name!r}")
        return index

    def _quantity(self, subject: Token, field: str) -> ex.Expression:
        operator = self._operator(subject, tuple(dict.fromkeys(OPERATORS.values())))
        token = self._take("a value")
        value = self._value(field, token.text)
        if value is None:
            example = {"age": "10m, 90s", "rtt": "50ms, 200us", "uid": "0, root", "netns": "a name, 4026531840"}
            raise self._error(token, f"{token.text!r} is no {field} (such as {example.get(field, '1000')})")
        return ex.Quantity(field, operator, value)

    def _value(self, field: str, text: str) -> int | None:
        if field in ("age", "rtt"):
            return parse_scaled(text, NANOSECONDS)
        if field in ("recv-q", "send-q"):
            return parse_scaled(text, BYTES)
        number = parse_number(text)
        if number is None and field == "uid":
            return self.names.user(text)
        if number is None and field == "netns":
            return self.names.netns(text)
        return number


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in "\"'" and text[0] == text[-1] else text


def _is_state(word: str) -> bool:
    try:
        return bool(parse_state_group(word))
    except ValueError:
        return False


def _hint(text: str) -> str:
    import difflib

    word, address = text.lower(), split_port(text)[0].partition("/")[0].partition("%")[0]
    if ("." in address and parse_address(address)) or address.count(":") > 1:
        return f"; an address needs src, dst or host before it: host {text}"
    if _is_state(word):
        return f"; a state needs 'state' before it: state {word}"
    near = difflib.get_close_matches(word, PREDICATES, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {' '.join(PREDICATES)}"


def _with_family(family: int, found: ex.Expression) -> ex.Expression:
    return ex.And(ex.Family(family), found) if family else found
