"""Many files at once: process pool, a worker that dies, a real Dask cluster with one worker killed in the middle."""

import os
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import pytest
from tests.made_captures import pcap, random_capture
from tests.packet_engines import everything

from tcpscope.packets import analyse
from tcpscope.packets.merge import Part, merge, read_part, read_parts_in_order
from tcpscope.packets.spread import open_cluster, read_parts


@pytest.fixture
def pieces(tmp_path):
    """Six captures in a row whose connections span the cuts."""
    frames = [item for seed in range(40) for item in random_capture(seed)]
    size = len(frames) // 6 + 1
    paths = []
    for number in range(6):
        path = tmp_path / f"{number}.pcap"
        path.write_bytes(pcap(frames[number * size : number * size + size]))
        paths.append(str(path))
    return paths


class DyingPool:
    """An executor whose pool breaks after two files."""

    def __init__(self):
        self.calls = 0

    def submit(self, function, *arguments):
        self.calls += 1
        future: Future[Part] = Future()
        if self.calls > 2:
            future.set_exception(BrokenProcessPool("a worker died"))
        else:
            future.set_result(function(*arguments))
        return future


def test_files_of_a_broken_pool_are_read_again(pieces):
    pool = DyingPool()
    found = merge(read_parts(pieces, "python", pool))
    assert pool.calls >= 3
    assert everything(found.ledger) == everything(read_parts_in_order(pieces).ledger)


def test_process_pool_equals_reading_in_order(pieces):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = merge(read_parts(pieces, "python", pool))
    assert everything(found.ledger) == everything(read_parts_in_order(pieces).ledger)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(analyse(pieces, executor=pool).connections) == list(analyse(pieces).connections)


def die_once(path, engine, marker):
    """Read one file; the first worker that sees the marker file removes it and kills itself."""
    try:
        os.unlink(marker)
    except FileNotFoundError:
        return read_part(path, engine)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


class _Killing:
    """Submits a task that kills its worker once, in the middle."""

    def __init__(self, executor, marker):
        self.executor, self.marker, self.calls = executor, marker, 0

    def submit(self, _function, path, engine):
        self.calls += 1
        if self.calls == 3:
            open(self.marker, "w").close()
        return self.executor.submit(die_once, path, engine, self.marker)


@pytest.mark.slow
def test_dask_cluster_of_two_workers_one_killed(pieces, tmp_path):
    distributed = pytest.importorskip("distributed")
    marker = str(tmp_path / "die")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        open_cluster(cluster.scheduler_address) as executor,
    ):
        killing = _Killing(executor, marker)
        found = merge(read_parts(pieces, "python", killing))
    assert not os.path.exists(marker), "no worker was killed"
    assert killing.calls == 6
    assert everything(found.ledger) == everything(read_parts_in_order(pieces).ledger)


@pytest.mark.slow
def test_cluster_that_does_not_answer_is_one_line():
    pytest.importorskip("distributed")
    from tcpscope.model.errors import TcpscopeError

    with pytest.raises(TcpscopeError, match="no Dask scheduler answers"), open_cluster("tcp://127.0.0.1:1"):
        pass
