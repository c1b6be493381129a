"""tcpscope: the state of every TCP connection, why it is in it and what to do.

The verbs of the command line as functions: ``tcpscope.snapshot()``, ``tcpscope.list()`` ... Each is imported when it
is first asked for, so that ``import tcpscope`` costs nothing.
"""

__version__ = "0.1.0"

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
}


def __getattr__(name: str) -> object:
    if name not in _VERBS:
        raise AttributeError(f"module 'tcpscope' has no attribute {name!r}")
    module, attribute = _VERBS[name]
    return getattr(__import__(module, fromlist=[attribute]), attribute)


def __dir__() -> list[str]:
    return sorted((*globals(), *_VERBS))
