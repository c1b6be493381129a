"""``Case``: the file on one suspicion. What is written down and how sure we are come from the same calls.

Each piece of evidence has a weight between 0 and 1: how likely the illness is on this piece alone. Pieces are taken
as independent witnesses (noisy or); each doubt takes its share away. A trap that was looked for in this snapshot and
not found is a weak witness; one that could not be looked for is a small doubt. Nothing else sets a confidence.
"""

from __future__ import annotations

from collections.abc import Iterable

from tcpscope.model.finding import Finding, Remedy, Severity
from tcpscope.model.socket import Socket

#: How many sockets a finding carries as examples; its evidence has the numbers.
EXAMPLES = 20


class Case:
    """Collect evidence and doubts about one finding, then :meth:`close` it."""

    def __init__(self, id: str, scope: str = "") -> None:
        self.id = id
        self.scope = scope
        self._evidence: list[str] = []
        self._counter: list[str] = []
        self._miss = 1.0
        self._trust = 1.0

    def witness(self, weight: float, text: str) -> None:
        """Add a piece of evidence."""
        self._miss *= 1 - weight
        self._evidence.append(text)

    def doubt(self, weight: float, text: str) -> None:
        """Add something in this snapshot that speaks against it."""
        self._trust *= 1 - weight
        self._counter.append(text)

    def cleared(self, text: str, weight: float = 0.15) -> None:
        """Note a trap that was looked for in this snapshot and is not there."""
        self._miss *= 1 - weight
        self._counter.append(f"checked: {text}")

    def unseen(self, text: str, weight: float = 0.1) -> None:
        """Note something that would settle it but could not be looked at."""
        self._trust *= 1 - weight
        self._counter.append(f"not seen: {text}")

    @property
    def confidence(self) -> float:
        """Between 0 and 1, from the calls above."""
        return round(max(0.0, min(1.0, (1 - self._miss) * self._trust)), 2)

    def close(
        self,
        severity: Severity,
        title: str,
        explanation: str,
        remedies: Iterable[Remedy] = (),
        sockets: Iterable[Socket] = (),
        avoid: Iterable[str] = (),
    ) -> Finding:
        """Turn the case into a finding."""
        examples = tuple(socket for socket, _ in zip(sockets, range(EXAMPLES), strict=False))
        return Finding(
            self.id,
            severity,
            self.confidence,
            title,
            explanation,
            self.scope,
            tuple(self._evidence),
            tuple(self._counter),
            tuple(remedies),
            examples,
            "",
            tuple(avoid),
        )
