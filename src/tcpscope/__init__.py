"""tcpscope: the state of every TCP connection, why it is in it and what to do.

The verbs of the command line as functions: ``tcpscope.snapshot()``, ``tcpscope.list()`` ... Each is imported when it
is first asked for, so that ``import tcpscope`` costs nothing.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

    from tcpscope.cli.explain import find_answer as explain
    from tcpscope.cli.read import read_file as read
    from tcpscope.doctor import diagnose as doctor
    from tcpscope.live.counts import count_states as states
    from tcpscope.live.killing import close_sockets as kill
    from tcpscope.live.snapshot import take_snapshot as snapshot
    from tcpscope.live.sockets import list_sockets as list
    from tcpscope.live.stats import follow_intervals as stats
    from tcpscope.live.trace import open_trace as trace

    __all__ = ["doctor", "explain", "kill", "list", "read", "snapshot", "states", "stats", "trace"]

#: Verb -> (module, name in it).
_VERBS = {
    "list": ("tcpscope.live.sockets", "list_sockets"),
    "snapshot": ("tcpscope.live.snapshot", "take_snapshot"),
    "trace": ("tcpscope.live.trace", "open_trace"),
    "stats": ("tcpscope.live.stats", "follow_intervals"),
    "kill": ("tcpscope.live.killing", "close_sockets"),
    "states": ("tcpscope.live.counts", "count_states"),
    "read": ("tcpscope.cli.read", "read_file"),
    "doctor": ("tcpscope.doctor", "diagnose"),
    "explain": ("tcpscope.cli.explain", "find_answer"),
}


def find_verb(name: str) -> Callable[..., object]:
    """Import the function behind a verb."""
    module, attribute = _VERBS[name]
    verb: Callable[..., object] = getattr(__import__(module, fromlist=[attribute]), attribute)
    return verb


def __getattr__(name: str) -> object:
    if name not in _VERBS:
        raise AttributeError(f"module 'tcpscope' has no attribute {name!r}")
    return find_verb(name)


def __dir__() -> builtins.list[str]:
    return sorted((*globals(), *_VERBS))
