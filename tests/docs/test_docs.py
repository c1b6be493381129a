"""The documentation as part of the program: nothing undocumented, no dead link, generated parts generated."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tcpscope.cli.main import COMMANDS
from tcpscope.doctor.catalogue import CATALOGUE
from tcpscope.machine.lifecycle import ROWS
from tcpscope.model.state import State

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EXISTING = [name for name, (module, _) in COMMANDS.items() if importlib.util.find_spec(f"tcpscope.cli.{module}")]
COMPLETION = DOCS / "install" / "share" / "bash-completion" / "completions" / "tcpscope"
PAGES = sorted((*DOCS.rglob("*.md"), *ROOT.glob("*.md")))


@pytest.fixture(scope="module")
def generate():
    sys.path.insert(0, str(DOCS))
    try:
        spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(DOCS))


@pytest.mark.parametrize("command", EXISTING)
def test_command_has_a_page_with_its_parts(command):
    page = DOCS / "reference" / "commands" / f"{command}.md"
    assert page.exists(), f"write docs/reference/commands/{command}.md"
    text = page.read_text(encoding="utf-8")
    for heading in ("# tcpscope", "## FIELDS", "## COST", "## LIMITS", "## The same in Python"):
        assert heading.lower() in text.lower(), f"{page.name} lacks {heading!r}"
    assert re.search(r"^(?:```|    \S)", text, re.MULTILINE), f"{page.name} has no examples"


@pytest.mark.parametrize("command", EXISTING)
def test_command_help_has_examples(command, generate):
    text = generate.command_line.help_of([command])
    assert f"tcpscope {command}" in text or "tcpscope -" in text or command == "overview"
    assert "example" in text.lower()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_has_one_title_and_no_dead_link(page):
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1
    for target in re.findall(r"(?<!\\)\]\(([^)#\s]+)[^)]*\)", prose):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).resolve().exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_names_only_commands_that_exist(page):
    text = page.read_text(encoding="utf-8")
    for word in re.findall(r"(?:^\s*\$ (?:sudo )?(?:\./)?|`(?:sudo )?)tcpscope ([a-z]+)\b", text, re.MULTILINE):
        assert word in (*COMMANDS, "help"), word


def test_every_state_and_finding_has_a_generated_page(generate):
    made = generate.generate()
    for state in State:
        page = DOCS / "reference" / "states" / f"{state.name.lower().replace('_', '-')}.md"
        assert state.spell("netstat") in made[page]
    for name in CATALOGUE:
        assert f"# Finding {name}" in made[DOCS / "reference" / "findings" / f"{name}.md"]


def test_life_cycle_page_holds_every_row(generate):
    text = generate.generate()[DOCS / "reference" / "lifecycle.md"]
    shown = re.findall(r"^\| `([A-Z0-9_.]+)` \|", text, re.MULTILINE)
    assert shown == [row.id for row in ROWS]


def test_man_page_names_every_command_and_option(generate):
    text = generate.generate()[DOCS / "install" / "share" / "man" / "man1" / "tcpscope.1"].replace("\\-", "-")
    for command in EXISTING:
        assert f".SS tcpscope {command}\n" in text
        parser = generate.command_line.parser_of([command])
        for action in parser._actions if parser else ():
            for option in (
                () if action.help in (None, "==SUPPRESS==") or "-h" in action.option_strings else action.option_strings
            ):
                assert option in text, (command, option)


@pytest.mark.parametrize(
    ("line", "offered"),
    [("do", "doctor"), ("lab run fin-w", "fin-wait-2"), ("simulate three", "three-lost"), ("help li", "list"),
     ("explain close-wait-l", "close-wait-leak"), ("list --col", "--columns")],
)  # fmt: skip
def test_bash_completes(line, offered):
    words = ["tcpscope", *line.split()]
    script = f"""
        source {COMPLETION}; COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; _tcpscope
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert offered in done.stdout.split()


def test_help_block_is_filled_and_a_changed_one_is_drift(generate, tmp_path, monkeypatch):
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text(
        "# x\n\n<!-- help: tcpscope diagram -->\nold\n<!-- end -->\n\n"
        "<!-- output: tcpscope explain 002-4 -->\n<!-- end -->\n"
    )
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "DOCS", tmp_path / "docs")
    made = generate.generate()
    assert "--highlight STATE" in made[page]
    assert "$ tcpscope explain 002-4\nClaim 002-4: wrong" in made[page]
    assert any("page.md" in line for line in generate.find_drift(made))
    page.write_text(made[page])
    assert not any("page.md" in line for line in generate.find_drift(made))


def test_endpoint_s_examples_print_what_they_say(capsys):
    page = (ROOT / "docs" / "reference" / "endpoint.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})
        assert capsys.readouterr().out.strip() == block.rstrip().rpartition("  # ")[2]


def test_every_page_can_be_reached_from_the_first():
    seen, left = set(), [DOCS / "README.md"]
    while left:
        page = left.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = re.findall(r"(?<!\\)\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        left += [(page.parent / link).resolve() for link in links if not re.match(r"[a-z]+:", link)]
    assert sorted(str(page.relative_to(DOCS)) for page in set(DOCS.rglob("*.md")) - seen) == []


def test_paths_that_the_guides_name_exist():
    source = ROOT / "src" / "tcpscope"
    for page in (ROOT / "CONTRIBUTING.md", DOCS / "explanation" / "rooms.md"):
        for path in re.findall(r"`((?:[a-z_]+/)+[a-z_]+(?:\.py)?)`", page.read_text(encoding="utf-8")):
            beside = (ROOT / path, source / path, source / f"{path}.py")
            assert any(one.exists() for one in beside), f"{page.name} names {path}"


def test_rooms_of_the_guide_are_those_of_the_source():
    text = (DOCS / "explanation" / "rooms.md").read_text(encoding="utf-8")
    rooms = {one.name for one in (ROOT / "src" / "tcpscope").iterdir() if (one / "__init__.py").exists()}
    assert set(re.findall(r"^\| `([a-z]+)/` \|", text, re.MULTILINE)) == rooms
