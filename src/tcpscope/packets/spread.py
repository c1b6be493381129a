"""Many captures at once: one task per file on any :class:`concurrent.futures.Executor`, a dead worker's files again.

By default a pool of processes; a Dask cluster through ``Client.get_executor()`` (see :func:`open_cluster`). Workers
must see the files under the same names. What a task returns is a :class:`~tcpscope.packets.merge.Part`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tcpscope import extras
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.merge import Part, read_part

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

#: A file whose worker died this often is given up.
MOST_ATTEMPTS = 3


def read_parts(
    paths: Sequence[str],
    engine: str,
    executor: Executor | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Part]:
    """Read each capture in a task of its own; parts in the order of ``paths``. ``progress`` is told bytes done.

    Raises what a task raises, and ``TcpscopeError`` when the workers of a file die again and again.
    """
    found: dict[int, Part] = {}
    attempts = 0
    while len(found) < len(paths):
        if attempts == MOST_ATTEMPTS:
            names = ", ".join(paths[place] for place in range(len(paths)) if place not in found)
            raise TcpscopeError(f"workers died {attempts} times while reading {names}: too little memory?")
        attempts += 1
        missing = [place for place in range(len(paths)) if place not in found]
        if executor is not None and attempts == 1:
            _collect(executor, paths, missing, engine, found, progress)
            continue
        with _new_pool(len(missing)) as pool:
            _collect(pool, paths, missing, engine, found, progress)
    return [found[place] for place in range(len(paths))]


def _collect(
    executor: Executor,
    paths: Sequence[str],
    places: list[int],
    engine: str,
    found: dict[int, Part],
    progress: Callable[[int], None] | None,
) -> None:
    """Run one round; what a broken pool did not deliver is missing afterwards."""
    from concurrent.futures import BrokenExecutor, as_completed

    waiting: dict[Future[Part], int] = {}
    try:
        for place in places:
            waiting[executor.submit(read_part, paths[place], engine)] = place
        for future in as_completed(waiting):
            found[waiting[future]] = future.result()
            if progress is not None:
                progress(sum(_size(paths[place]) for place in found))
    except BrokenExecutor:
        for future, place in waiting.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                found[place] = future.result()


def _new_pool(tasks: int) -> Executor:
    import os
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Why spawn: the caller may have threads (a progress bar, a test runner), and fork copies their locks.
    return ProcessPoolExecutor(min(tasks, os.cpu_count() or 1), mp_context=get_context("spawn"))


def _size(path: str) -> int:
    import os

    return os.path.getsize(path) if os.path.exists(path) else 0


@contextmanager
def open_cluster(address: str) -> Iterator[Executor]:
    """Connect to a Dask scheduler and give an executor on it. Raises ``Unsupported`` without the extra ``cluster``."""
    distributed = extras.require("distributed", "--cluster")
    try:
        client = distributed.Client(address, timeout="10s")
    except (OSError, TimeoutError) as error:
        raise TcpscopeError(f"no Dask scheduler answers at {address}: {error}") from error
    try:
        # Why not pure: equal paths may hold other packets tomorrow. retries: a worker may die, its files do not.
        yield client.get_executor(pure=False, retries=MOST_ATTEMPTS)
    finally:
        client.close()
