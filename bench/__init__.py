"""Measurements against peers in the same run: ``python -m bench [NAME...]``. Nothing here asserts a time."""

import sys
from pathlib import Path

# Why: a measurement runs from the checkout, with nothing installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
