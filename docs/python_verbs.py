"""The page of Python's verbs, made from their signatures and docstrings, and the words they return, from the source."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import tcpscope

SOURCE = Path(tcpscope.__file__).resolve().parent
#: Bases of words, and what is none of theirs.
_HIDDEN = frozenset(("NamedTuple", "TcpscopeError"))


class Word(NamedTuple):
    """A class of the program as its source has it."""

    module: str
    node: ast.ClassDef
    text: str


def all_pages() -> Iterator[tuple[str, str]]:
    """Yield (path below docs, text)."""
    yield "reference/python.md", "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    verbs = {verb: tcpscope.find_verb(verb) for verb in tcpscope._VERBS}
    words: dict[str, Word] = {}
    yield "# The verbs in Python"
    yield ""
    yield "Generated. `import tcpscope` costs nothing; each verb is imported when it is first asked for. The words"
    yield "they return are frozen. Units stand in the names: `_ms`, `_bytes`, `_ns` (nanoseconds; `t_ns`, `when_ns` and"
    yield "`taken_ns` since the epoch). Errors are `TcpscopeError` and its kinds (`tcpscope.model.errors`)."
    for verb, function in verbs.items():
        node = ast.parse(inspect.getsource(function)).body[0]
        assert isinstance(node, ast.FunctionDef) and node.returns is not None
        _collect(function.__module__, node.returns, words)
        yield from ("", f"## tcpscope.{verb}", "", "```python")
        yield f"tcpscope.{verb}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
        yield from ("```", "", _prose(inspect.getdoc(function) or ""))
    yield from ("", "## The words")
    for name, word in sorted(words.items()):
        yield from ("", f"### {name}", "", f"`{word.module}.{word.node.name}`", "")
        yield _prose(inspect.cleandoc(ast.get_docstring(word.node) or ""))
        yield from _members(word)


def _members(word: Word) -> Iterator[str]:
    """Yield the fields as the source has them, and what else can be asked of it."""
    lines = word.text.splitlines()
    fields = [node for node in word.node.body if isinstance(node, ast.AnnAssign)]
    if fields:
        yield from ("", "```python")
        for field in fields:
            yield from (line.strip() for line in lines[field.lineno - 1 : field.end_lineno])
        yield "```"
    asked = [
        node
        for node in word.node.body
        if isinstance(node, ast.FunctionDef) and node.name[0] != "_" and ast.get_docstring(node)
    ]
    if asked:
        yield ""
    for node in asked:
        is_property = any(ast.unparse(one) == "property" for one in node.decorator_list)
        arguments = "" if is_property else "()" if len(node.args.args) < 2 else "(...)"
        yield f"- `{node.name}{arguments}`: {_prose((ast.get_docstring(node) or '').splitlines()[0])}"


def _collect(module: str, annotation: ast.expr, words: dict[str, Word]) -> None:
    """Note the words that an annotation names, and those that their fields name."""
    if ast.unparse(annotation).startswith("Callable"):
        return
    for node in ast.walk(annotation):
        if not isinstance(node, ast.Name) or node.id in _HIDDEN:
            continue
        word = _find(module, node.id)
        if word is None:
            continue
        heading = word.node.name
        if heading in words and words[heading].module != word.module:
            heading = f"{heading} ({word.module.split('.')[1]})"
        if heading in words:
            continue
        words[heading] = word
        for part in word.node.body:
            if isinstance(part, ast.AnnAssign):
                _collect(word.module, part.annotation, words)
            elif isinstance(part, ast.FunctionDef) and part.returns is not None and part.name[0] != "_":
                _collect(word.module, part.returns, words)
        for base in word.node.bases:
            _collect(word.module, base, words)


def _find(module: str, name: str) -> Word | None:
    """Find the class of that name as ``module`` sees it; ``None`` when it is none of the program's."""
    path = _path_of(module)
    if path is None:
        return None
    text, tree = _parsed(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return Word(module, node, text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any((one.asname or one.name) == name for one in node.names):
            return _find(node.module or "", name) if (node.module or "").startswith("tcpscope") else None
    return None


def _path_of(module: str) -> Path | None:
    place = SOURCE.parent.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.exists()), None)


@cache
def _parsed(path: Path) -> tuple[str, ast.Module]:
    text = path.read_text(encoding="utf-8")
    return text, ast.parse(text)


def _prose(text: str) -> str:
    """Turn the markup of docstrings into Markdown."""
    text = re.sub(r":(?:class|func|meth|data|attr|mod):`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")
