"""The ``linux`` profile beside the running kernel: the same segments and calls, byte for byte where it is a SYN.

Every script of :mod:`tests.two_peers` runs in a network namespace of its own.
"""

import json
import os
import shutil

import pytest
from tests.own_namespace import run_in_namespace
from tests.two_peers import COMPARISONS, SCRIPTS

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="no /dev/net/tun"),
    pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("ip")), reason="needs unshare and ip"),
]


@pytest.mark.parametrize("script", [*SCRIPTS, *COMPARISONS])
def test_our_linux_does_what_the_kernel_does(script):
    seen = json.loads(run_in_namespace("tests.two_peers", script))
    assert seen["ours"] == seen["kernel"] and seen["kernel"]
