"""The garbage collector, out of the way while very many words are made at once."""

from __future__ import annotations

import gc
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the collector, and hand it what was made meanwhile as if it were old.

    Why: hundreds of thousands of tuples, none in a cycle. The collector would walk all of them again and again while
    they are made, and once more as soon as it is back: freezing and unfreezing moves them to the oldest generation
    without a walk.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()
