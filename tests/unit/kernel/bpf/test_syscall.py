"""The structures of bpf(2), and refusals turned into one line."""

import errno

import pytest

from tcpscope.kernel.bpf import syscall
from tcpscope.model.errors import NotPermitted, Unsupported


def test_program_attributes_have_their_golden_layout():
    data = syscall.pack_program(0x1111, 3, 0x2222, (0x3333, 64), (syscall.TRACE_ITER, 77, "name"))
    assert len(data) == 116
    assert data[0:4] == b"\x1a\0\0\0"  # BPF_PROG_TYPE_TRACING
    assert data[4:8] == b"\x03\0\0\0"
    assert data[8:16] == b"\x11\x11" + b"\0" * 6
    assert data[16:24] == b"\x22\x22" + b"\0" * 6
    assert data[24:32] == b"\x01\0\0\0\x40\0\0\0"
    assert data[32:40] == b"\x33\x33" + b"\0" * 6
    assert data[48:64] == b"name" + b"\0" * 12
    assert data[68:72] == b"\x1c\0\0\0"  # expected_attach_type BPF_TRACE_ITER
    assert data[108:112] == b"\x4d\0\0\0"  # attach_btf_id


def test_program_without_log_asks_for_none():
    data = syscall.pack_program(1, 1, 1, (0x3333, 0), (syscall.TRACE_RAW_TP, 1, "n"))
    assert data[24:40] == b"\0" * 16


VERIFIER_LOG = b"""0: R1=ctx() R10=fp0
0: (79) r2 = *(u64 *)(r1 +4096)
func 'x' doesn't have 513-th argument
invalid bpf_context access off=4096 size=8
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


def test_verifier_log_becomes_its_last_meaningful_line():
    error = OSError(errno.EACCES, "Permission denied")
    assert syscall.last_word(VERIFIER_LOG, error) == "invalid bpf_context access off=4096 size=8"
    assert syscall.last_word(b"", error) == "Permission denied and no word why"


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (errno.EPERM, NotPermitted, "CAP_BPF"),
        (errno.ENOSYS, Unsupported, r"no bpf\(2\)"),
        (errno.EINVAL, Unsupported, "Invalid"),
    ],
)
def test_refused_call_names_what_is_missing(monkeypatch, number, kind, text):
    def refuse(command, attributes):
        raise OSError(number, "Invalid argument" if number == errno.EINVAL else "no")

    monkeypatch.setattr(syscall, "bpf", refuse)
    with pytest.raises(kind, match=text):
        syscall.create_map(syscall.ARRAY_MAP, 4, 8, 1)


@pytest.mark.root
def test_refused_program_says_why_in_one_line():
    from tcpscope.kernel.bpf.assembler import R0, R2, R10, Assembler
    from tcpscope.kernel.bpf.btf import FUNC, read_btf

    asm = Assembler()
    asm.load(8, R2, R10, -8)  # reads the stack before anything was written there, and forgets R0
    asm.exit()
    btf_id = read_btf().find("bpf_iter_task_file", FUNC)
    with pytest.raises(Unsupported, match=r"the BPF verifier refused wrong: .*R0") as refused:
        syscall.load_tracing(asm.emit(), syscall.TRACE_ITER, btf_id, "wrong")
    assert "\n" not in str(refused.value)
    assert R0 == 0
