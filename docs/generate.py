"""Write the generated parts of the documentation, or check that they are up to date.

    python docs/generate.py            write what has changed
    python docs/generate.py --check    change nothing; name what has drifted, exit code 1

Two kinds of parts are generated:

* whole pages, made from the tables of the program (states, life cycle, claims, timers, settings, findings, man page);
* blocks in hand-written pages between ``<!-- help: tcpscope list -->`` (the real ``--help``) or
  ``<!-- output: tcpscope explain FIN_WAIT_2/CLOSE_WAIT -->`` (real output) and ``<!-- end -->``. Only commands whose
  output depends on nothing but the program belong in an ``output`` block.
"""

from __future__ import annotations

import difflib
import re
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path[:0] = [str(ROOT / "src"), str(DOCS)]

import command_line  # noqa: E402 - needs the paths above
import pages  # noqa: E402
import python_verbs  # noqa: E402

import scenes  # noqa: E402

BLOCK = re.compile(r"(<!-- (help|output): (tcpscope[^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def generate() -> dict[Path, str]:
    """Return every file with a generated part and the text it should have."""
    made = {
        DOCS / name: text for room in (pages, scenes, python_verbs, command_line) for name, text in room.all_pages()
    }
    for page in sorted((*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md")):
        if page.exists() and page not in made:
            text = page.read_text(encoding="utf-8")
            if "<!-- help: " in text or "<!-- output: " in text:
                made[page] = BLOCK.sub(_fill, text)
    return made


def _fill(match: re.Match[str]) -> str:
    head, kind, command, end = match.groups()
    words = shlex.split(command)[1:]
    shown = command_line.help_of(words) if kind == "help" else command_line.output_of(words)
    title = "" if kind == "help" else f"$ {command}\n"
    return f"{head}```text\n{title}{shown.rstrip()}\n```\n{end}"


def stale_pages(made: dict[Path, str]) -> list[Path]:
    """Return generated pages in generated folders that nothing generates any more."""
    folders = [DOCS / "reference" / name for name in ("states", "findings")]
    return [page for folder in folders for page in sorted(folder.glob("*.md")) if page not in made]


def find_drift(made: dict[Path, str]) -> list[str]:
    """Return one line for every file that is not as it should be."""
    drift = [f"{page.relative_to(ROOT)}: nothing generates it any more" for page in stale_pages(made)]
    for page, text in made.items():
        present = page.read_text(encoding="utf-8") if page.exists() else ""
        # Why: argparse wraps usage lines differently from one Python to the next; words are what must agree.
        if present.split() != text.split():
            lines = difflib.unified_diff(present.splitlines(), text.splitlines(), lineterm="", n=0)
            first = next((line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")), "")
            drift.append(f"{page.relative_to(ROOT)}: {first.strip()[:100] or 'missing'}")
    return drift


def main(argv: list[str]) -> int:
    """Generate or check; return the exit code."""
    made = generate()
    if "--check" in argv:
        drift = find_drift(made)
        for line in drift:
            print(f"drift: {line}")
        advice = "; run: python docs/generate.py" if drift else ""
        print(f"{len(made)} generated files, {len(drift)} out of date{advice}")
        return 1 if drift else 0
    for page in stale_pages(made):
        page.unlink()
        print(f"removed {page.relative_to(ROOT)}")
    for page, text in made.items():
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
