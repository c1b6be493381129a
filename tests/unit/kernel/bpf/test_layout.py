"""The cache of offsets: only from a safe place, only for this kernel, only when it is whole."""

import os

import pytest

from tcpscope.kernel.bpf import layout as room
from tcpscope.kernel.bpf.btf import VMLINUX
from tcpscope.model.errors import Unsupported


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{"bit a.b": 1, "address c": -1}\n', {"bit a.b": 1, "address c": -1}), ('{"x": 2}', {"x": 2})],
)
def test_flat_json_reads_what_json_would(text, expected):
    import json

    assert room.parse_flat_json(text) == expected == json.loads(text)


@pytest.mark.parametrize("text", ["", "[]", '{"a": "b"}', '{"a"}', "{a: 1}", '{"a": 1', "{}"])
def test_flat_json_refuses_the_rest(text):
    with pytest.raises(ValueError):
        room.parse_flat_json(text)


def test_directory_that_others_can_reach_is_not_used(tmp_path):
    safe = tmp_path / "safe"
    safe.mkdir(mode=0o700)
    assert room.is_root_only(str(safe)) == (os.geteuid() == 0)
    safe.chmod(0o750)
    assert not room.is_root_only(str(safe))
    link = tmp_path / "link"
    link.symlink_to(safe)
    assert not room.is_root_only(str(link))
    assert not room.is_root_only(str(tmp_path / "absent"))


def test_symbols_hidden_by_kptr_restrict_are_absent(tmp_path):
    kallsyms = tmp_path / "kallsyms"
    kallsyms.write_text("0000000000000000 t hidden\nffffffff82006070 t shown\nffffffff82006071 t shown2\n")
    assert room.read_symbols(["hidden", "shown", "missing"], str(kallsyms)) == {
        "hidden": room.ABSENT,
        "shown": 0xFFFFFFFF82006070,
        "missing": room.ABSENT,
    }
    assert room.read_symbols(["shown"], str(tmp_path / "none")) == {"shown": room.ABSENT}


def test_need_names_what_the_kernel_lacks():
    with pytest.raises(Unsupported, match=r"no sock\.sk_ino"):
        room.need({"bit sock.sk_ino": room.ABSENT}, "bit sock.sk_ino")


def test_kernel_without_btf_is_named(tmp_path):
    with pytest.raises(Unsupported, match="CONFIG_DEBUG_INFO_BTF"):
        room.read_layout("test", ("bit tcphdr.dest",), str(tmp_path / "vmlinux"), str(tmp_path))


@pytest.mark.root
@pytest.mark.skipif(not os.path.exists(VMLINUX), reason="this kernel publishes no BTF")
def test_cache_is_written_once_and_damage_is_healed(tmp_path):
    directory = tmp_path / "cache"
    names = ("bit tcphdr.dest", "tracepoint inet_sock_set_state", "bit tcphdr.nothing")
    first = room.read_layout("test", names, directory=str(directory))
    assert first["bit tcphdr.dest"] == 16
    assert first["bit tcphdr.nothing"] == room.ABSENT
    (file,) = directory.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert room.read_layout("test", names, directory=str(directory)) == first
    file.write_text('{"bit tcphdr.dest": 17')
    assert room.read_layout("test", names, directory=str(directory)) == first
    file.write_text('{"bit tcphdr.dest": 99, "tracepoint inet_sock_set_state": 1, "bit tcphdr.nothing": -1}')
    assert room.read_layout("test", names, directory=str(directory))["bit tcphdr.dest"] == 99, "the cache is read"
