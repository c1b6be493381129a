"""The ``linux`` profile beside the running kernel: the same segments and calls, byte for byte where it is a SYN.

Every script of :mod:`tests.two_peers` runs in a network namespace of its own.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
from tests.two_peers import COMPARISONS, ROOT, SCRIPTS

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="no /dev/net/tun"),
    pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("ip")), reason="needs unshare and ip"),
]


@pytest.mark.parametrize("script", [*SCRIPTS, *COMPARISONS])
def test_our_linux_does_what_the_kernel_does(script):
    command = ["unshare", "-n", sys.executable, str(ROOT / "tests" / "two_peers.py"), script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    assert seen["ours"] == seen["kernel"] and seen["kernel"]
