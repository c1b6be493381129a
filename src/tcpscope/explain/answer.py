"""``Answer``: what every function of this room returns; prose in pieces, not yet wrapped to any width."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tcpscope.model.record import NamedTuple


class Grid(NamedTuple):
    """A small table: every row has as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Section(NamedTuple):
    """A heading and, in this order: paragraphs, list items, a table, commands to type."""

    heading: str
    paragraphs: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    grid: Grid | None = None
    commands: tuple[str, ...] = ()


class Answer(NamedTuple):
    """An explanation. ``facts`` are the same things for machines; their keys stand beside the prose in JSON."""

    kind: str
    name: str
    title: str
    summary: str
    sections: tuple[Section, ...] = ()
    see_also: tuple[str, ...] = ()
    facts: Mapping[str, object] = {}


def fold(text: str) -> str:
    """Fold a name for comparison: case, blanks, ``-`` and ``_`` do not matter."""
    return "".join(char for char in text.lower() if char not in "-_ \t\n()")


def prose_sections(*pairs: tuple[str, str | Iterable[str]]) -> tuple[Section, ...]:
    """Build sections of paragraphs; an empty text leaves its section out."""
    built = []
    for heading, text in pairs:
        paragraphs = (text,) if isinstance(text, str) else tuple(text)
        paragraphs = tuple(paragraph for paragraph in paragraphs if paragraph)
        if paragraphs:
            built.append(Section(heading, paragraphs))
    return tuple(built)


def answer_as_json(answer: Answer) -> dict[str, object]:
    """Return the answer as the object that ``tcpscope explain --json`` prints."""
    return {
        "schema": "tcpscope.explain/1",
        "kind": answer.kind,
        "name": answer.name,
        "title": answer.title,
        "summary": answer.summary,
        **answer.facts,
        "sections": [_section_as_json(section) for section in answer.sections],
        "see_also": list(answer.see_also),
    }


def _section_as_json(section: Section) -> dict[str, object]:
    made: dict[str, object] = {"heading": section.heading}
    for name in ("paragraphs", "items", "commands"):
        if getattr(section, name):
            made[name] = list(getattr(section, name))
    if section.grid:
        made["table"] = _grid_as_json(section.grid)
    return made


def _grid_as_json(grid: Grid) -> object:
    """A list of objects by column; one object of name and value where the columns have no names."""
    if not any(grid.columns):
        return {row[0]: row[1] for row in grid.rows}
    return [dict(zip(grid.columns, row, strict=True)) for row in grid.rows]
