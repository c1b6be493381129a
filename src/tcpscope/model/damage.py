"""``Damage``: one place where a file is not what its format says, in words; what could be read is kept."""

from __future__ import annotations

from tcpscope.model.record import NamedTuple


class Damage(NamedTuple):
    """``what`` is wrong at ``place_bytes`` of the (decompressed) ``file``; ``skipped_bytes`` could not be used."""

    place_bytes: int
    what: str
    file: str = ""
    skipped_bytes: int = 0

    def __str__(self) -> str:
        where = f"{self.file}: " if self.file else ""
        return f"{where}{self.what} (at byte {self.place_bytes})"
