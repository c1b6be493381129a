"""``python -m bench [NAME...]``: run these measurements, or say which there are."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import bench

PARTS = frozenset(("crowd", "measure", "traffic"))


def main(names: list[str]) -> int:
    """Run the modules of these names; each has ``run()`` and a docstring whose first line says what it measures."""
    known = sorted(name for _, name, _ in pkgutil.iter_modules(bench.__path__) if name not in {"__main__", *PARTS})
    if not names or not set(names) <= {*known, "all"}:
        print("usage: python -m bench NAME...\n")
        for name in known:
            said = (importlib.import_module(f"bench.{name}").__doc__ or "").splitlines()[0]
            print(f"  {name:<12} {said}")
        return 0 if not names else 2
    for name in known if "all" in names else names:
        importlib.import_module(f"bench.{name}").run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
