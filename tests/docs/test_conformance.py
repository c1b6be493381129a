"""The map of RFC 9293's requirements is complete and up to date."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_conformance_page_names_every_requirement_and_its_tests():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "conformance.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (ROOT / "docs" / "reference" / "conformance.md").read_text(encoding="utf-8")
    lines = (ROOT / "docs" / "requirements.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(lines) == 119
    for line in lines:
        assert f"| {line.split(chr(9))[0]} |" in page
