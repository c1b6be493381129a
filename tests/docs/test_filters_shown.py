"""Every filter in a command that the documentation, a --help text or the doctor shows is one that tcpscope takes."""

import re
import shlex
from pathlib import Path

import pytest

from tcpscope.filters.parse import Names, parse_filter

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")])
COMMAND = re.compile(r"(?:\./)?tcpscope (?P<verb>list|states|kill|trace) (?P<rest>[^`\n]*)")
#: Options of these commands that take a value.
VALUED = {
    "-o",
    "--columns",
    "--sort",
    "--by",
    "--names",
    "--netns",
    "-N",
    "--color",
    "--count",
    "-c",
    "--duration",
    "-d",
}
VALUED |= {"--tier", "--watch", "--width", "--ladder", "--min-ms", "--kind", "--interval"}
NAMES = Names(lambda name: 80, lambda name: ("192.0.2.1",), lambda name: 1, lambda name: 1000, lambda name: 4026532000)


def words_of(rest):
    """The words of a command line that are no option, up to where prose, a pipe or another command begins."""
    rest = re.split(r"  |\\n| \|\s| && |; | · |…|\.\.\.|[)'\"],", rest)[0].rstrip("|")
    try:
        words = shlex.split(rest, comments=True)
    except ValueError:  # a command broken by the width of the page
        return []
    return [word for at, word in enumerate(words) if word[0:1] != "-" and words[at - 1] not in VALUED]


def filters():
    for page in PAGES:
        for found in COMMAND.finditer(page.read_text(encoding="utf-8")):
            text = " ".join(words_of(found["rest"]))
            if re.match(
                r"(state|exclude|sport|dport|src|dst|comm|pid|uid|age|rtt|recv-q|send-q|not|:\d+|\() ?\S", text
            ):
                yield page.relative_to(ROOT), text


SHOWN = sorted({(str(page), text) for page, text in filters() if not re.search(r"[{}]|HOST|PORT|PID", text)})


def test_there_are_filters_to_look_at():
    assert len({text for _, text in SHOWN}) > 15


@pytest.mark.parametrize(("page", "text"), SHOWN)
def test_filter_shown_is_understood(page, text):
    assert not parse_filter(text, NAMES).is_empty
