"""Where the output goes: text as the stream can take it, colour, and streams that are closed, full or cut off."""

from __future__ import annotations

import sys

#: Signs of tables and ladders for a terminal without them; all but the arrow of one column's width.
_PLAIN_SIGNS = dict(zip("·▲─▶◀✗…§", "-^-><x.S", strict=True)) | {"→": "->"}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def write(text: str) -> None:
    """Write to stdout; what its encoding lacks is seen to by :func:`spell_whatever_the_encoding`."""
    sys.stdout.write(text)


def spell_whatever_the_encoding() -> None:
    """Let stdout draw signs that its encoding lacks in ASCII and escape other text, instead of failing."""
    if not hasattr(sys.stdout, "reconfigure") or sys.stdout.encoding.lower() == "utf-8":
        return
    if sys.stdout.errors not in ("strict", "surrogateescape"):
        return  # Why: whoever runs it has said what is to be done (PYTHONIOENCODING=ascii:replace)
    import codecs

    codecs.register_error("tcpscope.plain", _spell_plainly)
    sys.stdout.reconfigure(errors="tcpscope.plain")


def _spell_plainly(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    spelled = [_PLAIN_SIGNS.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lacking]
    return "".join(spelled), error.end


def warn(note: str) -> None:
    """Say under the table what could not be seen; on stderr, as netstat does, so that pipes carry sockets alone."""
    sys.stdout.flush()
    print(f"note: {note}", file=sys.stderr)


def is_coloured(choice: str) -> bool:
    """Decide about colour: ``always``, ``never``, or ``auto``: on a terminal, unless NO_COLOR is set."""
    if choice != "auto":
        return choice == "always"
    from posix import environ

    return sys.stdout.isatty() and not environ.get(b"NO_COLOR") and environ.get(b"TERM") != b"dumb"


def replace_closed_streams() -> None:
    """Why: started with ``>&-`` there is no stdout at all; what nobody wants to read goes nowhere."""
    if sys.stdin is None:
        sys.stdin = open("/dev/null")  # noqa: SIM115  # open as long as the process
    if sys.stdout is None:
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115  # open as long as the process
    if sys.stderr is None:
        sys.stderr = open("/dev/null", "w")  # noqa: SIM115  # open as long as the process


def buffer_stdout() -> None:
    """Why: with PYTHONUNBUFFERED the rest of a write that a signal interrupts (Ctrl-C, full pipe) is dropped."""
    import io

    if isinstance(getattr(sys.stdout, "buffer", None), io.FileIO):
        bare = sys.stdout
        sys.stdout = open(bare.fileno(), "w", encoding=bare.encoding, errors=bare.errors, closefd=False)  # noqa: SIM115


def forget_unwritten() -> None:
    """Write what is left; when that fails, let nobody try again."""
    try:
        sys.stdout.flush()
    except OSError:
        forget_stdout()


def forget_stdout() -> None:
    """Why: the interpreter flushes stdout once more at exit and would complain about the closed pipe."""
    _forget(sys.stdout)


def forget_stderr() -> None:
    """Why: what stderr did not take would change the exit code when the interpreter flushes it at exit."""
    _forget(sys.stderr)


def _forget(stream: TextIO) -> None:
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
