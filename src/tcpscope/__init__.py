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

    from tcpscope.cli.capture import follow_segments as capture
    from tcpscope.cli.diagram import draw_diagram as diagram
    from tcpscope.cli.explain import find_answer as explain
    from tcpscope.cli.lab import play_scenes as lab
    from tcpscope.cli.read import read_file as read
    from tcpscope.cli.simulate import play_story as simulate
    from tcpscope.cli.tune import compare_settings as tune
    from tcpscope.doctor import diagnose as doctor
    from tcpscope.live.counts import count_states as states
    from tcpscope.live.killing import close_sockets as kill
    from tcpscope.live.snapshot import take_snapshot as snapshot
    from tcpscope.live.sockets import list_sockets as list
    from tcpscope.live.stats import follow_intervals as stats
    from tcpscope.live.trace import open_trace as trace

    __all__ = [
        "capture",
        "diagram",
        "doctor",
        "explain",
        "kill",
        "lab",
        "list",
        "read",
        "simulate",
        "snapshot",
        "states",
        "stats",
        "trace",
        "tune",
    ]

#: Verb -> (module, name in it). The overview of the command line is ``doctor(snapshot())``.
_VERBS = {
    "list": ("tcpscope.live.sockets", "list_sockets"),
    "snapshot": ("tcpscope.live.snapshot", "take_snapshot"),
    "trace": ("tcpscope.live.trace", "open_trace"),
    "stats": ("tcpscope.live.stats", "follow_intervals"),
    "kill": ("tcpscope.live.killing", "close_sockets"),
    "states": ("tcpscope.live.counts", "count_states"),
    "read": ("tcpscope.cli.read", "read_file"),
    "capture": ("tcpscope.cli.capture", "follow_segments"),
    "doctor": ("tcpscope.doctor", "diagnose"),
    "tune": ("tcpscope.cli.tune", "compare_settings"),
    "explain": ("tcpscope.cli.explain", "find_answer"),
    "diagram": ("tcpscope.cli.diagram", "draw_diagram"),
    "lab": ("tcpscope.cli.lab", "play_scenes"),
    "simulate": ("tcpscope.cli.simulate", "play_story"),
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
