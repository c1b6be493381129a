"""Words to expression: the grammar of ``ss`` (iproute2), extended.

::

    filter     = { ("state" | "exclude") STATE } [ ["and" | "or"] list ]
    list       = term { ["and" | "or"] term }            left to right, no precedence (see below)
    term       = "not" term | "(" list ")" | predicate
    predicate  = ("src" | "dst") ["="] HOST | ("sport" | "dport") [OP] PORT | "dev" [OP] DEVICE
               | "fwmark" [OP] MARK["/"MASK] | "cgroup" [OP] PATH | "autobound" | "state" STATE
               | ("pid" | "uid" | "netns" | "recv-q" | "send-q" | "age" | "rtt" | "comm") [OP] VALUE
               | ":" PORT | "port" [OP] PORT | "host" HOST       either end

``and`` and ``or`` bind equally and from the left: ``a or b and c`` is ``(a or b) and c``. The manual of ss says
otherwise, its grammar does this, and what counts here is to select what ss selects (measured with iproute2 6.1).
``and`` may be left out. Every operator has the aliases of ss (``= == eq``, ``!= ne neq``, ``& && and`` ...).
Differences, all of them things ss refuses: parentheses and operators need no spaces around them, ``:443`` and
``port 443`` mean either end, a state may stand anywhere (also before ``and`` and ``or``), states are read in the
spelling of every tool.

Names (services, hosts, devices, users) are looked up through :class:`Names`; this room does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tcpscope.filters import expression as ex
from tcpscope.model.errors import UsageError
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State

OPERATORS = {
    **dict.fromkeys(("=", "==", "eq"), "="),
    **dict.fromkeys(("!=", "ne", "neq"), "!="),
    **dict.fromkeys((">", "gt"), ">"),
    **dict.fromkeys(("<", "lt"), "<"),
    **dict.fromkeys((">=", "ge", "geq"), ">="),
    **dict.fromkeys(("<=", "le", "leq"), "<="),
}
NOT_WORDS, AND_WORDS, OR_WORDS = ("!", "not"), ("&", "&&", "and"), ("|", "||", "or")
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

_ALL = frozenset(State)
#: Groups of states that ss knows by name.
STATE_GROUPS: dict[str, frozenset[State]] = {
    "all": _ALL,
    "connected": _ALL - {State.CLOSED, State.LISTEN},
    "synchronized": _ALL - {State.CLOSED, State.LISTEN, State.SYN_SENT},
    "bucket": frozenset((State.SYN_RECEIVED, State.TIME_WAIT)),
    "big": _ALL - {State.SYN_RECEIVED, State.TIME_WAIT},
}
_NS = {"": 10**6, "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_BYTES = {"": 1, "b": 1, "k": 1024, "kb": 1024, "m": 1024**2, "mb": 1024**2, "g": 1024**3, "gb": 1024**3}


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


class _Token(NamedTuple):
    text: str
    start: int


def parse_filter(words: Sequence[str] | str, names: Names = NO_NAMES) -> ex.Filter:
    """Parse a filter as given on a command line. Raises ``UsageError`` that points at the bad word."""
    text = words if isinstance(words, str) else " ".join(words)
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


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    index = 0
    while index < len(text):
        if text[index].isspace():
            index += 1
            continue
        length = _token_length(text, index)
        tokens.append(_Token(text[index : index + length], index))
        index += length
    return tokens


def _token_length(text: str, start: int) -> int:
    if text[start] in "()":
        return 1
    for sign in ("&&", "||", "==", "!=", ">=", "<=", "=", "<", ">", "!", "&", "|"):
        if text.startswith(sign, start):
            return len(sign)
    end = start
    while end < len(text) and not text[end].isspace() and text[end] not in "()=<>!&|":
        end += 1
    return end - start


def _is_required(term: ex.Expression, found: ex.Expression) -> bool:
    """Whether nothing matches ``found`` that does not match ``term``, its first term."""
    while isinstance(found, ex.And):
        found = found.left
    return found is term


class _Parser:
    def __init__(self, text: str, names: Names) -> None:
        self.text = text
        self.names = names
        self.tokens = _tokens(text)
        self.at = 0

    def parse(self) -> ex.Filter:
        states = self._leading_states()
        if states is not None and self._word() in (*AND_WORDS, *OR_WORDS):
            first = ex.InStates(states)
            found = self._list(first)
            # Why None: 'state listening or ..' names more than listeners, and kill closes those only when told to.
            return self._end(ex.Filter(states if _is_required(first, found) else None, found))
        return self._end(ex.Filter(states, self._list() if self._peek() else None))

    def _end(self, found: ex.Filter) -> ex.Filter:
        rest = self._peek()
        if rest is not None:
            raise self._error(rest, f"{rest.text!r} is not expected here")
        return found

    # words ------------------------------------------------------------------------------------------------------

    def _peek(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _word(self) -> str:
        token = self._peek()
        if token is None:
            return ""
        word = token.text.lower()
        return _ALIASES.get(word, word)

    def _take(self, wanted: str) -> _Token:
        token = self._peek()
        if token is None or token.text in ("(", ")"):
            raise self._error(token, f"{wanted} is missing")
        self.at += 1
        return token

    def _error(self, token: _Token | None, why: str) -> UsageError:
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
            self._operator(token, ("=",))
            return self._host(word)
        if word in ("sport", "dport"):
            return self._port(token, ex.LOCAL if word == "sport" else ex.REMOTE)
        if word == "port":
            return self._either_port(token)
        if word == "host":
            self._operator(token, ("=",))
            at = self.at
            source = self._host("src")
            self.at = at
            return ex.Or(source, self._host("dst"))
        if word == "autobound":
            return ex.Autobound(*self.names.ephemeral_ports)
        if word == "state":
            return ex.InStates(self._states())
        if word == "exclude":
            return ex.Not(ex.InStates(self._states()))
        if word in ("dev", "fwmark", "cgroup"):
            return self._labelled(token, word)
        if word == "comm":
            return ex.Command(self._operator(token, ("=", "!=")), self._take("a program name").text)
        if word in QUANTITIES:
            return self._quantity(token, word)
        if word.startswith(":") and len(word) > 1:
            port = self._port_number(token, token.text[1:])
            return ex.Or(ex.Port(ex.LOCAL, "=", port), ex.Port(ex.REMOTE, "=", port))
        raise self._error(token, f"{token.text!r} is no predicate{_nearest(word)}")

    def _operator(self, subject: _Token, allowed: Sequence[str]) -> str:
        word = self._word()
        if word not in OPERATORS:
            return "="
        operator = OPERATORS[word]
        if operator not in allowed:
            raise self._error(self._peek(), f"{subject.text!r} takes only {' '.join(allowed)}")
        self.at += 1
        return operator

    def _port(self, subject: _Token, side: str) -> ex.Expression:
        operator = self._operator(subject, tuple(dict.fromkeys(OPERATORS.values())))
        token = self._take("a port")
        family, text = _split_family(token.text)
        if text.lstrip(":") == "*":
            return _with_family(family, ex.Host(side))
        return _with_family(family, ex.Port(side, operator, self._port_number(token, text.removeprefix(":"))))

    def _either_port(self, subject: _Token) -> ex.Expression:
        """``port 443`` as tcpdump has it: at either end; ``port != 443``: at none."""
        at = self.at
        local = self._port(subject, ex.LOCAL)
        is_negated = self.tokens[at].text.lower() in OPERATORS and OPERATORS[self.tokens[at].text.lower()] == "!="
        self.at = at
        remote = self._port(subject, ex.REMOTE)
        return ex.And(local, remote) if is_negated else ex.Or(local, remote)

    def _port_number(self, token: _Token, text: str) -> int:
        number = _number(text)
        if number is None:
            number = self.names.port(text)
        if number is None or not 0 <= number <= 65535:
            raise self._error(token, f"{text!r} does not look like a port")
        return number

    def _host(self, side: str) -> ex.Expression:
        token = self._take("an address")
        family, text = _split_family(token.text)
        address, port_text = _split_port(text)
        port = None if port_text in ("", "*") else self._port_number(token, port_text)
        if address in ("", "*"):
            return _with_family(family, ex.Host(side, port=port))
        return _with_family(family, self._network(token, side, address, port, family))

    def _network(self, token: _Token, side: str, address: str, port: int | None, family: int) -> ex.Host:
        host, slash, bits_text = address.partition("/")
        networks = [packed] if (packed := _packed(host)) else self._resolved(token, host, family)
        size = len(networks[0])
        bits = size * 8 if not slash else _number(bits_text)
        if bits is None or not 0 <= bits <= size * 8:
            raise self._error(token, f"{bits_text!r} is no prefix length of this address (0 to {size * 8})")
        kind = 4 if size == 4 else 6
        return ex.Host(side, kind, networks[0], bits, port, tuple(networks[1:]))

    def _resolved(self, token: _Token, host: str, family: int) -> list[bytes]:
        packed = [found for text in self.names.addresses(host) if (found := _packed(text))]
        size = 16 if family == 6 else 4
        chosen = [one for one in packed if len(one) == size] or ([] if family else packed)
        if not chosen:
            raise self._error(token, f"{host!r} is neither an address nor the name of a host")
        return [one for one in chosen if len(one) == len(chosen[0])]

    def _labelled(self, subject: _Token, word: str) -> ex.Expression:
        operator = self._operator(subject, ("=", "!="))
        token = self._take({"dev": "a device", "fwmark": "a mark", "cgroup": "a path"}[word])
        found: ex.Expression
        if word == "dev":
            index = _number(token.text)
            index = self.names.device(token.text) if index is None else index
            if index is None:
                raise self._error(token, f"there is no device {token.text!r}")
            found = ex.Device(index)
        elif word == "fwmark":
            value_text, _, mask_text = token.text.partition("/")
            value, mask = _number(value_text), _number(mask_text or "0xffffffff")
            if value is None or mask is None:
                raise self._error(token, f"{token.text!r} is no mark (MARK or MARK/MASK, decimal or 0x...)")
            found = ex.Mark(value, mask)
        else:
            found = ex.Cgroup("/" + token.text.strip("/"))
        return ex.Not(found) if operator == "!=" else found

    def _quantity(self, subject: _Token, field: str) -> ex.Expression:
        operator = self._operator(subject, tuple(dict.fromkeys(OPERATORS.values())))
        token = self._take("a value")
        value = self._value(field, token.text)
        if value is None:
            example = {"age": "10m, 90s", "rtt": "50ms, 200us", "uid": "0, root", "netns": "a name, 4026531840"}
            raise self._error(token, f"{token.text!r} is no {field} (such as {example.get(field, '1000')})")
        return ex.Quantity(field, operator, value)

    def _value(self, field: str, text: str) -> int | None:
        if field in ("age", "rtt"):
            return _scaled(text, _NS)
        if field in ("recv-q", "send-q"):
            return _scaled(text, _BYTES)
        number = _number(text)
        if number is None and field == "uid":
            return self.names.user(text)
        if number is None and field == "netns":
            return self.names.netns(text)
        return number


def _nearest(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, PREDICATES, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {' '.join(PREDICATES)}"


def _with_family(family: int, found: ex.Expression) -> ex.Expression:
    return ex.And(ex.Family(family), found) if family else found


def _split_family(text: str) -> tuple[int, str]:
    for prefix, family in (("inet:", 4), ("inet6:", 6)):
        if text.startswith(prefix):
            return family, text[len(prefix) :]
    return 0, text


def _split_port(text: str) -> tuple[str, str]:
    """Split ``ADDRESS[:PORT]``: brackets, ``*`` and a prefix length decide as in ss."""
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        slash = rest[: rest.find(":")] if ":" in rest else rest
        return address + slash if slash.startswith("/") else address, rest.rpartition(":")[2] if ":" in rest else ""
    if text.startswith("*"):
        return "*", text[1:].removeprefix(":")
    if text.count(":") > 1:  # an IPv6 address without brackets (ss would take the last part for a port)
        return text, ""
    address, _, port = text.partition(":")
    return address, port


def _packed(text: str) -> bytes | None:
    """Turn a numeric address into network bytes; ``None`` when it is a name."""
    if ":" not in text and not text.replace(".", "").isdigit():
        return None
    from ipaddress import IPv4Address, IPv6Address

    try:
        return IPv6Address(text).packed if ":" in text else IPv4Address(text).packed
    except ValueError:
        return None


def _number(text: str) -> int | None:
    if not text.isascii():
        return None
    try:
        return int(text, 0) if text[:2].lower() == "0x" else int(text)
    except ValueError:
        return None


def _scaled(text: str, units: dict[str, int]) -> int | None:
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = units.get(text[len(digits) :].lower())
    try:
        value = float(digits)
    except ValueError:
        return None
    if unit is None or value != value or abs(value) > 1e15:
        return None
    return int(value * unit)
