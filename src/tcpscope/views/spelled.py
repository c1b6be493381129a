"""Texts that are spelled once: most of what an endless table prints, it has printed before."""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 1 << 12


class Spelled(dict["Any", str]):
    """``spelled[word]`` is ``spell(word)``, kept as long as there are not too many words."""

    def __init__(self, spell: Callable[[Any], str]) -> None:
        super().__init__()
        self._spell = spell

    def __missing__(self, word: Any) -> str:  # noqa: ANN401 - whatever can be spelled
        if len(self) >= _LIMIT:
            self.clear()
        text = self[word] = self._spell(word)
        return text
