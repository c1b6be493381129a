"""Where the running kernel keeps what our programs read: offsets, BTF ids and function addresses, found by name.

A layout is a flat ``name -> int``. Names: ``bit sock.__sk_common.skc_net.net`` (bit offset of a member), ``function
bpf_iter_task_file`` and ``tracepoint kfree_skb`` (BTF ids), ``arguments kfree_skb`` (how many the tracepoint has),
``enum sk_rst_reason.SK_RST_REASON_ERROR`` (the value of an enumerator) and ``address tw_timer_handler`` (kallsyms).
What this kernel lacks is -1: the caller decides whether it can do without.

Reading BTF costs 0.1 s, so a layout is kept as JSON in a directory only root can reach, keyed by boot, kernel and
size of the BTF: an offset in there becomes part of a program the kernel runs. ``/run`` is empty after a boot.
"""

from __future__ import annotations

import os
import struct

from tcpscope.kernel.bpf.btf import FUNC, TYPEDEF, VMLINUX, Btf, read_btf
from tcpscope.model.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

Layout = dict[str, int]
DIRECTORY = "/run/tcpscope"
ABSENT = -1


def read_layout(part: str, names: tuple[str, ...], btf_path: str = VMLINUX, directory: str = DIRECTORY) -> Layout:
    """Return the layout of ``names``, from the cache when it was written for exactly this kernel and these names."""
    path = os.path.join(directory, f"{part}-{_kernel_key(btf_path)}.json")
    layout = _read_cache(path, directory)
    if layout is None or any(name not in layout for name in names):
        layout = find_layout(names, read_btf(btf_path))
        _write_cache(path, directory, layout)
    return layout


def need(layout: Layout, *names: str) -> list[int]:
    """Return the values of ``names``. Raises :class:`Unsupported` naming the first that this kernel lacks."""
    for name in names:
        if layout.get(name, ABSENT) == ABSENT:
            raise Unsupported(f"this kernel has no {name.split(' ', 1)[1]} (as BTF or kallsyms tell)")
    return [layout[name] for name in names]


def find_layout(names: tuple[str, ...], btf: Btf, kallsyms: str = "/proc/kallsyms") -> Layout:
    """Look every name up; :data:`ABSENT` for what there is not."""
    layout: Layout = {}
    for name in names:
        kind, _, what = name.partition(" ")
        if kind in _FINDERS:
            try:
                found = _FINDERS[kind](btf, what)
            except (ValueError, IndexError, struct.error, RecursionError):
                raise Unsupported(f"damaged BTF: looking for {what} leads nowhere") from None
            layout[name] = ABSENT if found is None else found
    symbols = [name.removeprefix("address ") for name in names if name.startswith("address ")]
    for symbol, address in read_symbols(symbols, kallsyms).items():
        layout["address " + symbol] = address
    return layout


def _count_arguments(btf: Btf, tracepoint: str) -> int | None:
    parameters = btf.parameters("btf_trace_" + tracepoint)
    return None if parameters is None else len(parameters) - 1  # the first is the tracepoint's own


_FINDERS: dict[str, Callable[[Btf, str], int | None]] = {
    "bit": lambda btf, path: btf.bit_offset(path),
    "function": lambda btf, name: btf.find(name, FUNC),
    "tracepoint": lambda btf, name: btf.find("btf_trace_" + name, TYPEDEF),
    "enum": lambda btf, path: btf.enumerator(path),
    "arguments": _count_arguments,
}


def read_symbols(symbols: list[str], path: str = "/proc/kallsyms") -> Layout:
    """Return the addresses of kernel symbols; :data:`ABSENT` for those hidden (kptr_restrict) or missing."""
    found = dict.fromkeys(symbols, ABSENT)
    if not symbols:
        return found
    try:
        with open(path, "rb", buffering=0) as file:
            text = _read_all(file.fileno())
    except OSError:
        return found
    for symbol in symbols:
        at = text.find(b" " + symbol.encode() + b"\n")
        if at >= 0:
            line = text[text.rfind(b"\n", 0, at) + 1 : at]
            found[symbol] = int(line.split()[0], 16) or ABSENT
    return found


def _read_all(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def _kernel_key(btf_path: str) -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            boot = file.read().strip()
    except OSError as error:
        raise Unsupported(f"cannot read {error.filename} ({error.strerror})") from None
    try:
        size = os.stat(btf_path).st_size
    except OSError as error:
        raise Unsupported(f"no BTF at {btf_path} ({error.strerror}): the kernel lacks CONFIG_DEBUG_INFO_BTF") from None
    return f"{boot}-{os.uname().release}-{size}"


def is_root_only(directory: str) -> bool:
    """Whether ``directory`` is a real directory of root's that nobody else can reach."""
    import stat

    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o077


def _read_cache(path: str, directory: str) -> Layout | None:
    if not is_root_only(directory):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return parse_flat_json(file.read())
    except (OSError, ValueError):
        return None


def parse_flat_json(text: str) -> Layout:
    """Read a JSON object of integers without :mod:`json`, whose import costs more than the look-up it would save.

    Raises ``ValueError`` for anything else.
    """
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")):
        raise ValueError("no JSON object")
    layout: Layout = {}
    for item in body[1:-1].split(","):
        name, separator, value = item.rpartition(":")
        if not separator or name.strip()[:1] != '"':
            raise ValueError("no flat JSON object of integers")
        layout[name.strip().strip('"')] = int(value)
    return layout


def _write_cache(path: str, directory: str, layout: Layout) -> None:
    """Keep a layout for the next run; a place that is not safe or not writable only costs the time again."""
    try:
        if not os.path.lexists(directory):
            os.mkdir(directory, 0o700)
        if not is_root_only(directory):
            return
        temporary = f"{path}.{os.getpid()}"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write("{" + ", ".join(f'"{name}": {value}' for name, value in layout.items()) + "}\n")
        os.rename(temporary, path)
    except OSError:
        return
