"""A flood of SYNs that nobody answers, folded: counts per server in place of connections. Keeps memory bounded.

When most of what an engine holds are SYNs without an answer, the older ones are only counted. The newest quarter
stays, an answer may come. Rows of the log and rows for trouble go with their connections, the others move up. Of a
repeated SYN whose connection was folded a new connection begins.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets import layout
from tcpscope.packets.loop import EXTRAS, F_AT, FLOWS, KEY_AT, MENTIONED, MENTIONED_PREVIOUS, ROW_WORDS
from tcpscope.packets.roles import NumberedEnds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tcpscope.packets.ledger import Ledger

    Table = Any  #: a numpy array
    Numbers = Any  #: integers, or columns of them


def is_unanswered(low: Numbers, high: Numbers, low_packets: Numbers, high_packets: Numbers) -> Numbers:
    """Whether a flow is SYNs of one end and silence of the other."""
    by_low = (low == layout.S_SYN_SENT) & (high_packets == 0)
    return by_low | (high == layout.S_SYN_SENT) & (low_packets == 0)


# --- rows in lists


def fold_lists(ledger: Ledger) -> Sequence[int]:
    """Count what is to be folded of the interpreted engine's flows; return the serials of those to be kept."""
    count = len(ledger)
    kept = [serial for serial in range(count) if serial >= count - count // 4 or not _is_silent(ledger.flows[serial])]
    if len(kept) * 2 > count:
        return range(count)
    for serial in set(range(count)).difference(kept):
        server = _silent_end(ledger.flows[serial], ledger.keys[serial])
        ledger.folded[server] = ledger.folded.get(server, 0) + 1
        ledger.folded_segments += _count_packets(ledger.flows[serial])
    return kept


def _is_silent(f: list[int]) -> bool:
    high = layout.HALF_WORDS
    found: bool = is_unanswered(
        f[layout.STATE], f[high + layout.STATE], f[layout.PACKETS], f[high + layout.PACKETS]
    )  # fmt: skip
    return found


def _count_packets(flows: Numbers) -> Numbers:
    return flows[layout.PACKETS] + flows[layout.HALF_WORDS + layout.PACKETS]


def _silent_end(f: list[int], key: bytes) -> bytes:
    """Return address and port of the end that never answered."""
    half = (len(key) - 4) // 2
    if f[layout.STATE] == layout.S_SYN_SENT:
        return key[half:-4] + key[-2:]
    return key[:half] + key[-4:-2]


# --- rows in arrays


def fold_arrays(rows: Table, log: Table, extras: Table, m: Table, ledger: Ledger) -> bool:
    """Fold the tables of the compiled engine; say whether that was done, then its hash table must be filled anew."""
    import numpy as np

    count = int(m[FLOWS])
    rows = rows.reshape(-1, ROW_WORDS)[:count]
    flows, keys = rows[:, F_AT:KEY_AT], rows.view("u4")[:, KEY_AT:]
    high = layout.HALF_WORDS
    silent = is_unanswered(
        flows[:, layout.STATE], flows[:, high + layout.STATE], flows[:, layout.PACKETS],
        flows[:, high + layout.PACKETS],
    )  # fmt: skip
    silent[count - count // 4 :] = False
    if silent.sum() * 2 < count:
        return False
    ledger.folded_segments += int(_count_packets(flows[silent].T).sum())
    _count_servers(flows[silent], keys[silent], ledger.folded)
    kept = np.flatnonzero(~silent)
    new_serial = np.full(count, -1)
    new_serial[kept] = np.arange(len(kept))
    rows[: len(kept)] = rows[kept]
    flows = flows[: len(kept)]
    m[FLOWS] = len(kept)
    new_row = _move_rows_of_log(log, new_serial)
    for word in layout.ROWS_OF_LOG:
        flows[:, word] = new_row[flows[:, word]]
    _move_extras(extras, flows, m)
    return True


def _move_rows_of_log(log: Table, new_serial: Table) -> Table:
    """Keep the rows of the log that belong to the flows kept; return for each row where it is now."""
    import numpy as np

    used = log.reshape(-1, layout.LOG_WORDS)[: int(log[layout.LOG_NEXT])]
    what = used[1:, layout.LOG_WHAT]
    serials = new_serial[what >> 20]
    kept = np.concatenate([[0], np.flatnonzero(serials >= 0) + 1])
    what[:] = what & 0xFFFFF | serials << 20
    used[: len(kept)] = used[kept]
    log[layout.LOG_NEXT] = len(kept)
    new_row = np.zeros(len(used), np.int64)
    new_row[kept] = np.arange(len(kept))
    return new_row


def _move_extras(extras: Table, flows: Table, m: Table) -> None:
    """Keep the rows for trouble that flows still have, and those that ICMP errors about unknown flows left."""
    import numpy as np

    table = extras.reshape(-1, layout.EXTRA_WORDS)
    mentioned = []
    row = int(m[MENTIONED])
    while row:
        mentioned.append(row)
        row = int(table[row, MENTIONED_PREVIOUS])
    kept = np.unique(np.concatenate([[0], flows[:, layout.EXTRA], mentioned]).astype(np.int64))
    new_row = np.zeros(int(m[EXTRAS]), np.int64)
    new_row[kept] = np.arange(len(kept))
    table[mentioned, MENTIONED_PREVIOUS] = new_row[table[mentioned, MENTIONED_PREVIOUS]]
    table[: len(kept)] = table[kept]
    table[len(kept) : int(m[EXTRAS])] = 0  # Why: a row is taken as it lies
    flows[:, layout.EXTRA] = new_row[flows[:, layout.EXTRA]]
    m[MENTIONED], m[EXTRAS] = new_row[m[MENTIONED]], len(kept)


def _count_servers(flows: Table, keys: Table, folded: dict[bytes, int]) -> None:
    import numpy as np

    servers = NumberedEnds(flows, keys, flows[:, layout.STATE] == layout.S_SYN_SENT)
    for number, count in enumerate(np.bincount(servers.number_of).tolist()):
        name = servers.pack(number)
        folded[name] = folded.get(name, 0) + count
