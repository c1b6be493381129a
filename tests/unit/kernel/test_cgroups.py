"""Memory of control groups from constructed files, as cgroup-v2.rst of the kernel documents them."""

from tcpscope.kernel.cgroups import parse_socket_bytes, read_control_groups
from tcpscope.model.snapshot import ControlGroup

STAT = "anon 4096\nfile 8192\nkernel 1\nsock 123456\nvmalloc 0\nsock_x 9\n"


def group(top, path, limit, used="4096", stat=STAT):
    folder = top / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("memory.max", limit), ("memory.current", used), ("memory.stat", stat)):
        (folder / name).write_text(text + "\n")


def test_groups_with_a_limit_and_those_above_them_are_read(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    group(tmp_path, "a.slice", "1048576")
    group(tmp_path, "a.slice/b.service", "max")
    group(tmp_path, "a.slice/b.service/c", "65536", used="60000")
    found = read_control_groups(
        ["/a.slice/b.service/c", "/a.slice/b.service", "/", None, "/../x", "/gone"], str(tmp_path)
    )
    assert found == (
        ControlGroup("/a.slice", 123456, 4096, 1048576),
        ControlGroup("/a.slice/b.service/c", 123456, 60000, 65536),
    )


def test_root_of_a_container_is_its_own_group(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    group(tmp_path, ".", "65536", used="60000")
    assert read_control_groups(["/"], str(tmp_path)) == (ControlGroup("/", 123456, 60000, 65536),)


def test_without_the_unified_hierarchy_there_is_nothing(tmp_path):
    assert read_control_groups(["/a"], str(tmp_path)) == ()


def test_sock_is_read_by_its_whole_name():
    assert parse_socket_bytes(STAT) == 123456
    assert parse_socket_bytes("sockets 5\nanon 1\n") == 0
    assert parse_socket_bytes("") == 0
