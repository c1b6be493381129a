"""Follow every TCP transition as the kernel makes it; the way is chosen by trying, and named with the reason.

* tier A: BPF programs on tracepoints and a ring buffer. Sees all eleven states, tells namespaces apart.
* tier B: the same tracepoints through perf rings, for a kernel or a policy without BPF.
* tier C: the kernel's announcements of destroyed sockets plus looking again and again. Needs no privilege; steps
  between two looks are not seen, and said to be so.

``with open_trace() as feed: feed.read_transitions(1.0)``. Everything is gone when the feed is closed or its process
ends, however it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Protocol

from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.namespaces import own_inode
from tcpscope.model.errors import NotPermitted, TcpscopeError, Unsupported
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

TIERS = ("A", "B", "C")
#: How long the end of a trace may take to tell what was recorded before it: about half a million moves.
REST_S = 5.0


class Source(Protocol):
    """What a tier brings: transitions, and how much was lost."""

    @property
    def missing(self) -> Sequence[str]:
        """What this tier does not see here, as clauses."""

    @property
    def tells_namespaces(self) -> bool:
        """Whether it keeps to the namespace asked for."""

    @property
    def lost_are(self) -> str:
        """What :meth:`read_lost` counts."""

    def read(self, timeout_s: float) -> list[Transition]:
        """Wait at most so long for transitions."""

    def read_lost(self) -> int:
        """Return how much was lost since the start."""

    def read_untold(self) -> int:
        """Return how many moves at least were made that no record told."""

    def read_unread(self) -> int:
        """Return how many records were written and not told yet."""

    def stop(self) -> None:
        """Let nothing more be recorded; what was recorded can still be read."""

    def flush(self) -> list[Transition]:
        """Return what is still held back."""

    def close(self) -> None:
        """Give everything back."""


Opener = Callable[[int | None, bool], Source]


class Feed:
    """An open trace. ``tier`` is ``A``, ``B`` or ``C``; ``reason`` says why not a better one.

    ``netns`` is the inode number of the namespace followed, ``None`` for all. ``place`` is that namespace where it is
    not the caller's own: tiers B and C look around in it.
    """

    def __init__(
        self, tier: str, reason: str, source: Source, netns: int | None, place: NetworkNamespace | None = None
    ) -> None:
        self.tier = tier
        self.reason = reason
        self.netns = netns
        self._source = source
        self._place = place
        self._counts: dict[tuple[State, State], int] = {}

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def missing(self) -> Sequence[str]:
        """What this tier does not see on this kernel."""
        return self._source.missing

    @property
    def tells_namespaces(self) -> bool:
        """Whether only the namespace asked for is seen."""
        return self._source.tells_namespaces

    def read_transitions(self, timeout_s: float) -> list[Transition]:
        """Return the transitions since the last call; wait at most ``timeout_s`` for the first one.

        Ordered by time within one call; a move that waited for its explanation may be older than the last of the
        call before (50 ms at most; a connect() without a port yet, 1 s).
        """
        deadline = time.monotonic() + timeout_s
        with self._inside():
            while True:
                left = deadline - time.monotonic()
                found = self._source.read(max(0.0, left))
                if found or left <= 0:
                    return found

    def _inside(self) -> AbstractContextManager[None]:
        # Why not for tier A: BPF tells namespaces apart wherever its reader is.
        return _entered(None if self.tier == "A" else self._place)

    def stop(self) -> None:
        """Record no more; what was recorded can still be read."""
        self._source.stop()

    def iter_rest(self) -> Iterator[list[Transition]]:
        """Iterate over what was recorded and is not told yet, and at last what was held back.

        Ends after :data:`REST_S` whatever is left: after a flood, and where recording goes on (see :meth:`stop`).
        """
        deadline = time.monotonic() + REST_S
        yield self.read_transitions(0.0)
        while self._source.read_unread() and time.monotonic() < deadline:
            yield self.read_transitions(0.0)
        with self._inside():
            rest = self._source.flush()
        yield rest

    def read_rest(self) -> list[Transition]:
        """Return what :meth:`iter_rest` iterates over, at once."""
        return [move for moves in self.iter_rest() for move in moves]

    def count_transitions(self, timeout_s: float) -> int:
        """Count instead of telling: wait at most so long, return how many records (or transitions) came.

        A feed is either told (:meth:`read_transitions`) or counted; mixing them misses the births of one for the other.
        """
        count = getattr(self._source, "count", None)
        if count is not None:
            return int(count(timeout_s))
        moves = self.read_transitions(timeout_s)
        self._add_counts(moves)
        return len(moves)

    def read_counts(self) -> dict[tuple[State, State], int]:
        """Return how often each move was counted since the start."""
        read = getattr(self._source, "read_counts", None)
        if read is not None:
            return dict(read())
        for moves in self.iter_rest():
            self._add_counts(moves)
        return dict(self._counts)

    def _add_counts(self, moves: list[Transition]) -> None:
        for move in moves:
            pair = move.before, move.after
            self._counts[pair] = self._counts.get(pair, 0) + 1

    def read_lost(self) -> int:
        """Return how many :attr:`lost_are` lost since the start."""
        return self._source.read_lost()

    def read_untold(self) -> int:
        """Return how many moves at least were made that no record told, lost or never written (not when counting)."""
        return self._source.read_untold()

    @property
    def lost_are(self) -> str:
        """What this tier loses when it loses something."""
        return self._source.lost_are

    def read_unread(self) -> int:
        """Return how many records were written and not told yet: what ending now would leave untold."""
        return self._source.read_unread()

    def close(self) -> None:
        """Detach from the kernel."""
        self._source.close()
        if self._place is not None:
            self._place.close()


def open_trace(
    netns: str | int | None = None,
    *,
    all_namespaces: bool = False,
    details: bool = False,
    tier: str | None = None,
    openers: dict[str, Opener] | None = None,
) -> Feed:
    """Follow every TCP transition from now on, by the best tier that works here, or by exactly ``tier``.

    ``netns`` is a namespace (a name, a path, ``pid:N``; ``None``: the caller's own), or its inode number, which tier C
    cannot follow elsewhere. ``details`` adds retransmissions (rows that keep their state). The :class:`Feed` is a
    context manager: everything is gone when it is closed. Raises ``UsageError`` where there is no such namespace, and
    :class:`~tcpscope.model.errors.NotPermitted` or :class:`~tcpscope.model.errors.Unsupported` with every tier's reason
    when none works.
    """
    place = None
    if isinstance(netns, str):
        place = NetworkNamespace.open(netns)
        netns = place.inode
    wanted = None if all_namespaces else (netns or own_inode() or None)
    try:
        with _entered(place):
            name, reason, source = _open_source((tier,) if tier else TIERS, openers or OPENERS, wanted, details)
    except BaseException:
        if place is not None:
            place.close()
        raise
    return Feed(name, reason, source, wanted, place)


def _open_source(
    tiers: Sequence[str], openers: dict[str, Opener], wanted: int | None, details: bool
) -> tuple[str, str, Source]:
    """Try one tier after the other; return the first that works with the reason why it is not a better one."""
    reasons: list[str] = []
    denied = False
    for name in tiers:
        try:
            source = openers[name](wanted, details)
        except (TcpscopeError, OSError) as error:
            denied = denied or isinstance(error, (NotPermitted, PermissionError))
            reasons.append(f"no tier {name}: {error}")
            continue
        return name, "; ".join(reasons) or _praise(name), source
    kind = NotPermitted if denied else Unsupported
    raise kind("transitions cannot be followed: " + "; ".join(reasons))


def _entered(place: NetworkNamespace | None) -> AbstractContextManager[None]:
    return nullcontext() if place is None else place.entered()


def _praise(tier: str) -> str:
    return {"A": "BPF on the kernel's tracepoints", "B": "perf on the kernel's tracepoints", "C": "asked for"}[tier]


def _open_bpf(netns: int | None, details: bool) -> Source:
    from tcpscope.live.trace_bpf import BpfSource

    return BpfSource(netns, details)


def _open_polling(netns: int | None, details: bool) -> Source:
    from tcpscope.live.trace_poll import PollSource

    return PollSource(netns, details)


def _open_perf(netns: int | None, details: bool) -> Source:
    from tcpscope.live.trace_perf import PerfSource

    return PerfSource(netns, details)


OPENERS: dict[str, Opener] = {"A": _open_bpf, "B": _open_perf, "C": _open_polling}
