"""The ladder as a picture that stands alone (SVG): what :mod:`tcpscope.views.ladder` draws with letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tcpscope.model.rung import TO_LEFT, TO_RIGHT, Rung

_INK = {TO_RIGHT: "#0b5cad", TO_LEFT: "#b3431b"}
_ROW, _MARGIN, _LEFT, _RIGHT, _NOTES = 30, 74, 260, 680, 830
_NOTE_PIXELS = 7  # of one letter


def draw_ladder_svg(left: str, right: str, rungs: Iterable[Rung], caption: str = "") -> str:
    """Draw the rungs between the ends ``left`` and ``right``, with a line of text below."""
    from html import escape

    rows = list(rungs)
    height = _MARGIN + _ROW * len(rows) + 40
    longest = max((len(part) for rung in rows for part in _split_note(rung.note)), default=0)
    width = _NOTES + max(longest, 20) * _NOTE_PIXELS
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="monospace" '
        f'font-size="12" role="img"><title>{escape(left)} and {escape(right)}</title>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="30" text-anchor="middle" font-weight="bold">{escape(left)}</text>',
        f'<text x="{_RIGHT}" y="30" text-anchor="middle" font-weight="bold">{escape(right)}</text>',
    ]
    body += [f'<line x1="{x}" y1="44" x2="{x}" y2="{height - 24}" stroke="#999"/>' for x in (_LEFT, _RIGHT)]
    for index, rung in enumerate(rows):
        body += _draw_rung(rung, _MARGIN + index * _ROW)
    body.append(f'<text x="12" y="{height - 8}" fill="#555">{escape(caption)}</text></svg>')
    return "\n".join(body) + "\n"


def _draw_rung(rung: Rung, y: int) -> Iterator[str]:
    from html import escape

    yield f'<text x="8" y="{y + 4}" fill="#555">{escape(rung.time)}</text>'
    if rung.left:
        yield f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end" fill="{_INK[TO_RIGHT]}">{escape(rung.left)}</text>'
    if rung.right:
        yield f'<text x="{_RIGHT + 10}" y="{y + 4}" fill="{_INK[TO_LEFT]}">{escape(rung.right)}</text>'
    if rung.towards in _INK:
        yield from _draw_arrow(rung.towards, y)
    if rung.text:
        yield f'<text x="{(_LEFT + _RIGHT) // 2}" y="{y - 3}" text-anchor="middle">{escape(rung.text)}</text>'
    parts = _split_note(rung.note)
    first = y + 4 - 7 * (len(parts) - 1)
    for index, part in enumerate(parts):
        yield f'<text x="{_NOTES}" y="{first + 13 * index}" fill="#333" font-size="11">{escape(part)}</text>'


def _draw_arrow(towards: str, y: int) -> Iterator[str]:
    start, end, back = (_LEFT, _RIGHT, -8) if towards == TO_RIGHT else (_RIGHT, _LEFT, 8)
    ink, tip = _INK[towards], y + 8
    yield f'<line x1="{start}" y1="{y}" x2="{end}" y2="{tip}" stroke="{ink}" stroke-width="1.4"/>'
    yield f'<path d="M{end},{tip} l{back},-5 v9 z" fill="{ink}"/>'


def _split_note(note: str) -> list[str]:
    """One line for each end that a note speaks of."""
    import re

    return re.split(r"; (?=(?:client|server): )", note)
