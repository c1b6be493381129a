"""What the walk says about Linux is about rows that exist, and every row is accounted for."""

from tcpscope.lab.scene import load_scenes
from tcpscope.lab.walk.endpoint_bench import EndpointBench
from tcpscope.lab.walk.stimuli import STIMULI
from tcpscope.lab.walk.walk import ELSEWHERE, NOT_ON_ENDPOINT, NOT_ON_LINUX, OTHERWISE, show_row, walk_endpoint
from tcpscope.machine.lifecycle import ROWS, row_by_id
from tcpscope.machine.linux import DEVIATIONS
from tcpscope.model.event import Sends
from tcpscope.model.state import State


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


def test_endpoint_goes_through_every_row_it_can():
    """The table, walked by our own endpoint: what is not shown has a reason, and nothing else is missing."""
    shown = walk_endpoint()
    assert len(shown) == len(ROWS)
    assert {one.row.id: one.seen for one in shown if not one.ok}.keys() == NOT_ON_ENDPOINT.keys()


def test_walk_notices_a_wrong_expectation():
    """The comparison can fail: any row held against the states and answers of another one."""
    row = row_by_id("ESTABLISHED.FIN")
    assert show_row(EndpointBench(), row, State.CLOSE_WAIT, Sends.ACK).ok
    assert not show_row(EndpointBench(), row, State.CLOSING, Sends.ACK).ok
    assert not show_row(EndpointBench(), row, State.CLOSE_WAIT, Sends.NOTHING).ok
