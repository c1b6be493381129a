"""A small BTF made by hand, the running kernel's own, and what is broken."""

import os
import struct

import pytest

from tcpscope.kernel.bpf.btf import FUNC, STRUCT, TYPEDEF, VMLINUX, Btf, read_btf
from tcpscope.model.errors import Unsupported

NAMES = ["", "int", "outer", "inner", "a", "b", "c", "name", "btf_trace_x", "x"]


def make_btf(kind_of_last=12):
    """``struct outer { int a; union { int b; struct inner { int c; } name; }; }`` and a tracepoint of two arguments."""
    strings = b"".join(name.encode() + b"\0" for name in NAMES)
    at = {name: strings.index(b"\0" + name.encode() + b"\0") + 1 if name else 0 for name in NAMES}

    def head(name, kind, vlen, third, flag=0):
        return struct.pack("<III", at[name], flag << 31 | kind << 24 | vlen, third)

    def member(name, type_id, bits):
        return struct.pack("<III", at[name], type_id, bits)

    types = b"".join(
        [
            head("int", 1, 0, 4) + struct.pack("<I", 32),  # 1
            head("inner", STRUCT, 1, 4) + member("c", 1, 0),  # 2
            head("", 10, 0, 2),  # 3 const struct inner
            head("", 5, 2, 4) + member("b", 1, 0) + member("name", 3, 0),  # 4
            head("outer", STRUCT, 2, 8) + member("a", 1, 0) + member("", 4, 32),  # 5
            head("", 13, 3, 0) + struct.pack("<IIIIII", 0, 1, at["a"], 1, 0, 1),  # 6 proto
            head("", 2, 0, 6),  # 7 ptr
            head("btf_trace_x", TYPEDEF, 0, 7),  # 8
            head("x", kind_of_last, 0, 6),  # 9
        ]
    )
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


@pytest.mark.parametrize(
    ("path", "bits"),
    [("outer.a", 0), ("outer.b", 32), ("outer.name.c", 32), ("outer.zzz", None), ("nope.a", None), ("outer.a.b", None)],
)
def test_member_offset_looks_through_anonymous_unions_and_qualifiers(path, bits):
    assert Btf(make_btf()).bit_offset(path) == bits


def test_find_tells_kinds_apart():
    btf = Btf(make_btf())
    assert btf.find("x", FUNC) == 9
    assert btf.find("x", TYPEDEF) is None
    assert btf.find("outer", FUNC, STRUCT) == 5


def test_parameters_of_a_tracepoint():
    assert Btf(make_btf()).parameters("btf_trace_x") == ["", "a", ""]
    assert Btf(make_btf()).parameters("btf_trace_y") is None


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", b"\0" * 24, make_btf()[:-1], make_btf(kind_of_last=29)])
def test_broken_btf_is_one_clear_line(data):
    with pytest.raises(Unsupported, match="BTF"):
        Btf(data)


def test_kernel_without_btf_is_named(tmp_path):
    with pytest.raises(Unsupported, match="CONFIG_DEBUG_INFO_BTF"):
        read_btf(str(tmp_path / "vmlinux"))


@pytest.mark.skipif(not os.path.exists(VMLINUX), reason="this kernel publishes no BTF")
def test_running_kernel_has_the_uapi_offsets_we_know():
    btf = read_btf()
    # include/uapi/linux/tcp.h and the like never move: an oracle that needs no debugger
    assert btf.bit_offset("tcphdr.dest") == 16
    assert btf.bit_offset("tcphdr.ack_seq") == 64
    assert btf.bit_offset("iphdr.daddr") == 128
    assert btf.bit_offset("tcp_info.tcpi_rto") == 64
