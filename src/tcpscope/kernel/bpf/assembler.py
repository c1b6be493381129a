"""A tiny assembler of BPF instructions (``include/uapi/linux/bpf.h``; RFC 9669 for the instruction set).

It knows what our programs use and nothing else: 64-bit moves, loads and stores, a few ALU and jump forms, atomic
add, helper calls, map references. One method is one instruction; jumps name labels; nothing is optimised and nothing
is checked (the kernel's verifier does that). Instructions are little-endian: Linux's BPF follows the host, and the
hosts that run CPython and BPF are little-endian (s390x is refused in :mod:`tcpscope.kernel.bpf.syscall`).
"""

from __future__ import annotations

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)

#: Sizes of loads and stores, by bytes.
_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_LDX_MEM, _STX_MEM, _ST_MEM = 0x61, 0x63, 0x62
_STX_ATOMIC = 0xC3
_LD_IMM64 = 0x18
_ALU64_IMM = {"add": 0x07, "and": 0x57, "lsh": 0x67, "rsh": 0x77, "mov": 0xB7}
_ALU64_REG = {"add": 0x0F, "sub": 0x1F, "mov": 0xBF}
_JUMP_IMM = {"==": 0x15, "!=": 0x55, ">": 0x25}
_JUMP_REG = {"==": 0x1D, "!=": 0x5D}
_JUMP, _CALL, _EXIT = 0x05, 0x85, 0x95
_TO_BIG_ENDIAN = 0xDC
_PSEUDO_MAP_FD = 1


class Assembler:
    """Collect instructions, resolve labels, emit the bytes ``BPF_PROG_LOAD`` takes."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int | str, int]] = []
        self._labels: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._code)

    def label(self, name: str) -> None:
        """Name the next instruction. A name may be used once."""
        if name in self._labels:
            raise ValueError(f"label {name!r} is already taken")
        self._labels[name] = len(self._code)

    def mov(self, dst: int, src: int) -> None:
        """``dst = src``."""
        self._add(_ALU64_REG["mov"], dst, src)

    def mov_imm(self, dst: int, value: int) -> None:
        """``dst = value`` (32 bits, sign-extended)."""
        self._add(_ALU64_IMM["mov"], dst, 0, 0, value)

    def load_imm64(self, dst: int, value: int) -> None:
        """``dst = value`` (64 bits; two slots)."""
        self._add(_LD_IMM64, dst, 0, 0, _signed32(value))
        self._add(0, 0, 0, 0, _signed32(value >> 32))

    def load_map(self, dst: int, fd: int) -> None:
        """``dst = the map behind fd`` (two slots)."""
        self._add(_LD_IMM64, dst, _PSEUDO_MAP_FD, 0, fd)
        self._add(0, 0, 0, 0, 0)

    def load(self, size: int, dst: int, src: int, offset: int) -> None:
        """``dst = *(size bytes)(src + offset)``, zero-extended."""
        self._add(_LDX_MEM | _SIZES[size], dst, src, offset)

    def store(self, size: int, dst: int, offset: int, src: int) -> None:
        """``*(size bytes)(dst + offset) = src``."""
        self._add(_STX_MEM | _SIZES[size], dst, src, offset)

    def store_imm(self, size: int, dst: int, offset: int, value: int) -> None:
        """``*(size bytes)(dst + offset) = value``."""
        self._add(_ST_MEM | _SIZES[size], dst, 0, offset, value)

    def atomic_add(self, dst: int, offset: int, src: int) -> None:
        """``*(u64 *)(dst + offset) += src``, atomically."""
        self._add(_STX_ATOMIC | _SIZES[8], dst, src, offset)

    def alu_imm(self, operation: str, dst: int, value: int) -> None:
        """``dst = dst operation value`` (``add and lsh rsh``), 64 bits."""
        self._add(_ALU64_IMM[operation], dst, 0, 0, value)

    def alu(self, operation: str, dst: int, src: int) -> None:
        """``dst = dst operation src`` (``add sub``), 64 bits."""
        self._add(_ALU64_REG[operation], dst, src)

    def to_big_endian16(self, dst: int) -> None:
        """``dst = htobe16(dst)``: what a port needs in either direction."""
        self._add(_TO_BIG_ENDIAN, dst, 0, 0, 16)

    def jump(self, label: str) -> None:
        """Go to ``label``."""
        self._add(_JUMP, 0, 0, label)

    def jump_if(self, dst: int, test: str, value: int, label: str) -> None:
        """Go to ``label`` if ``dst test value`` (``== != >``; 64 bits, unsigned)."""
        self._add(_JUMP_IMM[test], dst, 0, label, value)

    def jump_if_reg(self, dst: int, test: str, src: int, label: str) -> None:
        """Go to ``label`` if ``dst test src`` (``== !=``)."""
        self._add(_JUMP_REG[test], dst, src, label)

    def call(self, helper: int) -> None:
        """Call a helper: arguments in R1..R5 (lost afterwards), result in R0."""
        self._add(_CALL, 0, 0, 0, helper)

    def exit(self) -> None:
        """Return R0."""
        self._add(_EXIT, 0, 0)

    def emit(self) -> bytes:
        """Return the program. Raises ``KeyError`` for a jump to a label that was never placed."""
        import struct

        pack = struct.Struct("<BBhi").pack
        out = bytearray()
        for at, (code, dst, src, offset, imm) in enumerate(self._code):
            distance = offset if isinstance(offset, int) else self._labels[offset] - at - 1
            out += pack(code, src << 4 | dst, distance, imm)
        return bytes(out)

    def _add(self, code: int, dst: int, src: int, offset: int | str = 0, imm: int = 0) -> None:
        self._code.append((code, dst, src, offset, imm))


def _signed32(value: int) -> int:
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low
