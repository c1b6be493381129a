"""The remedies in code that the pages name are those the rules give: compared with the rules' source."""

import ast
from pathlib import Path

import tcpscope.doctor
from tcpscope.doctor.catalogue import CATALOGUE
from tcpscope.doctor.hints import CODE, TOPICS, lines_to_write

SOURCES = sorted(Path(tcpscope.doctor.__file__).parent.glob("*.py"))


def calls(tree, name, argument):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            value = node.args[argument]
            if isinstance(value, ast.Constant):
                yield value.value


def test_findings_and_topics_exist_and_every_topic_is_used():
    assert set(TOPICS) <= set(CATALOGUE)
    assert {topic for topics in TOPICS.values() for topic in topics} == set(CODE)


def test_rules_that_open_a_case_and_name_code_agree():
    seen = {}
    for source in SOURCES:
        for function in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for finding in calls(function, "Case", 0):
                    seen.setdefault(finding, set()).update(calls(function, "code_for", 1))
    named = {finding: topics for finding, topics in seen.items() if topics}
    assert len(named) > 10
    for finding, topics in named.items():
        assert topics <= set(TOPICS.get(finding, ())), finding
    used = {
        topic for source in SOURCES for topic in calls(ast.parse(source.read_text(encoding="utf-8")), "code_for", 1)
    }
    assert {topic for finding, topics in TOPICS.items() if finding in seen for topic in topics} <= used | {
        "close-on-eof"
    }


def test_lines_start_with_the_one_for_unknown_programs():
    for finding in TOPICS:
        lines = lines_to_write(finding)
        assert lines[0][0] == ""
        assert all(text for _, text in lines)
