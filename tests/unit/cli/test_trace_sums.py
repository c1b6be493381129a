"""The last line of ``tcpscope trace`` hides nothing: what was lost, not read in time, or never told."""

import json

import pytest

from tcpscope.cli import trace
from tcpscope.cli.ending import Ending
from tcpscope.live.trace import Feed


class Told:
    """A source that has told everything but so much."""

    def __init__(self, lost, unread, untold):
        self.lost, self.unread, self.untold = lost, unread, untold

    def read_lost(self):
        return self.lost

    def read_unread(self):
        return self.unread

    def read_untold(self):
        return self.untold


@pytest.mark.parametrize(
    ("source", "text", "objects"),
    [
        (Told(0, 0, 0), "# 7 transitions in 1.5 s, 0 lost\n", []),
        (Told(2, 0, 0), "# 7 transitions in 1.5 s, 2 lost\n", []),
        (
            Told(0, 9, 0),
            "# 7 transitions in 1.5 s, 0 lost, 9 not read in time\n",
            [{"lost": 0, "unread": 9}],
        ),
        (
            Told(0, 0, 3),
            "# 7 transitions in 1.5 s, 0 lost; at least 3 more that no record told\n",
            [{"lost": 0, "untold": 3}],
        ),
        (
            Told(1, 9, 3),
            "# 7 transitions in 1.5 s, 1 lost, 9 not read in time; at least 3 more that no record told\n",
            [{"lost": 0, "unread": 9, "untold": 3}],
        ),
    ],
)
def test_sum_tells_what_was_not_told(source, text, objects, capsys):
    feed = Feed("A", "", source, None)
    for words in (["--duration", "1"], ["--duration", "1", "--json"]):
        assert trace._finish(feed, trace._parse(words), 7, 1.5, Ending()) == 0
    out, err = capsys.readouterr()
    assert err == text
    assert [json.loads(line) for line in out.splitlines()] == objects
