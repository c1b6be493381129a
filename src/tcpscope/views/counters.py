"""Rates as sar prints them, and counters that moved with what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_WIDTH = 9


def render_block(time: str, group: str, values: Mapping[str, str]) -> str:
    """Render a title line and a value line in sar's columns: time, then right-aligned fields."""
    titles = "".join(f" {title:>{_WIDTH}}" for title in values)
    numbers = "".join(f" {text:>{_WIDTH}}" for text in values.values())
    return f"{time:<9} {group:<5}{titles}\n{'':<9} {'':<5}{numbers}\n"


def render_growth(rows: Sequence[tuple[str, float, int, str]], width: int = 0) -> str:
    """Render counters that moved: ``(name, per second, delta, meaning)``; ``width`` cuts the meaning, 0 keeps it."""
    if not rows:
        return ""
    longest = max(len(row[0]) for row in rows)
    lines = []
    for name, per_s, delta, meaning in rows:
        head = f"  {name:<{longest}} {spell_rate(per_s):>9}/s {'+' + str(delta):>9}  "
        room = width - len(head) if width else len(meaning)
        lines.append((head + (meaning if len(meaning) <= room else meaning[: max(0, room - 1)] + "…")).rstrip())
    return "\n".join(lines) + "\n"


def spell_rate(per_s: float) -> str:
    """Two decimals, as sar."""
    return f"{per_s:.2f}"
