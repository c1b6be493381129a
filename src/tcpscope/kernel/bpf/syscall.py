"""``bpf(2)`` by hand: maps, programs, links and iterators, with the verifier's complaint in one line.

Every object is a file descriptor of this process: programs, links and maps vanish with it, whatever happens.
Structures are those of ``include/uapi/linux/bpf.h``; numbers there never change.
"""

from __future__ import annotations

import errno
import os
import struct
import sys

from tcpscope.model.errors import NotPermitted, TcpscopeError, Unsupported

# commands
MAP_CREATE, MAP_LOOKUP, PROG_LOAD, GET_INFO, RAW_TRACEPOINT_OPEN, LINK_CREATE, ITER_CREATE = 0, 1, 5, 15, 17, 28, 33
# kinds of map, program and attachment
ARRAY_MAP, PERCPU_ARRAY_MAP, RING_BUFFER_MAP = 2, 6, 27
TRACING_PROGRAM = 26
TRACE_RAW_TP, TRACE_ITER = 23, 28
# helpers
MAP_LOOKUP_ELEM, KTIME_GET_NS, GET_CURRENT_PID_TGID, GET_CURRENT_COMM = 1, 5, 14, 16
PROBE_READ_KERNEL, SEQ_WRITE, RINGBUF_RESERVE, RINGBUF_SUBMIT = 113, 127, 131, 132

_SYSCALL_NUMBERS = {
    "x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "i686": 357, "armv7l": 386,
}  # fmt: skip
_LICENSE = b"GPL\0"  # Why: the tracing helpers are for GPL-compatible programs; the words are the kernel's
_LOG_BYTES = 1 << 16

_RECURSION_MISSES_AT = 208  # struct bpf_prog_info
MAP_ATTR = struct.Struct("<IIIII II 16s")
PROGRAM_ATTR = struct.Struct("<II QQ II Q II 16s II II QII QII 4x")


def bpf(command: int, attributes: bytes) -> int:
    """Make one ``bpf(2)`` call; return its result. Raises :class:`OSError` as the kernel answers."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result: int = libc.syscall(_syscall_number(), command, buffer, len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def create_map(kind: int, key_bytes: int, value_bytes: int, entries: int, name: str = "") -> int:
    """Create a map; return its descriptor."""
    attributes = MAP_ATTR.pack(kind, key_bytes, value_bytes, entries, 0, 0, 0, name.encode()[:15])
    return _said(f"creating the BPF map {name}", MAP_CREATE, attributes)


def lookup(map_fd: int, key: int, value_bytes: int) -> bytes:
    """Read one element of an array map."""
    import ctypes

    index = ctypes.c_uint32(key)
    value = ctypes.create_string_buffer(value_bytes)
    bpf(MAP_LOOKUP, struct.pack("<I4xQQQ", map_fd, ctypes.addressof(index), ctypes.addressof(value), 0))
    return value.raw


def read_misses(program_fd: int) -> int:
    """Return how often a program was not run because it was running on that processor already (Linux 5.12, else 0)."""
    import ctypes

    info = ctypes.create_string_buffer(_RECURSION_MISSES_AT + 8)
    try:
        bpf(GET_INFO, struct.pack("<IIQ", program_fd, len(info), ctypes.addressof(info)))
    except OSError:
        return 0
    return int.from_bytes(info.raw[_RECURSION_MISSES_AT:], "little")


def load_tracing(instructions: bytes, attach_type: int, btf_id: int, name: str) -> int:
    """Load a tracing program for the kernel function or tracepoint ``btf_id``; return its descriptor.

    Raises :class:`NotPermitted` without CAP_BPF and CAP_PERFMON, :class:`Unsupported` with the verifier's last word
    when the kernel refuses the program.
    """
    import ctypes

    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(_LICENSE)
    log = ctypes.create_string_buffer(1)

    def attributes(log_bytes: int) -> bytes:
        return pack_program(
            ctypes.addressof(code),
            len(instructions) // 8,
            ctypes.addressof(license_text),
            (ctypes.addressof(log), log_bytes),
            (attach_type, btf_id, name),
        )

    try:
        return bpf(PROG_LOAD, attributes(0))
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise _translated(error, f"loading the BPF program {name}") from None
    # Why: twice, because a log costs time and only a refusal is worth it
    log = ctypes.create_string_buffer(_LOG_BYTES)
    try:
        return bpf(PROG_LOAD, attributes(_LOG_BYTES))
    except OSError as error:
        raise Unsupported(f"the BPF verifier refused {name}: {last_word(log.value, error)}") from None


def pack_program(code: int, count: int, license_at: int, log: tuple[int, int], attach: tuple[int, int, str]) -> bytes:
    """Lay out ``union bpf_attr`` for ``BPF_PROG_LOAD``; ``code``, ``license_at`` and ``log[0]`` are addresses."""
    (log_at, log_bytes), (attach_type, btf_id, name) = log, attach
    head = (TRACING_PROGRAM, count, code, license_at, 1 if log_bytes else 0, log_bytes, log_at if log_bytes else 0)
    middle = (0, 0, name.encode()[:15], 0, attach_type)
    return PROGRAM_ATTR.pack(*head, *middle, 0, 0, 0, 0, 0, 0, 0, btf_id)


def last_word(log: bytes, error: OSError) -> str:
    """Return the line of a verifier log that says why (the last one that is neither statistics nor an instruction)."""
    noise = ("processed ", "verification time", "stack depth", "insns ", "mark_precise", "-- END")
    lines = [line.strip() for line in log.decode("utf-8", "replace").splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(noise) and not line[0].isdigit()]
    return useful[-1] if useful else f"{error.strerror} and no word why"


def attach_raw_tracepoint(program_fd: int) -> int:
    """Attach a loaded ``tp_btf`` program to its tracepoint; return the link."""
    return _said("attaching to the tracepoint", RAW_TRACEPOINT_OPEN, struct.pack("<QI4xQ", 0, program_fd, 0))


def create_iterator(program_fd: int) -> int:
    """Attach an iterator program and start it; return a descriptor to read its output from."""
    link = _said("attaching the iterator", LINK_CREATE, struct.pack("<IIII16x", program_fd, 0, TRACE_ITER, 0))
    try:
        return _said("starting the iterator", ITER_CREATE, struct.pack("<II", link, 0))
    finally:
        os.close(link)


def _said(doing: str, command: int, attributes: bytes) -> int:
    try:
        return bpf(command, attributes)
    except OSError as error:
        raise _translated(error, doing) from None


def _translated(error: OSError, doing: str) -> TcpscopeError:
    if error.errno == errno.EPERM:
        return NotPermitted(f"{doing}: not permitted (needs CAP_BPF and CAP_PERFMON, or lockdown forbids it)")
    if error.errno == errno.ENOSYS:
        return Unsupported(f"{doing}: this kernel has no bpf(2)")
    return Unsupported(f"{doing}: {error.strerror}")


def _syscall_number() -> int:
    machine = os.uname().machine
    if sys.byteorder != "little" or machine not in _SYSCALL_NUMBERS:
        raise Unsupported(f"BPF on {machine} is not known to tcpscope")
    return _SYSCALL_NUMBERS[machine]
