"""netstat's table from columns: one matrix of bytes, filled column by column; the bytes of :func:`render_rows`.

Rows that do not fit the matrix (many holders) are spelled one by one and put in their place.
"""

from __future__ import annotations

from tcpscope.views.row_table import (
    ADDRESS_WIDTH,
    AF_INET,
    NOBODY,
    PROGRAM_WIDTH,
    PROTO_NAMES,
    TCP,
    UNSEEN,
    escape,
    header_line,
    queue_width,
    spell_endpoint,
    spell_states,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

    from tcpscope.model.row import SocketColumns

    Array = Any  # numpy is optional: its types are not there to be imported

_QUEUES_AT = 6
_PORT_WIDTH = 6  # ":65535"
_SPACE = 32


def iter_table(
    numpy: ModuleType, columns: SocketColumns, *, header: bool = True, colour: bool = False
) -> Iterator[bytes | memoryview]:
    """Iterate the table in large pieces of bytes, ready to be written."""
    local = _Addresses(numpy, columns.family, columns.source, columns.sport)
    remote = _Addresses(numpy, columns.family, columns.remote, columns.dport)
    queues = queue_width(int(columns.recv_q.max())), queue_width(int(columns.send_q.max()))
    widths = (*queues, local.width, remote.width)
    if header:
        yield (header_line(widths, columns.holders is not None) + "\n").encode()
    matrix, program_at = _fill(numpy, columns, local, remote, widths, colour)
    programs = _spell_programs(columns) if columns.holders is not None else []
    if programs:
        texts = numpy.array(
            [text.encode().ljust(PROGRAM_WIDTH)[:PROGRAM_WIDTH] for text in programs], f"S{PROGRAM_WIDTH}"
        )
        _put(numpy, matrix, program_at, texts, _program_index(numpy, columns))
    begin = 0
    for row in _odd_rows(numpy, columns, programs).tolist():
        if begin < row:
            yield matrix[begin:row].data
        program = programs[columns.holders[row]]
        yield matrix[row, :program_at].tobytes() + f"{program:<{PROGRAM_WIDTH}}\n".encode()
        begin = row + 1
    if begin < len(matrix):
        yield matrix[begin:].data


class _Addresses:
    """The distinct addresses of one side as a table of texts, which of them each row has, and its port."""

    def __init__(self, numpy: ModuleType, family: Array, words: Array, ports: Array) -> None:
        is_v4 = family == AF_INET
        texts: list[bytes] = []
        self.index = numpy.empty(len(family), numpy.int64)
        for rows, its_family in ((numpy.flatnonzero(is_v4), AF_INET), (numpy.flatnonzero(~is_v4), 10)):
            if len(rows):
                distinct, self.index[rows] = _distinct(numpy, words, rows, its_family)
                self.index[rows] += len(texts)
                texts += [spell_endpoint(its_family, address, 0)[:-2].encode() for address in distinct]
        self.lengths = numpy.array([len(text) for text in texts], numpy.int64)
        self.texts = numpy.array(texts or [b""])
        self.ports = ports
        digits = numpy.array([1, 10, 100, 1000, 10000])
        row_widths = self.lengths[self.index] + 1 + (ports[:, None] >= digits).sum(1).clip(1)
        self.width = max(ADDRESS_WIDTH, int(row_widths.max()))


def _distinct(numpy: ModuleType, words: Array, rows: Array, family: int) -> tuple[list[bytes], Array]:
    """Return the distinct addresses (16 bytes each) and which of them each row has."""
    if family == AF_INET:
        keys = words[rows, 0]
        distinct = numpy.unique(keys)
        where = numpy.searchsorted(distinct, keys)
        return [address.tobytes().ljust(16, b"\0") for address in distinct], where
    keys = numpy.ascontiguousarray(words[rows]).view("V16").reshape(-1)
    distinct, where = numpy.unique(keys, return_inverse=True)
    return [address.tobytes() for address in distinct], where.reshape(-1)


def _fill(
    numpy: ModuleType,
    columns: SocketColumns,
    local: _Addresses,
    remote: _Addresses,
    widths: tuple[int, int, int, int],
    colour: bool,
) -> tuple[Array, int]:
    """Fill everything but the program column; gives the matrix and where that column starts."""
    states = {proto: numpy.array([text.encode() for text in texts]) for proto, texts in spell_states(colour).items()}
    state_width = states[TCP].dtype.itemsize
    send_at = _QUEUES_AT + widths[0] + 1
    local_at = send_at + widths[1] + 1
    remote_at = local_at + local.width + 1
    state_at = remote_at + remote.width + 1
    program_at = state_at + state_width + 1
    has_programs = columns.holders is not None
    width = program_at + PROGRAM_WIDTH + 1 if has_programs else program_at
    matrix = numpy.full((len(columns.state), width), _SPACE, numpy.uint8)
    matrix[:, -1] = 10
    protos = numpy.array([PROTO_NAMES[proto, family].ljust(4).encode() for proto in (6, 17) for family in (2, 10)])
    _put(numpy, matrix, 0, protos, (columns.proto == 17) * 2 + (columns.family == 10))
    _put_numbers(matrix, _QUEUES_AT + widths[0] - 1, columns.recv_q)
    _put_numbers(matrix, send_at + widths[1] - 1, columns.send_q)
    _put_addresses(numpy, matrix, local_at, local)
    _put_addresses(numpy, matrix, remote_at, remote)
    both = numpy.concatenate([states[6], states[17]])
    _put(numpy, matrix, state_at, both, columns.state + (columns.proto == 17) * len(states[6]))
    return matrix, program_at


def _put(numpy: ModuleType, matrix: Array, at: int, texts: Array, index: Array) -> None:
    """Put the texts (one width) chosen by ``index`` into the columns from ``at`` on."""
    width = texts.dtype.itemsize
    table = texts.view(numpy.uint8).reshape(len(texts), width)
    matrix[:, at : at + width] = table[index]


def _put_addresses(numpy: ModuleType, matrix: Array, at: int, side: _Addresses) -> None:
    """Put address and port, left-aligned: the ports go where each length of address ends."""
    width = side.texts.dtype.itemsize
    table = side.texts.view(numpy.uint8).reshape(len(side.texts), width).copy()
    table[table == 0] = _SPACE
    matrix[:, at : at + width] = table[side.index]
    ports = _port_table(numpy)
    lengths = side.lengths[side.index]
    for length in numpy.unique(side.lengths).tolist():
        rows = numpy.flatnonzero(lengths == length)
        begin, end = at + length, min(at + length + _PORT_WIDTH, at + side.width)
        if len(rows) == len(matrix):
            matrix[:, begin:end] = ports[side.ports, : end - begin]
        else:
            matrix[rows, begin:end] = ports[side.ports[rows], : end - begin]


def _port_table(numpy: ModuleType) -> Array:
    """Every port as ``:80   ``; ``:*`` for 0."""
    table = numpy.full((65536, _PORT_WIDTH), _SPACE, numpy.uint8)
    table[:, 0] = 58
    for digits, low in ((1, 0), (2, 10), (3, 100), (4, 1000), (5, 10000)):
        ports = numpy.arange(low, min(10**digits, 65536))
        for place in range(digits):
            table[low : low + len(ports), digits - place] = 48 + ports // 10**place % 10
    table[0, 1] = 42
    return table


def _put_numbers(matrix: Array, last: int, numbers: Array) -> None:
    """Put numbers right-aligned, their last digit into column ``last``."""
    matrix[:, last] = 48
    (rows,) = numbers.nonzero()
    values = numbers[rows].astype("int64")
    while len(rows):
        matrix[rows, last] = 48 + values % 10
        values //= 10
        rows, values, last = rows[values > 0], values[values > 0], last - 1


def _spell_programs(columns: SocketColumns) -> list[str]:
    """Spell every set of holders, then what stands for nobody, by state."""
    names = columns.names
    sets = [",".join(f"{pid}/{escape(names.get(pid, ''))}" for pid in pids) for pids in columns.holder_sets]
    return sets + [NOBODY.get(state, UNSEEN) for state in range(12)] + [UNSEEN]


def _program_index(numpy: ModuleType, columns: SocketColumns) -> Array:
    sets = len(columns.holder_sets)
    is_nobody = (columns.inode == 0) & (columns.proto == TCP)
    nobody = numpy.where(is_nobody, sets + columns.state, sets + 12)
    return numpy.where(columns.holders >= 0, columns.holders, nobody)


def _odd_rows(numpy: ModuleType, columns: SocketColumns, programs: list[str]) -> Array:
    """Find the rows whose program text is too long, or not ASCII, for the matrix."""
    if not programs:
        return numpy.zeros(0, numpy.int64)
    is_odd = numpy.array([len(text) > PROGRAM_WIDTH or not text.isascii() for text in programs])
    return numpy.flatnonzero(is_odd[_program_index(numpy, columns)])
