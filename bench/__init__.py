"""Measurements against peers in the same run: ``python -m bench [NAME...]``. Nothing here asserts a time."""
