"""Everything a person may ask has an answer, and what is generated equals the table."""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tcpscope.doctor
from tcpscope.cli.flags import parse_options
from tcpscope.cli.main import COMMANDS
from tcpscope.explain import calls, columns, counters, pairs, states, terms, tools
from tcpscope.explain.answer import answer_as_json
from tcpscope.explain.claim_table import ARTICLES, CLAIMS, VERDICTS
from tcpscope.explain.clocks import CLOCKS
from tcpscope.explain.events import describe_event, spell_event
from tcpscope.explain.portraits import PORTRAITS
from tcpscope.explain.queues import QUEUES
from tcpscope.explain.sysctls import SETTINGS
from tcpscope.explain.topics import LISTS, READERS, explain_topic, find_answer, topic_names
from tcpscope.filters.parse import parse_filter
from tcpscope.lab.scene import find_scenes
from tcpscope.machine.lifecycle import EDGES, LIFE_ORDER, ROWS, ways_into, ways_out_of
from tcpscope.machine.linux import DEVIATIONS
from tcpscope.model.errors import UsageError
from tcpscope.model.event import Event
from tcpscope.model.spelling import ALIASES, DIALECTS
from tcpscope.model.state import State
from tcpscope.views.prose import emit_answer, emit_markdown

SPELLINGS = sorted(
    {(spelled[state], state) for spelled in DIALECTS.values() for state in State}
    | {(alias, State[name]) for alias, name in ALIASES.items() if alias != "2MSL"}
)


@pytest.mark.parametrize(("text", "state"), SPELLINGS, ids=lambda value: str(value))
def test_state_in_any_spelling_is_explained(text, state):
    for spelled in (text, text.lower(), f"  {text} ", f"state {text}"):
        answer = explain_topic(spelled)
        assert (answer.kind, answer.name) == ("state", state.name)


@pytest.mark.parametrize("state", State)
def test_state_code_of_proc_is_explained(state):
    assert explain_topic(f"{int(state):02X}").name == state.name
    assert explain_topic(f"0x{int(state):02x}").name == state.name


@pytest.mark.parametrize("state", State)
def test_ways_of_a_state_equal_the_table(state):
    answer = explain_topic(state.name)
    assert {row["id"] for row in answer.facts["ways_in"]} == {row.id for row in ways_into(state)}
    assert {row["id"] for row in answer.facts["ways_out"]} == {row.id for row in ways_out_of(state)}
    grids = {section.heading: section.grid for section in answer.sections}
    for heading, rows, end in (
        ("How it came in", ways_into(state), "before"),
        ("How it leaves", ways_out_of(state), "after"),
    ):
        shown = {(cells[0], cells[3], cells[4]) for cells in grids[heading].rows}
        assert shown == {(getattr(row, end).name, row.rfc, row.note) for row in rows}
    spelled = {row[1] for row in grids["How the tools spell it"].rows}
    assert {state.spell(dialect) for dialect in DIALECTS} <= spelled


def test_every_state_has_one_portrait_and_queues():
    assert set(PORTRAITS) == set(QUEUES) == set(State)


@pytest.mark.parametrize("edge", sorted(EDGES), ids=lambda edge: f"{edge[0].name}->{edge[1].name}")
def test_every_move_is_explained_with_its_rows(edge):
    before, after = edge
    expected = {row.id for row in ROWS if (row.before, row.after) == edge and row.changes_state}
    for text in (f"{before.name} -> {after.name}", f"{before.spell('ss')}->{after.spell('netstat')}"):
        answer = explain_topic(text)
        assert answer.facts["legal"] is True
        assert {row["id"] for row in answer.facts["rows"]} == expected


@pytest.mark.parametrize("text", ["FIN_WAIT_1 -> NOWHERE", "-> LISTEN", "LISTEN ->", "LISTEN -> -> CLOSED", "a/LISTEN"])
def test_move_or_pair_with_an_unknown_end_is_refused(text):
    with pytest.raises(UsageError):
        explain_topic(text)


def test_move_that_does_not_exist_says_so_and_shows_the_real_ones():
    answer = explain_topic("CLOSE_WAIT -> TIME_WAIT")
    assert answer.facts["legal"] is False
    assert "no such move" in answer.summary
    assert {section.heading for section in answer.sections} == {"Out of CLOSE_WAIT", "Into TIME_WAIT"}


def test_move_of_linux_alone_names_the_deviation():
    answer = explain_topic("CLOSED -> ESTABLISHED")
    assert answer.facts["legal"] is False
    assert answer.facts["deviations"] == ["repair-restores"]


def test_walk_of_the_client_is_legal_and_a_shortcut_is_not():
    assert explain_topic("CLOSED → SYN_SENT → ESTABLISHED").facts["legal"] is True
    assert explain_topic("CLOSED -> ESTABLISHED -> CLOSED").facts["legal"] is False


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row_is_explained_by_its_id(row):
    assert explain_topic(row.id).facts["id"] == row.id


@pytest.mark.parametrize("event", Event)
def test_event_is_described_and_lists_its_rows(event):
    assert describe_event(event).endswith(".")
    assert spell_event(event)
    answer = explain_topic(f"event {event.name}")
    assert [row["id"] for row in answer.facts["rows"]] == [row.id for row in ROWS if row.event == event]


def test_table_holds_every_row_and_filters_by_state():
    assert len(explain_topic("table").facts["rows"]) == len(ROWS)
    rows = explain_topic("table FIN-WAIT-1").facts["rows"]
    assert rows
    assert all("FIN_WAIT_1" in (row["before"], row["after"]) for row in rows)


@pytest.mark.parametrize("state", State)
def test_tables_of_states_lose_nothing_in_json(state):
    answer = explain_topic(state.name)
    cells = {cell for section in answer.sections if section.grid for row in section.grid.rows for cell in row}
    printed = json.dumps(answer_as_json(answer)["sections"], ensure_ascii=False)
    assert cells
    assert [cell for cell in cells if json.dumps(cell, ensure_ascii=False)[1:-1] not in printed] == []


@pytest.mark.parametrize("state", State)
def test_send_q_is_explained_by_timers_only_where_bytes_can_wait(state):
    answer = explain_topic(f"Send-Q {state.name}")
    has_timers = any(section.heading == "The timer names the cause" for section in answer.sections)
    can_wait = {"SYN_SENT", "ESTABLISHED", "FIN_WAIT_1", "CLOSE_WAIT", "CLOSING", "LAST_ACK"}
    assert has_timers == (state.name in can_wait)


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        *((column.name, "column", column.name) for column in columns.COLUMNS),
        ("PID/Program", "column", "PID/Program name"),
        ("recv-q in listen", "column", "Recv-Q in LISTEN"),
        ("Recv-Q LISTEN", "column", "Recv-Q in LISTEN"),
        ("Send-Q in FIN-WAIT-1", "column", "Send-Q in FIN_WAIT_1"),
        *((setting.name, "sysctl", setting.name) for setting in SETTINGS),
        ("tcp_fin_timeout", "sysctl", "net.ipv4.tcp_fin_timeout"),
        ("/proc/sys/net/core/somaxconn", "sysctl", "net.core.somaxconn"),
        ("somaxconn", "sysctl", "net.core.somaxconn"),
        *((f"timer {clock.key}", "timer", clock.key) for clock in CLOCKS),
        ("2MSL", "timer", "2msl"),
        ("keepalive", "timer", "keepalive"),
        ("retransmission", "timer", "retransmission"),
        ("persist", "timer", "persist"),
        ("delayed ack", "timer", "delayed-ack"),
        ("timer fin_wait_2", "timer", "fin-wait-2"),
        ("syn retries", "timer", "syn-retries"),
        ("timer syn-ack", "timer", "syn-ack-retries"),
        ("orphan", "timer", "orphan"),
        ("user timeout", "timer", "user-timeout"),
        *((f"claim {claim.id}", "claim", claim.id) for claim in CLAIMS),
        ("002-4", "claim", "002-4"),
        *((call.name, "", "") for call in calls.CALLS),
        ("call close", "user-call", "CLOSE"),
        ("close()", "user-call", "CLOSE"),
        ("listen()", "socket-call", "listen()"),
        ("accept", "socket-call", "accept()"),
        ("connect", "socket-call", "connect()"),
        ("shutdown", "socket-call", "shutdown()"),
        *((flag, "segment", flag) for flag in ("SYN", "ACK", "FIN", "RST", "PSH", "URG")),
        *((row.name, "deviation", row.name) for row in DEVIATIONS),
        *((tool.name, "tool", tool.name) for tool in tools.TOOLS),
        *((term.name, "term", term.name) for term in terms.TERMS),
        ("$ sudo /usr/sbin/lsof -i:9502 | grep x", "tool", "lsof"),
        ("netstat-a", "tool", "netstat"),
        ("kill -9 22725", "tool", "kill"),
        ("telnet 127.0.0.1 9502", "tool", "telnet"),
        ("Sysctl-w net. ipv4.tcp _ keepalive_time = 30", "sysctl", "net.ipv4.tcp_keepalive_time"),
        ("sackOK", "term", "SACK"),
        ("三次握手", "term", "three-way handshake"),
        ("FIN_WAIT_2/CLOSE_WAIT", "pair", "FIN_WAIT_2/CLOSE_WAIT"),
        ("v6only", "address", "v6only"),
        *((name, "counter", name) for name in counters.COUNTERS),
        ("ListenOverflows", "counter", "TcpExt.ListenOverflows"),
        ("TcpExtListenOverflows", "counter", "TcpExt.ListenOverflows"),
        *((name, name, name) for name in LISTS),
    ],
)
def test_named_topic_is_found(text, kind, name):
    answer = explain_topic(text)
    if kind:
        assert (answer.kind, answer.name) == (kind, name)
    assert answer.summary
    assert json.loads(json.dumps(answer_as_json(answer)))["schema"] == "tcpscope.explain/1"


@pytest.mark.parametrize(
    ("text", "kind", "ipv4", "ipv6"),
    [
        ("0.0.0.0:22", "any-v4", "yes", "refused"),
        (":::22", "any-v6-or-dual", "yes", "yes"),
        ("*:22", "any-dual", "yes", "yes"),
        ("[::]:22", "any-v6", "refused", "yes"),
        ("127.0.0.1:631", "loopback-v4", "refused", "refused"),
        ("127.0.0.53%lo:53", "loopback-v4", "refused", "refused"),
        ("::1:631", "loopback-v6", "refused", "refused"),
        ("[::1]:631", "loopback-v6", "refused", "refused"),
        ("172.172.230.211:3306", "specific-v4", "yes", "refused"),
        ("2001:db8::7:443", "specific-v6", "refused", "yes"),
        ("[2001:db8::7]:443", "specific-v6", "refused", "yes"),
        ("[fe80::1]%eth0:22", "link-local", "refused", "yes"),
        ("::ffff:10.9.0.2:7008", "mapped", "yes", "refused"),
        ("[::ffff:10.9.0.2]:7008", "mapped", "yes", "refused"),
        ("192.0.2.1", "specific-v4", "yes", "refused"),
    ],
)
def test_address_says_who_gets_through(text, kind, ipv4, ipv6):
    answer = explain_topic(text)
    assert answer.facts["class"] == kind
    assert (answer.facts["bindings"][0]["ipv4_peer"], answer.facts["bindings"][0]["ipv6_peer"]) == (ipv4, ipv6)
    port = re.search(r":(\d+)$", text) if text != "192.0.2.1" else None
    assert answer.facts["port"] == (int(port.group(1)) if port else None)


@pytest.mark.parametrize("text", ["0.0.0.0:*", ":::*", "*:*"])
def test_place_of_the_peer_of_a_listener_is_no_address(text):
    assert explain_topic(text).facts["class"] == "no-peer"


def test_netstat_address_shows_both_readings_of_v6():
    assert len(explain_topic(":::22").facts["bindings"]) == 2


@pytest.mark.parametrize("text", ["", "  "])
def test_no_argument_lists_topics(text):
    assert explain_topic(text).kind == "topics"


@pytest.mark.parametrize(
    ("text", "near"),
    [("FIN_WIAT_2", "FIN_WAIT_2"), ("keepalve", "keepalive"), ("tcp_fin_timout", "net.ipv4.tcp_fin_timeout")],
)
def test_unknown_topic_names_the_nearest(text, near):
    with pytest.raises(UsageError, match=re.escape(near)):
        explain_topic(text)


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-f:.*\[\]%/>-]{1,24}", fullmatch=True))
def test_any_text_is_answered_or_refused(text):
    try:
        answer = explain_topic(text)
    except UsageError as error:
        assert "\n" not in str(error)
        assert str(error).isprintable()
        return
    assert answer.summary
    json.dumps(answer_as_json(answer))


@given(st.sampled_from([kind for kind in READERS if kind != "list"]), st.text(max_size=12))
def test_kind_in_front_of_any_text_is_answered_or_refused(kind, text):
    with contextlib.suppress(UsageError):
        explain_topic(f"{kind} {text}")


@given(st.sampled_from(State), st.sampled_from(State))
def test_any_two_states_are_a_pair_and_a_move(one, two):
    assert explain_topic(f"{one.name}/{two.name}").kind == "pair"
    assert explain_topic(f"{one.name} -> {two.name}").kind == "transition"


def test_pairs_are_symmetric_and_unique():
    known = [frozenset((pair.here, pair.there)) for pair in pairs.PAIRS]
    assert len(set(known)) == len(known)
    assert explain_topic("CLOSE_WAIT/FIN_WAIT2").summary == explain_topic("FIN-WAIT-2/CLOSE-WAIT").summary


def test_claims_have_unique_ids_known_verdicts_and_articles():
    ids = [claim.id for claim in CLAIMS]
    assert ids == sorted(set(ids), key=lambda text: tuple(map(int, text.split("-"))))
    assert {claim.id[:3] for claim in CLAIMS} == set(ARTICLES)
    assert {claim.verdict for claim in CLAIMS} == set(VERDICTS)
    assert [claim["id"] for claim in explain_topic("claims").facts["claims"]] == ids
    assert all(claim["id"].startswith("002") for claim in explain_topic("claims 002").facts["claims"])


FINDINGS = {finding for state in State for finding in states.findings_of(state)}


def test_every_pointer_leads_somewhere(known_findings):
    dangling = set()
    for name in (
        *topic_names(),
        *(f"claim {claim.id}" for claim in CLAIMS),
        *(f"timer {c.key}" for c in CLOCKS),
    ):
        for target in explain_topic(name).see_also:
            if find_answer(target) is None and target not in known_findings:
                dangling.add((name, target))
    assert not dangling


def test_findings_named_by_states_are_the_doctors(known_findings):
    assert known_findings >= FINDINGS


@pytest.fixture
def known_findings():
    catalogue = pytest.importorskip("tcpscope.doctor.catalogue")
    return set(catalogue.CATALOGUE)


@pytest.mark.parametrize("width", [40, 41, 60, 72, 80, 100, 132, 200])
def test_no_line_is_wider_than_the_terminal(width):
    names = (
        *topic_names(),
        *(f"{state.name} -> CLOSED" for state in State),
        "002-4",
        ":::22",
        "FIN_WAIT_2/CLOSE_WAIT",
        "",
    )
    for name in names:
        for line in emit_answer(explain_topic(name), width).splitlines():
            assert len(line) <= width, (name, line)


@given(st.integers(40, 200), st.sampled_from([*topic_names()]))
def test_width_loses_no_word(width, name):
    answer = explain_topic(name)
    text = "".join(emit_answer(answer, width).split())
    for section in answer.sections:
        for piece in (*section.paragraphs, *section.items):
            assert "".join(piece.split()) in text
        for row in section.grid.rows if section.grid and len(section.grid.columns) == 1 else ():
            assert "".join(row[0].split()) in text


def test_color_adds_escapes_and_nothing_else():
    answer = explain_topic("LISTEN")
    plain, painted = emit_answer(answer, 80), emit_answer(answer, 80, color=True)
    assert "\033" not in plain
    assert re.sub(r"\033\[\d+m", "", painted) == plain


def test_markdown_escapes_and_keeps_tables_rectangular():
    for name in topic_names():
        fenced = False
        pipes = 0
        for line in emit_markdown(explain_topic(name)).splitlines():
            fenced ^= line.startswith("```")
            if fenced or not line.startswith("|"):
                pipes = 0
                continue
            count = len(re.findall(r"(?<!\\)\|", line))
            assert pipes in (0, count), (name, line)
            pipes = count


def test_life_order_is_listed_once():
    assert explain_topic("states").facts["states"] == [state.name for state in LIFE_ORDER]


def test_commands_that_are_named_exist():
    """Every command of tcpscope in an explanation is one, with options and filters its own parser takes."""
    named = set()
    for name in topic_names():
        answer = explain_topic(name)
        for section in answer.sections:
            named.update(section.commands)
            cells = [cell for row in section.grid.rows for cell in row] if section.grid else []
            named.update(cell for cell in cells if cell.startswith("tcpscope "))
    words = {command.split()[1] for command in named if command.startswith("tcpscope ")}
    assert len(words) > 7
    assert words <= set(COMMANDS)
    for command in named:
        parts = shlex.split(command)
        if parts[:2] == ["tcpscope", "list"]:
            words = parse_options(parts[2:]).filter
            assert not words or parse_filter([word.replace("HOST", "192.0.2.1") for word in words])
        if parts[:3] == ["tcpscope", "lab", "run"]:
            assert find_scenes(parts[3:4])


def test_every_setting_the_doctor_reads_or_recommends_is_explained():
    folder = Path(tcpscope.doctor.__file__).parent
    pattern = re.compile(r'"((?:net|fs)\.[a-z0-9_.]+[a-z0-9])"')
    named = {name for source in folder.glob("*.py") for name in pattern.findall(source.read_text(encoding="utf-8"))}
    assert len(named) > 20
    assert {name for name in named if find_answer(f"sysctl {name}") is None} == set()


def test_commands_of_every_state_page_are_understood_by_ss():
    if shutil.which("ss") is None:
        pytest.skip("needs ss")
    for state in State:
        for line in states.see_commands(state):
            if line.startswith("ss "):
                done = subprocess.run(line.split(), capture_output=True, text=True, timeout=300)
                assert "wrong state name" not in done.stderr, line


def test_first_figure_of_a_timer_is_what_linux_does():
    figures = {clock.key: clock.figures[0].condition for clock in CLOCKS}
    assert figures["2msl"].startswith("Linux")
