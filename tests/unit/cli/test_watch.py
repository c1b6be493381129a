"""What ``--watch`` shows on a terminal fits it."""

import os
import pty
import sys

import pytest

from tcpscope.cli.watch import fit_screen, watch

TEN = "".join(f"line {number}\n" for number in range(10))


def test_what_fits_is_shown_as_it_is():
    assert fit_screen(TEN, 80, 11) == TEN
    assert fit_screen("", 80, 24) == ""


def test_what_does_not_fit_is_counted():
    assert fit_screen(TEN, 80, 10).splitlines() == [f"line {number}" for number in range(8)] + ["... and 2 more lines"]


def test_long_lines_take_the_rows_they_wrap_to():
    shown = fit_screen("a" * 25 + "\nb\nc\nd\n", 10, 6).splitlines()
    assert shown == ["a" * 25, "b", "... and 2 more lines"]


def test_colour_and_padding_take_no_room():
    line = "\x1b[32mESTABLISHED\x1b[0m" + " " * 80 + "\n"
    assert fit_screen(line * 3, 20, 4) == line * 3


def test_terminal_that_does_not_know_its_size_gets_everything():
    assert fit_screen(TEN, 0, 0) == TEN


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (0, 3), (80, 2)])
def test_tiny_terminals_break_nothing(columns, rows):
    assert "more lines" in fit_screen(TEN, columns, rows)


def test_terminal_is_redrawn_and_notes_stand_below(monkeypatch):
    master, slave = pty.openpty()
    rounds = iter(range(2))

    def print_once():
        if next(rounds, None) is None:
            raise KeyboardInterrupt
        print("row")
        print("note", file=sys.stderr)

    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        assert watch(print_once, 0.0) == 0
        seen = b""
        while seen.count(b"note") < 2:  # a terminal gives what it has, in pieces
            seen += os.read(master, 4096)
        assert seen.count(b"\x1b[H\x1b[Jrow\r\nnote") == 2
    os.close(master)
