"""What the walk says about Linux is about rows that exist, and every row is accounted for."""

from tcpscope.lab.scene import load_scenes
from tcpscope.lab.walk.stimuli import STIMULI
from tcpscope.lab.walk.walk import ELSEWHERE, NOT_ON_LINUX, OTHERWISE
from tcpscope.machine.lifecycle import ROWS, row_by_id
from tcpscope.machine.linux import DEVIATIONS


def test_exceptions_name_rows_of_the_table():
    for name in (*OTHERWISE, *NOT_ON_LINUX, *ELSEWHERE):
        assert row_by_id(name).id == name


def test_a_deviation_differs_from_its_row():
    for name, (after, sends, reason) in OTHERWISE.items():
        row = row_by_id(name)
        assert (row.after, row.sends) != (after, sends), name
        assert reason in {deviation.name for deviation in DEVIATIONS} or len(reason.split()) > 4


def test_every_row_has_a_stimulus_or_a_reason():
    for row in ROWS:
        assert row.event in STIMULI or row.id in NOT_ON_LINUX or row.id in ELSEWHERE, row.id


def test_rows_shown_elsewhere_have_that_scene():
    assert set(ELSEWHERE.values()) <= set(load_scenes())
