"""Golden bytes: the encodings of RFC 9669, as llvm-objdump prints them."""

import pytest

from tcpscope.kernel.bpf.assembler import R0, R1, R2, R3, R6, R10, Assembler

GOLDEN = [
    ("r0 = 0", lambda asm: asm.mov_imm(R0, 0), "b7 00 00 00 00 00 00 00"),
    ("r0 = -1", lambda asm: asm.mov_imm(R0, -1), "b7 00 00 00 ff ff ff ff"),
    ("r6 = r1", lambda asm: asm.mov(R6, R1), "bf 16 00 00 00 00 00 00"),
    ("r2 = *(u64 *)(r1 + 8)", lambda asm: asm.load(8, R2, R1, 8), "79 12 08 00 00 00 00 00"),
    ("r2 = *(u32 *)(r1 + 8)", lambda asm: asm.load(4, R2, R1, 8), "61 12 08 00 00 00 00 00"),
    ("r2 = *(u16 *)(r1 + 8)", lambda asm: asm.load(2, R2, R1, 8), "69 12 08 00 00 00 00 00"),
    ("r2 = *(u8 *)(r1 + 8)", lambda asm: asm.load(1, R2, R1, 8), "71 12 08 00 00 00 00 00"),
    ("*(u64 *)(r10 - 8) = r1", lambda asm: asm.store(8, R10, -8, R1), "7b 1a f8 ff 00 00 00 00"),
    ("*(u32 *)(r10 - 4) = 7", lambda asm: asm.store_imm(4, R10, -4, 7), "62 0a fc ff 07 00 00 00"),
    ("*(u8 *)(r10 - 1) = r3", lambda asm: asm.store(1, R10, -1, R3), "73 3a ff ff 00 00 00 00"),
    ("lock *(u64 *)(r0 + 0) += r1", lambda asm: asm.atomic_add(R0, 0, R1), "db 10 00 00 00 00 00 00"),
    ("r2 += -16", lambda asm: asm.alu_imm("add", R2, -16), "07 02 00 00 f0 ff ff ff"),
    ("r2 &= 61440", lambda asm: asm.alu_imm("and", R2, 61440), "57 02 00 00 00 f0 00 00"),
    ("r0 >>= 32", lambda asm: asm.alu_imm("rsh", R0, 32), "77 00 00 00 20 00 00 00"),
    ("r2 -= r3", lambda asm: asm.alu("sub", R2, R3), "1f 32 00 00 00 00 00 00"),
    ("r2 = be16 r2", lambda asm: asm.to_big_endian16(R2), "dc 02 00 00 10 00 00 00"),
    ("call 5", lambda asm: asm.call(5), "85 00 00 00 05 00 00 00"),
    ("exit", lambda asm: asm.exit(), "95 00 00 00 00 00 00 00"),
    (
        "r1 = 0xffffffff82006070 ll",
        lambda asm: asm.load_imm64(R1, 0xFFFFFFFF82006070),
        "18 01 00 00 70 60 00 82 00 00 00 00 ff ff ff ff",
    ),
    ("r1 = map 3", lambda asm: asm.load_map(R1, 3), "18 11 00 00 03 00 00 00 00 00 00 00 00 00 00 00"),
]


@pytest.mark.parametrize(("text", "build", "expected"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_instruction_has_its_golden_bytes(text, build, expected):
    asm = Assembler()
    build(asm)
    assert asm.emit() == bytes.fromhex(expected), text


def test_jumps_count_slots_from_the_next_instruction():
    asm = Assembler()
    asm.jump_if(R1, "==", 0, "end")
    asm.load_imm64(R2, 1)
    asm.jump_if(R1, "!=", 5, "start")
    asm.label("start")
    asm.jump("end")
    asm.jump_if_reg(R1, "==", R2, "end")
    asm.label("end")
    asm.exit()
    code = asm.emit()
    assert code[:8] == bytes.fromhex("15 01 05 00 00 00 00 00")
    assert code[24:32] == bytes.fromhex("55 01 00 00 05 00 00 00")
    assert code[32:40] == bytes.fromhex("05 00 01 00 00 00 00 00")
    assert code[40:48] == bytes.fromhex("1d 21 00 00 00 00 00 00")


def test_backward_jump_is_negative():
    asm = Assembler()
    asm.label("top")
    asm.jump("top")
    assert asm.emit() == bytes.fromhex("05 00 ff ff 00 00 00 00")


def test_label_twice_and_label_missing_are_refused():
    asm = Assembler()
    asm.label("a")
    with pytest.raises(ValueError, match="already taken"):
        asm.label("a")
    asm.jump("nowhere")
    with pytest.raises(KeyError):
        asm.emit()
