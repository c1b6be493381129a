"""The part of a filter the kernel can do, as ``INET_DIAG_REQ_BYTECODE`` (``include/uapi/linux/inet_diag.h``).

The program selects a superset of what the filter selects: what the kernel cannot judge (age, process ...) is left
out, and the caller applies the whole filter again. Every instruction is ``code, yes, no``: ``yes`` and ``no`` are
the bytes to skip; a program accepts when it ends exactly at its end and rejects when it jumps four bytes beyond.
Jumps go forward only (``inet_diag_bc_audit()``).
"""

from __future__ import annotations

import struct

from tcpscope.filters import expression as ex
from tcpscope.model.record import NamedTuple

JMP, S_GE, S_LE, D_GE, D_LE, AUTO, S_COND, D_COND, DEV_COND = 1, 2, 3, 4, 5, 6, 7, 8, 9
_AF = {0: 0, 4: 2, 6: 10}
_REJECT = -1
#: Beyond this the whole filter is applied here: jumps are 16 bits, and the kernel would judge each socket slowly.
MAX_CONDITIONS = 300


class _Instruction(NamedTuple):
    code: int
    tail: bytes  #: what follows the four bytes of the operation
    no: int  #: label to go to when it does not hold (or always, for a jump)


class _Program:
    """Instructions with labels; labels are numbers bound to an instruction index."""

    def __init__(self) -> None:
        self.instructions: list[_Instruction] = []
        self.labels: dict[int, int] = {}
        self.next_label = 0

    def label(self) -> int:
        self.next_label += 1
        return self.next_label

    def bind(self, label: int) -> None:
        self.labels[label] = len(self.instructions)

    def emit(self, code: int, tail: bytes, no: int) -> None:
        self.instructions.append(_Instruction(code, tail, no))

    def assemble(self) -> bytes:
        starts = [0]
        for instruction in self.instructions:
            starts.append(starts[-1] + 4 + len(instruction.tail))
        end = starts[-1]
        parts = []
        for index, (code, tail, no) in enumerate(self.instructions):
            target = end + 4 if no == _REJECT else starts[self.labels[no]]
            parts.append(struct.pack("=BBH", code, 4 + len(tail), target - starts[index]) + tail)
        return b"".join(parts)


def compile_bytecode(found: ex.Expression | None) -> bytes | None:
    """Return the program for the largest part of ``found`` the kernel can judge, or ``None`` for none of it."""
    kernel_part = _weaken(found) if found is not None and _is_small(found) else None
    if kernel_part is None:
        return None
    program = _Program()
    accept = program.label()
    _emit(program, kernel_part, accept, _REJECT, is_last=True)
    program.bind(accept)
    return program.assemble()


def _is_small(found: ex.Expression) -> bool:
    conditions = 0
    for part in ex.iter_conditions(found):
        conditions += 1 + len(part.alternatives) if isinstance(part, ex.Host) else 1
        if conditions > MAX_CONDITIONS:
            return False
    return True


def _weaken(found: ex.Expression) -> ex.Expression | None:
    """Return the strongest condition the kernel can judge that ``found`` implies, or ``None``."""
    if isinstance(found, ex.And):
        left, right = _weaken(found.left), _weaken(found.right)
        if left is None or right is None:
            return left if right is None else right
        return ex.And(left, right)
    if isinstance(found, ex.Or):
        left, right = _weaken(found.left), _weaken(found.right)
        return None if left is None or right is None else ex.Or(left, right)
    # a v4 condition lets v4-mapped sockets pass: good enough to select by, not to exclude by
    return found if isinstance(found, ex.Family) or _is_exact(found) else None


def _is_exact(found: ex.Expression) -> bool:
    if isinstance(found, ex.Not):
        return _is_exact(found.inner)
    if isinstance(found, (ex.And, ex.Or)):
        return _is_exact(found.left) and _is_exact(found.right)
    return isinstance(found, (ex.Host, ex.Port, ex.Device))


def _emit(program: _Program, found: ex.Expression, yes: int, no: int, *, is_last: bool) -> None:
    """Emit ``found`` so that it goes to ``yes`` or ``no``; ``is_last``: ``yes`` is what follows directly."""
    if isinstance(found, ex.Not):
        _emit(program, found.inner, no, yes, is_last=False)
        return
    if isinstance(found, ex.And):
        then = program.label()
        _emit(program, found.left, then, no, is_last=True)
        program.bind(then)
        _emit(program, found.right, yes, no, is_last=is_last)
        return
    if isinstance(found, ex.Or):
        otherwise = program.label()
        _emit(program, found.left, yes, otherwise, is_last=False)
        program.bind(otherwise)
        _emit(program, found.right, yes, no, is_last=is_last)
        return
    if isinstance(found, ex.Host) and found.alternatives:
        _emit(program, _spelled_out(found), yes, no, is_last=is_last)
        return
    if isinstance(found, ex.Port) and found.operator in ("!=", "<", ">"):
        opposite = {"!=": "=", "<": ">=", ">": "<="}[found.operator]
        _emit(program, ex.Not(ex.Port(found.side, opposite, found.port)), yes, no, is_last=is_last)
        return
    code, tail = _operation(found)
    program.emit(code, tail, no)
    if not is_last:
        program.emit(JMP, b"", yes)


def _spelled_out(found: ex.Host) -> ex.Expression:
    spelled: ex.Expression = found._replace(alternatives=())
    for network in found.alternatives:
        spelled = ex.Or(spelled, found._replace(network=network, alternatives=()))
    return spelled


def _operation(found: ex.Expression) -> tuple[int, bytes]:
    if isinstance(found, ex.Host):
        code = S_COND if found.side == ex.LOCAL else D_COND
        return code, _host_condition(_AF[found.family], found.prefix_bits, found.port, found.network)
    if isinstance(found, ex.Family):
        return S_COND, _host_condition(_AF[found.family], 0, None, bytes(4 if found.family == 4 else 16))
    if isinstance(found, ex.Device):
        return DEV_COND, struct.pack("=I", found.ifindex)
    if isinstance(found, ex.Port):
        if found.operator == "=":  # Why: S_EQ and D_EQ came with 5.16; a host condition of any address is as good
            return _operation(ex.Host(found.side, port=found.port))
        codes = {">=": (S_GE, D_GE), "<=": (S_LE, D_LE)}[found.operator]
        # the port stands in the ``no`` of a second operation slot
        return codes[found.side == ex.REMOTE], struct.pack("=BBH", 0, 0, found.port)
    raise TypeError(f"the kernel cannot judge {found!r}")


def _host_condition(family: int, bits: int, port: int | None, address: bytes) -> bytes:
    """``struct inet_diag_hostcond``: family, prefix_len, two bytes of padding, port (-1: any), address."""
    return struct.pack("=BBxxi", family, bits, -1 if port is None else port) + address
