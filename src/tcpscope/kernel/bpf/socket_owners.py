"""Who holds which socket: a BPF ``task_file`` iterator walks every descriptor of every process inside the kernel.

Measured on Linux 6.18: 200 000 descriptors in 0.06 s of CPU, against 0.75 s for reading /proc/PID/fd. Only socket
files come out. The walk is of the whole host; join the inodes with the sockets wanted. Process ids are those of the
initial pid namespace, so a reader inside another one is refused rather than told wrong numbers.
"""

from __future__ import annotations

import os

from tcpscope.kernel.bpf.assembler import R0, R1, R2, R3, R6, R7, R8, R9, R10, Assembler
from tcpscope.kernel.bpf.layout import Layout, need, read_layout
from tcpscope.kernel.bpf.syscall import SEQ_WRITE, TRACE_ITER, create_iterator, load_tracing
from tcpscope.model.errors import Unsupported

#: One record: inode u64, thread group id u32, descriptor u32, comm of the group leader char[16].
OWNER_RECORD = "<QII16s"
OWNER_RECORD_BYTES = 32

NAMES = (
    "function bpf_iter_task_file",
    "bit bpf_iter__task_file.meta",
    "bit bpf_iter__task_file.task",
    "bit bpf_iter__task_file.fd",
    "bit bpf_iter__task_file.file",
    "bit bpf_iter_meta.seq",
    "bit file.f_inode",
    "bit inode.i_mode",
    "bit inode.i_ino",
    "bit task_struct.tgid",
    "bit task_struct.group_leader",
    "bit task_struct.comm",
)
_S_IFMT, _S_IFSOCK = 0xF000, 0xC000
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO, include/linux/proc_ns.h


def read_socket_owners() -> bytes:
    """Walk all descriptors of all processes once; return :data:`OWNER_RECORD` records, one per socket descriptor.

    Raises :class:`~tcpscope.model.errors.NotPermitted` without CAP_BPF and CAP_PERFMON, and
    :class:`~tcpscope.model.errors.Unsupported` with the reason on kernels without BTF or iterators (before 5.8).
    """
    if os.readlink("/proc/self/ns/pid") != _INITIAL_PID_NAMESPACE:
        raise Unsupported("BPF counts processes of the initial pid namespace, and this is another one")
    layout = read_layout("owners", NAMES)
    program = load_tracing(
        assemble(layout), TRACE_ITER, need(layout, "function bpf_iter_task_file")[0], "tcpscope_owners"
    )
    try:
        iterator = create_iterator(program)
    finally:
        os.close(program)
    try:
        return _drain(iterator)
    finally:
        os.close(iterator)


def assemble(layout: Layout) -> bytes:
    """Assemble the iterator's program: skip what is no socket, write one record for what is."""
    meta, task, fd, file, seq, f_inode, i_mode, i_ino, tgid, leader, comm = (
        bits // 8 for bits in need(layout, *NAMES[1:])
    )
    asm = Assembler()
    asm.mov(R6, R1)
    asm.load(8, R7, R6, task)
    asm.jump_if(R7, "==", 0, "done")
    asm.load(8, R8, R6, file)
    asm.jump_if(R8, "==", 0, "done")
    asm.load(8, R8, R8, f_inode)
    asm.load(2, R2, R8, i_mode)
    asm.alu_imm("and", R2, _S_IFMT)
    asm.jump_if(R2, "!=", _S_IFSOCK, "done")
    record = -OWNER_RECORD_BYTES
    asm.load(8, R2, R8, i_ino)
    asm.store(8, R10, record, R2)
    asm.load(4, R2, R7, tgid)
    asm.store(4, R10, record + 8, R2)
    asm.load(4, R2, R6, fd)
    asm.store(4, R10, record + 12, R2)
    asm.load(8, R9, R7, leader)
    for half in (0, 8):
        asm.load(8, R2, R9, comm + half)
        asm.store(8, R10, record + 16 + half, R2)
    asm.load(8, R1, R6, meta)
    asm.load(8, R1, R1, seq)
    asm.mov(R2, R10)
    asm.alu_imm("add", R2, record)
    asm.mov_imm(R3, OWNER_RECORD_BYTES)
    asm.call(SEQ_WRITE)
    asm.label("done")
    asm.mov_imm(R0, 0)
    asm.exit()
    return asm.emit()


def _drain(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)
