"""What is wrong with one file, in order of place; bounded, because a broken file may be wrong everywhere."""

from __future__ import annotations

from tcpscope.model.damage import Damage

MAX_ENTRIES = 100


class DamageLog:
    """Collects :class:`Damage`. After ``MAX_ENTRIES`` only the number of further ones is kept."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: list[Damage] = []
        self.dropped = 0

    def add(self, place_bytes: int, what: str, skipped_bytes: int = 0) -> None:
        """Report one place."""
        if len(self.entries) < MAX_ENTRIES:
            self.entries.append(Damage(place_bytes, what, self.name, skipped_bytes))
        else:
            self.dropped += 1

    def close_gap(self, until_bytes: int) -> None:
        """Say of the last entry that nothing before ``until_bytes`` could be used."""
        if not self.dropped:
            last = self.entries[-1]
            self.entries[-1] = last._replace(skipped_bytes=until_bytes - last.place_bytes)

    def as_list(self) -> list[Damage]:
        """Return all entries, and one more for those that were not kept."""
        if not self.dropped:
            return list(self.entries)
        last = self.entries[-1].place_bytes
        return [*self.entries, Damage(last, f"{self.dropped} more places are damaged", self.name)]
