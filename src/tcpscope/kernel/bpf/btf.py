"""A reader of BTF, the kernel's own description of its types (``Documentation/bpf/btf.rst``).

Answers three questions: which id has a type of this name and kind, at which bit of a structure is the member at this
dotted path (anonymous structures and unions are looked through, as in C), and how many arguments a function type
takes. It builds no objects for the 130 000 types of a kernel: one pass notes where each begins.
"""

from __future__ import annotations

import struct
from array import array

from tcpscope.model.errors import Unsupported

VMLINUX = "/sys/kernel/btf/vmlinux"
_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MEMBER = struct.Struct("<III")

STRUCT, UNION, ENUM, TYPEDEF, FUNC, FUNC_PROTO = 4, 5, 6, 8, 12, 13
_QUALIFIERS = frozenset((8, 9, 10, 11, 18))  # typedef volatile const restrict type_tag
#: Kind -> (bytes after the 12-byte head, bytes per element).
_TAILS = {
    1: (4, 0), 2: (0, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 7: (0, 0), 8: (0, 0), 9: (0, 0), 10: (0, 0),
    11: (0, 0), 12: (0, 0), 13: (0, 8), 14: (4, 0), 15: (0, 12), 16: (0, 0), 17: (4, 0), 18: (0, 0), 19: (0, 12),
}  # fmt: skip


class Btf:
    """The types of one kernel. Raises :class:`Unsupported` for bytes that are no BTF we can read."""

    def __init__(self, data: bytes) -> None:
        try:
            magic, _, _, head, types, types_len, strings, strings_len = _HEADER.unpack_from(data)
        except struct.error:
            raise Unsupported("BTF is shorter than its header") from None
        if magic != _MAGIC:
            raise Unsupported("no BTF (wrong magic, or another byte order)")
        if head + max(types + types_len, strings + strings_len) > len(data):
            raise Unsupported("BTF is cut short")
        self._types = data[head + types : head + types + types_len]
        self._strings = data[head + strings : head + strings + strings_len]
        try:
            self._offsets = self._index()
        except struct.error:
            raise Unsupported("BTF ends inside a type") from None

    def find(self, name: str, *kinds: int) -> int | None:
        """Return the id of the first type called ``name`` that is one of ``kinds``, or ``None``."""
        wanted = self._string_offset(name)
        if wanted is None:
            return None
        needle = struct.pack("<I", wanted)
        at = self._types.find(needle)
        while at >= 0:
            number = self._id_at(at)
            if number and self._kind(number) in kinds:
                return number
            at = self._types.find(needle, at + 1)
        return None

    def bit_offset(self, path: str) -> int | None:
        """Return the bit at which ``structure.member.member`` begins, or ``None`` when there is no such member."""
        names = path.split(".")
        current = self.find(names[0], STRUCT)
        bits = 0
        for name in names[1:]:
            found = self._member(current, name) if current else None
            if found is None:
                return None
            bits += found[0]
            current = self._aggregate(found[1])
        return bits

    def enumerator(self, path: str) -> int | None:
        """Return the value of ``enumeration.NAME``, or ``None``."""
        enumeration, _, wanted = path.partition(".")
        number = self.find(enumeration, ENUM)
        if number is None:
            return None
        at = self._offsets[number]
        for i in range(_TYPE.unpack_from(self._types, at)[1] & 0xFFFF):
            name_at, value = struct.unpack_from("<Ii", self._types, at + 12 + 8 * i)
            if self._name(name_at) == wanted:
                return int(value)
        return None

    def parameters(self, typedef: str) -> list[str] | None:
        """Return the parameter names of ``typedef ret (*name)(...)`` (``""`` when unnamed), or ``None``."""
        number = self.find(typedef, TYPEDEF)
        if number is None:
            return None
        proto = self._type_of(self._type_of(number))
        if self._kind(proto) != FUNC_PROTO:
            return None
        at = self._offsets[proto]
        count = _TYPE.unpack_from(self._types, at)[1] & 0xFFFF
        return [self._name(struct.unpack_from("<I", self._types, at + 12 + 8 * i)[0]) for i in range(count)]

    def _index(self) -> array[int]:
        """Note where each type begins (id 0 is void)."""
        offsets = array("I", (0,))
        add, info_at, types, at, end = offsets.append, struct.Struct("<I").unpack_from, self._types, 0, len(self._types)
        tails = [_TAILS.get(kind, (-1, 0)) for kind in range(32)]
        while at < end:
            add(at)
            info = info_at(types, at + 4)[0]
            fixed, each = tails[info >> 24 & 0x1F]
            if fixed < 0:
                raise Unsupported(f"BTF of a newer kind ({info >> 24 & 0x1F}) than this reader knows")
            at += 12 + fixed + each * (info & 0xFFFF)
        return offsets

    def _id_at(self, at: int) -> int:
        """Return the id of the type that begins at byte ``at``, or 0 when ``at`` is inside one."""
        from bisect import bisect_left

        number = bisect_left(self._offsets, at, 1)
        return number if number < len(self._offsets) and self._offsets[number] == at else 0

    def _kind(self, number: int) -> int:
        return int(_TYPE.unpack_from(self._types, self._offsets[number])[1]) >> 24 & 0x1F

    def _type_of(self, number: int) -> int:
        return int(_TYPE.unpack_from(self._types, self._offsets[number])[2])

    def _name(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def _string_offset(self, name: str) -> int | None:
        at = self._strings.find(b"\0" + name.encode() + b"\0")
        return at + 1 if at >= 0 else None

    def _aggregate(self, number: int) -> int | None:
        """Follow qualifiers and typedefs to a structure or union."""
        while number and self._kind(number) in _QUALIFIERS:
            number = self._type_of(number)
        return number if number and self._kind(number) in (STRUCT, UNION) else None

    def _member(self, number: int, name: str) -> tuple[int, int] | None:
        """Return ``(bit offset, type)`` of a member, looking through anonymous aggregates."""
        at = self._offsets[number]
        info = _TYPE.unpack_from(self._types, at)[1]
        for i in range(info & 0xFFFF):
            name_at, member_type, where = _MEMBER.unpack_from(self._types, at + 12 + 12 * i)
            bits = where & 0xFFFFFF if info >> 31 else where
            if name_at:
                if self._name(name_at) == name:
                    return bits, member_type
                continue
            inner = self._aggregate(member_type)
            found = self._member(inner, name) if inner else None
            if found:
                return bits + found[0], found[1]
        return None


def read_btf(path: str = VMLINUX) -> Btf:
    """Read the running kernel's BTF. Raises :class:`Unsupported` when it has none (``CONFIG_DEBUG_INFO_BTF``)."""
    try:
        with open(path, "rb", buffering=0) as file:
            return Btf(file.read())
    except OSError as error:
        raise Unsupported(f"no BTF at {path} ({error.strerror}): the kernel lacks CONFIG_DEBUG_INFO_BTF") from None
