"""Machine code that numba made once, kept on disk and called without numba.

Importing numba and letting it find its own cached code takes half a second of each run; what is kept here takes two
milliseconds and needs neither numba nor llvmlite. A :class:`Unit` is compiled to one object; :func:`_link` turns it
into an *image*: its code and constants in one piece that runs wherever it lies, refused when it asks for anything
outside itself. The file of an image is named by a hash of the texts it was made of, the CPU, Python, numba and
llvmlite; it counts only when it is ours, nobody else may write it, and its checksum is right. Anything else is as if
it were not there.

It is not a linker: it knows the few kinds of reference that such code makes, on Linux for x86-64 and 64-bit Arm.
Elsewhere, compiled code lives as long as the process.
"""

from __future__ import annotations

import os
import sys
from struct import Struct

from tcpscope import extras
from tcpscope.model.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from types import ModuleType
    from typing import Any

    Thing = Any  #: numba, llvmlite and arrays, unseen by the type checker
    Entry = Callable[..., int]
    # what :func:`pointers` gives to entries
    octets_at: Callable[[int], Thing]
    ints_at: Callable[[int], Thing]
    longs_at: Callable[[int], Thing]

#: Changes when what is kept, or how it is called, changes.
_FORMAT = b"tcpscope machine code 1\n"
_DIGEST_BYTES = 32
_PLACE = Struct("<I")
#: So many images of one unit stay: a home may serve machines with different CPUs.
_MOST_IMAGES = 8
_CPU_WORDS = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU implementer", "CPU part", "Features")


class Unit(NamedTuple):
    """What is compiled together.

    ``modules`` hold the text the code is made of. ``entries`` are the names of functions that take and return 64-bit
    integers, some of them addresses, and how many they take. ``build`` is given numba and returns a function for
    each of them, made by :func:`jit`.
    """

    name: str
    modules: tuple[ModuleType, ...]
    entries: Mapping[str, int]
    build: Callable[[Thing], Mapping[str, Thing]]


_loaded: dict[str, dict[str, Entry]] = {}


def load(unit: Unit, progress: Callable[[int], None] | None = None) -> dict[str, Entry]:
    """Return the entries of a unit, from disk or compiled now; ``progress`` is told how many functions are compiled.

    Raises ``Unsupported`` when neither is possible.
    """
    if not is_ready(unit):
        _loaded[unit.name] = _compile(unit, progress)
    return _loaded[unit.name]


def is_ready(unit: Unit) -> bool:
    """Whether :func:`load` need not compile."""
    if unit.name not in _loaded:
        entries = _read(unit)
        if entries is None:
            return False
        _loaded[unit.name] = entries
    return True


def is_kept(unit: Unit) -> bool:
    """Whether the next process need not compile either."""
    return _read(unit) is not None


def jit(function: Callable[..., Any], numba: Thing) -> Thing:
    """Mark a function for compilation.

    Why _nrt: none allocates, and counting references doubles the cost of a packet. Without wrappers: only compiled
    code calls it, and they take a quarter of the time to compile.
    """
    return numba.njit(
        function, nogil=True, _nrt=False, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
    )


def pointers(numba: Thing) -> dict[str, Thing]:
    """Return what entries make pointers with, of addresses: ``octets_at``, ``ints_at`` (32 bits), ``longs_at`` (64)."""
    kinds = {"octets_at": numba.uint8, "ints_at": numba.int32, "longs_at": numba.int64}
    return {name: _pointer_to(numba.types.CPointer(kind), numba) for name, kind in kinds.items()}


def _pointer_to(kind: Thing, numba: Thing) -> Thing:
    def generate(context: Thing, builder: Thing, signature: Thing, arguments: Thing) -> Thing:
        return builder.inttoptr(arguments[0], context.get_data_type(kind))

    def typing(context: Thing, address: Thing) -> Thing:
        return kind(numba.types.int64), generate

    return numba.extending.intrinsic(typing)


# --- compiling


def _compile(unit: Unit, progress: Callable[[int], None] | None) -> dict[str, Entry]:
    """Compile, keep the image when that is possible, and return the entries."""
    numba = extras.require("numba", "the compiled engine")
    libraries, names = [], {}
    functions = unit.build(numba)
    with _told(progress):
        for name, count in unit.entries.items():
            signature = numba.int64(*[numba.int64] * count)
            functions[name].compile(signature)
            compiled = functions[name].overloads[signature.args]
            libraries.append(compiled.library)
            names[name] = compiled.fndesc.llvm_func_name
    image = _link(_emit(libraries, set(names.values())), names)
    if image is None:
        places = {
            name: library.get_pointer_to_function(names[name]) for name, library in zip(names, libraries, strict=True)
        }
        return _entries(unit, places, libraries)
    _keep(unit, image)
    return _map(unit, image)


def _told(progress: Callable[[int], None] | None) -> AbstractContextManager[object]:
    """Tell of every function that numba has compiled."""
    from contextlib import nullcontext
    from itertools import count

    if progress is None:
        return nullcontext()
    from numba.core import event

    tell, done = progress, count(1)

    class Listener(event.Listener):
        def on_start(self, event: object) -> None:
            """Nothing is done yet."""

        def on_end(self, event: object) -> None:
            """One more."""
            tell(next(done))

    watched: AbstractContextManager[object] = event.install_listener("numba:compile", Listener())
    return watched


def _emit(libraries: list[Thing], public: set[str]) -> bytes:
    """Turn the finished modules of numba into one object whose code runs wherever it lies."""
    from llvmlite import binding

    codegen = libraries[0].codegen
    module = binding.parse_bitcode(libraries[0]._final_module.as_bitcode())
    for library in libraries[1:]:
        module.link_in(binding.parse_bitcode(library._final_module.as_bitcode()))
    for function in module.functions:
        if not function.is_declaration and function.name not in public:
            function.linkage = "internal"  # Why: a reference to what others might replace goes through a table
    machine = binding.Target.from_triple(binding.get_process_triple()).create_target_machine(
        codegen._get_host_cpu_name(), codegen._get_host_cpu_features(), 3, "pic", "small"
    )
    found: bytes = machine.emit_object(module)
    return found


_HEADER = Struct("<16sHHIQQQIHHHHHH")
_SECTION = Struct("<IIQQQQIIQQ")
_SYMBOL = Struct("<IBBHQQ")
_RELOCATION = Struct("<QIIq")
_X86_64, _AARCH64 = 62, 183
_PROGBITS, _SYMTAB, _RELA = 1, 2, 4
_WRITE, _ALLOCATE = 1, 2


def _link(data: bytes, names: Mapping[str, str]) -> bytes | None:
    """Make an image of an ELF object (System V gABI), or ``None`` when it cannot stand alone."""
    if not data.startswith(b"\x7fELF\x02\x01"):
        return None
    header = _HEADER.unpack_from(data)
    references = _REFERENCES.get(header[2], {})
    sections = [_SECTION.unpack_from(data, header[6] + number * _SECTION.size) for number in range(header[12])]
    image, places = bytearray(), {}
    for number, (_, kind, flags, _, offset, size, _, _, align, _) in enumerate(sections):
        if kind == _PROGBITS and flags & _ALLOCATE and not flags & _WRITE:
            image += bytes(-len(image) % max(align, 1))
            places[number] = len(image)
            image += data[offset : offset + size]
    table = next(section for section in sections if section[1] == _SYMTAB)
    symbols = list(_SYMBOL.iter_unpack(data[table[4] : table[4] + table[5]]))
    for section in sections:
        if section[1] != _RELA or section[7] not in places:
            continue
        for at, kind, symbol, addend in _RELOCATION.iter_unpack(data[section[4] : section[4] + section[5]]):
            _, _, _, home, value, _ = symbols[symbol]
            if home not in places or kind not in references:
                return None
            at += places[section[7]]
            word = int.from_bytes(image[at : at + 4], "little")
            word = references[kind](word, places[home] + value + addend, at)
            image[at : at + 4] = (word & 0xFFFFFFFF).to_bytes(4, "little")
    strings = sections[table[6]][4]
    found = {}
    for text, _, _, home, value, _ in symbols:
        start = strings + text
        found[data[start : data.index(b"\0", start)].decode()] = places.get(home, 0) + value
    return b"".join(_PLACE.pack(found[name]) for name in names.values()) + image


def _distance(word: int, target: int, place: int) -> int:
    """Fill in how far the target is."""
    return target - place


def _page(word: int, target: int, place: int) -> int:
    """Fill ``adrp``: how many pages of 4 KiB the target's is away, two low bits apart from the others."""
    pages = (target >> 12) - (place >> 12)
    return word | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5


def _place_in_page(shift: int) -> Callable[[int, int, int], int]:
    """Fill where in its page the target is, in units of what is loaded there."""
    return lambda word, target, place: word | (target & 0xFFF) >> shift << 10


#: By machine and kind of reference (x86-64 psABI §4.4; ELF for the Arm 64-bit architecture §5.7): the 32 bits with
#: the target filled in, of those before, the target and the place, both counted from the begin of a page.
_REFERENCES: dict[int, dict[int, Callable[[int, int, int], int]]] = {
    _X86_64: {2: _distance, 4: _distance},  # PC32, PLT32
    _AARCH64: {
        261: _distance,  # PREL32
        275: _page,  # ADR_PREL_PG_HI21
        **{kind: _place_in_page(shift) for kind, shift in ((277, 0), (278, 0), (284, 1), (285, 2), (286, 3), (299, 4))},
    },  # ADD_ABS_LO12_NC, LDST8 to LDST128_ABS_LO12_NC
}


# --- on disk


def _read(unit: Unit) -> dict[str, Entry] | None:
    path = path_of(unit)
    content = _read_own(path) if path else None
    if content is None:
        return None
    import hashlib

    start = _FORMAT + os.path.basename(path).encode()
    image = content[len(start) + _DIGEST_BYTES :]
    if content != start + hashlib.sha256(start + image).digest() + image:
        return None
    return _map(unit, image)


def _read_own(path: str) -> bytes | None:
    """Read a file that is ours and that nobody else may write; ``None`` for any other."""
    import stat

    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        facts = os.fstat(number)
        if facts.st_uid != os.geteuid() or facts.st_mode & 0o022 or not stat.S_ISREG(facts.st_mode):
            return None
        with open(number, "rb", closefd=False) as file:
            return file.read()
    except OSError:
        return None
    finally:
        os.close(number)


def _keep(unit: Unit, image: bytes) -> None:
    """Write an image whole or not at all; one line on stderr when the place does not take it."""
    import contextlib
    import hashlib
    import tempfile

    path = path_of(unit)
    if not path:
        return
    start = _FORMAT + os.path.basename(path).encode()
    partial = ""
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        number, partial = tempfile.mkstemp(prefix=f"{unit.name}-", dir=os.path.dirname(path))
        with open(number, "wb") as file:
            file.write(start + hashlib.sha256(start + image).digest() + image)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        print(f"tcpscope: the compiled engine cannot be kept, the next run compiles again: {error}", file=sys.stderr)
        return
    with contextlib.suppress(OSError):  # Why: another process may be doing the same
        _forget_oldest(unit, os.path.dirname(path))


def _forget_oldest(unit: Unit, folder: str) -> None:
    images = [entry for entry in os.scandir(folder) if entry.name.startswith(f"{unit.name}-")]
    for entry in sorted(images, key=lambda entry: -entry.stat().st_mtime)[_MOST_IMAGES:]:
        os.unlink(entry.path)


def path_of(unit: Unit) -> str:
    """Where the image of this unit for this machine is kept, or nothing when no name can be sure of being right."""
    import hashlib

    cpu, folder = _read_cpu(), _folder()
    if not cpu or not folder:
        return ""
    facts = (sys.version, str(sys.maxsize), *_versions())
    digest = hashlib.sha256(_FORMAT + cpu + "\n".join(facts).encode())
    for module in (*unit.modules, sys.modules[__name__]):
        digest.update(module.__spec__.loader.get_data(module.__file__))  # type: ignore[union-attr]  # a source loader
    return os.path.join(folder, f"{unit.name}-{digest.hexdigest()[:32]}")


def _folder() -> str:
    """Return our folder for what can be made again, or nothing: a user may have none.

    Why pwd: sudo may leave HOME at another user's, to be spared.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return os.path.join(base, "tcpscope")
    home = os.path.expanduser("~")
    if not os.path.isdir(home) or os.stat(home).st_uid != os.geteuid():
        import pwd

        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            return ""
    return os.path.join(home, ".cache", "tcpscope")


def _read_cpu() -> bytes:
    """Return what the kernel says of the first processor's abilities, nothing where there is no such file."""
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            first = file.read(4096).partition(b"\n\n")[0].decode()
    except (OSError, ValueError):
        return b""
    lines = [line for line in first.splitlines() if line.partition("\t")[0].rstrip() in _CPU_WORDS]
    return "\n".join([os.uname().machine, *lines]).encode() if lines else b""


def _versions() -> list[str]:
    """Return the names of the installed numba's and llvmlite's own folders. Why not importlib.metadata: 15 ms."""
    import importlib.util

    extras.load("site")  # optional libraries may lie where only site looks
    found = []
    for name in ("numba", "llvmlite"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            beside = os.path.dirname(os.path.dirname(spec.origin))
            found += sorted(entry for entry in os.listdir(beside) if entry.startswith(f"{name}-"))
    return found


# --- in memory


def _map(unit: Unit, image: bytes) -> dict[str, Entry]:
    """Put an image where it may run, and only run. Raises ``Unsupported`` where programs may make no code."""
    import ctypes
    import mmap

    from tcpscope.model.errors import Unsupported

    code = image[_PLACE.size * len(unit.entries) :]
    memory = mmap.mmap(-1, len(code), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = code
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if protect(base, len(memory), mmap.PROT_READ | mmap.PROT_EXEC):
        reason = os.strerror(ctypes.get_errno())
        raise Unsupported(f"this system does not let a program make code: {reason}; use --engine python")
    places = {name: base + _PLACE.unpack_from(image, 4 * number)[0] for number, name in enumerate(unit.entries)}
    return _entries(unit, places, memory)


def _entries(unit: Unit, places: Mapping[str, int], owner: object) -> dict[str, Entry]:
    return {name: _entry(places[name], count, owner) for name, count in unit.entries.items()}


def _entry(address: int, count: int, owner: object) -> Entry:
    """Call by numba's convention: where the result goes, where an exception goes (there are none), the arguments."""
    import ctypes

    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    function = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, *[integer] * count)(address)

    def call(*numbers: int) -> int:
        result, raised = integer(), pointer()
        status = function(ctypes.byref(result), ctypes.byref(raised), *numbers)
        if status:
            raise RuntimeError(f"compiled code failed with status {status}")
        return result.value

    call.owner = owner  # type: ignore[attr-defined]  # Why: the code lives as long as who can call it
    return call


def address_of(buffer: Thing) -> int:
    """Return where a writable buffer lies; it must stay while the address is used."""
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
