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
    if not _is_compiled():
        for item in items:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(900))
    if os.geteuid() == 0:
        return
    for item in items:
        if "root" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs root: namespaces, raw sockets or BPF"))


def _is_compiled() -> bool:
    """Whether no test of this session compiles the engine. Why: on a busy machine the first that does takes minutes."""
    from importlib.util import find_spec

    if find_spec("numba") is None:
        return True
    from tcpscope.packets import compiled

    return compiled.is_ready()
