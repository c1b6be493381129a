"""Machine code on disk: made once, found again without numba, and believed only when it is whole and ours."""

import os
import struct
import subprocess
import sys
from array import array
from pathlib import Path
from types import FunctionType

import pytest

from tcpscope import native
from tcpscope.model.errors import Unsupported

SOURCE = Path(native.__file__).parents[1]
ROOT = SOURCE.parent


def weigh(numbers, count, base):
    total = base
    for place in range(count):
        number = numbers[place]
        if number == 1:
            total += 100
        elif number == 2:
            total += 20
        else:
            total += number // 3
    return total


def enter_weigh(numbers, count, base):
    return weigh(longs_at(numbers), count, base)  # noqa: F821


def enter_fill(places, rows, value):
    table = ints_at(places)  # noqa: F821
    for row in range(rows):
        table[row * 3 + 2] = value + row
    return rows


def build(numba):
    names = {"range": range, "__name__": __name__, **native.pointers(numba)}
    for function in (weigh, enter_weigh, enter_fill):
        names[function.__name__] = native.jit(FunctionType(function.__code__, names, function.__name__), numba)
    return {"fill": names["enter_fill"], "weigh": names["enter_weigh"]}


def build_nothing(numba):
    raise AssertionError("compiled again")


UNIT = native.Unit("trial", (sys.modules[__name__],), {"weigh": 3, "fill": 3}, build)
KEPT = UNIT._replace(build=build_nothing)


@pytest.fixture(autouse=True)
def _forget(tmp_path, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "_loaded", {})


@pytest.fixture
def image(monkeypatch):
    """Compile and keep the unit, then forget it; where it is kept."""
    native.load(UNIT)
    monkeypatch.setattr(native, "_loaded", {})
    return Path(native.path_of(UNIT))


def works(entries):
    numbers, table = array("q", [1, 2, 30, -4]), array("i", [7] * 6)
    assert entries["weigh"](native.address_of(numbers), 4, 1000) == 1000 + 100 + 20 + 10 - 2
    assert entries["fill"](native.address_of(table), 2, 40) == 2
    return list(table) == [7, 7, 40, 7, 7, 41]


def test_code_compiled_once_runs_again_without_compiling(image):
    assert native.is_ready(KEPT)
    assert works(native.load(KEPT))
    assert image.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in image.parent.iterdir()] == [image.name]


def test_code_kept_runs_without_importing_numba_or_numpy(image):
    code = "import sys; from tests.unit.test_native import KEPT, works; from tcpscope import native\n"
    code += "assert works(native.load(KEPT)); assert not {'numba', 'numpy', 'llvmlite'} & set(sys.modules)"
    assert _run(code).returncode == 0


def _run(code):
    paths = os.pathsep.join([str(SOURCE), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def _empty(path):
    path.write_bytes(b"")


def _lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def _let_all_write(path):
    path.chmod(0o666)


def _link_elsewhere(path):
    other = path.parent.parent / "elsewhere"
    path.rename(other)
    path.symlink_to(other)


def _put_pipe(path):
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "spoil", [_truncate, _flip, _empty, _lengthen, _let_all_write, _link_elsewhere, _put_pipe, Path.unlink]
)
def test_image_that_is_spoilt_is_made_anew(image, spoil):
    whole = image.read_bytes()
    spoil(image)
    assert not native.is_kept(UNIT)
    assert works(native.load(UNIT))
    assert image.read_bytes() == whole
    assert image.is_file() and not image.is_symlink() and image.stat().st_mode & 0o777 == 0o600


def test_image_of_somebody_else_is_not_loaded(image, monkeypatch):
    owner = image.stat().st_uid
    assert native.is_kept(UNIT)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert not native.is_kept(UNIT)


def test_image_under_another_name_is_not_loaded(image, monkeypatch):
    content = image.read_bytes()
    monkeypatch.setattr(native, "_read_cpu", lambda: b"another processor")
    Path(native.path_of(UNIT)).write_bytes(content)
    assert not native.is_kept(UNIT)


@pytest.mark.parametrize(
    ("name", "value"),
    [("_read_cpu", lambda: b"another processor"), ("_versions", lambda: ["numba-99"]), ("_FORMAT", b"another")],
)
def test_image_of_another_machine_or_compiler_is_not_found(image, monkeypatch, name, value):
    assert native.is_kept(UNIT)
    monkeypatch.setattr(native, name, value)
    assert not native.is_kept(UNIT)


def test_image_of_another_text_is_not_found(image):
    assert native.is_kept(UNIT)
    assert not native.is_kept(UNIT._replace(modules=(*UNIT.modules, pytest)))


def test_progress_counts_the_functions_compiled():
    told = []
    native.load(UNIT, told.append)
    assert told == list(range(1, len(told) + 1)) and len(told) >= 3
    native.load(UNIT, told.append)
    assert told[-1] == len(told)


def test_machine_without_a_known_cpu_compiles_and_keeps_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(native, "_read_cpu", lambda: b"")
    assert works(native.load(UNIT))
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err == ""


def test_machine_of_another_kind_runs_what_numba_made(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "_link", lambda data, names: None)
    assert works(native.load(UNIT))
    assert not list(tmp_path.iterdir())


def test_folder_that_takes_nothing_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert works(native.load(UNIT))
    error = capsys.readouterr().err
    assert error.startswith("tcpscope: the compiled engine cannot be kept") and error.count("\n") == 1


def test_folder_without_rights_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "makedirs", refuse)
    assert works(native.load(UNIT))
    assert capsys.readouterr().err.count("\n") == 1


def test_write_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    assert works(native.load(UNIT))
    assert not list((tmp_path / "tcpscope").iterdir())
    assert "No space left" in capsys.readouterr().err


def test_processes_that_compile_at_once_leave_one_image(tmp_path):
    code = (
        "from tests.unit.test_native import UNIT, works; from tcpscope import native; assert works(native.load(UNIT))"
    )
    paths = os.pathsep.join([str(SOURCE), str(ROOT)])
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [process.communicate()[1] for process in processes] == [b""] * 3
    assert [process.returncode for process in processes] == [0] * 3
    assert len(list((tmp_path / "tcpscope").iterdir())) == 1
    assert native.is_kept(UNIT)


def test_images_beyond_the_youngest_are_forgotten(tmp_path, monkeypatch):
    folder = tmp_path / "tcpscope"
    folder.mkdir()
    for age in range(20):
        (folder / f"trial-{age}").write_text("")
        os.utime(folder / f"trial-{age}", (1000 - age, 1000 - age))
    (folder / "tracker-0").write_text("")
    native.load(UNIT)
    names = {path.name for path in folder.iterdir()}
    assert len(names) == native._MOST_IMAGES + 1
    assert {Path(native.path_of(UNIT)).name, "tracker-0", "trial-0", "trial-6"} <= names


def test_home_of_another_user_is_spared(tmp_path, monkeypatch):
    import pwd

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert native._folder() == str(tmp_path / ".cache" / "tcpscope")
    other = tmp_path.stat().st_uid + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: struct_passwd("/their/home"))
    assert native._folder() == "/their/home/.cache/tcpscope"


def test_user_without_a_home_keeps_nothing(tmp_path, monkeypatch, capsys):
    import pwd

    def nobody(_):
        raise KeyError

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert native._folder() == ""
    assert works(native.load(UNIT))
    assert not list(tmp_path.iterdir()) and capsys.readouterr().err == ""


def struct_passwd(home):
    import pwd

    return pwd.struct_passwd(("name", "x", 1, 1, "", home, "/bin/sh"))


def test_object_that_asks_for_anything_outside_is_no_image():
    from llvmlite import binding

    native.load(UNIT)  # initializes llvm
    assembly = f"""
        target triple = "{binding.get_process_triple()}"
        declare i32 @outside(i32)
        define i32 @inside(i32 %x) {{
          %y = call i32 @outside(i32 %x)
          %z = add i32 %y, 1
          ret i32 %z
        }}"""
    machine = binding.Target.from_triple(binding.get_process_triple()).create_target_machine(reloc="pic")
    data = machine.emit_object(binding.parse_assembly(assembly))
    assert native._link(data, {"inside": "inside"}) is None
    assert native._link(data.replace(b"\x3e\0", b"\xb7\0", 1), {}) is None  # another machine
    assert native._link(b"MZ" + data, {}) is None


@pytest.mark.parametrize(
    ("kind", "before", "target", "place", "after"),
    [  # what GNU ld 2.40 makes of what GNU as left open
        (275, 0x90000001, 0x7FE45670, 0x7000, 0xD03FF1E1),
        (275, 0x90000001, 0x1230, 0x7004, 0xD0FFFFC1),
        (277, 0x91000021, 0x7FE45670, 0x7008, 0x9119C021),
        (278, 0x39400022, 0x7FE45670, 0x700C, 0x3959C022),
        (284, 0x79400022, 0x7FE45670, 0x7010, 0x794CE022),
        (285, 0xB9400022, 0x7FE45670, 0x7014, 0xB9467022),
        (286, 0xF9400022, 0x7FE45670, 0x7018, 0xF9433822),
        (299, 0x3DC00022, 0x7FE45670, 0x701C, 0x3DC19C22),
    ],
)
def test_references_of_arm_are_filled_in_as_a_linker_does(kind, before, target, place, after):
    assert native._REFERENCES[183][kind](before, target, place) & 0xFFFFFFFF == after


def test_object_for_arm_becomes_an_image():
    from llvmlite import binding

    native.load(UNIT)  # initializes llvm
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this llvmlite knows no 64-bit Arm")
    numbers = ", ".join(f"i64 {number**3}" for number in range(64))
    assembly = f"""
        target triple = "aarch64-unknown-linux-gnu"
        @table = internal constant [64 x i64] [{numbers}]
        define i64 @other(i64 %x) {{
          ret i64 %x
        }}
        define i64 @inside(i64 %x) {{
          %place = getelementptr [64 x i64], [64 x i64]* @table, i64 0, i64 %x
          %y = load i64, i64* %place
          ret i64 %y
        }}"""
    machine = target.create_target_machine(reloc="pic", codemodel="small")
    image = native._link(machine.emit_object(binding.parse_assembly(assembly)), {"inside": "inside", "other": "other"})
    places, code = struct.unpack_from("<2I", image), image[8:]
    assert places[1] == 0 < places[0]
    table = code.index(struct.pack("<3q", 0, 1, 8))
    words = [word for (word,) in struct.iter_unpack("<I", code[places[0] : places[0] + 16])]
    pages = [(word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3 for word in words if word & 0x9F000000 == 0x90000000]
    added = [word >> 10 & 0xFFF for word in words if word & 0xFFC00000 == 0x91000000]
    assert (pages, added) == ([0], [table])


def test_image_runs_wherever_it_lies(image, monkeypatch):
    seen = []
    for _ in range(3):
        monkeypatch.setattr(native, "_loaded", {})
        seen.append(native.load(KEPT))
    assert all(works(entries) for entries in seen)


def test_unsupported_without_numba_says_how_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(Unsupported, match=r"pip install 'tcpscope\[fast\]'"):
        native.load(UNIT)


def test_system_that_forbids_making_code_is_told(image, monkeypatch):
    import ctypes

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: type("C", (), {"mprotect": _Refusing()})())
    with pytest.raises(Unsupported, match="--engine python"):
        native.load(KEPT)


class _Refusing:
    argtypes = ()

    def __call__(self, *_):
        return -1
