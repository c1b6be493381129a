"""The store of first sightings: round trip, damage, strangers, bounds, another boot."""

from __future__ import annotations

import json
import os

import pytest
from tests.unit.doctor.world import NOW_NS, client, grown, listener, snap, sock

from tcpscope.history import remember as remembering
from tcpscope.history.first_seen import MAX_BYTES, read_history, store_folder, write_history
from tcpscope.history.remember import remember
from tcpscope.model.history import History
from tcpscope.model.state import State

BOOT = "11111111-2222-3333-4444-555555555555"


def waiting(number: int = 3) -> list:
    return [
        sock(State.CLOSE_WAIT, remote=client(50000 + i), info={"segs_in": 7}, cookie=5000 + i) for i in range(number)
    ]


def test_a_history_survives_being_written(tmp_path):
    history = remember(History(), snap(listener(8080), *waiting()), {"close-wait:pid 1": 3})
    assert write_history(history, BOOT, tmp_path)
    assert read_history(BOOT, tmp_path) == history
    assert os.stat(tmp_path / f"first-seen-{BOOT}.json").st_mode & 0o077 == 0


def test_a_second_look_keeps_the_first_sighting(tmp_path):
    first = remember(History(), snap(*waiting()))
    second = remember(first, grown(snap(*waiting()), 60))
    key = (0, 5000, int(State.CLOSE_WAIT))
    assert second.sightings[key].first_ns == NOW_NS
    assert second.sightings[key].silent_since_ns == NOW_NS
    assert second.looks == 2


def test_a_socket_that_heard_something_is_silent_from_then_on():
    first = remember(History(), snap(*waiting()))
    heard = [one._replace(tcp_info=one.tcp_info._replace(segs_in=8)) for one in waiting()]
    second = remember(first, grown(snap(*heard), 60))
    sighting = second.sightings[0, 5000, int(State.CLOSE_WAIT)]
    assert sighting.first_ns == NOW_NS
    assert sighting.silent_since_ns == NOW_NS + 60 * 10**9


def test_a_socket_that_is_gone_is_forgotten_and_busy_ones_are_never_kept():
    first = remember(History(), snap(*waiting(), sock(State.ESTABLISHED), sock(State.TIME_WAIT, kind="mini")))
    assert len(first.sightings) == 3
    assert not remember(first, grown(snap(), 5)).sightings


def test_listeners_on_ports_the_kernel_chose_are_not_remembered():
    history = remember(History(), snap(listener(8080), listener(40123)))
    assert [port for _, _, port in history.listeners] == [8080]


def test_sightings_are_bounded_and_the_oldest_stay(monkeypatch):
    monkeypatch.setattr(remembering, "MAX_SIGHTINGS", 4)
    first = remember(History(), snap(*waiting(3)))
    more = [*waiting(3), *[sock(State.CLOSE_WAIT, cookie=9000 + i) for i in range(9)]]
    kept = remember(first, grown(snap(*more), 5)).sightings
    assert len(kept) == 4
    assert {5000, 5001, 5002} <= {cookie for _, cookie, _ in kept}


def test_trends_are_short():
    history = History()
    for value in range(30):
        history = remember(history, snap(), {"unlisted": value})
    assert [value for _, value in history.trends["unlisted"]] == list(range(18, 30))


HEAD = {"schema": "tcpscope.first-seen/1", "boot_id": BOOT}
WHOLE = {**HEAD, "started_ns": 1, "looks": 1, "sightings": [], "listeners": [], "trends": {}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema": "other"}',
        "[" * 100_000,
        json.dumps(HEAD),
        json.dumps({**WHOLE, "sightings": [[1]]}),
        json.dumps({**WHOLE, "started_ns": "1"}),
        json.dumps({**WHOLE, "trends": {"x": 5}}),
    ],
    ids=range(10),
)
def test_a_damaged_store_is_as_good_as_none(tmp_path, text):
    path = tmp_path / f"first-seen-{BOOT}.json"
    path.write_text(text)
    path.chmod(0o600)
    assert read_history(BOOT, tmp_path) == History()


def test_a_store_others_may_write_is_not_trusted(tmp_path):
    write_history(remember(History(), snap(*waiting())), BOOT, tmp_path)
    path = tmp_path / f"first-seen-{BOOT}.json"
    path.chmod(0o666)
    assert read_history(BOOT, tmp_path) == History()
    path.chmod(0o600)
    assert read_history(BOOT, tmp_path).looks == 1
    link = tmp_path / "first-seen-other.json"
    link.symlink_to(path)
    assert read_history("other", tmp_path) == History()
    path.write_text(" " * (MAX_BYTES + 1))
    assert read_history(BOOT, tmp_path) == History()


def test_a_folder_others_may_write_is_not_used(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    assert not write_history(History(), BOOT, folder)
    assert list(folder.iterdir()) == []


def test_the_store_of_another_boot_is_dropped(tmp_path):
    write_history(History(looks=4), "old", tmp_path)
    write_history(History(looks=1), BOOT, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"first-seen-{BOOT}.json"]
    assert read_history("old", tmp_path) == History()


def test_a_boot_id_cannot_lead_out_of_the_folder(tmp_path):
    write_history(History(looks=1), "../../etc/x", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["first-seen-etcx.json"]


def test_the_folder_follows_xdg(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/var/tmp/state")
    assert str(store_folder()) == "/var/tmp/state/tcpscope"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert store_folder().is_absolute()
