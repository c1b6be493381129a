"""Optional libraries, loaded late and from wherever they are.

``./tcpscope`` runs the interpreter without :mod:`site` (a third of its start-up); the first optional library asked
for brings ``site`` in, and the checkout's own ``.venv`` when there is one.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

#: Library -> the extra that installs it (``pip install 'tcpscope[EXTRA]'``).
EXTRAS = {"numpy": "fast", "numba": "fast", "pyarrow": "arrow", "dask": "cluster", "distributed": "cluster"}


def load(name: str) -> ModuleType | None:
    """Import ``name`` and return the module, or ``None`` when it is not installed."""
    from importlib import import_module

    _add_site()
    try:
        return import_module(name)
    except ImportError:
        return None


def require(name: str, purpose: str) -> ModuleType:
    """Import ``name`` or raise :class:`~tcpscope.model.errors.Unsupported` saying how to install it."""
    from tcpscope.model.errors import Unsupported

    module = load(name)
    if module is None:
        extra = EXTRAS.get(name.partition(".")[0], "")
        how = f"pip install 'tcpscope[{extra}]'" if extra else f"pip install {name}"
        raise Unsupported(f"{purpose} needs {name}, which is not installed: {how}")
    return module


def _add_site() -> None:
    if not sys.flags.no_site or "site" in sys.modules:
        return
    import os
    import site

    site.main()
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = os.path.join(root, ".venv", "lib", version, "site-packages")
    if os.path.isdir(packages):
        site.addsitedir(packages)
