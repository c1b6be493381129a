"""The words of a filter: where each begins, and the signs and words that join them."""

from __future__ import annotations

from tcpscope.model.record import NamedTuple

OPERATORS = {
    **dict.fromkeys(("=", "==", "eq"), "="),
    **dict.fromkeys(("!=", "ne", "neq"), "!="),
    **dict.fromkeys((">", "gt"), ">"),
    **dict.fromkeys(("<", "lt"), "<"),
    **dict.fromkeys((">=", "ge", "geq"), ">="),
    **dict.fromkeys(("<=", "le", "leq"), "<="),
}
NOT_WORDS, AND_WORDS, OR_WORDS = ("!", "not"), ("&", "&&", "and"), ("|", "||", "or")

_SIGNS = ("&&", "||", "==", "!=", ">=", "<=", "=", "<", ">", "!", "&", "|")


class Token(NamedTuple):
    """One word as it was written, and the place of its first character."""

    text: str
    start: int


def split_tokens(text: str) -> list[Token]:
    """Split a filter into words; signs and parentheses need no spaces around them, a quoted name is one word."""
    tokens: list[Token] = []
    index = 0
    while index < len(text):
        if text[index].isspace():
            index += 1
            continue
        length = _token_length(text, index)
        tokens.append(Token(text[index : index + length], index))
        index += length
    return tokens


def _token_length(text: str, start: int) -> int:
    if text[start] in "()":
        return 1
    if text[start] in "\"'" and (closing := text.find(text[start], start + 1)) > 0:
        return closing + 1 - start
    for sign in _SIGNS:
        if text.startswith(sign, start):
            return len(sign)
    end = start
    while end < len(text) and not text[end].isspace() and text[end] not in "()=<>!&|":
        end += 1
    return end - start
