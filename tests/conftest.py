"""What all tests share: the folder of real captures and dumps, and the mark for tests that need root."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests assert no times, and draw the same examples each time; TCPSCOPE_EXPLORE=1 draws new ones.
settings.register_profile(
    "project",
    deadline=None,
    derandomize=not os.environ.get("TCPSCOPE_EXPLORE"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")

# Why: a shell ignores SIGINT for what it runs in the background, and the commands that tests interrupt inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder with real captures and expected results, or skip: the project does not need it."""
    folder = Path(os.environ.get("TCPSCOPE_SHARED", ROOT.parent / "shared"))
    if not (folder / "captures").is_dir():
        pytest.skip(f"no real captures at {folder} (set TCPSCOPE_SHARED)")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if "root" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs root: namespaces, raw sockets or BPF"))
