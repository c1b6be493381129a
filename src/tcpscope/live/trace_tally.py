"""Counting transitions without telling them: the rules of :mod:`tcpscope.live.trace_story`, for bulk.

No event, no owner, no time: per record one tuple and one or two look-ups, about a tenth of a story's cost. A test
feeds both with the same records and compares.
"""

from __future__ import annotations

from struct import iter_unpack

from tcpscope.kernel.bpf import tcp_record as kinds
from tcpscope.live.trace_story import LIMIT
from tcpscope.model.spelling import KERNEL_EXTRA
from tcpscope.model.state import State

#: The same record as :data:`~tcpscope.kernel.bpf.tcp_record.RECORD`: kernel object, namespace, kind, before, after,
#: ports and addresses in one piece, timeouts.
_COUNTED = "<16xQ8x4s4xBBBx36s4xB19x"

_LISTEN, _SYN_RECEIVED, _CLOSED, _FIN_WAIT_2, _TIME_WAIT = 10, 3, 7, 5, 6
_NO_STATE_CHANGE = frozenset((kinds.RESET_SENT, kinds.RESET_RECEIVED, kinds.RETRANSMITTED, kinds.ERROR_REPORTED))


class Tally:
    """Counts by ``before << 4 | after`` in :attr:`raw`; by states in :meth:`counts`."""

    def __init__(self) -> None:
        self.raw: dict[int, int] = {}
        self.records = 0
        self._requests: dict[int, bytes] = {}
        self._has_child: dict[bytes, bool] = {}
        self._minis: dict[int, tuple[bytes, int]] = {}
        self._newborn: dict[bytes, int] = {}
        # objects whose timer stopped: the end, unless it starts again or expires
        self._stopped: dict[int, bool] = {}
        self._stopped_before: dict[int, bool] = {}
        self._stopped_minis: dict[bytes, int] = {}  # those of them that are mini-sockets, by key

    def feed(self, stretch: bytes) -> None:
        """Count a stretch of records."""
        raw, newborn, has_child = self.raw, self._newborn, self._has_child
        get = raw.get
        records = 0
        for address, netns, kind, before, after, ends, timeouts in iter_unpack(_COUNTED, stretch):
            records += 1
            if kind == 1:  # kinds.STATE, spelled out: this loop is the cost of counting
                if after == _CLOSED and newborn:
                    after = newborn.pop(netns + ends, _CLOSED)
                    if after == before:
                        continue
                elif after == _SYN_RECEIVED and before == _LISTEN and netns + ends in has_child:
                    has_child[netns + ends] = True
                    continue
                move = before << 4 | after
                raw[move] = get(move, 0) + 1
            elif kind not in _NO_STATE_CHANGE:
                self._count_object(address, netns + ends, kind, after, timeouts)
        self.records += records
        self._settle()

    def counts(self) -> dict[tuple[State, State], int]:
        """Return the counts by states."""
        found: dict[tuple[State, State], int] = {}
        for move, count in self.raw.items():
            if not (0 < move >> 4 < 14 and 0 < move & 15 < 14) or move >> 4 == move & 15:
                continue
            pair = State(KERNEL_EXTRA.get(move >> 4, move >> 4)), State(KERNEL_EXTRA.get(move & 15, move & 15))
            found[pair] = found.get(pair, 0) + count
        return found

    def finish(self) -> None:
        """Take every stopped timer for an end (after the last stretch)."""
        self._settle()
        self._settle()

    def _add(self, before: int, after: int) -> None:
        move = before << 4 | after
        self.raw[move] = self.raw.get(move, 0) + 1

    def _count_object(self, address: int, key: bytes, kind: int, state: int, timeouts: int) -> None:
        """Count what a request socket's or a mini-socket's record means."""
        if kind == kinds.REQUEST_STARTED:
            self._request_started(address, key, timeouts)
        elif kind == kinds.SYN_SENT_FROM:
            if key in self._stopped_minis:  # connect() took the port of a TIME_WAIT
                self._add(self._take_stopped(key), _CLOSED)
        elif kind in (kinds.REQUEST_STOPPED, kinds.REQUEST_EXPIRED):
            if self._requests.get(address) == key:
                if self._has_child.get(key):
                    self._forget_request(address)
                else:
                    self._stopped[address] = True
        elif kind in (kinds.MINI_STARTED, kinds.MINI_SEGMENT):
            self._mini_lives(address, key, state, is_start=kind == kinds.MINI_STARTED)
        elif kind == kinds.MINI_STOPPED:
            self._minis.setdefault(address, (key, state))
            self._stopped[address] = False
            self._stopped_minis[key] = address
        elif kind == kinds.MINI_EXPIRED:
            self._unstop(address)
            known = self._minis.pop(address, (key, state))
            if known[1] == _FIN_WAIT_2 and state == _TIME_WAIT:
                self._add(_FIN_WAIT_2, _TIME_WAIT)
            self._newborn.pop(key, None)
            self._add(state, _CLOSED)

    def _request_started(self, address: int, key: bytes, timeouts: int) -> None:
        if self._requests.get(address) == key:
            self._unstop(address)
            return
        self._requests[address] = key
        self._has_child[key] = False
        if timeouts >> 1:
            return
        if key in self._stopped_minis:  # a SYN reopened it
            self._add(self._take_stopped(key), _SYN_RECEIVED)
            return
        self._add(_LISTEN, _SYN_RECEIVED)

    def _mini_lives(self, address: int, key: bytes, state: int, is_start: bool) -> None:
        known = self._minis.get(address)
        if known is not None and known[0] == key:
            if is_start:
                self._unstop(address)
            if known[1] == _FIN_WAIT_2 and state == _TIME_WAIT and not self._is_stopped(address):
                self._add(_FIN_WAIT_2, _TIME_WAIT)
                self._minis[address] = key, state
        elif is_start:
            self._minis[address] = key, state
            self._newborn[key] = state

    def _is_stopped(self, address: int) -> bool:
        return address in self._stopped or address in self._stopped_before

    def _take_stopped(self, key: bytes) -> int:
        """Forget a stopped mini-socket whose addresses another connection has taken; return its state."""
        address = self._stopped_minis[key]
        self._unstop(address)
        return self._minis.pop(address, (key, _TIME_WAIT))[1]

    def _unstop(self, address: int) -> None:
        self._stopped.pop(address, None)
        self._stopped_before.pop(address, None)
        if self._stopped_minis:
            self._stopped_minis.pop(self._minis.get(address, (b"", 0))[0], None)

    def _forget_request(self, address: int) -> None:
        self._has_child.pop(self._requests.pop(address), None)
        self._unstop(address)

    def _settle(self) -> None:
        """Count as ended what stopped before the last stretch; keep the tables bounded."""
        for address, is_request in self._stopped_before.items():
            if is_request and address in self._requests:
                self._add(_SYN_RECEIVED, _CLOSED)
                self._has_child.pop(self._requests.pop(address), None)
            elif not is_request and address in self._minis:
                key, state = self._minis.pop(address)
                self._stopped_minis.pop(key, None)
                self._add(state, _CLOSED)
        self._stopped_before, self._stopped = self._stopped, {}
        for table in (self._requests, self._has_child, self._minis, self._newborn):
            if len(table) > LIMIT:
                table.clear()
