"""What ``tcpscope list`` may import on its quick path: start-up is part of the product, so the list is written down."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

#: In every ``python -I -S -c pass`` already, whatever the version.
INTERPRETER = subprocess.run(
    [sys.executable, "-I", "-S", "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
).stdout.split()

ALLOWED = {
    "__future__",
    "_socket",
    "_struct",
    "struct",
    "time",
    "tcpscope",
    "tcpscope.cli",
    "tcpscope.cli.flags",
    "tcpscope.cli.list",
    "tcpscope.cli.main",
    "tcpscope.cli.streams",
    "tcpscope.kernel",
    "tcpscope.kernel.netlink",
    "tcpscope.kernel.processes",
    "tcpscope.kernel.sock_diag",
    "tcpscope.live",
    "tcpscope.live.listing",
    "tcpscope.model",
    "tcpscope.model.spelling",
    "tcpscope.views",
    "tcpscope.views.row_table",
}

SCRIPT = """
import sys
sys.path.insert(0, {path!r})
import tcpscope.live.listing as listing
listing._MANY = 1 << 40  # a machine with a crowd of descriptors would load BPF
from tcpscope.cli.main import main
code = main({argv!r})
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


def modules_after(argv):
    script = SCRIPT.format(path=str(ROOT / "src"), argv=argv)
    run = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    return set(run.stderr.splitlines()[-1].split()) - set(INTERPRETER)


def test_list_tan_imports_nothing_unasked():
    assert modules_after(["list", "-tan"]) - ALLOWED == set()


def test_list_with_programs_imports_nothing_unasked():
    assert modules_after(["-anlp", "-46H"]) - ALLOWED == set()


def test_heavy_modules_are_noticed():
    seen = modules_after(["list", "-tan", "--json"])
    assert {"argparse", "json", "enum", "collections"} <= seen
    assert seen - ALLOWED
